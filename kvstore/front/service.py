"""Which methods there are, and what a handler is told about a call."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kvstore.errors import EtcdError, StatusCode

__all__ = [
    "CallContext",
    "CallObserver",
    "FinishedCall",
    "Kind",
    "Method",
    "MethodTable",
    "methods_of",
    "rpc_attribute",
]


class Kind(enum.Enum):
    """Who sends how many messages."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI_STREAM = "bidi_stream"


@dataclass(slots=True)
class CallContext:
    """What a handler may ask about its call.

    Attributes:
        metadata: header fields by lower-case name, without the pseudo-headers and `grpc-timeout`.
        peer: where the call comes from, `host:port` or a path.
        peer_certificate: the verified client certificate in the form of `ssl.SSLSocket.getpeercert()`, or None.
        deadline: when the client stops waiting, on the server's monotonic clock; the call is cancelled then.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    peer_certificate: Mapping[str, Any] | None = None
    deadline: float | None = None

    @property
    def trusted(self) -> bool:
        """False: whoever calls over a socket must say who they are."""
        return False


@dataclass(frozen=True, slots=True, eq=False)  # observers count by method: identity is the quickest key
class Method:
    """One RPC.

    `handler` is an async function for UNARY (request, context), an async generator function for SERVER_STREAM (request,
    context) and for BIDI_STREAM (async iterator of requests, context). A generator yields messages, in serialised form
    or not, or lists of serialised ones. A handler raises `EtcdError` to refuse. It is cancelled when the client gives
    up.
    """

    path: str
    request_type: type[Message]
    response_type: type[Message]
    handler: Callable[[Any, CallContext], Any]
    kind: Kind

    @property
    def service(self) -> str:
        """Full name of the service."""
        return self.path[1:].partition("/")[0]

    @property
    def name(self) -> str:
        """Name of the method in its service."""
        return self.path.rpartition("/")[2]


class FinishedCall(Protocol):
    """A call as it can be looked at when it is over.

    Attributes:
        context: what its handler was told.
        request, response: the messages of a unary call, as far as there were any.
    """

    context: CallContext
    request: Message | None
    response: Message | None


class CallObserver(Protocol):
    """Told of every call whose method exists, for metrics. Must not block or raise."""

    def call_started(self, method: Method, context: CallContext) -> None:
        """The request's head has arrived."""

    def message_received(self, method: Method, size_bytes: int) -> None:
        """One message from the client, without its frame."""

    def message_sent(self, method: Method, size_bytes: int) -> None:
        """One message to the client, without its frame."""

    def call_finished(self, method: Method, code: StatusCode, duration_seconds: float, call: FinishedCall) -> None:
        """The call has ended, by answer, refusal or cancellation."""


class MethodTable:
    """Methods by path, and grpc-go's answers to paths that are none."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._by_path = {method.path.encode(): method for method in methods}
        self._services = {method.service for method in self._by_path.values()}

    def __iter__(self) -> Iterator[Method]:
        return iter(self._by_path.values())

    def get(self, path: bytes) -> Method | None:
        """The method with this path, if there is one."""
        return self._by_path.get(path)

    def unknown(self, path: bytes) -> EtcdError:
        """What a call to a path that is not there is told: UNIMPLEMENTED and why."""
        text = path.decode(errors="replace")
        service, separator, method = text.removeprefix("/").rpartition("/")
        if not separator:
            message = f'malformed method name: "{text}"'
        elif service in self._services:
            message = f"unknown method {method} for service {service}"
        else:
            message = f"unknown service {service}"
        return EtcdError(StatusCode.UNIMPLEMENTED, message)


def rpc_attribute(rpc_name: str) -> str:
    """The attribute that implements an RPC: `HashKV` is `hash_kv`, `LeaseTimeToLive` is `lease_time_to_live`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", rpc_name).lower()


def methods_of(service: ServiceDescriptor, implementation: object) -> list[Method]:
    """The methods of a service that `implementation` has; the others are simply not there."""
    methods: list[Method] = []
    for rpc in service.methods:
        handler = getattr(implementation, rpc_attribute(rpc.name), None)
        if handler is None:
            continue
        if rpc.client_streaming:
            kind = Kind.BIDI_STREAM
        elif rpc.server_streaming:
            kind = Kind.SERVER_STREAM
        else:
            kind = Kind.UNARY
        path = f"/{service.full_name}/{rpc.name}"
        methods.append(Method(path, GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type), handler, kind))
    return methods
