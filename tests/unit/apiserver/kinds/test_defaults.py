"""Defaults: what the server makes of realistic manifests, and what holds for every kind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver.api.defaults.engine import SPECIAL
from apiserver.api.scheme import Resource, load_scheme
from apiserver.registry.interface import Object
from tests.unit.apiserver.kinds.generated import generated
from tests.unit.apiserver.validation.support import World

_EXAMPLES: list[dict[str, Any]] = yaml.load((Path(__file__).parent / "defaulted.yaml").read_text(), yaml.CSafeLoader)
SCHEME = load_scheme()
RESOURCES = [pytest.param(resource, id=f"{resource.api_version} {resource.plural}") for resource in SCHEME.resources()]


@pytest.mark.parametrize(
    ("manifest", "defaulted"),
    [
        pytest.param(
            each["manifest"], each["defaulted"], id=f"{each['manifest']['apiVersion']} {each['manifest']['kind']}"
        )
        for each in _EXAMPLES
    ],
)
def test_a_manifest_is_completed_as_kube_apiserver_completes_it(
    world: World, manifest: Object, defaulted: Object
) -> None:
    assert world.decoded(manifest) == defaulted


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@pytest.mark.parametrize("resource", RESOURCES)
def test_defaulting_twice_changes_nothing_more(world: World, resource: Resource, full: bool) -> None:
    once = world.decoded(generated(SCHEME, resource, full=full))
    twice = copy.deepcopy(once)
    world.strategy_of(once).default(world.context(once), twice)
    assert twice == once


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@pytest.mark.parametrize("resource", RESOURCES)
def test_defaulted_objects_are_canonical(world: World, resource: Resource, full: bool) -> None:
    defaulted = world.decoded(generated(SCHEME, resource, full=full))
    normalized = world.codec.normalize(copy.deepcopy(defaulted), strict=True)
    assert not normalized.unknown
    assert normalized.obj == defaulted


def test_special_defaults_belong_to_types_that_exist() -> None:
    for name in SPECIAL:
        assert SCHEME.type(name).by_json_name
