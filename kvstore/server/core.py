"""What the services of one member share."""

from __future__ import annotations

from dataclasses import dataclass

from kvstore.apply import Alarms, HeaderSource, Membership, Quota
from kvstore.auth import AuthStore
from kvstore.backend import LMDBBackend
from kvstore.environment import Environment
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Lessor, Store, WatchHub
from kvstore.server import catalogue
from kvstore.server.access import Access
from kvstore.server.compactor import Compactor
from kvstore.server.consensus import Consensus
from kvstore.server.leader_loss import LeaderLoss
from kvstore.server.metrics import MemberMetrics
from kvstore.server.passwords import PasswordHasher
from kvstore.server.peers import LeaderCalls
from kvstore.server.proposer import Proposer
from kvstore.server.tokens import TokenProvider
from kvstore.server.version import STORAGE_VERSION

__all__ = ["MemberCore"]


@dataclass(slots=True)
class MemberCore:
    """One member's parts, wired once by `kvstore.app` and handed to every service."""

    environment: Environment
    backend: LMDBBackend
    store: Store
    lessor: Lessor
    hub: WatchHub
    alarms: Alarms
    membership: Membership
    quota: Quota
    headers: HeaderSource
    auth: AuthStore
    access: Access
    tokens: TokenProvider
    passwords: PasswordHasher
    consensus: Consensus
    proposer: Proposer
    compactor: Compactor
    leader_calls: LeaderCalls
    leader_loss: LeaderLoss
    txn_operations_max: int
    request_bytes_max: int
    metrics: MemberMetrics
    warning_apply_seconds: float
    strict_reconfig_check: bool

    @property
    def is_learner(self) -> bool:
        """Whether this member only listens."""
        member = self.membership.get(self.headers.member_id)
        return member is not None and member.is_learner

    @property
    def storage_version(self) -> str:
        """The release whose files these are: the one the cluster agreed on, once it did."""
        return self.membership.cluster_version or STORAGE_VERSION

    def require_leader(self) -> None:
        """Refuse when no leader is known.

        Raises:
            EtcdError: no leader.
        """
        if self.consensus.leader_id == 0:
            raise catalogue.NO_LEADER.error()

    @property
    def has_space_alarm(self) -> bool:
        """Whether this member is known to be out of space."""
        return self.alarms.is_raised(pb.NOSPACE, self.headers.member_id)

    async def raise_space_alarm(self) -> None:
        """Tell everybody that this member is out of space.

        Raises:
            EtcdError: nobody heard.
        """
        alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=self.headers.member_id, alarm=pb.NOSPACE)
        await self.proposer.propose("alarm", alarm)

    async def refuse_for_space(self) -> None:
        """Raise the NOSPACE alarm everywhere, once: every alarm takes room in the log. Then refuse.

        Raises:
            EtcdError: always.
        """
        if not self.has_space_alarm:
            await self.raise_space_alarm()
        raise catalogue.NO_SPACE.error()
