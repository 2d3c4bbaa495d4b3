"""What happens on an HTTP/2 connection, as `Connection.receive` tells it."""

from __future__ import annotations

from typing import NamedTuple

from kvstore.front.head import RequestHead

__all__ = [
    "CallReceived",
    "ConnectionEnded",
    "DataReceived",
    "Event",
    "RequestReceived",
    "StreamDrained",
    "StreamReset",
]


class RequestReceived(NamedTuple):
    """A new stream. `timeout` is the raw value of `grpc-timeout`."""

    stream_id: int
    head: RequestHead
    timeout: bytes | None
    end_stream: bool


class DataReceived(NamedTuple):
    """Data of a request; `end_stream` (perhaps with no data) ends it. Give `flow_bytes` back with `credit`."""

    stream_id: int
    data: bytes
    flow_bytes: int
    end_stream: bool


class CallReceived(NamedTuple):
    """`RequestReceived` and its only `DataReceived` in one: a small request that arrived in one piece."""

    stream_id: int
    head: RequestHead
    timeout: bytes | None
    data: bytes


class StreamReset(NamedTuple):
    """The peer gave a request up, or broke the protocol on it; nothing can be sent any more."""

    stream_id: int
    code: int


class StreamDrained(NamedTuple):
    """Everything queued on a stream has been written."""

    stream_id: int


class ConnectionEnded(NamedTuple):
    """Nothing more is read from this connection. `code` NO_ERROR: the peer said goodbye."""

    code: int
    message: str


Event = CallReceived | RequestReceived | DataReceived | StreamReset | StreamDrained | ConnectionEnded
