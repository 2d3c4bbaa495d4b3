"""Writes whose answer was lost: found out where that is safe, and nothing done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from apiserver.storage.lost_answers import PATIENCE_SECONDS, commit
from apiserver.storage.requests import conditional_delete, conditional_put
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.fake_clock import FakeClock
from tests.conformance.storage.fake_etcd import FakeClient, FakeEtcd

KEY = b"/registry/configmaps/default/a"
GONE = EtcdError(StatusCode.UNAVAILABLE, "the member is gone")


class LossyClient(FakeClient):
    """The next transaction is lost, on the way there or on the way back; `meanwhile` happens before anybody asks."""

    def __init__(self, etcd: FakeEtcd, *, arrives: bool, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__(etcd)
        self.arrives = arrives
        self.meanwhile = meanwhile
        self.sent = 0

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        self.sent += 1
        if self.sent > 1:
            return await super().txn(request)
        if self.arrives:
            self.etcd.txn(request)
        self.meanwhile()
        raise GONE


def put(value: bytes, revision: int) -> pb.TxnRequest:
    return conditional_put(KEY, value, revision, lease=0, read_back=bool(revision))


def written(etcd: FakeEtcd, value: bytes = b"old") -> int:
    etcd.put(pb.PutRequest(key=KEY, value=value))
    return etcd.revision


async def test_a_creation_that_happened(etcd: FakeEtcd, clock: FakeClock) -> None:
    client = LossyClient(etcd, arrives=True)
    answer = await commit(client, clock, put(b"new", 0))
    assert (answer.succeeded, answer.header.revision, client.sent) == (True, etcd.revision, 1)


async def test_a_creation_that_did_not_arrive_is_not_sent_again(etcd: FakeEtcd, clock: FakeClock) -> None:
    client = LossyClient(etcd, arrives=False)
    with pytest.raises(EtcdError) as refused:
        await commit(client, clock, put(b"new", 0))
    assert refused.value is GONE
    assert (client.sent, etcd.at(KEY)) == (1, None)


async def test_a_creation_that_was_deleted_at_once_stays_deleted(etcd: FakeEtcd, clock: FakeClock) -> None:
    client = LossyClient(etcd, arrives=True, meanwhile=lambda: etcd.delete(KEY))
    with pytest.raises(EtcdError) as refused:
        await commit(client, clock, put(b"new", 0))
    assert refused.value is GONE
    assert etcd.at(KEY) is None


async def test_a_creation_beside_one_of_somebody_else_is_not_taken_for_ours(etcd: FakeEtcd, clock: FakeClock) -> None:
    client = LossyClient(etcd, arrives=False, meanwhile=lambda: written(etcd, b"other"))
    with pytest.raises(EtcdError) as refused:
        await commit(client, clock, put(b"new", 0))
    assert refused.value is GONE


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_update_happens_once(etcd: FakeEtcd, clock: FakeClock, arrives: bool) -> None:
    revision = written(etcd)
    client = LossyClient(etcd, arrives=arrives)
    answer = await commit(client, clock, put(b"new", revision))
    found = etcd.at(KEY)
    assert found is not None
    assert (answer.succeeded, answer.header.revision) == (True, found.mod_revision)
    assert (found.value, found.mod_revision, client.sent) == (b"new", revision + 1, 2)


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_update_before_one_of_somebody_else_is_unknown(
    etcd: FakeEtcd, clock: FakeClock, arrives: bool
) -> None:
    revision = written(etcd)
    client = LossyClient(etcd, arrives=arrives, meanwhile=lambda: written(etcd, b"other"))
    with pytest.raises(EtcdError) as refused:
        await commit(client, clock, put(b"new", revision))
    assert refused.value is GONE
    found = etcd.at(KEY)
    assert found is not None
    assert found.value == b"other"


async def test_a_deletion_that_did_not_arrive_is_sent_again(etcd: FakeEtcd, clock: FakeClock) -> None:
    revision = written(etcd)
    answer = await commit(LossyClient(etcd, arrives=False), clock, conditional_delete(KEY, revision))
    assert (answer.succeeded, etcd.at(KEY)) == (True, None)


async def test_a_deletion_that_happened_may_have_been_somebody_elses(etcd: FakeEtcd, clock: FakeClock) -> None:
    revision = written(etcd)
    with pytest.raises(EtcdError) as refused:
        await commit(LossyClient(etcd, arrives=True), clock, conditional_delete(KEY, revision))
    assert refused.value is GONE


async def test_a_refusal_stands(etcd: FakeEtcd, clock: FakeClock) -> None:
    etcd.failure = EtcdError(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    with pytest.raises(EtcdError) as refused:
        await commit(FakeClient(etcd), clock, put(b"new", 0))
    assert refused.value is etcd.failure
    assert etcd.calls == ["txn"]


async def test_a_store_that_stays_away_is_given_up(etcd: FakeEtcd, clock: FakeClock) -> None:
    etcd.failure = GONE
    give_up_seconds = clock.monotonic() + PATIENCE_SECONDS
    asking = asyncio.create_task(commit(FakeClient(etcd), clock, put(b"new", 0)))
    while not asking.done():
        await asyncio.sleep(0)
        await clock.advance(PATIENCE_SECONDS / 10)
    with pytest.raises(EtcdError) as refused:
        await asking
    assert refused.value is GONE
    assert clock.monotonic() > give_up_seconds
