"""How long reads take that do not go through the log: for the metrics, and a line in the log for the slow ones."""

from __future__ import annotations

import logging
from collections.abc import Callable

from google.protobuf.message import Message

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.metrics import MemberMetrics
from kvstore.server.redaction import described

__all__ = ["ReadTimer"]

logger = logging.getLogger(__name__)


class ReadTimer:
    """Told of every read.

    Args:
        monotonic: seconds, never going back.
        warning_seconds: `--warning-apply-duration`.
    """

    def __init__(self, metrics: MemberMetrics, monotonic: Callable[[], float], warning_seconds: float) -> None:
        self.monotonic = monotonic
        self._metrics = metrics
        self._warning_seconds = warning_seconds
        self._range_seconds = metrics.range_seconds.of("true")
        self._request_seconds = metrics.request_seconds.of("Range", "true")

    def range_done(self, started: float, reading: float, request: pb.RangeRequest, response: pb.RangeResponse) -> None:
        """A range that began at `started`, and at `reading` had waited for what it must see."""
        now = self.monotonic()
        self._range_seconds.observe(now - reading)
        self._request_seconds.observe(now - started)
        if now - started > self._warning_seconds:
            text = f"range_response_count:{len(response.kvs)} size:{response.ByteSize()}"
            self._slow("read-only range ", now - started, request, text)

    def range_failed(self, started: float, request: pb.RangeRequest, error: Exception) -> None:
        """A range that was refused."""
        seconds = self.monotonic() - started
        self._metrics.range_seconds.of("false").observe(seconds)
        self._metrics.request_seconds.of("Range", "false").observe(seconds)
        if seconds > self._warning_seconds:
            self._slow("read-only range ", seconds, request, "", str(error) or type(error).__name__)

    def txn_done(self, started: float, request: pb.TxnRequest, response: pb.TxnResponse | None) -> None:
        """A transaction without writes; without a response it was refused."""
        seconds = self.monotonic() - started
        self._metrics.request_seconds.of("ReadonlyTxn", "false" if response is None else "true").observe(seconds)
        if seconds > self._warning_seconds:
            text = "" if response is None else f"responses:{len(response.responses)} size:{response.ByteSize()}"
            self._slow("read-only txn ", seconds, request, text)

    def _slow(self, prefix: str, seconds: float, request: Message, response: str, error: str = "") -> None:
        self._metrics.slow_applies += 1
        fields = {
            "took": f"{seconds:.6f}s",
            "expected-duration": f"{self._warning_seconds:g}s",
            "prefix": prefix,
            "request": described(request),
            "response": response,
        }
        if error:
            fields["error"] = error
        logger.warning("apply request took too long", extra={"fields": fields})
