"""Leases: keys that live as long as somebody renews them.

Granting and revoking go through the log, so every member has the same leases and the same keys attached to them. Time
is the leader's alone: only it counts down, and when a lease runs out it proposes the revocation (etcd
`server/lease/lessor.go`). A new leader starts every lease afresh, plus a grace for the renewals lost meanwhile.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

from kvstore.backend.interface import Backend
from kvstore.etcdpb import lease_pb2
from kvstore.mvcc.errors import LeaseExistsError, LeaseNotFoundError, LeaseTTLTooLargeError

__all__ = ["MAX_TTL_SECONDS", "Lease", "Lessor"]

MAX_TTL_SECONDS = 9_000_000_000
"""Longest time to live that may be granted."""

_BUCKET = "lease"


class Lease:
    """One lease, its term and the keys attached to it.

    Attributes:
        lease_id: positive.
        ttl: granted time to live, seconds.
        remaining_ttl: what a checkpoint left of it, seconds; 0 when there was none.
        expiry: on the lessor's clock; infinite on a member that does not count.
        keys: the keys attached.
    """

    __slots__ = ("expiry", "keys", "lease_id", "remaining_ttl", "ttl")

    def __init__(self, lease_id: int, ttl: int, remaining_ttl: int = 0) -> None:
        self.lease_id = lease_id
        self.ttl = ttl
        self.remaining_ttl = remaining_ttl
        self.expiry = math.inf
        self.keys: set[bytes] = set()

    def term(self) -> int:
        """Seconds a fresh countdown starts from."""
        return self.remaining_ttl or self.ttl


class Lessor:
    """Every lease of the store.

    Args:
        backend: where ids and terms are kept.
        monotonic: seconds, never going back.
        minimum_ttl: shorter terms are raised to this many seconds.

    Attributes:
        renewed_count: renewals since the start.
    """

    def __init__(self, backend: Backend, monotonic: Callable[[], float], minimum_ttl: int = 2) -> None:
        self._backend = backend
        self._monotonic = monotonic
        self._minimum_ttl = minimum_ttl
        self._leases: dict[int, Lease] = {}
        self._lease_of_key: dict[bytes, int] = {}
        self._primary = False
        self.renewed_count = 0
        # (expiry, id), possibly outdated: a renewal does not look for its old entry, expiry checks the lease itself.
        self._expiries: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def restore(self) -> None:
        """Read ids and terms from the backend; keys are attached again by whoever reads them."""
        self._leases.clear()
        self._lease_of_key.clear()
        self._expiries.clear()
        for _, stored in self._backend.items(_BUCKET):
            message = lease_pb2.Lease.FromString(stored)
            self._leases[message.ID] = Lease(message.ID, message.TTL, message.RemainingTTL)
        if self._primary:
            self.promote(0)

    # --- what the log does

    def grant(self, lease_id: int, ttl: int) -> Lease:
        """Make a lease.

        Raises:
            LeaseTTLTooLargeError: ttl above `MAX_TTL_SECONDS`.
            LeaseExistsError: the id is taken.
            LeaseNotFoundError: the id is 0, which means no lease.
        """
        if lease_id == 0:
            raise LeaseNotFoundError
        if ttl > MAX_TTL_SECONDS:
            raise LeaseTTLTooLargeError
        if lease_id in self._leases:
            raise LeaseExistsError
        lease = Lease(lease_id, max(ttl, self._minimum_ttl))
        self._leases[lease_id] = lease
        self._persist(lease)
        if self._primary:
            self._start(lease, 0)
        return lease

    def revoke(self, lease_id: int) -> list[bytes]:
        """Forget a lease; returns its keys, sorted, for the caller to delete.

        Raises:
            LeaseNotFoundError: no such lease.
        """
        lease = self.lookup(lease_id)
        del self._leases[lease_id]
        for key in lease.keys:
            del self._lease_of_key[key]
        self._backend.delete(_BUCKET, _stored_id(lease_id))
        return sorted(lease.keys)

    def checkpoint(self, lease_id: int, remaining_ttl: int) -> None:
        """Note how much of a term is left, so that the next leader does not start from the full term."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return
        lease.remaining_ttl = remaining_ttl
        self._persist(lease)
        if self._primary:
            self._start(lease, 0)

    def attach(self, lease_id: int, key: bytes) -> None:
        """Tie a key to a lease that exists, untying it from any other."""
        self.detach(key)
        self._leases[lease_id].keys.add(key)
        self._lease_of_key[key] = lease_id

    def detach(self, key: bytes) -> None:
        """Untie a key from its lease, if it has one."""
        if self._lease_of_key:
            lease_id = self._lease_of_key.pop(key, 0)
            if lease_id:
                self._leases[lease_id].keys.remove(key)

    # --- what the leader does

    def promote(self, extend_seconds: float) -> None:
        """Start counting: every lease gets its whole term (or what a checkpoint left) plus `extend_seconds`."""
        self._primary = True
        self._expiries.clear()
        for lease in self._leases.values():
            self._start(lease, extend_seconds)

    def demote(self) -> None:
        """Stop counting; another member leads."""
        self._primary = False
        self._expiries.clear()
        for lease in self._leases.values():
            lease.expiry = math.inf

    @property
    def primary(self) -> bool:
        """Whether this member counts."""
        return self._primary

    def renew(self, lease_id: int) -> tuple[int, bool]:
        """Start a lease's term again; returns the term, and whether a checkpoint must be cleared through the log.

        Raises:
            LeaseNotFoundError: no such lease, or it ran out already and only waits to be revoked.
        """
        lease = self.lookup(lease_id)
        if lease.expiry <= self._monotonic():
            raise LeaseNotFoundError
        self.renewed_count += 1
        cleared = lease.remaining_ttl > 0
        lease.remaining_ttl = 0
        self._start(lease, 0)
        return lease.ttl, cleared

    def has_run_out(self, lease_id: int) -> bool:
        """Whether a lease is there that has run out and only waits to be revoked."""
        lease = self._leases.get(lease_id)
        return lease is not None and lease.expiry <= self._monotonic()

    def expired(self, limit: int) -> list[int]:
        """Ids of at most `limit` leases that have run out, soonest first. They stay until revoked."""
        now = self._monotonic()
        found: list[int] = []
        again: list[tuple[float, int]] = []
        while self._expiries and self._expiries[0][0] <= now and len(found) < limit:
            entry = heapq.heappop(self._expiries)
            lease = self._leases.get(entry[1])
            if lease is None or lease.expiry != entry[0]:
                continue
            found.append(lease.lease_id)
            again.append(entry)
        for entry in again:  # asked for again until the revocation is applied
            heapq.heappush(self._expiries, entry)
        return found

    # --- reading

    def lookup(self, lease_id: int) -> Lease:
        """The lease with this id.

        Raises:
            LeaseNotFoundError: no such lease.
        """
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFoundError
        return lease

    def exists(self, lease_id: int) -> bool:
        """Whether a lease with this id was granted and not revoked."""
        return lease_id in self._leases

    def lease_of(self, key: bytes) -> int:
        """The lease a key is attached to; 0 if none."""
        return self._lease_of_key.get(key, 0)

    def remaining_seconds(self, lease: Lease) -> float:
        """Seconds until the lease runs out; negative when it has, infinite where this member does not count."""
        return lease.expiry - self._monotonic()

    def leases(self) -> Iterable[Lease]:
        """Every lease, those that run out soonest first."""
        return sorted(self._leases.values(), key=lambda lease: (lease.expiry, lease.lease_id))

    def _start(self, lease: Lease, extend_seconds: float) -> None:
        lease.expiry = self._monotonic() + lease.term() + extend_seconds
        heapq.heappush(self._expiries, (lease.expiry, lease.lease_id))
        # Renewals leave outdated entries behind; sweep before they outnumber the leases.
        if len(self._expiries) > 64 + 2 * len(self._leases):
            self._expiries = [(other.expiry, other.lease_id) for other in self._leases.values()]
            heapq.heapify(self._expiries)

    def _persist(self, lease: Lease) -> None:
        message = lease_pb2.Lease(ID=lease.lease_id, TTL=lease.ttl, RemainingTTL=lease.remaining_ttl)
        self._backend.put(_BUCKET, _stored_id(lease.lease_id), message.SerializeToString(deterministic=True))

    def _check(self) -> None:
        for lease in self._leases.values():
            for key in lease.keys:
                assert self._lease_of_key[key] == lease.lease_id, key
            assert lease.ttl >= self._minimum_ttl, lease.lease_id
            assert self._primary or lease.expiry == math.inf, lease.lease_id
        assert sum(len(lease.keys) for lease in self._leases.values()) == len(self._lease_of_key)


def _stored_id(lease_id: int) -> bytes:
    return lease_id.to_bytes(8, "big", signed=True)
