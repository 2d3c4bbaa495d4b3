from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.api.scheme import Scheme, load_scheme
from apiserver.api.status import StatusError
from apiserver.endpoints.patches import apply_merge_patch, apply_strategic_merge_patch


def merge(scheme: Scheme, kind: str, document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    group, version, name = kind.split("/")
    before = copy.deepcopy(patch)
    result = apply_strategic_merge_patch(document, patch, scheme, scheme.type_of(group, version, name))
    assert patch == before, "the patch must survive for a retry"
    return result


def pod(containers: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": containers, **spec}}


def names(result: dict[str, Any]) -> list[str]:
    return [container["name"] for container in result["spec"]["containers"]]


def test_set_image_changes_one_container(scheme: Scheme) -> None:
    """What `kubectl set image deployment/web app=app:2` sends."""
    document = {"spec": {"template": {"spec": {"containers": [{"name": "log", "image": "log:1"}, {"name": "app"}]}}}}
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "log"}, {"name": "app"}],
                    "containers": [{"image": "app:2", "name": "app"}],
                }
            }
        }
    }
    result = merge(scheme, "apps/v1/Deployment", document, patch)
    assert result["spec"]["template"]["spec"]["containers"] == [
        {"name": "log", "image": "log:1"},
        {"name": "app", "image": "app:2"},
    ]


def test_labels_and_annotations_merge_and_null_deletes(scheme: Scheme) -> None:
    document = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"a": None, "c": "3"}, "annotations": {"x": "y", "z": None}}}
    assert merge(scheme, "/v1/ConfigMap", document, patch) == {
        "metadata": {"labels": {"b": "2", "c": "3"}, "annotations": {"x": "y"}}
    }


def test_elements_are_added_deleted_and_ordered(scheme: Scheme) -> None:
    document = pod([{"name": "a", "image": "a:1"}, {"name": "b"}, {"name": "injected"}])
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "c:1"}, {"name": "b", "$patch": "delete"}],
        }
    }
    result = merge(scheme, "/v1/Pod", document, patch)
    assert result["spec"]["containers"] == [
        {"name": "injected"},  # it stood before the place that the deletion made free for `c`
        {"name": "c", "image": "c:1"},
        {"name": "a", "image": "a:1"},
    ]


@pytest.mark.parametrize(
    ("present", "order", "want"),
    [
        ("abc", "cba", "cba"),
        ("axbyc", "abc", "axbyc"),
        ("xabc", "cab", "xcab"),
        ("abcx", "ba", "bacx"),
    ],
)
def test_server_only_elements_stay_where_they_stood(scheme: Scheme, present: str, order: str, want: str) -> None:
    document = pod([{"name": name} for name in present])
    patch = {"spec": {"$setElementOrder/containers": [{"name": name} for name in order]}}
    assert "".join(names(merge(scheme, "/v1/Pod", document, patch))) == want


def test_without_an_order_list_patched_elements_keep_the_order_of_the_patch(scheme: Scheme) -> None:
    document = pod([{"name": "a"}, {"name": "b"}, {"name": "c"}])
    patch = pod([{"name": "c", "image": "c:2"}, {"name": "a", "image": "a:2"}, {"name": "d"}])
    assert names(merge(scheme, "/v1/Pod", document, patch)) == ["b", "c", "a", "d"]


def test_ports_merge_by_number_and_protocol_is_no_part_of_the_key(scheme: Scheme) -> None:
    document = {"spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 443}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    assert merge(scheme, "/v1/Service", document, patch) == {
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080, "targetPort": 8080}, {"port": 443}]}
    }


def test_finalizers_merge_as_a_set(scheme: Scheme) -> None:
    document = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"], "finalizers": ["d"]}}
    assert merge(scheme, "/v1/ConfigMap", document, patch) == {"metadata": {"finalizers": ["d", "a", "c"]}}
    assert merge(
        scheme, "/v1/ConfigMap", {"metadata": {}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}
    ) == {"metadata": {}}


def test_atomic_lists_are_replaced(scheme: Scheme) -> None:
    document = pod([{"name": "a", "args": ["x", "y"]}], tolerations=[{"key": "a"}])
    patch = pod([{"name": "a", "args": ["z"]}], tolerations=[{"key": "b"}])
    assert merge(scheme, "/v1/Pod", document, patch) == pod([{"name": "a", "args": ["z"]}], tolerations=[{"key": "b"}])


def test_retain_keys_drops_the_other_members_of_a_union(scheme: Scheme) -> None:
    """`kubectl apply` of a deployment that goes from RollingUpdate to Recreate."""
    document = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merge(scheme, "apps/v1/Deployment", document, patch) == {"spec": {"strategy": {"type": "Recreate"}}}
    volume = {"name": "v", "emptyDir": {}}
    change = {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}
    result = merge(scheme, "/v1/Pod", {"spec": {"volumes": [volume]}}, {"spec": change})
    assert result == {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}


@pytest.mark.parametrize(
    ("patch", "want"),
    [
        ({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}, {"metadata": {"labels": {"b": "2"}}}),
        ({"metadata": {"labels": {"$patch": "delete"}}}, {"metadata": {"labels": {}}}),
        ({"$patch": "replace", "data": {"x": "y"}}, {"data": {"x": "y"}}),
        ({"$patch": "delete"}, {}),
        ({"data": {"$patch": "delete"}}, {"metadata": {"labels": {"a": "1"}}}),
        ({"metadata": {"labels": None}}, {"metadata": {}}),
        (
            {"unknown": {"deep": None, "kept": [{"x": None}]}},
            {"metadata": {"labels": {"a": "1"}}, "unknown": {"kept": [{}]}},
        ),
    ],
)
def test_directives_of_objects(scheme: Scheme, patch: dict[str, Any], want: dict[str, Any]) -> None:
    assert merge(scheme, "/v1/ConfigMap", {"metadata": {"labels": {"a": "1"}}}, patch) == want


def test_a_list_can_be_replaced_as_a_whole(scheme: Scheme) -> None:
    document = pod([{"name": "a"}, {"name": "b"}])
    assert names(merge(scheme, "/v1/Pod", document, pod([{"$patch": "replace"}, {"name": "c"}]))) == ["c"]
    assert names(merge(scheme, "/v1/Pod", pod([{"name": "a"}]), pod([{"$patch": "replace"}]))) == []


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        (pod([{"image": "x"}]), 500, "map: map[image:x] does not contain declared merge key: name"),
        (pod([{"name": "a", "$patch": "merge"}]), 500, "merging lists cannot yet be specified in the patch"),
        (pod([{"name": "a", "$patch": "x"}]), 500, "unknown patch type: x in map: map[$patch:x name:a]"),
        (pod(["a"]), 500, "list element types are not identical: [[map[name:a]] [a]]"),
        (pod([["a"]]), 422, "the server rejected our request due to an error in our request"),
        ({"spec": {"$patch": "merge"}}, 500, "unknown patch type: merge in map: map[$patch:merge]"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["x"], "y": 1}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder": []}}, 400, "invalid patch format of setElementOrder list"),
        ({"spec": {"$deleteFromPrimitiveList": []}}, 400, "invalid patch format of primitive list"),
        (
            {"spec": {"$setElementOrder/containers": "x"}},
            500,
            "expected a []interface {}, but received a string",
        ),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}},
            500,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (
            {"spec": {"nodeSelector": {"x": {"y": "z"}}}},
            500,
            "merging an object in json but data type is not struct, instead is: map",
        ),
        (
            {"spec": {"odd": {"y": "z"}}},
            500,
            'unable to find api field in struct PodSpec for the json field "odd"',
        ),
    ],
)
def test_malformed_patches(scheme: Scheme, patch: dict[str, Any], code: int, message: str) -> None:
    document = pod([{"name": "a"}], nodeSelector={"x": {}}, odd={})
    with pytest.raises(StatusError) as caught:
        merge(scheme, "/v1/Pod", document, patch)
    assert (caught.value.code, str(caught.value)) == (code, message)


CONTAINERS = st.lists(st.sampled_from("abcd"), unique=True).map(lambda chosen: [{"name": name} for name in chosen])
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]))


@given(CONTAINERS, CONTAINERS)
def test_an_order_list_is_obeyed(present: list[dict[str, Any]], order: list[dict[str, Any]]) -> None:
    result = names(
        merge(load_scheme_once(), "/v1/Pod", pod(present), {"spec": {"$setElementOrder/containers": order}})
        if present
        else pod([])
    )
    ordered = [item["name"] for item in order if item in present]
    others = [item["name"] for item in present if item not in order]
    assert sorted(result) == sorted(item["name"] for item in present)
    assert [name for name in result if name in ordered] == ordered
    assert [name for name in result if name in others] == others


@given(LABELS, st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", None])))
def test_maps_merge_as_in_a_merge_patch(labels: dict[str, Any], change: dict[str, Any]) -> None:
    document = {"metadata": {"labels": labels}}
    patch = {"metadata": {"labels": change}}
    want = apply_merge_patch(copy.deepcopy(document), patch)
    assert merge(load_scheme_once(), "/v1/ConfigMap", document, patch) == want


_SCHEMES: list[Scheme] = []


def load_scheme_once() -> Scheme:
    if not _SCHEMES:
        _SCHEMES.append(load_scheme())
    return _SCHEMES[0]
