"""A server's strategies with nothing behind them: objects in a dict, writes and watches by hand."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from typing import Any

from apiserver.api.scheme import Resource, load_scheme
from apiserver.api.status import StatusError
from apiserver.codec import Codec
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds import KindOptions, Strategies
from apiserver.registry.strategy import Strategy
from apiserver.request import UserInfo
from kvstore.environment import SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock

SCHEME = load_scheme()
CODEC = Codec(SCHEME)
USER = UserInfo("jane", "u-1", ("developers",), (("scopes", ("a", "b")),))


class Cluster:
    """What several servers share: objects by group, resource, namespace and name; a `Reader` and an `ObjectWriter`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str, str], Object] = {}
        self.followers: list[tuple[str, str, asyncio.Queue[Sequence[tuple[Object, bool]]]]] = []

    def put(self, group: str, resource: str, obj: Object) -> None:
        """Store an object, and tell whoever follows."""
        metadata = obj["metadata"]
        self.objects[group, resource, metadata.get("namespace", ""), metadata["name"]] = copy.deepcopy(obj)
        self._tell(group, resource, obj, False)

    def remove(self, group: str, resource: str, obj: Object) -> None:
        """Delete an object, and tell whoever follows."""
        metadata = obj["metadata"]
        del self.objects[group, resource, metadata.get("namespace", ""), metadata["name"]]
        self._tell(group, resource, obj, True)

    def _tell(self, group: str, resource: str, obj: Object, gone: bool) -> None:
        for its_group, its_resource, queue in self.followers:
            if (its_group, its_resource) == (group, resource):
                queue.put_nowait([(copy.deepcopy(obj), gone)])

    def names(self, group: str, resource: str) -> list[str]:
        return sorted(key[3] for key in self.objects if key[:2] == (group, resource))

    # Reader

    async def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((group, resource, namespace, name))

    async def list(self, group: str, resource: str, namespace: str = "") -> list[Object]:
        return [obj for key, obj in self.objects.items() if key[:2] == (group, resource) and namespace in ("", key[2])]

    async def follow(self, group: str, resource: str) -> AsyncIterator[Sequence[tuple[Object, bool]]]:
        queue: asyncio.Queue[Sequence[tuple[Object, bool]]] = asyncio.Queue()
        self.followers.append((group, resource, queue))
        yield [(copy.deepcopy(obj), False) for obj in await self.list(group, resource)]
        while True:
            yield await queue.get()

    # ObjectWriter

    async def create(self, group: str, version: str, resource: str, obj: dict[str, Any]) -> dict[str, Any]:
        metadata = obj["metadata"]
        if (group, resource, metadata.get("namespace", ""), metadata["name"]) in self.objects:
            raise StatusError(409, "AlreadyExists", f'{resource} "{metadata["name"]}" already exists')
        metadata["creationTimestamp"] = "2030-01-01T00:00:00Z"
        self.put(group, resource, obj)
        return obj

    async def delete(self, group: str, version: str, resource: str, namespace: str, name: str) -> None:
        self.objects.pop((group, resource, namespace, name), None)


class Server:
    """The strategies of one server, and writes as the generic store makes them of the strategies' steps."""

    def __init__(self, cluster: Cluster | None = None, **options: Any) -> None:
        self.cluster = cluster or Cluster()
        self.clock = FakeClock()
        self.randomness = SeededRandomness(7)
        self.strategies = Strategies(SCHEME, KindOptions(writer=self.cluster, **options))
        self.warnings: list[str] = []

    def resource(self, obj: Object) -> Resource:
        group, _, version = obj["apiVersion"].rpartition("/")
        found = SCHEME.resource_for_kind(group, version, obj["kind"])
        assert found is not None
        return found

    def strategy(self, obj: Object) -> Strategy:
        return self.strategies.of(self.resource(obj))

    def context(self, obj: Object, *, dry_run: bool = False) -> OperationContext:
        resource = self.resource(obj)
        return OperationContext(
            resource=resource,
            namespace="default" if resource.namespaced else "",
            user=USER,
            clock=self.clock,
            randomness=self.randomness,
            reader=self.cluster,
            warn=self.warnings.append,
            dry_run=dry_run,
        )

    def decode(self, manifest: Object) -> Object:
        obj = CODEC.normalize(copy.deepcopy(manifest), strict=True)
        assert not obj.unknown
        self.strategy(manifest).default(self.context(manifest), obj.obj)
        return obj.obj

    def prepared(self, manifest: Object) -> Object:
        """A new object as it is validated."""
        obj = self.decode(manifest)
        metadata = obj["metadata"]
        metadata["uid"] = self.randomness.uuid4()
        metadata["creationTimestamp"] = "2023-11-14T22:30:00Z"
        if self.resource(manifest).namespaced:
            metadata.setdefault("namespace", "default")
        self.strategy(manifest).prepare_for_create(self.context(manifest), obj)
        return obj

    async def create(self, manifest: Object, *, dry_run: bool = False, fail: bool = False) -> Object:
        """Create; raises AssertionError with the errors of validation, StatusError when allocation fails.

        Args:
            fail: the write itself goes wrong.
        """
        obj, strategy, context = self.prepared(manifest), self.strategy(manifest), self.context(manifest)
        context.dry_run = dry_run
        errors = strategy.validate(context, obj)
        assert not errors, "; ".join(map(str, errors))
        self.warnings += strategy.warnings_on_create(context, obj)
        finish = await strategy.begin_create(context, obj)
        if not (dry_run or fail):
            self.cluster.put(context.resource.group, context.resource.plural, obj)
        if finish is not None:
            await finish(not fail)
        return obj

    def changed(self, manifest: Object, old: Object, subresource: str = "") -> Object:
        """A changed object as it is validated."""
        obj = self.decode(manifest)
        for member in ("uid", "creationTimestamp", "namespace", "generation"):
            if member in old["metadata"]:
                obj["metadata"].setdefault(member, old["metadata"][member])
        self._strategy(manifest, subresource).prepare_for_update(self.context(manifest), obj, old)
        return obj

    def _strategy(self, manifest: Object, subresource: str) -> Strategy:
        strategy = self.strategy(manifest)
        if not subresource:
            return strategy
        found = strategy.subresource(subresource)
        assert found is not None
        return found

    async def update(self, manifest: Object, old: Object, subresource: str = "") -> Object:
        """Update, as `create`."""
        strategy, context = self._strategy(manifest, subresource), self.context(manifest)
        old = copy.deepcopy(old)
        old["metadata"]["resourceVersion"] = "5"
        before = copy.deepcopy(old)
        obj = self.changed(manifest, old, subresource)
        obj["metadata"]["resourceVersion"] = "5"
        errors = strategy.validate_update(context, obj, old)
        assert not errors, "; ".join(map(str, errors))
        self.warnings += strategy.warnings_on_update(context, obj, old)
        finish = await strategy.begin_update(context, obj, old)
        assert old == before, "the old object stays as it is"
        obj["metadata"] = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
        self.cluster.put(context.resource.group, context.resource.plural, obj)
        if finish is not None:
            await finish(True)
        return obj

    async def delete(self, obj: Object) -> None:
        """Delete at once."""
        context = self.context(obj)
        self.cluster.remove(context.resource.group, context.resource.plural, obj)
        await self.strategy(obj).after_delete(context, obj)
