"""What a transport counts; whoever owns it makes metrics of the figures."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PeerStats", "TransportStats"]


@dataclass(slots=True)
class PeerStats:
    """Traffic with one member since the transport's start.

    Attributes:
        sent_bytes, received_bytes: of envelopes and snapshots, without gRPC's framing.
        send_failures: messages that were dropped, and streams that broke.
        receive_failures: streams from it that were cut off, for what came over them.
        disconnects: times that an established connection was lost.
        round_trip_seconds: the latest answer's; None before the first.
        connected_since: on the monotonic clock, when it accepted the connection that is open now; None without one.
    """

    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    received_messages: int = 0
    send_failures: int = 0
    receive_failures: int = 0
    disconnects: int = 0
    snapshots_sent: int = 0
    snapshot_send_failures: int = 0
    snapshots_received: int = 0
    snapshot_receive_failures: int = 0
    round_trip_seconds: float | None = None
    connected_since: float | None = None


@dataclass(slots=True)
class TransportStats:
    """All members' figures.

    Attributes:
        peers: by member id; those of a removed member go with it.
        strangers: what came from those that are no peers.
        rejected: calls and messages that were turned away, for their cluster, certificate, receiver or form.
    """

    peers: dict[int, PeerStats] = field(default_factory=dict)
    strangers: PeerStats = field(default_factory=PeerStats)
    rejected: int = 0

    @property
    def active_peers(self) -> int:
        """Members that we are connected to."""
        return sum(peer.connected_since is not None for peer in self.peers.values())

    def of(self, member_id: int) -> PeerStats:
        """The figures to which traffic with a member belongs."""
        return self.peers.get(member_id, self.strangers)
