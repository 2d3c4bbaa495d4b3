"""What members ask each other, over gRPC, on the port where their logs meet too."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from kvstore.environment import Environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.server.bootstrap import AskUrl
from kvstore.server.peers import METHODS, PeerHandler, PeerHandlers
from raft.errors import PeerRefusedError, PeerUnavailableError
from raft.runtime.peer_client import PeerClient
from raft.runtime.peer_tls import PeerTLS

__all__ = ["answering", "asking_url", "translated"]


def answering(handlers: PeerHandlers) -> grpc.GenericRpcHandler:
    """The answering side, for a peer port."""
    return _Handlers({method: _unary(METHODS[method], handler) for method, handler in handlers.items()})


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


def _unary(request_type: type[Message], handler: PeerHandler) -> Any:
    async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            answer = await handler(request_type.FromString(request))
        except EtcdError as error:
            await context.abort(grpc.StatusCode[error.code.name], error.message)
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return answer.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(call)


async def translated(call: Awaitable[bytes]) -> bytes:
    """A call's answer, and its errors as `EtcdError`."""
    try:
        return await call
    except PeerRefusedError as error:
        raise EtcdError(StatusCode[error.code], error.reason) from None
    except (PeerUnavailableError, ValueError) as error:
        raise EtcdError(StatusCode.UNAVAILABLE, str(error)) from None


def asking_url(environment: Environment, tls: PeerTLS | None) -> AskUrl:
    """Calls to peer URLs by a member that does not belong to a cluster yet."""

    async def ask(url: str, method: str, request: bytes, timeout_seconds: float) -> bytes:
        client = PeerClient(environment, tls=tls)
        try:
            return await translated(client.call(url, method, request, timeout_seconds))
        finally:
            await client.stop()

    return ask
