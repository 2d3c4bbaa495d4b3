from __future__ import annotations

import math

import pytest

from kvstore.backend import MemoryBackend
from kvstore.mvcc import (
    MAX_TTL_SECONDS,
    LeaseExistsError,
    LeaseNotFoundError,
    LeaseTTLTooLargeError,
    Lessor,
)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def lessor(backend: MemoryBackend, time: Time) -> Lessor:
    lessor = Lessor(backend, time, 2)
    lessor.promote(0)
    return lessor


@pytest.mark.parametrize(("asked", "granted"), [(-3, 2), (0, 2), (2, 2), (3, 3), (MAX_TTL_SECONDS, MAX_TTL_SECONDS)])
def test_terms_have_a_minimum(lessor: Lessor, asked: int, granted: int) -> None:
    assert lessor.grant(1, asked).ttl == granted


def test_refusals(lessor: Lessor) -> None:
    lessor.grant(1, 10)
    with pytest.raises(LeaseExistsError):
        lessor.grant(1, 10)
    with pytest.raises(LeaseTTLTooLargeError):
        lessor.grant(2, MAX_TTL_SECONDS + 1)
    with pytest.raises(LeaseNotFoundError):
        lessor.grant(0, 10)
    for call in (lessor.revoke, lessor.renew, lessor.lookup):
        with pytest.raises(LeaseNotFoundError):
            call(2)


def test_expiry_and_renewal(lessor: Lessor, time: Time) -> None:
    for lease_id, ttl in ((1, 10), (2, 5), (3, 20)):
        lessor.grant(lease_id, ttl)
    time.now += 4
    assert lessor.renew(2) == (5, False)
    time.now += 5
    assert lessor.expired(10) == [2]
    assert lessor.expired(10) == [2], "listed until it is revoked"
    time.now += 1
    assert lessor.expired(10) == [2, 1]
    assert lessor.expired(1) == [2]
    with pytest.raises(LeaseNotFoundError):
        lessor.renew(1)
    assert lessor.revoke(2) == []
    assert lessor.expired(10) == [1]
    lessor._check()


def test_many_renewals_leave_no_pile(lessor: Lessor, time: Time) -> None:
    lessor.grant(1, 10)
    for _ in range(1000):
        time.now += 1
        lessor.renew(1)
    assert len(lessor._expiries) < 100
    time.now += 10
    assert lessor.expired(10) == [1]


def test_keys(lessor: Lessor) -> None:
    lessor.grant(1, 10)
    lessor.grant(2, 10)
    for key in (b"b", b"a", b"c"):
        lessor.attach(1, key)
    lessor.attach(2, b"c")
    lessor.detach(b"unknown")
    assert (lessor.lease_of(b"a"), lessor.lease_of(b"c"), lessor.lease_of(b"x")) == (1, 2, 0)
    assert lessor.revoke(1) == [b"a", b"b"]
    assert lessor.lease_of(b"a") == 0
    lessor._check()


def test_only_a_leader_counts(lessor: Lessor, time: Time) -> None:
    lessor.grant(1, 10)
    lessor.demote()
    time.now += 100
    assert lessor.expired(10) == []
    assert lessor.remaining_seconds(lessor.lookup(1)) == math.inf
    lessor.promote(3)
    assert lessor.remaining_seconds(lessor.lookup(1)) == 13
    time.now += 13
    assert lessor.expired(10) == [1]


def test_checkpoints_shorten_what_a_new_leader_starts_from(lessor: Lessor, backend: MemoryBackend, time: Time) -> None:
    lessor.grant(1, 100)
    lessor.checkpoint(1, 40)
    lessor.checkpoint(99, 40)
    again = Lessor(backend, time, 2)
    again.restore()
    again.promote(0)
    lease = again.lookup(1)
    assert (lease.ttl, again.remaining_seconds(lease)) == (100, 40)
    assert again.renew(1) == (100, True)
    assert again.remaining_seconds(lease) == 100


def test_restart(lessor: Lessor, backend: MemoryBackend, time: Time) -> None:
    lessor.grant(1, 100)
    lessor.grant(-2, 30)
    lessor.grant(3, 30)
    lessor.revoke(3)
    again = Lessor(backend, time, 2)
    again.restore()
    assert {lease.lease_id: lease.ttl for lease in again.leases()} == {1: 100, -2: 30}
    assert not again.primary
