"""Places in a queue that are given up before anyone knows whether they were taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kvstore.app import Member
from kvstore.etcdpb import election_pb2, lock_pb2
from kvstore.etcdpb import rpc_pb2 as pb


class Context:
    trusted = False

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.peer_certificate = None


async def cancelled_while_the_log_is_held(member: Member, call: Any) -> None:
    consensus: Any = member.core.consensus
    consensus.held = True
    task = asyncio.ensure_future(call)
    while not member.core.proposer.pending_count:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    consensus.release()
    while member.core.store.delete_count < 1:  # the place is taken now, and given up at once
        await asyncio.sleep(0)


@pytest.mark.parametrize("service", ["lock", "election"])
async def test_a_place_not_yet_taken_is_given_up_as_well(member: Member, service: str) -> None:
    services = member.services()
    own = (await services.lease.lease_grant(pb.LeaseGrantRequest(TTL=60), Context())).ID
    if service == "lock":
        call = services.lock.lock(lock_pb2.LockRequest(name=b"a", lease=own), Context())
    else:
        call = services.election.campaign(election_pb2.CampaignRequest(name=b"a", lease=own), Context())
    await cancelled_while_the_log_is_held(member, call)
    assert member.core.store.newest_kv(b"a/%x" % own) is None
    assert member.core.store.put_count == 1


async def test_a_lock_held_before_survives_a_second_request_that_is_cancelled(member: Member) -> None:
    services = member.services()
    own = (await services.lease.lease_grant(pb.LeaseGrantRequest(TTL=60), Context())).ID
    request = lock_pb2.LockRequest(name=b"a", lease=own)
    held = await services.lock.lock(request, Context())
    consensus: Any = member.core.consensus
    consensus.held = True
    task = asyncio.ensure_future(services.lock.lock(request, Context()))
    while not member.core.proposer.pending_count:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    consensus.release()
    await services.kv.put(pb.PutRequest(key=b"later"), Context())
    assert member.core.store.newest_kv(held.key) is not None
