"""What a learner may be asked: it has not caught up yet, so clients should go elsewhere for nearly everything.

As etcd (`server/etcdserver/api/v3rpc/interceptor.go`): Status, serializable ranges and the snapshot stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from inspect import isasyncgenfunction
from typing import Any, Protocol

from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue

__all__ = ["LearnerGate", "LearnerView"]

_ALWAYS = frozenset({"status", "snapshot"})


class LearnerView(Protocol):
    """Who can tell whether this member is a learner."""

    @property
    def is_learner(self) -> bool:
        """Whether this member only listens."""


class LearnerGate:
    """A service as a learner offers it: its methods refuse as long as the member is one."""

    def __init__(self, service: object, member: LearnerView) -> None:
        self._service = service
        self._member = member

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name.startswith("_") or name in _ALWAYS or not callable(method):
            return method
        return _gated_stream(method, self._member) if isasyncgenfunction(method) else _gated(method, self._member)


def _gated(method: Callable[[Any, Any], Any], member: LearnerView) -> Callable[[Any, Any], Any]:
    def gated(request: Any, context: Any) -> Any:
        if member.is_learner and not (isinstance(request, pb.RangeRequest) and request.serializable):
            raise catalogue.NOT_FOR_LEARNER.error()
        return method(request, context)

    return gated


def _gated_stream(method: Callable[[Any, Any], AsyncIterator[Any]], member: LearnerView) -> Callable[[Any, Any], Any]:
    def gated(request: Any, context: Any) -> AsyncIterator[Any]:
        return _refused(catalogue.NOT_FOR_LEARNER.error()) if member.is_learner else method(request, context)

    return gated


async def _refused(error: EtcdError) -> AsyncIterator[Any]:
    """A stream that refuses instead of responding."""
    nothing: tuple[Any, ...] = ()
    for response in nothing:
        yield response
    raise error
