"""How long requests take to apply: for the metrics, and a line in the log for the slow ones and the failed ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

from kvstore.apply import NoSpaceError, Proposal
from kvstore.etcdpb import raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import CompactedError
from kvstore.server.metrics import Histogram, MemberMetrics, operation_name
from kvstore.server.redaction import described

__all__ = ["ApplyTimer"]

logger = logging.getLogger(__name__)

_FIELDS = {field.number: field.name for field in raft_internal_pb2.InternalRaftRequest.DESCRIPTOR.fields}
_HEADER_FIELD = raft_internal_pb2.InternalRaftRequest.HEADER_FIELD_NUMBER


class ApplyTimer:
    """Told of every request that was applied, in order (`kvstore.apply.ApplyObserver`).

    Args:
        monotonic: seconds, never going back.
        request_timeout_seconds: between a proposal's beginning and its deadline.
        warning_seconds: `--warning-apply-duration`.

    Attributes:
        on_no_space: called when a write crossed the quota and nobody has raised the alarm for it.
    """

    def __init__(
        self,
        metrics: MemberMetrics,
        monotonic: Callable[[], float],
        request_timeout_seconds: float,
        warning_seconds: float,
    ) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._request_timeout_seconds = request_timeout_seconds
        self._warning_seconds = warning_seconds
        self._last = 0.0
        self.on_no_space: Callable[[], None] = lambda: None
        self._apply_succeeded: dict[str, Histogram] = {}
        self._request_succeeded: dict[str, Histogram] = {}

    def begin(self) -> None:
        """A batch begins."""
        self._last = self._monotonic()

    def applied(self, data: bytes, proposal: Proposal | None, result: Any) -> None:
        """One more of the batch is done; `result` is its response, or the exception that it was refused with."""
        now = self._monotonic()
        seconds = now - self._last
        self._last = now
        if proposal is None:
            field = _field_of(data)
        else:
            field = proposal.field
            histogram = self._request_succeeded.get(field) or self._make(self._request_succeeded, field)
            histogram.observe(now - proposal.deadline + self._request_timeout_seconds)
        if isinstance(result, Exception) and type(result) is not CompactedError:
            self._metrics.apply_seconds.of(operation_name(field), "false").observe(seconds)
            if isinstance(result, NoSpaceError):
                self.on_no_space()
            if seconds <= self._warning_seconds:
                self._log("failed to apply request", seconds, data, result)
        else:
            (self._apply_succeeded.get(field) or self._make(self._apply_succeeded, field)).observe(seconds)
            if field != "put":
                self._count(field, result)
        if seconds > self._warning_seconds:
            self._metrics.slow_applies += 1
            self._log("apply request took too long", seconds, data, result)

    def _make(self, kept: dict[str, Histogram], field: str) -> Histogram:
        metrics = self._metrics
        family = metrics.apply_seconds if kept is self._apply_succeeded else metrics.request_seconds
        kept[field] = family.of(operation_name(field), "true")
        return kept[field]

    def _count(self, field: str, result: Any) -> None:
        metrics = self._metrics
        if field == "txn":
            metrics.txn_count += len(result.responses) > 1 if isinstance(result, pb.TxnResponse) else 0
        elif field == "lease_grant":
            metrics.lease_granted += 1
            metrics.lease_ttl.observe(result.TTL)
        elif field == "lease_revoke":
            metrics.lease_revoked += 1

    def _log(self, message: str, seconds: float, data: bytes, result: Any) -> None:
        fields = {
            "took": f"{seconds:.6f}s",
            "expected-duration": f"{self._warning_seconds:g}s",
            "prefix": "",
            "request": described(_parsed(data)),
            "response": f"size:{result.ByteSize()}" if isinstance(result, Message) else "",
        }
        if isinstance(result, Exception):
            fields["error"] = str(result) or type(result).__name__
        logger.warning(message, extra={"fields": fields})


def _field_of(data: bytes) -> str:
    """The request in an entry: its tag comes first, unless its number is above the header's."""
    number, shift = 0, 0
    for byte in data[:5]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    number >>= 3
    if number in _FIELDS and number != _HEADER_FIELD:
        return _FIELDS[number]
    return next((field.name for field, _ in _parsed(data).ListFields() if field.name not in ("ID", "header")), "ID")


def _parsed(data: bytes) -> raft_internal_pb2.InternalRaftRequest:
    try:
        return raft_internal_pb2.InternalRaftRequest.FromString(data)
    except DecodeError:
        return raft_internal_pb2.InternalRaftRequest()
