"""Leases when leaders change: who counts down must be who leads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.cluster import Cluster, endpoints
from tests.robustness.links import supported

pytestmark = pytest.mark.skipif(not supported(), reason="whose a connection is, only Linux tells")

TTL_SECONDS = 3
LEASES = 10


async def renew(client: GrpcClient, lease_id: int, renewed: dict[int, float]) -> None:
    """Renew at whatever member can. Who is told that the lease is gone must have been late with it."""
    while True:
        called = time.monotonic()
        try:
            answer = await client.lease_keep_alive(lease_id)
        except EtcdError:
            await asyncio.sleep(0.05)
            continue
        if answer.TTL:
            renewed[lease_id] = called
        else:
            assert time.monotonic() - renewed.pop(lease_id) >= TTL_SECONDS, "revoked before its time"
        return


@pytest.mark.slow
async def test_a_leader_that_stood_still_revokes_nothing(tmp_path: Path) -> None:
    """To a paused leader every lease seems to have run out, while they are being renewed elsewhere (etcd #15247)."""
    async with Cluster(tmp_path) as cluster:
        await cluster.start(3)
        leader = await cluster.leader()
        others = GrpcClient(endpoints(cluster.others(leader)), timeout_seconds=1.0)
        renewed = {number: time.monotonic() for number in range(1, LEASES + 1)}
        await asyncio.gather(*(others.lease_grant(pb.LeaseGrantRequest(TTL=TTL_SECONDS, ID=it)) for it in renewed))

        async def renew_for(seconds: float) -> None:
            started = time.monotonic()
            while time.monotonic() - started < seconds:
                await asyncio.gather(*(renew(others, it, renewed) for it in list(renewed)))

        leader.signal(SIGSTOP)
        await renew_for(2 * TTL_SECONDS)
        leader.signal(SIGCONT)
        # It has come back, has had time to look at its leases, and what it may have proposed has been applied.
        while True:
            try:
                await leader.client.put(pb.PutRequest(key=b"back", value=b""))
                break
            except EtcdError:
                await asyncio.sleep(0.05)
        await renew_for(1.0)
        assert renewed, "the machine was too slow for any lease"
        await others.close()


@pytest.mark.slow
async def test_a_leader_that_stood_still_renews_nothing(tmp_path: Path) -> None:
    """A renewal that a paused leader answers as if it still led is worth nothing: the lease was revoked meanwhile."""
    async with Cluster(tmp_path) as cluster:
        await cluster.start(3)
        leader = await cluster.leader()
        others = GrpcClient(endpoints(cluster.others(leader)), timeout_seconds=2.0)
        await leader.client.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=1))
        leader.signal(SIGSTOP)
        # Asked while it stands still, so that this is the first that it hears.
        answer = asyncio.ensure_future(leader.client.lease_keep_alive(1))
        while True:
            try:
                await others.lease_revoke(pb.LeaseRevokeRequest(ID=1))
                break
            except EtcdError as error:
                if "not found" in error.message:
                    break
        leader.signal(SIGCONT)
        try:
            assert (await answer).TTL == 0
        except EtcdError:
            pass  # just as good
        await others.close()
