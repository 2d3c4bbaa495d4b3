"""Members in one process and on one event loop, with real peer ports and disks: faster than processes to start."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kvstore.app import Member, Options, start_member
from kvstore.client.in_process import LocalContext
from kvstore.environment import real_environment
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import free_ports

SECONDS_MAX = 30.0
LOCAL = LocalContext()
NEEDS_LEADER = LocalContext(metadata={"hasleader": "true"})


class Cluster:
    """Members by name.

    Attributes:
        members: those that run.
        options: those of every member that was ever started.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.members: dict[str, Member] = {}
        self.options: dict[str, Options] = {}
        self.urls: dict[str, str] = {}
        self._common = {"heartbeat_interval_ms": 20, "election_timeout_ms": 200, **options}

    def add(self, name: str, **options: Any) -> str:
        """Choose a place for a member; returns its peer URL."""
        (port,) = free_ports(1)
        self.urls[name] = url = f"http://127.0.0.1:{port}"
        self.options[name] = Options(
            name=name,
            data_dir=str(self.directory / name),
            initial_advertise_peer_urls=(url,),
            listen_peer_urls=(url,),
            advertise_client_urls=(f"http://{name}:2379",),
            **{**self._common, **options},
        )
        return url

    def initial(self, names: Sequence[str] = ()) -> str:
        return ",".join(f"{name}={self.urls[name]}" for name in names or self.urls)

    async def start(self, name: str, state: str = "new", names: Sequence[str] = (), **options: Any) -> Member:
        """Start a member, for the first time or again; it may still be looking for the others."""
        self.options[name] = chosen = dataclasses.replace(
            self.options[name], initial_cluster=self.initial(names), initial_cluster_state=state, **options
        )
        self.members[name] = await start_member(chosen, real_environment())
        return self.members[name]

    async def found(self, *names: str) -> None:
        """Start new members as a cluster, and wait until they are ready."""
        for name in names or ("m1", "m2", "m3"):
            self.add(name)
        await asyncio.gather(*(self.start(name) for name in self.urls))
        await self.ready()

    async def ready(self, *names: str) -> None:
        """Return when these members, or all, have a leader and have applied what it has."""
        async with asyncio.timeout(SECONDS_MAX):
            await asyncio.gather(*(self.members[name].join() for name in names or self.members))

    async def join(self, name: str, *, learner: bool = False, through: str = "", **options: Any) -> Member:
        """Add a member to the cluster that runs, and start it."""
        url = self.add(name, **options)
        through = through or next(iter(self.members))
        request = pb.MemberAddRequest(peerURLs=[url], isLearner=learner)
        await self.members[through].services().cluster.member_add(request, LOCAL)
        known = {known.peer_urls[0] for known in self.members[through].core.membership.members()}
        member = await self.start(name, "existing", [other for other in self.urls if self.urls[other] in known])
        await self.ready(name)
        return member

    async def stop(self, name: str) -> None:
        await self.members.pop(name).stop()

    async def isolate(self, name: str) -> None:
        """Cut a member off; what it sends goes nowhere, and nothing comes."""
        transport = self.members[name]._consensus._transport  # type: ignore[attr-defined]
        await transport.stop()

    async def heal(self, name: str) -> None:
        """Connect it again."""
        consensus = self.members[name]._consensus
        await consensus._transport.start(consensus._driver)  # type: ignore[attr-defined]

    async def leader(self, *among: str) -> str:
        """Who leads these, or all."""
        names = among or tuple(self.members)
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                await self.members[names[0]].core.proposer.linearize()
                for name in names:
                    if self.members[name].core.consensus.is_leader:
                        return name

    def id_of(self, name: str) -> int:
        return self.members[name].identity.member_id

    async def put(self, name: str, key: bytes, value: bytes, **fields: Any) -> pb.PutResponse:
        return await self.members[name].services().kv.put(pb.PutRequest(key=key, value=value, **fields), LOCAL)

    async def get(self, name: str, key: bytes, **fields: Any) -> pb.RangeResponse:
        return await self.members[name].services().kv.range(pb.RangeRequest(key=key, **fields), LOCAL)

    async def contents(self, name: str, prefix: bytes) -> Mapping[bytes, pb.RangeResponse]:
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        found = await self.get(name, prefix, range_end=end)
        return {kv.key: kv for kv in found.kvs}

    async def agree(self) -> int:
        """Wait until all members have the same, and return the hash of it."""
        for member in self.members.values():
            await member.core.proposer.linearize()
        hashes = [
            await member.services().maintenance.hash_kv(pb.HashKVRequest(), LOCAL) for member in self.members.values()
        ]
        assert len({(found.hash, found.header.revision, found.compact_revision) for found in hashes}) == 1, hashes
        return hashes[0].hash

    async def close(self) -> None:
        leading = {name for name, member in self.members.items() if member.core.consensus.is_leader}
        # The leader last: it need not wait for somebody to take over who stops, too.
        await asyncio.gather(*(member.stop() for name, member in self.members.items() if name not in leading))
        await asyncio.gather(*(self.members[name].stop() for name in leading))


async def refusal(call: Any) -> tuple[str, str]:
    """Code and text something is refused with."""
    try:
        await call
    except EtcdError as error:
        return error.code.name, error.message
    return "OK", ""


async def requests(*first: Any, then: asyncio.Event | None = None) -> AsyncIterator[Any]:
    """A stream of requests that stays open, until `then` if that is given."""
    for request in first:
        yield request
    await (then or asyncio.Event()).wait()


async def watching(
    member: Member, *create: pb.WatchCreateRequest, context: LocalContext = LOCAL
) -> AsyncIterator[pb.WatchResponse]:
    """The responses of a watch stream that stays open."""
    asked = requests(*(pb.WatchRequest(create_request=request) for request in create))
    async for batch in member.services().watch.watch(asked, context):
        for response in batch:
            yield pb.WatchResponse.FromString(response)
