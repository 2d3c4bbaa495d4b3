from __future__ import annotations

from typing import Any

import orjson
import pytest

from apiserver.api.scheme import Column, Resource, Scheme
from apiserver.api.status import StatusError
from apiserver.endpoints.tables import (
    IncludeObject,
    Printer,
    Row,
    TableOptions,
    list_table,
    object_table,
    parse_include_object,
    partial_object_metadata,
    partial_object_metadata_list,
)
from apiserver.endpoints.tables.durations import unix_seconds

NOW = unix_seconds("2026-01-10T00:00:00Z")


def find(scheme: Scheme, group: str, version: str, plural: str) -> Resource:
    resource = scheme.resource(group, version, plural)
    assert resource is not None
    return resource


def config_map(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "resourceVersion": "7", "creationTimestamp": "2026-01-09T23:59:00Z"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def test_a_list_becomes_a_table_with_metadata(scheme: Scheme) -> None:
    metadata = {"resourceVersion": "9", "continue": "token", "remainingItemCount": 3}
    rows = [Row(config_map("a")), Row(config_map("b"))]
    body = list_table(find(scheme, "", "v1", "configmaps"), rows, TableOptions(), now_seconds=NOW, metadata=metadata)
    table = orjson.loads(body)
    assert list(table) == ["kind", "apiVersion", "metadata", "columnDefinitions", "rows"]
    assert (table["kind"], table["apiVersion"], table["metadata"]) == ("Table", "meta.k8s.io/v1", metadata)
    shown = [{**column, "description": bool(column["description"])} for column in table["columnDefinitions"]]
    assert shown == [
        {"name": "Name", "type": "string", "format": "name", "description": True, "priority": 0},
        {"name": "Data", "type": "string", "format": "", "description": True, "priority": 0},
        {"name": "Age", "type": "string", "format": "", "description": True, "priority": 0},
    ]
    assert table["rows"][1] == {
        "cells": ["b", 1, "60s"],
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": config_map("b")["metadata"],
        },
    }


def test_an_empty_list_has_an_empty_list_of_rows(scheme: Scheme) -> None:
    resource = find(scheme, "", "v1", "configmaps")
    table = orjson.loads(list_table(resource, [], TableOptions(), now_seconds=NOW, metadata={"resourceVersion": "9"}))
    assert table["rows"] == []
    assert len(table["columnDefinitions"]) == 3


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED"])
def test_watch_events_after_the_first_leave_the_columns_out(scheme: Scheme, kind: str) -> None:
    options = TableOptions().without_columns() if kind == "MODIFIED" else TableOptions()
    body = object_table(find(scheme, "", "v1", "configmaps"), Row(config_map("a")), options, now_seconds=NOW)
    table = orjson.loads(body)
    assert (table["columnDefinitions"] is None) == (kind == "MODIFIED")
    assert table["metadata"] == {"resourceVersion": "7"}
    assert len(table["rows"]) == 1


def test_what_rows_carry_of_their_objects(scheme: Scheme) -> None:
    resource = find(scheme, "", "v1", "configmaps")
    obj = config_map("a")

    def carried(include: IncludeObject, version: str = "v1") -> Any:
        options = TableOptions(include, version)
        table = orjson.loads(object_table(resource, Row(obj, orjson.dumps(obj)), options, now_seconds=NOW))
        assert table["apiVersion"] == f"meta.k8s.io/{version}"
        return table["rows"][0]["object"]

    assert carried(IncludeObject.NONE) is None
    assert carried(IncludeObject.OBJECT) == obj
    assert carried(IncludeObject.METADATA, "v1beta1") == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1beta1",
        "metadata": obj["metadata"],
    }


def test_finished_pods_say_so(scheme: Scheme) -> None:
    obj = {"metadata": {"name": "p"}, "status": {"phase": "Failed"}}
    row = orjson.loads(object_table(find(scheme, "", "v1", "pods"), Row(obj), TableOptions(), now_seconds=NOW))["rows"][
        0
    ]
    assert [(condition["type"], condition["status"], condition["reason"]) for condition in row["conditions"]] == [
        ("Completed", "True", "Failed")
    ]


def test_include_object_is_checked() -> None:
    assert parse_include_object("") is IncludeObject.METADATA
    assert parse_include_object("None") is IncludeObject.NONE
    with pytest.raises(StatusError) as caught:
        parse_include_object('x"y')
    assert caught.value.code == 400
    assert str(caught.value) == (
        'Unable to convert to Table as requested: includeObject: Invalid value: "x\\"y": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )


def cells(table: bytes) -> list[list[Any]]:
    return [row["cells"] for row in orjson.loads(table)["rows"]]


def test_flow_schemas_are_listed_by_precedence(scheme: Scheme) -> None:
    def schema(name: str, precedence: int) -> Row:
        return Row({"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence}})

    resource = find(scheme, "flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
    rows = [schema("c", 1), schema("b", 9), schema("a", 9)]
    table = list_table(resource, rows, TableOptions(), now_seconds=NOW, metadata={})
    assert [row[0] for row in cells(table)] == ["c", "a", "b"]


def test_a_list_of_storage_classes_names_one_default(scheme: Scheme) -> None:
    def storage_class(name: str, created: str, default: str) -> Row:
        annotations = {"storageclass.kubernetes.io/is-default-class": default}
        return Row({"metadata": {"name": name, "creationTimestamp": created, "annotations": annotations}})

    resource = find(scheme, "storage.k8s.io", "v1", "storageclasses")
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    rows = [
        storage_class("a", early, "true"),
        storage_class("c", late, "true"),
        storage_class("b", late, "true"),
        storage_class("d", late, "false"),
    ]
    table = list_table(resource, rows, TableOptions(), now_seconds=NOW, metadata={})
    assert [row[0] for row in cells(table)] == ["a", "c", "b (default)", "d"]


def test_a_kind_may_bring_its_own_printer(scheme: Scheme) -> None:
    printer = Printer(lambda obj, now: [obj["spec"]["size"]], columns=(Column("Size", "integer", how="spec.size"),))
    obj = {"metadata": {"name": "x"}, "spec": {"size": 3}}
    options = TableOptions(printer=printer)
    table = orjson.loads(object_table(find(scheme, "", "v1", "pods"), Row(obj), options, now_seconds=NOW))
    assert [column["name"] for column in table["columnDefinitions"]] == ["Size"]
    assert table["rows"][0]["cells"] == [3]


def test_partial_object_metadata() -> None:
    obj = config_map("a")
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    assert partial_object_metadata(obj) == partial
    assert partial_object_metadata_list([obj], {"resourceVersion": "9"}) == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9"},
        "items": [partial],
    }


def test_a_subresource_is_shown_as_its_own_kind(scheme: Scheme) -> None:
    deployments = find(scheme, "apps", "v1", "deployments")

    def shown(obj: dict[str, Any]) -> tuple[list[str], list[Any]]:
        table = orjson.loads(object_table(deployments, Row(obj), TableOptions(), now_seconds=NOW))
        return [column["name"] for column in table["columnDefinitions"]], table["rows"][0]["cells"]

    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x"}, "spec": {"replicas": 3}}
    assert shown(scale) == (["Name", "Desired", "Available", "Age"], ["x", 3, 0, "<unknown>"])
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {"name": "x"}}
    assert shown(request) == (["Name", "Created At"], ["x", "0001-01-01T00:00:00Z"])
