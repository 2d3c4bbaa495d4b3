"""Declarative rules: what was wrong before may stay, what changes must be right."""

from __future__ import annotations

import copy

import pytest

from apiserver.api.validation import SchemaValidators, semantic_equal
from apiserver.registry.interface import Object
from tests.unit.apiserver.validation.support import World, parse

SLICE = parse("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4}")
ATTACHMENT = parse(
    """
    apiVersion: storage.k8s.io/v1
    kind: VolumeAttachment
    metadata: {name: a}
    spec: {attacher: csi.example.com, nodeName: n, source: {persistentVolumeName: pv}}
    """
)


@pytest.fixture
def validators(world: World) -> SchemaValidators:
    return SchemaValidators(world.scheme)


def texts(validators: SchemaValidators, world: World, obj: Object, old: Object | None = None) -> list[str]:
    validator = validators.for_type(world.resource_of(obj).type_name)
    return [str(error) for error in (validator.validate(obj) if old is None else validator.validate_update(obj, old))]


def test_an_invalid_member_that_stays_the_same_is_not_complained_of(validators: SchemaValidators, world: World) -> None:
    old = copy.deepcopy(SLICE)
    old["endpoints"] = [{"addresses": []}]
    assert texts(validators, world, old) == ["endpoints[0].addresses: Required value"]
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert texts(validators, world, new, old) == []
    new["endpoints"].append({"addresses": [], "hostname": "other"})
    assert texts(validators, world, new, old) == ["endpoints[1].addresses: Required value"]


def test_an_immutable_member_may_not_change(validators: SchemaValidators, world: World) -> None:
    old = {**SLICE, "addressType": "IPv4"}
    assert texts(validators, world, {**SLICE, "addressType": "IPv6"}, old) == [
        "addressType: Invalid value: null: field is immutable"
    ]


@pytest.mark.parametrize(
    ("attacher", "wrong"),
    [("csi.example.com", False), ("CSI.Example.com", False), ("csi_x", True), ("a" * 63, False), ("a" * 64, True)],
)
def test_formats_and_lengths(validators: SchemaValidators, world: World, attacher: str, wrong: bool) -> None:
    obj = copy.deepcopy(ATTACHMENT)
    obj["spec"]["attacher"] = attacher
    assert bool(texts(validators, world, obj)) is wrong


def test_quantities_and_empty_lists_are_equal_to_what_means_the_same(world: World) -> None:
    spec = world.scheme.type("k8s.io.api.core.v1.Pod").by_json_name["spec"]
    container = {"name": "a", "resources": {"limits": {"cpu": "1"}}}
    same = {"name": "a", "resources": {"limits": {"cpu": "1000m"}}, "args": []}
    other = {"name": "a", "resources": {"limits": {"cpu": "2"}}}
    assert semantic_equal(world.scheme, spec, {"containers": [container]}, {"containers": [same]})
    assert not semantic_equal(world.scheme, spec, {"containers": [container]}, {"containers": [other]})
