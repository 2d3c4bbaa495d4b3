"""In which form things come in and go out."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from apiserver.codec.wire import MAGIC

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


async def test_protobuf_in_and_out(api: Any) -> None:
    data = api.codec.to_storage(BODY)
    created = await api("POST", CONFIG_MAPS, data, expect=201, content_type=PROTOBUF, accept=PROTOBUF)
    assert created.content_type == PROTOBUF
    assert created.body.startswith(MAGIC)
    assert api.codec.from_wire(created.body)["data"] == {"k": "v"}
    got = await api("GET", CONFIG_MAPS + "/a", expect=200, accept=PROTOBUF + ",application/json")
    assert got.body == created.body
    listed = await api("GET", CONFIG_MAPS, expect=200, accept=PROTOBUF)
    unpacked = api.codec.from_wire(listed.body)
    assert unpacked["kind"] == "ConfigMapList"
    assert unpacked["items"][0]["data"] == {"k": "v"}


async def test_protobuf_status(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "/nope", expect=404, accept=PROTOBUF)
    status = api.codec.from_wire(answer.body)
    assert status["kind"] == "Status"
    assert status["reason"] == "NotFound"


async def test_yaml_in_and_out(api: Any) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n"
    created = await api(
        "POST", CONFIG_MAPS, body, expect=201, content_type="application/yaml", accept="application/yaml"
    )
    assert created.content_type == "application/yaml"
    assert b"k: v" in created.body
    listed = await api("GET", CONFIG_MAPS, expect=200, accept="application/yaml")
    assert b"kind: ConfigMapList" in listed.body


async def test_406_and_415(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS, expect=406, accept="text/html")
    assert answer.json["message"] == (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )
    answer = await api("POST", CONFIG_MAPS, BODY, expect=415, content_type="text/csv")
    assert answer.json["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


async def test_body_limit(api: Any) -> None:
    answer = await api("POST", CONFIG_MAPS, b" " * (3 * 1024 * 1024 + 1), expect=413)
    assert answer.json["message"] == "Request entity too large: limit is 3145728"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"{nope",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "
            "json parse error: ",
        ),
        (b"", "the object provided is unrecognized (must be of type ConfigMap): "),
        (b"[]", "the object provided is unrecognized (must be of type ConfigMap): "),
        (
            b'{"kind":"ConfigMap","apiVersion":"v1","metadata":"x"}',
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: ',
        ),
        (
            b'{"kind":"Service","apiVersion":"v1","metadata":{"name":"x"}}',
            'Service in version "v1" cannot be handled as a ConfigMap: converting (v1.Service) to (core.ConfigMap): '
            "unknown conversion",
        ),
        (
            b'{"kind":"Nope","apiVersion":"v1","metadata":{"name":"x"}}',
            'Nope in version "v1" cannot be handled as a ConfigMap: no kind "Nope" is registered for version "v1" in ',
        ),
        (
            b'{"kind":"ConfigMap","apiVersion":"a/b/c"}',
            "the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c "
            '({"kind":"ConfigMap","apiVersio ...)',
        ),
    ],
)
async def test_bad_bodies_are_400(api: Any, body: bytes, message: str) -> None:
    answer = await api("POST", CONFIG_MAPS, body, expect=400, content_type="application/json")
    assert answer.json["reason"] == "BadRequest"
    assert answer.json["message"].startswith(message), answer.json["message"]


async def test_version_of_the_body_must_be_that_of_the_url(api: Any) -> None:
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    body = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    answer = await api("POST", path, body, expect=400)
    assert answer.json["message"] == (
        "the API version in the data (autoscaling/v2) does not match the expected API version (autoscaling/v1)"
    )


async def test_field_validation(api: Any) -> None:
    body = {**BODY, "spec": {"x": 1}, "data": {"k": "v"}}
    strict = await api("POST", CONFIG_MAPS + "?fieldValidation=Strict", body, expect=400)
    assert strict.json["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "spec"'
    )
    duplicate = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"d"},"data":{"k":"1","k":"2"}}'
    strict = await api("POST", CONFIG_MAPS + "?fieldValidation=Strict", duplicate, expect=400)
    assert 'strict decoding error: duplicate field "data.k"' in strict.json["message"]
    warned = await api("POST", CONFIG_MAPS, body, expect=201)
    assert warned.warnings == ['299 - "unknown field \\"spec\\""']
    assert "spec" not in warned.json
    body["metadata"] = {"name": "b"}
    ignored = await api("POST", CONFIG_MAPS + "?fieldValidation=Ignore", body, expect=201)
    assert ignored.warnings == []
    wrong = await api("POST", CONFIG_MAPS + "?fieldValidation=Maybe", body, expect=422)
    assert wrong.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": '
        'supported values: "", "Ignore", "Strict", "Warn"'
    )


async def test_field_manager_is_checked(api: Any) -> None:
    answer = await api("POST", CONFIG_MAPS + "?fieldManager=" + "m" * 129, BODY, expect=422)
    assert answer.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes'
    )
    answer = await api("POST", CONFIG_MAPS + "?fieldManager=a%07b", BODY, expect=422)
    assert "invalid character U+0007 (at position 1)" in answer.json["message"]


async def test_table(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    listed = (await api("GET", CONFIG_MAPS + "?limit=500", expect=200, accept=TABLE)).json
    assert listed["kind"] == "Table"
    assert listed["apiVersion"] == "meta.k8s.io/v1"
    assert [column["name"] for column in listed["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert listed["rows"][0]["cells"] == ["a", 1, "0s"]
    assert listed["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert listed["metadata"]["resourceVersion"] == str(api.storage.revision)
    single = (await api("GET", CONFIG_MAPS + "/a?includeObject=Object", expect=200, accept=TABLE)).json
    assert single["rows"][0]["object"]["data"] == {"k": "v"}
    bad = await api("GET", CONFIG_MAPS + "?includeObject=Some", expect=400, accept=TABLE)
    assert bad.json["message"].startswith("Unable to convert to Table as requested")


async def test_table_has_no_protobuf_form(api: Any) -> None:
    accept = PROTOBUF + ";as=Table;v=v1;g=meta.k8s.io," + TABLE
    answer = await api("GET", CONFIG_MAPS, expect=200, accept=accept)
    assert answer.content_type == "application/json"
    assert answer.json["kind"] == "Table"
    await api("GET", CONFIG_MAPS, expect=406, accept=PROTOBUF + ";as=Table;v=v1;g=meta.k8s.io")


async def test_partial_object_metadata(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    many = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    single = (await api("GET", CONFIG_MAPS + "/a", expect=200, accept=one)).json
    assert single["kind"] == "PartialObjectMetadata"
    assert set(single) == {"kind", "apiVersion", "metadata"}
    listed = (await api("GET", CONFIG_MAPS, expect=200, accept=many)).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["items"][0]["metadata"]["name"] == "a"
    await api("GET", CONFIG_MAPS, expect=406, accept=one)
    await api("GET", CONFIG_MAPS + "/a", expect=406, accept=many)
    proto = await api("GET", CONFIG_MAPS + "/a", expect=200, accept=one.replace("application/json", PROTOBUF))
    assert api.codec.from_wire(proto.body)["kind"] == "PartialObjectMetadata"


async def test_unknown_transformations_are_406(api: Any) -> None:
    await api("GET", CONFIG_MAPS, expect=406, accept="application/json;as=Chair;v=v1;g=meta.k8s.io")


async def test_people_get_indented_json(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    shown = await api("GET", CONFIG_MAPS + "/a", expect=200, user_agent="curl/8")
    assert shown.body.startswith(b'{\n  "kind": "ConfigMap",\n')
    plain = await api("GET", CONFIG_MAPS + "/a?pretty=false", expect=200, user_agent="curl/8")
    assert b"\n  " not in plain.body
    shown = await api("GET", CONFIG_MAPS + "?pretty=true", expect=200)
    assert b"\n  " in shown.body


async def test_list_joins_what_is_stored(api: Any) -> None:
    empty = await api("GET", CONFIG_MAPS, expect=200)
    revision = str(api.storage.revision)
    assert empty.body == (
        b'{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"%b"},"items":[]}\n'
        % revision.encode()
    )
    created = (await api("POST", CONFIG_MAPS, BODY, expect=201)).json
    listed = (await api("GET", CONFIG_MAPS, expect=200)).json
    del created["kind"], created["apiVersion"]
    assert listed["items"] == [created]


async def test_list_pages(api: Any) -> None:
    for name in "abc":
        await api("POST", CONFIG_MAPS, {**BODY, "metadata": {"name": name}}, expect=201)
    page = (await api("GET", CONFIG_MAPS + "?limit=2", expect=200)).json
    assert page["metadata"]["continue"] == "token"
    assert page["metadata"]["remainingItemCount"] == 1


async def test_large_lists_are_compressed_when_asked(api: Any) -> None:
    for name in "abc":
        body = {**BODY, "metadata": {"name": name}, "data": {"k": "v" * 50_000}}
        await api("POST", CONFIG_MAPS, body, expect=201)
    plain = await api("GET", CONFIG_MAPS, expect=200)
    assert plain.header("content-encoding") == ""
    packed = await api("GET", CONFIG_MAPS, expect=200, accept_encoding="gzip")
    assert packed.header("content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    small = await api("GET", CONFIG_MAPS + "/a", expect=200, accept_encoding="gzip")
    assert small.header("content-encoding") == ""


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("fieldSelector=spec.nope=1", 400, '"spec.nope" is not a known field selector: only "metadata.name"'),
        ("labelSelector=a%20b%20c", 400, "unable to parse"),
        (
            "resourceVersionMatch=Exact",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "sendInitialEvents=true",
            422,
            'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
            "sendInitialEvents is forbidden for list",
        ),
    ],
)
async def test_bad_list_options(api: Any, query: str, code: int, message: str) -> None:
    answer = await api("GET", CONFIG_MAPS + "?" + query, expect=code)
    assert message in answer.json["message"]


async def test_field_selector_on_a_name(api: Any) -> None:
    for name in "ab":
        await api("POST", CONFIG_MAPS, {**BODY, "metadata": {"name": name}}, expect=201)
    listed = (await api("GET", CONFIG_MAPS + "?fieldSelector=metadata.name=b", expect=200)).json
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]


async def test_canonical_json_is_compact(api: Any) -> None:
    created = await api("POST", CONFIG_MAPS, orjson.dumps(BODY, option=orjson.OPT_INDENT_2), expect=201)
    assert b": " not in created.body
