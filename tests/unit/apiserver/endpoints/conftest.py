"""The whole chain from `Request` to `Response`, over a storage in memory and without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from apiserver.admission import AdmissionChain, NamespaceLifecycle
from apiserver.api import status
from apiserver.api.scheme import Resource, Scheme, load_scheme
from apiserver.api.selectors import field_getter
from apiserver.authn import AnonymousAuthenticator, UnionAuthenticator
from apiserver.authz import AlwaysAllow
from apiserver.codec import Codec
from apiserver.endpoints.metrics import Metrics
from apiserver.endpoints.resource import resource_handler
from apiserver.endpoints.responses import Responder
from apiserver.endpoints.router import Router
from apiserver.endpoints.scope import Server
from apiserver.filters import build_handler_chain
from apiserver.registry.kinds import KindOptions, Strategies
from apiserver.registry.stores import StoreReader, Stores
from apiserver.request import Request, Response, UserInfo
from apiserver.storage.interface import (
    EventType,
    ListOptions,
    ListResult,
    Preconditions,
    WatchEvent,
    WatchOptions,
)
from kvstore.environment import Environment, RealFileSystem, SeededRandomness

NOW_SECONDS = 1_800_000_000.0  # 2027-01-15T08:00:00Z


class TestClock:
    """A clock that stands still until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = NOW_SECONDS
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Any:
        entry = (self.seconds + delay_seconds, callback)
        self.timers.append(entry)
        clock = self

        class Handle:
            def cancel(self) -> None:
                if entry in clock.timers:
                    clock.timers.remove(entry)

        return Handle()

    async def sleep(self, delay_seconds: float) -> None:
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for entry in sorted(self.timers, key=lambda timer: timer[0]):
            if entry[0] <= self.seconds and entry in self.timers:
                self.timers.remove(entry)
                entry[1]()


class MemoryObject:
    """A stored object that is a dict."""

    def __init__(self, key: str, revision: int, obj: dict[str, Any], codec: Codec) -> None:
        self.key = key
        self.revision = revision
        self._codec = codec
        metadata = {**obj["metadata"], "resourceVersion": str(revision)}
        self._obj = {**obj, "metadata": metadata}

    @property
    def name(self) -> str:
        return self._obj["metadata"]["name"]

    @property
    def namespace(self) -> str:
        return self._obj["metadata"].get("namespace", "")

    @property
    def labels(self) -> dict[str, str]:
        return self._obj["metadata"].get("labels") or {}

    def json(self, resource: Resource) -> bytes:
        return orjson.dumps(self._obj)

    def protobuf(self, resource: Resource) -> bytes:
        return self._codec.encode_body((resource.group, resource.version, resource.kind), self._obj)

    def view(self, resource: Resource) -> dict[str, Any]:
        return self._obj

    def object_copy(self, resource: Resource) -> dict[str, Any]:
        return json.loads(orjson.dumps(self._obj))


class MemoryWatcher:
    """Events, until stopped."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Sequence[WatchEvent] | None] = asyncio.Queue()
        self.stopped = False

    async def __aiter__(self) -> AsyncIterator[Sequence[WatchEvent]]:
        while (batch := await self.queue.get()) is not None:
            yield batch

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.queue.put_nowait(None)


class MemoryStorage:
    """`Storage` in a dict.

    Attributes:
        races: called before an update is written; may write something itself.
        stale: what reads at "0" see instead of the present state.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.revision = 100
        self.objects: dict[str, MemoryObject] = {}
        self.watchers: list[tuple[Resource, WatchOptions, MemoryWatcher]] = []
        self.races: list[Callable[[], None]] = []
        self.stale: dict[str, MemoryObject] = {}
        self.watch_error: status.StatusError | None = None

    def put(self, key: str, obj: dict[str, Any]) -> MemoryObject:
        self.revision += 1
        checked = self.codec.from_storage(self.codec.to_storage(obj))
        stored = MemoryObject(key, self.revision, checked, self.codec)
        self._notify(EventType.MODIFIED if key in self.objects else EventType.ADDED, stored)
        self.objects[key] = stored
        return stored

    def _notify(self, kind: EventType, stored: MemoryObject) -> None:
        for resource, _, watcher in self.watchers:
            if stored.key.startswith(resource.storage_prefix):
                watcher.queue.put_nowait([WatchEvent(kind, stored.revision, stored)])

    def _not_found(self, resource: Resource, key: str) -> status.StatusError:
        return status.not_found(resource.group, resource.plural, key.rpartition("/")[2])

    async def create(self, resource: Resource, key: str, obj: dict[str, Any], *, ttl_seconds: int = 0) -> MemoryObject:
        if key in self.objects:
            raise status.already_exists(resource.group, resource.plural, obj["metadata"]["name"])
        return self.put(key, obj)

    async def get(self, resource: Resource, key: str, *, resource_version: str = "") -> MemoryObject:
        if resource_version == "0" and key in self.stale:
            return self.stale[key]
        if key not in self.objects:
            raise self._not_found(resource, key)
        return self.objects[key]

    async def list(self, resource: Resource, options: ListOptions) -> ListResult:
        prefix = resource.storage_prefix
        if options.namespace:
            prefix += options.namespace + "/"
        items = []
        for key in sorted(self.objects):
            item = self.objects[key]
            if not key.startswith(prefix):
                continue
            if options.labels is not None and not options.labels.matches(item.labels):
                continue
            if options.fields is not None and not options.fields.matches(field_getter(resource, item.view(resource))):
                continue
            items.append(item)
        if options.limit and len(items) > options.limit:
            return ListResult(items[: options.limit], self.revision, "token", len(items) - options.limit)
        return ListResult(items, self.revision)

    async def update(
        self,
        resource: Resource,
        key: str,
        change: Any,
        *,
        preconditions: Preconditions | None = None,
        create: bool = False,
        ttl_seconds: int | None = None,
    ) -> MemoryObject:
        while True:
            stored = self.objects.get(key)
            if stored is None and not create:
                raise self._not_found(resource, key)
            new = change(stored.object_copy(resource) if stored else {}, stored.revision if stored else 0)
            if self.races:
                self.races.pop(0)()
            if self.objects.get(key) is not stored:
                continue
            if stored is not None and new == stored.view(resource):
                return stored
            return self.put(key, new)

    async def delete(
        self, resource: Resource, key: str, *, preconditions: Any = None, check: Any = None
    ) -> MemoryObject:
        if key not in self.objects:
            raise self._not_found(resource, key)
        if check is not None:
            check(self.objects[key])
        stored = self.objects.pop(key)
        self.revision += 1
        gone = MemoryObject(key, self.revision, stored.view(resource), self.codec)
        self._notify(EventType.DELETED, gone)
        return gone

    async def watch(self, resource: Resource, options: WatchOptions) -> MemoryWatcher:
        if self.watch_error is not None:
            raise self.watch_error
        watcher = MemoryWatcher()
        self.watchers.append((resource, options, watcher))
        if options.resource_version in ("", "0"):
            initial = await self.list(resource, ListOptions(options.namespace))
            if initial.items:
                events = [WatchEvent(EventType.ADDED, item.revision, item) for item in initial.items]
                watcher.queue.put_nowait(events)
        return watcher

    async def count(self, resource: Resource) -> int:
        return sum(key.startswith(resource.storage_prefix) for key in self.objects)

    async def current_revision(self) -> int:
        return self.revision


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[str, str]]
    stream: AsyncIterator[bytes] | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def warnings(self) -> list[str]:
        return [value for key, value in self.headers if key == "warning"]


class Api:
    """A server without sockets."""

    def __init__(self, scheme: Scheme, codec: Codec) -> None:
        self.clock = TestClock()
        self.environment = Environment(self.clock, SeededRandomness(7), RealFileSystem())
        self.codec = codec
        self.storage = MemoryStorage(codec)
        self.kinds = KindOptions()
        self.strategies = Strategies(scheme, self.kinds)
        self.stores = Stores(scheme, lambda resource: self.storage, self.strategies.of, lambda resource: True)
        self.reader = StoreReader(self.stores)
        self.responder = Responder(codec, self.clock)
        self.metrics = Metrics()
        self.plugins: list[Any] = [NamespaceLifecycle(self._namespace)]
        self.authorizer: Any = AlwaysAllow()
        self.rules: Any = AlwaysAllow()
        self.authenticator: Any = UnionAuthenticator([], AnonymousAuthenticator())
        self.user: UserInfo | None = None
        self.options: Any = None
        self.trace: Any = None
        self.token_requests: Any = None
        self.token_reviewer: Any = None
        self._handler: Any = None

    async def _namespace(self, name: str) -> dict[str, Any] | None:
        return await self.reader.get("", "namespaces", "", name)

    def rebuild(self) -> None:
        """Make the chain anew, of what has been set since."""
        self._handler = None

    @property
    def handler(self) -> Any:
        if self._handler is None:
            self.server = Server(
                codec=self.codec,
                responder=self.responder,
                admission=AdmissionChain(self.plugins),
                authorizer=self.authorizer,
                environment=self.environment,
                stores=self.stores,
                reader=self.reader,
                metrics=self.metrics,
                rules=self.rules,
                token_requests=self.token_requests,
                token_reviewer=self.token_reviewer,
            )
            self.router = Router(self._find, lambda group, version: (group, version) == ("", "v1"))
            self._handler = build_handler_chain(
                self.router,
                environment=self.environment,
                authenticator=self.authenticator,
                authorizer=self.authorizer,
                write_error=self.responder.error,
                observe_in_flight=self.metrics.observe_in_flight,
                options=self.options,
            )
        return self._handler

    def _find(self, group: str, version: str, plural: str) -> Any:
        resource = self.stores.resource(group, version, plural)
        return resource_handler(self.server, resource) if resource is not None else None

    async def __call__(
        self, method: str, target: str, body: Any = None, /, *, expect: int | None = None, **headers: str
    ) -> Answer:
        """Send a request; `body` may be bytes or a JSON value; header names have _ for -."""
        data = body if isinstance(body, bytes) else (json.dumps(body).encode() if body is not None else b"")
        parts = urlsplit(target)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data and "content-type" not in named:
            named["content-type"] = "application/json"

        async def read_body(limit: int) -> bytes:
            if len(data) > limit:
                raise status.request_entity_too_large(f"limit is {limit}")
            return data

        async def disconnected() -> None:
            await asyncio.Event().wait()

        handler = self.handler
        request = Request(
            method=method,
            path=parts.path,
            raw_path=parts.path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers=named,
            remote_address="127.0.0.1",
            peer_certificate=None,
            read_body=read_body,
            disconnected=disconnected,
            received_seconds=self.clock.now(),
            trace=self.trace,
        )
        response: Response = await handler(request)
        stream = None if isinstance(response.body, bytes) else response.body
        answer = Answer(
            response.status,
            response.body if isinstance(response.body, bytes) else b"",
            response.content_type,
            response.headers,
            stream,
        )
        if expect is not None:
            assert answer.status == expect, answer.body
        return answer


_SCHEME = load_scheme()
_CODEC = Codec(_SCHEME)


@pytest.fixture
async def api() -> Api:
    """A server with the namespace `default`."""
    made = Api(_SCHEME, _CODEC)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    await made("POST", "/api/v1/namespaces", namespace, expect=201)
    return made
