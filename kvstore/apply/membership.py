"""The members of the cluster, as the log has made them (etcd `server/etcdserver/api/membership`).

Each member is a record in the `members` bucket under its id in hexadecimal, as the JSON etcd writes there; ids that
were removed stay in `members_removed`, because an id must never come back. Every change comes through the log and is
checked when it is applied, so that all members take the same ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum, unique

from kvstore.backend import Backend
from kvstore.mvcc import StoreError

__all__ = [
    "IdExistsError",
    "IdNotFoundError",
    "IdRemovedError",
    "Member",
    "Membership",
    "MembershipChange",
    "MembershipChangeKind",
    "NotLearnerError",
    "PeerUrlExistsError",
    "TooManyLearnersError",
    "member_from_json",
    "member_to_json",
]

_VERSION_KEY = b"clusterVersion"
_DOWNGRADE_KEY = b"downgrade"


class IdExistsError(StoreError):
    """A member with this id is there already."""


class IdNotFoundError(StoreError):
    """No member has this id."""


class IdRemovedError(StoreError):
    """A member with this id was removed; ids never come back."""


class PeerUrlExistsError(StoreError):
    """Another member goes by one of these peer URLs."""


class NotLearnerError(StoreError):
    """Only a learner can be promoted."""


class TooManyLearnersError(StoreError):
    """There are as many learners as are allowed."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. Without a name it has not started yet."""

    member_id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def started(self) -> bool:
        """Whether it has ever told the cluster about itself."""
        return bool(self.name)


@unique
class MembershipChangeKind(Enum):
    """What can happen to a member."""

    ADD = "add"
    REMOVE = "remove"
    UPDATE = "update"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """One change; of the member, a removal and a promotion mean the id alone."""

    kind: MembershipChangeKind
    member: Member


class Membership:
    """Every member, and the versions they agreed on.

    Args:
        max_learners: how many learners there may be (`--max-learners`); None for any number.

    Attributes:
        cluster_version: "" before the first decision.
        downgrade_target: "" when no downgrade is under way.
    """

    def __init__(self, backend: Backend, max_learners: int | None = 1) -> None:
        self._backend = backend
        self._max_learners = max_learners
        self._members: dict[int, Member] = {}
        self._removed: set[int] = set()
        self.cluster_version = ""
        self.downgrade_target = ""

    def restore(self) -> None:
        """Read members and version from the backend."""
        self._members = {}
        for _, stored in self._backend.items("members"):
            member = member_from_json(stored)
            self._members[member.member_id] = member
        self._removed = {int(key, 16) for key, _ in self._backend.items("members_removed")}
        self.cluster_version = (self._backend.get("cluster", _VERSION_KEY) or b"").decode()
        downgrade = json.loads(self._backend.get("cluster", _DOWNGRADE_KEY) or b"{}")
        self.downgrade_target = downgrade["target-version"] if downgrade.get("enabled") else ""

    def members(self) -> list[Member]:
        """Every member, by id."""
        return [self._members[member_id] for member_id in sorted(self._members)]

    def voters(self) -> list[Member]:
        """Every member that votes, by id."""
        return [member for member in self.members() if not member.is_learner]

    def get(self, member_id: int) -> Member | None:
        """The member with this id."""
        return self._members.get(member_id)

    def was_removed(self, member_id: int) -> bool:
        """Whether a member with this id was removed, so that the id is spent."""
        return member_id in self._removed

    # --- changes of who takes part

    def check(self, change: MembershipChange) -> None:
        """Whether the change fits what is there now.

        Raises:
            StoreError: it does not; one of the classes of this module.
        """
        member, known = change.member, self._members.get(change.member.member_id)
        if member.member_id in self._removed:
            raise IdRemovedError
        if change.kind is MembershipChangeKind.ADD:
            self._check_addition(member)
            return
        if known is None:
            raise IdNotFoundError
        if change.kind is MembershipChangeKind.PROMOTE and not known.is_learner:
            raise NotLearnerError
        if change.kind is MembershipChangeKind.UPDATE:
            self._check_urls(member)

    def _check_addition(self, member: Member) -> None:
        if member.member_id in self._members:
            raise IdExistsError
        self._check_urls(member)
        learners = len(self._members) - len(self.voters())
        if member.is_learner and self._max_learners is not None and learners >= self._max_learners:
            raise TooManyLearnersError

    def _check_urls(self, member: Member) -> None:
        for other in self._members.values():
            if other.member_id != member.member_id and not set(other.peer_urls).isdisjoint(member.peer_urls):
                raise PeerUrlExistsError

    def carry_out(self, change: MembershipChange) -> None:
        """Put a change that `check` lets pass in force."""
        member_id = change.member.member_id
        if change.kind is MembershipChangeKind.ADD:
            self._put(change.member)
        elif change.kind is MembershipChangeKind.REMOVE:
            self._remove(member_id)
        elif change.kind is MembershipChangeKind.UPDATE:
            self._put(replace(self._members[member_id], peer_urls=change.member.peer_urls))
        else:
            self._put(replace(self._members[member_id], is_learner=False))

    def _put(self, member: Member) -> None:
        self._members[member.member_id] = member
        self._backend.put("members", _stored_id(member.member_id), member_to_json(member))

    def _remove(self, member_id: int) -> None:
        self._members.pop(member_id, None)
        self._removed.add(member_id)
        self._backend.delete("members", _stored_id(member_id))
        self._backend.put("members_removed", _stored_id(member_id), b"removed")

    # --- what members say of themselves

    def set_attributes(self, member_id: int, name: str, client_urls: tuple[str, ...]) -> None:
        """Note what a member published about itself; a member that is gone is none the wiser."""
        member = self._members.get(member_id)
        if member is not None:
            self._put(replace(member, name=name, client_urls=client_urls))

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


def member_to_json(member: Member) -> bytes:
    """A member as etcd writes it, into its database and into the log."""
    record: dict[str, object] = {"id": member.member_id, "peerURLs": list(member.peer_urls)}
    if member.is_learner:
        record["isLearner"] = True
    if member.name:
        record["name"] = member.name
    if member.client_urls:
        record["clientURLs"] = list(member.client_urls)
    return json.dumps(record, separators=(",", ":")).encode()


def member_from_json(stored: bytes) -> Member:
    """Read what `member_to_json`, or etcd, wrote.

    Raises:
        ValueError: it is no member.
    """
    record = json.loads(stored)
    if not isinstance(record, dict) or not isinstance(record.get("id"), int):
        raise ValueError("not a member")
    return Member(
        record["id"],
        record.get("name") or "",
        tuple(record.get("peerURLs") or ()),
        tuple(record.get("clientURLs") or ()),
        bool(record.get("isLearner", False)),
    )
