"""The services of a member, joined: what its front serves and its in-process client calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvstore.server.auth import AuthService
from kvstore.server.cluster import ClusterService
from kvstore.server.contention import Contention
from kvstore.server.core import MemberCore
from kvstore.server.election import ElectionService
from kvstore.server.hashes import Hashes
from kvstore.server.kv import KVService
from kvstore.server.learner_gate import LearnerGate, LearnerView
from kvstore.server.lease import LeaseService
from kvstore.server.lock import LockService
from kvstore.server.maintenance import MaintenanceService
from kvstore.server.watch import WatchService

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The member's services, as async functions over etcd's messages."""

    kv: KVService
    watch: WatchService
    lease: LeaseService
    cluster: ClusterService
    maintenance: MaintenanceService
    auth: AuthService
    lock: LockService
    election: ElectionService

    @classmethod
    def of(cls, core: MemberCore, hashes: Hashes) -> Services:
        """Those of a member."""
        kv, watch, lease = KVService(core), WatchService(core), LeaseService(core)
        contention = Contention(kv, watch, lease)
        return cls(
            kv,
            watch,
            lease,
            ClusterService(core),
            MaintenanceService(core, hashes),
            AuthService(core),
            LockService(core, contention),
            ElectionService(core, contention),
        )

    def by_name(self, member: LearnerView) -> Mapping[str, object]:
        """The services by full name, as a front wants them; they refuse nearly everything while `member` learns."""
        services = {
            "etcdserverpb.KV": self.kv,
            "etcdserverpb.Watch": self.watch,
            "etcdserverpb.Lease": self.lease,
            "etcdserverpb.Cluster": self.cluster,
            "etcdserverpb.Maintenance": self.maintenance,
            "etcdserverpb.Auth": self.auth,
            "v3lockpb.Lock": self.lock,
            "v3electionpb.Election": self.election,
        }
        return {name: LearnerGate(service, member) for name, service in services.items()}
