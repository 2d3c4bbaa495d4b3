"""Response headers: who answered, at which revision and term."""

from __future__ import annotations

from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["HeaderSource"]


class HeaderSource:
    """What the headers of one member have in common.

    Attributes:
        cluster_id, member_id: of this member.
        raft_term: the newest term this member knows; whoever learns of a new one sets it.
    """

    __slots__ = ("cluster_id", "member_id", "raft_term")

    def __init__(self, cluster_id: int, member_id: int, raft_term: int = 0) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.raft_term = raft_term

    def fill(self, header: pb.ResponseHeader, revision: int) -> None:
        """Complete a response's header. Revision 0 stays unset, as the Cluster service has it."""
        header.cluster_id = self.cluster_id
        header.member_id = self.member_id
        header.revision = revision
        header.raft_term = self.raft_term
