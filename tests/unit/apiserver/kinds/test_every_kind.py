"""What holds for every kind: the least that is valid passes, and nothing that is well-formed makes a strategy fail."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver.api.scheme import Resource
from apiserver.registry.interface import Object
from tests.unit.apiserver.kinds.generated import generated
from tests.unit.apiserver.kinds.test_defaults import RESOURCES, SCHEME
from tests.unit.apiserver.validation.support import World

_HERE = Path(__file__).parent
_SUBRESOURCES = ("status", "approval", "ephemeralcontainers", "finalize", "resize")


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def minimal_manifests() -> list[Object]:
    manifests = []
    for each in _load(_HERE / "minimal.yaml"):
        for version in each["apiVersions"]:
            rest = {name: value for name, value in each.items() if name not in ("apiVersions", "kind")}
            manifests.append({"apiVersion": version, "kind": each["kind"], "metadata": {"name": "a"}, **rest})
    for path in sorted((_HERE.parent / "validation" / "rules").glob("*.yaml")):
        for table in _load(path):
            if any(row["change"] == {} and not row["errors"] for row in table.get("creates") or ()):
                manifests.append(table["manifest"])
    return manifests


MANIFESTS = [
    pytest.param(manifest, id=f"{manifest['apiVersion']} {manifest['kind']}") for manifest in minimal_manifests()
]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_the_least_that_is_valid_passes(world: World, manifest: Object) -> None:
    assert world.problems(manifest) == []


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_an_update_that_changes_nothing_passes_and_counts_no_generation(world: World, manifest: Object) -> None:
    stored = world.created(manifest)
    strategy, context = world.strategy_of(manifest), world.context(manifest)
    stored["metadata"]["resourceVersion"] = "7"
    obj = copy.deepcopy(stored)
    strategy.prepare_for_update(context, obj, stored)
    assert strategy.validate_update(context, obj, stored) == []
    assert obj == stored


def test_no_kind_is_forgotten() -> None:
    covered = {(manifest["apiVersion"], manifest["kind"]) for manifest in minimal_manifests()}
    stored = {(each.api_version, each.kind) for each in SCHEME.resources() if not each.is_virtual}
    assert stored - covered == set()


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@pytest.mark.parametrize("resource", RESOURCES)
def test_nothing_well_formed_makes_a_strategy_fail(world: World, resource: Resource, full: bool) -> None:
    obj = world.created(generated(SCHEME, resource, full=full))
    strategy, context = world.strategy_of(obj), world.context(obj)
    strategy.validate(context, obj)
    strategy.warnings_on_create(context, obj)
    obj["metadata"]["resourceVersion"] = "7"
    for writer in (strategy, *(strategy.subresource(name) for name in _SUBRESOURCES)):
        if writer is not None:
            changed = copy.deepcopy(obj)
            writer.prepare_for_update(context, changed, obj)
            writer.validate_update(context, changed, obj)
            writer.warnings_on_update(context, changed, obj)
