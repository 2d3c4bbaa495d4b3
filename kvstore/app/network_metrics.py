"""What a member exports about its peers, under etcd's names (server/etcdserver/api/rafthttp/metrics.go).

Left out are the durations of snapshots and how many are under way (`etcd_network_snapshot_*_duration_seconds`,
`…_inflights_total`). A family without members to tell of is left out too, as Prometheus' library does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kvstore.app.exposition import Family, counter, gauge, histograms

if TYPE_CHECKING:
    from kvstore.app.member import Member
    from raft.runtime.peer_stats import PeerStats

__all__ = ["network_families"]

_COUNTERS: tuple[tuple[str, str, Callable[[PeerStats], int]], ...] = (
    ("peer_sent_bytes_total", "To", lambda peer: peer.sent_bytes),
    ("peer_received_bytes_total", "From", lambda peer: peer.received_bytes),
    ("peer_sent_failures_total", "To", lambda peer: peer.send_failures),
    ("peer_received_failures_total", "From", lambda peer: peer.receive_failures),
    ("snapshot_send_success", "To", lambda peer: peer.snapshots_sent),
    ("snapshot_send_failures", "To", lambda peer: peer.snapshot_send_failures),
    ("snapshot_receive_success", "From", lambda peer: peer.snapshots_received),
    ("snapshot_receive_failures", "From", lambda peer: peer.snapshot_receive_failures),
)


def network_families(member: Member) -> Iterator[Family]:
    """Traffic with other members and how they are connected."""
    local = f"{member.identity.member_id:x}"
    known = [((local, f"{other.member_id:x}"), 1.0) for other in member.core.membership.members()]
    yield gauge("etcd_network_known_peers", labels=("Local", "Remote"), samples=known)
    stats = member.network
    if stats is None or not stats.peers:
        return
    peers = {f"{peer_id:x}": peer for peer_id, peer in stats.peers.items()}
    pairs = ("Local", "Remote")
    active = [((local, peer_id), peer.connected_since is not None) for peer_id, peer in peers.items()]
    yield gauge("etcd_network_active_peers", labels=pairs, samples=active)
    lost = [((local, peer_id), peer.disconnects) for peer_id, peer in peers.items()]
    yield counter("etcd_network_disconnected_peers_total", labels=pairs, samples=lost)
    for name, label, figure in _COUNTERS:
        samples = [((peer_id,), figure(peer)) for peer_id, peer in peers.items()]
        yield counter(f"etcd_network_{name}", labels=(label,), samples=samples)
    round_trips = histograms("etcd_network_peer_round_trip_time_seconds", ("To",), member.metrics.round_trip_seconds)
    if round_trips.samples:
        yield round_trips
