"""Resources of a whole pod are completed from its containers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.validation.support import World, parse

POD = parse("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a}]}}")
Amounts = dict[str, dict[str, str]]


def pod_with(pod_level: Amounts | None, *containers: Amounts) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": [{"name": f"c{index}", "image": "a", "resources": each} for index, each in enumerate(containers)]
    }
    if pod_level is not None:
        spec["resources"] = pod_level
    return {**POD, "spec": spec}


@pytest.mark.parametrize(
    ("pod_level", "containers", "expected"),
    [
        (None, [{"requests": {"cpu": "1"}}], None),
        ({"limits": {"cpu": "2"}}, [{}], {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}),
        (
            {"limits": {"cpu": "2"}},
            [{"requests": {"cpu": "500m"}}, {"requests": {"cpu": "250m", "memory": "1Gi"}}],
            {"limits": {"cpu": "2"}, "requests": {"cpu": "750m", "memory": "1Gi"}},
        ),
        (
            {"requests": {"cpu": "3"}},
            [{"limits": {"cpu": "1"}}, {"limits": {"cpu": "1"}}],
            {"limits": {"cpu": "3"}, "requests": {"cpu": "3"}},
        ),
        ({"requests": {"cpu": "3"}}, [{"limits": {"cpu": "1"}}, {}], {"requests": {"cpu": "3"}}),
    ],
)
def test_what_is_left_out_follows_from_the_containers(
    world: World, pod_level: Amounts | None, containers: list[Amounts], expected: Amounts | None
) -> None:
    created = world.created(pod_with(pod_level, *containers))
    assert created["spec"].get("resources") == expected


def test_requests_of_containers_must_fit_into_the_limit_of_the_pod(world: World) -> None:
    pod = pod_with({"limits": {"cpu": "1"}}, {"requests": {"cpu": "2"}})
    assert world.problems(pod) == [
        'spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
    ]


def test_clients_that_do_not_know_the_member_do_not_remove_it(world: World) -> None:
    stored = world.created(pod_with({"limits": {"cpu": "1"}}, {}))
    assert world.change_problems(pod_with(None, {}), stored) == []
