"""The members of the cluster, as the log has made them (etcd `server/etcdserver/api/membership`).

Each member is a record in the `members` bucket under its id in hexadecimal, as the JSON etcd writes there; ids that
were removed stay in `members_removed`, because an id must never come back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from kvstore.backend import Backend

__all__ = ["Member", "Membership"]

_VERSION_KEY = b"clusterVersion"
_DOWNGRADE_KEY = b"downgrade"


@dataclass(frozen=True, slots=True)
class Member:
    """One member. Without a name it has not started yet."""

    member_id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class Membership:
    """Every member, and the versions they agreed on.

    Attributes:
        cluster_version: "" before the first decision.
        downgrade_target: "" when no downgrade is under way.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._members: dict[int, Member] = {}
        self._removed: set[int] = set()
        self.cluster_version = ""
        self.downgrade_target = ""

    def restore(self) -> None:
        """Read members and version from the backend."""
        self._members = {}
        for _, stored in self._backend.items("members"):
            member = _from_json(stored)
            self._members[member.member_id] = member
        self._removed = {int(key, 16) for key, _ in self._backend.items("members_removed")}
        self.cluster_version = (self._backend.get("cluster", _VERSION_KEY) or b"").decode()
        downgrade = json.loads(self._backend.get("cluster", _DOWNGRADE_KEY) or b"{}")
        self.downgrade_target = downgrade["target-version"] if downgrade.get("enabled") else ""

    def members(self) -> list[Member]:
        """Every member, by id."""
        return [self._members[member_id] for member_id in sorted(self._members)]

    def get(self, member_id: int) -> Member | None:
        """The member with this id."""
        return self._members.get(member_id)

    def was_removed(self, member_id: int) -> bool:
        """Whether a member with this id was removed, so that the id is spent."""
        return member_id in self._removed

    def put(self, member: Member) -> None:
        """Add a member, or replace what is known of it."""
        self._members[member.member_id] = member
        self._backend.put("members", _stored_id(member.member_id), _to_json(member))

    def remove(self, member_id: int) -> None:
        """Remove a member for good."""
        self._members.pop(member_id, None)
        self._removed.add(member_id)
        self._backend.delete("members", _stored_id(member_id))
        self._backend.put("members_removed", _stored_id(member_id), b"removed")

    def set_attributes(self, member_id: int, name: str, client_urls: tuple[str, ...]) -> None:
        """Note what a member published about itself; a member that is gone is none the wiser."""
        member = self._members.get(member_id)
        if member is not None:
            self.put(replace(member, name=name, client_urls=client_urls))

    def set_cluster_version(self, version: str) -> None:
        """Note the version the members agreed on."""
        self.cluster_version = version
        self._backend.put("cluster", _VERSION_KEY, version.encode())

    def set_downgrade(self, target: str) -> None:
        """Note the version the cluster is being downgraded to; "" ends that."""
        self.downgrade_target = target
        record = {"target-version": target, "enabled": bool(target)}
        self._backend.put("cluster", _DOWNGRADE_KEY, json.dumps(record, separators=(",", ":")).encode())


def _stored_id(member_id: int) -> bytes:
    return f"{member_id:x}".encode()


def _to_json(member: Member) -> bytes:
    record: dict[str, object] = {"id": member.member_id, "peerURLs": list(member.peer_urls)}
    if member.is_learner:
        record["isLearner"] = True
    if member.name:
        record["name"] = member.name
    if member.client_urls:
        record["clientURLs"] = list(member.client_urls)
    return json.dumps(record, separators=(",", ":")).encode()


def _from_json(stored: bytes) -> Member:
    record = json.loads(stored)
    return Member(
        record["id"],
        record.get("name", ""),
        tuple(record["peerURLs"]),
        tuple(record.get("clientURLs", ())),
        record.get("isLearner", False),
    )
