"""How much the front takes from one client before it says so."""

from __future__ import annotations

from dataclasses import dataclass

from kvstore.front.frames import ConnectionFault, ErrorCode

__all__ = ["Allowance", "FrontLimits"]

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """Limits of every connection; the defaults are etcd's where etcd has one.

    Attributes:
        receive_message_bytes_max: of one gRPC message: max-request-bytes (1.5 MiB) and 512 KiB of overhead.
        max_concurrent_streams: requests under way on one connection.
        header_list_bytes_max: decoded header fields of one request.
        stream_window_bytes: data of one request that may be under way to us.
        connection_window_bytes: the same for all requests of a connection together.
        stream_backlog_bytes: response data waiting for the client's window before its handler is held up.
        connection_backlog_bytes: the same for all responses of a connection: beyond it, its other calls wait.
        partial_messages_bytes_max: of all messages on a connection that are not complete; who adds to more is refused.
        queued_requests_max: messages of a client stream that wait for their handler before its window stops opening.
        useless_frames_burst, useless_frames_per_second: frames that ask for work and bring nothing (resets, settings,
            priorities, empty data, unknown types): so many at once, and so many a second for ever.
        keepalive_min_seconds: clients that ping more often, and without anything to wait for, are sent away.
        keepalive_without_streams: whether a client may ping without any request under way.
        ping_interval_seconds, ping_timeout_seconds: a silent connection is pinged after the first and closed when
            nothing comes within the second.
        first_bytes_seconds: a connection that has not said what it speaks by then is closed.
        http1_body_bytes_max: body of an HTTP/1.1 request: a gRPC message in base64, and JSON around it.
        http1_head_bytes_max: request line and header fields of an HTTP/1.1 request.
    """

    receive_message_bytes_max: int = 1536 * KIBIBYTE + 512 * KIBIBYTE
    max_concurrent_streams: int = 10_000
    header_list_bytes_max: int = 64 * KIBIBYTE
    stream_window_bytes: int = MEBIBYTE
    connection_window_bytes: int = 4 * MEBIBYTE
    stream_backlog_bytes: int = 64 * KIBIBYTE
    connection_backlog_bytes: int = 32 * MEBIBYTE
    partial_messages_bytes_max: int = 128 * MEBIBYTE
    queued_requests_max: int = 64
    useless_frames_burst: int = 10_000
    useless_frames_per_second: int = 500
    keepalive_min_seconds: float = 5.0
    keepalive_without_streams: bool = False
    ping_interval_seconds: float = 7_200.0
    ping_timeout_seconds: float = 20.0
    first_bytes_seconds: float = 120.0
    http1_body_bytes_max: int = 3 * MEBIBYTE
    http1_head_bytes_max: int = 64 * KIBIBYTE


class Allowance:
    """So many at once, and so many a second: a bucket that refills with the time it is told."""

    __slots__ = ("_burst", "_left", "_per_second", "_when")

    def __init__(self, burst: int, per_second: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._when = 0.0

    def take(self, now: float, what: str) -> None:
        """Count one. Raises `ConnectionFault` (ENHANCE_YOUR_CALM) when there is none left."""
        self._left = min(self._burst, self._left + (now - self._when) * self._per_second) - 1
        self._when = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")
