"""What the front tells of its calls, as the metrics of go-grpc-prometheus and of etcd's interceptors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from kvstore.app.call_log import log_call, logs_every_call
from kvstore.app.exposition import Family, counter, histograms
from kvstore.errors import StatusCode
from kvstore.front import CallContext, FinishedCall, Kind, Method
from kvstore.server.metrics import Histogram, HistogramFamily

__all__ = ["CallCounters"]

_CODE_NAMES = {
    StatusCode.OK: "OK",
    StatusCode.CANCELLED: "Canceled",
    StatusCode.UNKNOWN: "Unknown",
    StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    StatusCode.NOT_FOUND: "NotFound",
    StatusCode.ALREADY_EXISTS: "AlreadyExists",
    StatusCode.PERMISSION_DENIED: "PermissionDenied",
    StatusCode.RESOURCE_EXHAUSTED: "ResourceExhausted",
    StatusCode.FAILED_PRECONDITION: "FailedPrecondition",
    StatusCode.ABORTED: "Aborted",
    StatusCode.OUT_OF_RANGE: "OutOfRange",
    StatusCode.UNIMPLEMENTED: "Unimplemented",
    StatusCode.INTERNAL: "Internal",
    StatusCode.UNAVAILABLE: "Unavailable",
    StatusCode.DATA_LOSS: "DataLoss",
    StatusCode.UNAUTHENTICATED: "Unauthenticated",
}
_KIND_NAMES = {Kind.UNARY: "unary", Kind.SERVER_STREAM: "server_stream", Kind.BIDI_STREAM: "bidi_stream"}
_STREAMS = {
    "/etcdserverpb.Watch/Watch": "watch",
    "/etcdserverpb.Lease/LeaseKeepAlive": "lease-keepalive",
}
"""Streams whose failures etcd counts by these names."""

_NO_FAILURES = frozenset({StatusCode.OK, StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED})

_LABELS = ("grpc_method", "grpc_service", "grpc_type")

CLIENT_VERSIONS_MAX = 64
"""API versions that clients may claim before the next is counted as unknown: each becomes a metric."""


class _MethodCounts:
    """One method's share."""

    __slots__ = ("handled", "handling_seconds", "received", "sent", "started")

    def __init__(self) -> None:
        self.started = 0
        self.received = 0
        self.sent = 0
        self.handled = dict.fromkeys(_CODE_NAMES, 0)
        self.handling_seconds: Histogram | None = None


class CallCounters:
    """`kvstore.front.CallObserver` that counts.

    Args:
        extensive: also how long calls take (`--metrics=extensive`).
        slow_seconds: unary calls that take longer get a line in the log (`--warning-unary-request-duration`).
    """

    def __init__(self, extensive: bool = False, slow_seconds: float = math.inf) -> None:
        self._slow_seconds = slow_seconds
        self._log_all = logs_every_call()
        self._counts: dict[Method, _MethodCounts] = {}
        self._extensive = extensive
        self._handling_seconds = HistogramFamily(0.005, 2, 11)
        self._client_requests: dict[tuple[str, str], int] = {}
        self._received_bytes = 0
        self._sent_bytes = 0

    def expect(self, methods: Iterable[Method]) -> None:
        """Methods that there are, so that those never called are counted as such."""
        for method in methods:
            self._of(method)

    def _of(self, method: Method) -> _MethodCounts:
        counts = self._counts.get(method)
        if counts is None:
            counts = self._counts[method] = _MethodCounts()
            if self._extensive:
                counts.handling_seconds = self._handling_seconds.of(*_method_labels(method))
        return counts

    def call_started(self, method: Method, context: CallContext) -> None:
        """See `CallObserver`."""
        self._of(method).started += 1
        key = (
            "unary" if method.kind is Kind.UNARY else "stream",
            context.metadata.get("client-api-version", "unknown"),
        )
        requests = self._client_requests
        if key not in requests and len(requests) >= CLIENT_VERSIONS_MAX:
            key = (key[0], "unknown")
        requests[key] = requests.get(key, 0) + 1

    def message_received(self, method: Method, size_bytes: int) -> None:
        """See `CallObserver`."""
        self._of(method).received += 1
        self._received_bytes += size_bytes

    def message_sent(self, method: Method, size_bytes: int) -> None:
        """See `CallObserver`."""
        self._of(method).sent += 1
        self._sent_bytes += size_bytes

    def call_finished(self, method: Method, code: StatusCode, duration_seconds: float, call: FinishedCall) -> None:
        """See `CallObserver`."""
        counts = self._of(method)
        counts.handled[code] += 1
        if counts.handling_seconds is not None:
            counts.handling_seconds.observe(duration_seconds)
        if method.kind is Kind.UNARY and (duration_seconds > self._slow_seconds or self._log_all):
            log_call(method, duration_seconds, call, slow=duration_seconds > self._slow_seconds)

    def families(self) -> Iterator[Family]:
        """Everything counted."""
        rows = [(_method_labels(method), counts) for method, counts in self._counts.items()]
        for name, samples in (
            ("started", [(labels, counts.started) for labels, counts in rows]),
            ("msg_received", [(labels, counts.received) for labels, counts in rows]),
            ("msg_sent", [(labels, counts.sent) for labels, counts in rows]),
        ):
            yield counter(f"grpc_server_{name}_total", labels=_LABELS, samples=samples)
        handled = [
            ((_CODE_NAMES[code], *labels), count) for labels, counts in rows for code, count in counts.handled.items()
        ]
        yield counter("grpc_server_handled_total", labels=("grpc_code", *_LABELS), samples=handled)
        if self._extensive:
            yield histograms("grpc_server_handling_seconds", _LABELS, self._handling_seconds)
        yield counter(
            "etcd_server_client_requests_total",
            labels=("type", "client_api_version"),
            samples=self._client_requests.items(),
        )
        yield counter(
            "etcd_network_server_stream_failures_total", labels=("Type", "API"), samples=self._stream_failures()
        )
        yield counter("etcd_network_client_grpc_received_bytes_total", self._received_bytes)
        yield counter("etcd_network_client_grpc_sent_bytes_total", self._sent_bytes)

    def _stream_failures(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Streams that ended otherwise than their client wanted; a row only where there were any, as etcd has it."""
        for method, counts in self._counts.items():
            name = _STREAMS.get(method.path)
            failures = sum(count for code, count in counts.handled.items() if code not in _NO_FAILURES)
            if name is not None and failures:
                yield ("receive", name), failures


def _method_labels(method: Method) -> tuple[str, str, str]:
    return method.name, method.service, _KIND_NAMES[method.kind]
