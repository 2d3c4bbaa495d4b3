"""Calls from one member to another besides Raft's own: leases renewed by the leader, members, hashes.

A call goes to a member's URLs one after the other until somebody answers, be it with an error; it may therefore be
carried out twice, and should be one that can be. Connections to members stay open, those to bare URLs do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

from raft.environment import Environment
from raft.errors import PeerRefusedError, PeerUnavailableError
from raft.runtime.peer_channel import ACCEPTED, Connector, call_metadata, is_being_cancelled
from raft.runtime.peer_tls import PeerTLS
from raft.runtime.peer_url import PeerURL

__all__ = ["PeerClient"]

_NOBODY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


@dataclass(slots=True)
class _Shared:
    """A channel, and the calls that use it: one that is replaced is closed after the last of them."""

    channel: grpc.aio.Channel
    users: int = 0


class PeerClient:
    """Calls other members' handlers; usable before there is a transport, by a member that wants to join."""

    def __init__(
        self,
        environment: Environment,
        *,
        cluster_id: int | None = None,
        member_id: int | None = None,
        tls: PeerTLS | None = None,
    ) -> None:
        """Without `cluster_id` only methods answer that are open to members who join."""
        self._connector = Connector(environment.files, tls)
        self._metadata = call_metadata(cluster_id, member_id)
        self._urls: dict[int, tuple[PeerURL, ...]] = {}
        self._channels: dict[tuple[int | None, PeerURL], _Shared] = {}

    async def set_peer(self, member_id: int, urls: Sequence[PeerURL]) -> None:
        """Where a member is found from now on; nowhere, when there are no URLs."""
        self._urls[member_id] = tuple(urls)
        if not urls:
            del self._urls[member_id]
        for key in [key for key in self._channels if key[0] == member_id and key[1] not in urls]:
            shared = self._channels.pop(key)
            if not shared.users:
                await shared.channel.close()

    async def stop(self) -> None:
        """Break off every call and disconnect."""
        channels, self._channels = self._channels, {}
        for shared in channels.values():
            await shared.channel.close()

    async def call(self, to: int | str, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """Make a call and wait for its answer.

        Args:
            to: a member's id, or a peer URL.
            method: `/package.Service/Method`.
            request: the encoded request.
            timeout_seconds: for all tries together.

        Raises:
            PeerUnavailableError: nobody has answered.
            PeerRefusedError: the member has answered with an error.
            ValueError: `to` is no URL.
        """
        member_id, urls = (to, self._urls.get(to, ())) if isinstance(to, int) else (None, (PeerURL.parse(to),))
        name = f"member {to:x}" if isinstance(to, int) else to
        reason = "it is not known"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        for tried, url in enumerate(urls):
            left = (deadline - loop.time()) / (len(urls) - tried)  # a URL that is silent leaves time for the others
            try:
                return await self._call(member_id, url, method, request, max(left, 0.0))
            except grpc.aio.AioRpcError as error:
                code, reason = error.code(), error.details() or ""
                if code not in _NOBODY or ACCEPTED[0] in tuple(error.trailing_metadata() or ()):
                    raise PeerRefusedError(code.name, reason) from error
                if code is grpc.StatusCode.UNAVAILABLE:
                    self._channels.pop((member_id, url), None)  # the next one reads the certificates again
            except (grpc.aio.UsageError, OSError, ValueError) as error:
                reason = str(error)
            except asyncio.CancelledError:
                if is_being_cancelled():
                    raise
                reason = "the client has stopped"
        raise PeerUnavailableError(f"{name} does not answer: {reason}")

    async def _call(self, member_id: int | None, url: PeerURL, method: str, request: bytes, seconds: float) -> bytes:
        if member_id is None:
            async with await self._connector.open(url) as passing:
                return await _unary(passing, method, request, seconds, self._metadata)
        key = (member_id, url)
        shared = self._channels.get(key)
        if shared is None:
            shared = _Shared(await self._connector.open(url))
            self._channels.setdefault(key, shared)  # another call may have been faster
        shared.users += 1
        try:
            return await _unary(shared.channel, method, request, seconds, self._metadata)
        finally:
            shared.users -= 1
            if not shared.users and self._channels.get(key) is not shared:
                await shared.channel.close()


async def _unary(
    channel: grpc.aio.Channel, method: str, request: bytes, seconds: float, metadata: tuple[tuple[str, str], ...]
) -> bytes:
    multicallable: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return await multicallable(request, timeout=seconds, metadata=metadata)
