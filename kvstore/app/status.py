"""What a member says about itself over HTTP: versions, health, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from kvstore.app.member import Member
from kvstore.app.metrics import CallCounters, render_metrics
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.http_endpoints import Check
from kvstore.server.version import SERVER_VERSION

__all__ = ["MemberStatus"]

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MemberStatus:
    """The front's view of a member.

    Attributes:
        calls: counts the calls the front serves.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._core = member.core
        self.calls = CallCounters()

    def versions(self) -> Mapping[str, str]:
        """See `kvstore.front.MemberStatus`."""
        cluster = self._core.membership.cluster_version or "not_decided"
        return {"etcdserver": SERVER_VERSION, "etcdcluster": cluster, "storage": self._core.storage_version}

    async def health(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        """See `kvstore.front.MemberStatus`."""
        for alarm in self._core.alarms.get():
            name = pb.AlarmType.Name(alarm.alarm)
            if name not in excluded_alarms:
                return f"ALARM {name}"
        if not serializable and not self._core.consensus.leader_id:
            return "RAFT NO LEADER"
        reason = await (self._serializable_read() if serializable else self._linearizable_read())
        return f"RANGE ERROR:{reason}" if reason else ""

    def checks(self, kind: Literal["livez", "readyz"]) -> Mapping[str, Check]:
        """See `kvstore.front.MemberStatus`."""
        if kind == "livez":
            return {"serializable_read": self._serializable_read}
        return {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
        }

    def metrics(self) -> tuple[bytes, str]:
        """See `kvstore.front.MemberStatus`."""
        return render_metrics(self._member, self.calls).encode(), METRICS_CONTENT_TYPE

    def debug_vars(self) -> Mapping[str, object]:
        """See `kvstore.front.MemberStatus`."""
        core = self._core
        return {
            "raft.status": {
                "id": f"{core.headers.member_id:x}",
                "term": core.consensus.term,
                "lead": f"{core.consensus.leader_id:x}",
                "commit": core.consensus.commit_index,
                "applied": core.proposer.applied_index,
            }
        }

    async def _serializable_read(self) -> str:
        self._core.store.index.count(b"\0", b"\0", self._core.store.revision)
        return ""

    async def _linearizable_read(self) -> str:
        try:
            await self._core.proposer.linearize()
        except EtcdError as error:
            return error.message
        return ""

    async def _data_corruption(self) -> str:
        return "alarm activated: CORRUPT" if self._core.alarms.corrupt else ""

    async def _non_learner(self) -> str:
        member = self._core.membership.get(self._core.headers.member_id)
        return "the member is a learner" if member is not None and member.is_learner else ""
