"""What clients did and saw, with the times on the recorder's own clock."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from kvstore.etcdpb import kv_pb2
from tests.model.kv_model import Request, Response

__all__ = ["Delivery", "History", "Lease", "Operation", "WatchLog", "WatchSession"]


@dataclass(slots=True)
class Operation:
    """One request. Without a response it may have been done at any time after its call, or never."""

    client: int
    request: Request
    called: float
    returned: float = math.inf
    response: Response | None = None
    serializable: bool = False

    @property
    def revision(self) -> int:
        """Of the answer's header."""
        assert self.response is not None
        return self.response.header.revision

    def __str__(self) -> str:
        request = str(self.request).replace("\n", " ")
        answer = "no answer" if self.response is None else str(self.response).replace("\n", " ")
        kind = type(self.request).__name__
        return f"client {self.client} {kind} {{{request}}} {self.called:.3f}..{self.returned:.3f}: {answer}"


@dataclass(slots=True)
class Delivery:
    """One response of a watch stream. Without events it is a notice of progress."""

    revision: int
    events: list[kv_pb2.Event]
    received: float


@dataclass(slots=True)
class WatchSession:
    """What came of one create request."""

    member: str
    start_revision: int
    deliveries: list[Delivery] = field(default_factory=list)


@dataclass(slots=True)
class WatchLog:
    """One watcher over all its sessions: each goes on where the one before ended."""

    name: str
    key: bytes
    range_end: bytes
    no_put: bool = False
    no_delete: bool = False
    previous: bool = False
    sessions: list[WatchSession] = field(default_factory=list)

    def covers(self, event: kv_pb2.Event) -> bool:
        """Whether the watcher ought to get an event."""
        key = event.kv.key
        if (event.type == kv_pb2.Event.PUT and self.no_put) or (event.type == kv_pb2.Event.DELETE and self.no_delete):
            return False
        if not self.range_end:
            return bool(key == self.key)
        return bool(self.key <= key and (self.range_end == b"\0" or key < self.range_end))


@dataclass(slots=True)
class Lease:
    """A lease, and when the last renewal that was answered was asked for. `revoked` is when somebody asked for that."""

    lease_id: int
    ttl_seconds: int
    renewed: float
    revoked: float = math.inf


@dataclass(slots=True)
class History:
    """Everything recorded in one run."""

    operations: list[Operation] = field(default_factory=list)
    watches: list[WatchLog] = field(default_factory=list)
    leases: dict[int, Lease] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
