"""What tables of valid and invalid neighbours need: manifests, changes to them, and the errors of the server."""

from __future__ import annotations

import copy
import re
from itertools import pairwise
from typing import Any

import yaml

from apiserver.api.field_errors import FieldError
from apiserver.api.scheme import Resource, load_scheme
from apiserver.codec import Codec
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds import Strategies
from apiserver.registry.strategy import Strategy
from apiserver.request import UserInfo
from kvstore.environment import SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock

DROP = object()
"""As a value in a change: the member goes away."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class World:
    """A server's strategies without a server."""

    def __init__(self) -> None:
        self.scheme = load_scheme()
        self.codec = Codec(self.scheme)
        self.strategies = Strategies(self.scheme)

    def resource_of(self, obj: Object) -> Resource:
        group, _, version = obj["apiVersion"].rpartition("/")
        resource = self.scheme.resource_for_kind(group, version, obj["kind"])
        assert resource is not None
        return resource

    def strategy_of(self, obj: Object) -> Strategy:
        return self.strategies.of(self.resource_of(obj))

    def context(self, obj: Object) -> OperationContext:
        user = UserInfo("jane", "42", ("system:authenticated",), (("scopes", ("a", "b")),))
        warnings: list[str] = []
        reader: Any = None
        return OperationContext(
            self.resource_of(obj), "default", user, FakeClock(), SeededRandomness(1), reader, warnings.append
        )

    def decoded(self, manifest: Object) -> Object:
        """As the server reads it: canonical and with defaults."""
        obj = self.codec.normalize(copy.deepcopy(manifest), strict=True)
        assert not obj.unknown, obj.unknown
        self.strategy_of(manifest).default(self.context(manifest), obj.obj)
        return obj.obj

    def created(self, manifest: Object) -> Object:
        """As the server would store it, if it is valid."""
        obj = self.decoded(manifest)
        metadata = obj["metadata"]
        metadata["uid"] = "11111111-2222-4333-8444-555555555555"
        metadata["creationTimestamp"] = "2024-01-01T00:00:00Z"
        if self.resource_of(manifest).namespaced:
            metadata.setdefault("namespace", "default")
        self.strategy_of(manifest).prepare_for_create(self.context(manifest), obj)
        return obj

    def problems(self, manifest: Object) -> list[str]:
        """The errors of a create."""
        obj = self.created(manifest)
        return _texts(self.strategy_of(manifest).validate(self.context(manifest), obj))

    def update_problems(self, manifest: Object, old_manifest: Object, subresource: str = "") -> list[str]:
        """The errors of an update of what the second manifest made to what the first one says."""
        old = self.created(old_manifest)
        return self.change_problems(manifest, old, subresource)

    def change_problems(self, manifest: Object, old: Object, subresource: str = "") -> list[str]:
        """The errors of an update of a stored object."""
        strategy, context = self.strategy_of(manifest), self.context(manifest)
        obj = self.decoded(manifest)
        for member in ("uid", "creationTimestamp", "namespace", "generation"):
            if member in old["metadata"]:
                obj["metadata"].setdefault(member, old["metadata"][member])
        old["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"] = "7"
        if subresource:
            found = strategy.subresource(subresource)
            assert found is not None
            strategy = found
        strategy.prepare_for_update(context, obj, old)
        return _texts(strategy.validate_update(context, obj, old))


def _texts(errors: list[FieldError]) -> list[str]:
    """Errors as clients see them, without the differences some end with."""
    return [str(error).partition("\n")[0] for error in errors]


def parse(text: str) -> Object:
    """A manifest in YAML."""
    manifest: Object = yaml.safe_load(text)
    return manifest


def changed(manifest: Object, changes: dict[str, Any]) -> Object:
    """A copy of a manifest with values set at paths such as `spec.containers[0].image`."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        steps = [int(index) if index else name for name, index in _STEP.findall(path)]
        target: Any = result
        for step, following in pairwise(steps):
            if isinstance(step, int):
                while len(target) <= step:
                    target.append({})
                target = target[step]
            else:
                if target.get(step) is None:
                    target[step] = [] if isinstance(following, int) else {}
                target = target[step]
        last = steps[-1]
        if value is DROP:
            del target[last]
        elif isinstance(last, int) and last == len(target):
            target.append(copy.deepcopy(value))
        else:
            target[last] = copy.deepcopy(value)
    return result
