"""What a member says about itself over HTTP: versions, health, metrics."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Literal

from kvstore.app.call_metrics import CallCounters
from kvstore.app.exposition import CONTENT_TYPE, Family, counter, gauge, render
from kvstore.app.member import Member
from kvstore.app.metrics import member_families
from kvstore.app.process_metrics import process_families
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.http_endpoints import Check
from kvstore.server.version import SERVER_VERSION

__all__ = ["MemberStatus"]


class MemberStatus:
    """The front's view of a member.

    Attributes:
        calls: counts the calls the front serves.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._core = member.core
        options = member.options
        self.calls = CallCounters(options.extensive_metrics, options.warning_unary_request_seconds)
        self._healthy = 0
        self._unhealthy = 0
        self._last_checks: dict[tuple[str, str], int] = {}
        self._check_counts: dict[tuple[str, str, str], int] = {}

    def versions(self) -> Mapping[str, str]:
        """See `kvstore.front.MemberStatus`."""
        cluster = self._core.membership.cluster_version or "not_decided"
        return {"etcdserver": SERVER_VERSION, "etcdcluster": cluster, "storage": self._core.storage_version}

    async def health(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        """See `kvstore.front.MemberStatus`."""
        reason = await self._reason(excluded_alarms, serializable)
        if reason:
            self._unhealthy += 1
        else:
            self._healthy += 1
        return reason

    async def _reason(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        for alarm in self._core.alarms.get():
            name = pb.AlarmType.Name(alarm.alarm) if alarm.alarm in (pb.NOSPACE, pb.CORRUPT) else "UNKNOWN"
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
        families = [
            *member_families(self._member),
            *self.calls.families(),
            *self._health_families(),
            *process_families(),
        ]
        return render(families), CONTENT_TYPE

    def checked(self, kind: Literal["livez", "readyz"], name: str, ok: bool) -> None:
        """See `kvstore.front.MemberStatus`."""
        self._last_checks[kind, name] = int(ok)
        key = (kind, name, "success" if ok else "error")
        self._check_counts[key] = self._check_counts.get(key, 0) + 1

    def _health_families(self) -> Iterator[Family]:
        yield counter("etcd_server_health_success", self._healthy)
        yield counter("etcd_server_health_failures", self._unhealthy)
        yield gauge("etcd_server_healthcheck", labels=("type", "name"), samples=self._last_checks.items())
        yield counter(
            "etcd_server_healthchecks_total", labels=("type", "name", "status"), samples=self._check_counts.items()
        )

    def debug_vars(self) -> Mapping[str, object]:
        """See `kvstore.front.MemberStatus`."""
        core = self._core
        return {
            "cmdline": sys.argv,
            "file_descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "raft.status": {
                "id": f"{core.headers.member_id:x}",
                "term": core.consensus.term,
                "commit": core.consensus.commit_index,
                "lead": f"{core.consensus.leader_id:x}",
                "raftState": "StateLeader" if core.consensus.is_leader else "StateFollower",
                "applied": core.proposer.applied_index,
            },
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
        return "not supported for learner" if member is not None and member.is_learner else ""
