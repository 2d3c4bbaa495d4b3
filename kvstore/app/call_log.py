"""The line that a slow unary call leaves in the log, and at level debug every one (etcd `v3rpc/interceptor.go`)."""

from __future__ import annotations

import logging

from google.protobuf.message import Message

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import FinishedCall, Method
from kvstore.server.redaction import described

__all__ = ["log_call", "logs_every_call"]

logger = logging.getLogger(__name__)


def logs_every_call() -> bool:
    """Whether the level is debug."""
    return logger.isEnabledFor(logging.DEBUG)


def log_call(method: Method, seconds: float, call: FinishedCall, *, slow: bool) -> None:
    """Write the line; sizes and counts are known for the calls of the KV service that were answered, else −1."""
    request_count, request_bytes, response_count, response_bytes = _figures(call.request, call.response)
    fields = {
        "time spent": f"{seconds:.6f}s",
        "remote": call.context.peer,
        "response type": method.path,
        "request count": request_count,
        "request size": request_bytes,
        "response count": response_count,
        "response size": response_bytes,
        "request content": described(call.request) if request_count >= 0 and call.request is not None else "",
    }
    logger.log(logging.WARNING if slow else logging.DEBUG, "request stats", extra={"fields": fields})


def _figures(request: Message | None, response: Message | None) -> tuple[int, int, int, int]:
    if isinstance(request, pb.RangeRequest) and isinstance(response, pb.RangeResponse):
        return 0, request.ByteSize(), response.count, response.ByteSize()
    if isinstance(request, pb.PutRequest) and isinstance(response, pb.PutResponse):
        return 1, request.ByteSize(), 0, response.ByteSize()
    if isinstance(request, pb.DeleteRangeRequest) and isinstance(response, pb.DeleteRangeResponse):
        return 0, request.ByteSize(), response.deleted, response.ByteSize()
    if isinstance(request, pb.TxnRequest) and isinstance(response, pb.TxnResponse):
        branch = request.success if response.succeeded else request.failure
        return len(branch), sum(operation.ByteSize() for operation in branch), 0, response.ByteSize()
    return -1, -1, -1, -1
