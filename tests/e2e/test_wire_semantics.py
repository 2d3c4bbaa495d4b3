"""What goes over the wire, byte for byte where it matters: the parts of the API that clients rely on and seldom show.

The texts are kube-apiserver's own; clients match on some of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from apiserver.api.scheme import load_scheme
from apiserver.codec import Codec
from tests.e2e.http_client import Answer, HTTPConnection
from tests.e2e.server_process import ServerProcess

pytestmark = pytest.mark.e2e

PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
EVENT_SECONDS_MAX = 30.0


@dataclass
class Wire:
    """One connection, and the collection of ConfigMaps in a namespace of the test's own."""

    connection: HTTPConnection
    server: ServerProcess
    namespace: str

    @property
    def config_maps(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.connection.call(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def create(self, name: str, *, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
        body = {"metadata": {"name": name, **metadata}, "data": data or {"color": "blue"}}
        answer = await self.call("POST", self.config_maps, body)
        assert answer.status == 201, answer.body
        created: dict[str, Any] = answer.json()
        return created

    async def refused(self, code: int, reason: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The Status of a request that must fail."""
        answer = await self.call(method, path, body, **headers)
        assert answer.status == code, answer.body
        status = answer.json()
        assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
        assert (status["code"], status.get("reason", "")) == (code, reason), status
        return status


@pytest.fixture
async def wire(server: ServerProcess, namespace: str) -> AsyncIterator[Wire]:
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        yield Wire(connection, server, namespace)


class Watched:
    """A watch on a connection of its own, read one event at a time."""

    def __init__(self, connection: HTTPConnection, path: str, accept: str) -> None:
        self._connection = connection
        self._stream = connection.stream(path, accept)

    async def next(self) -> Any:
        async with asyncio.timeout(EVENT_SECONDS_MAX):
            return await anext(self._stream)

    async def rest(self) -> list[Any]:
        """Everything until the server ends the stream."""
        async with asyncio.timeout(EVENT_SECONDS_MAX):
            return [event async for event in self._stream]


@contextlib.asynccontextmanager
async def watch(wire: Wire, path: str, accept: str = "application/json") -> AsyncIterator[Watched]:
    async with await HTTPConnection.open(wire.server.kubeconfig) as connection:
        watched = Watched(connection, path, accept)
        yield watched
        await watched._stream.aclose()


def names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def version(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def brief(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


# resourceVersion


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b"]),
        ("resourceVersion=0", ["a", "b"]),
        ("resourceVersion=FIRST", ["a", "b"]),
        ("resourceVersion=FIRST&resourceVersionMatch=NotOlderThan", ["a", "b"]),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan", ["a", "b"]),
        ("resourceVersion=SECOND&resourceVersionMatch=NotOlderThan", ["a", "b"]),
        ("resourceVersion=FIRST&resourceVersionMatch=Exact", ["a"]),
        ("resourceVersion=SECOND&resourceVersionMatch=Exact", ["a", "b"]),
        ("resourceVersion=FIRST&limit=5", ["a"]),  # with a limit, no match means Exact
        ("resourceVersion=FIRST&limit=5&resourceVersionMatch=NotOlderThan", ["a", "b"]),
        ("resourceVersion=0&limit=1", ["a", "b"]),  # "0" is answered from the cache, and that ignores the limit
    ],
)
async def test_lists_at_resource_versions(wire: Wire, query: str, expected: list[str]) -> None:
    first, second = await wire.create("a"), await wire.create("b")
    query = query.replace("FIRST", str(version(first))).replace("SECOND", str(version(second)))
    listed = (await wire.call("GET", f"{wire.config_maps}?{query}")).json()
    assert names(listed) == expected
    if "Exact" in query or expected == ["a"]:
        assert version(listed) == version(second if len(expected) == 2 else first)
    else:
        assert version(listed) >= version(second)


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch",
            'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        (
            "resourceVersionMatch=Newest&resourceVersion=1",
            "resourceVersionMatch",
            'Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""',
        ),
        ("sendInitialEvents=true", "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"),
        (
            "watch=true&sendInitialEvents=true",
            "resourceVersionMatch",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    ],
)
async def test_list_options_that_contradict_each_other(wire: Wire, query: str, field: str, message: str) -> None:
    status = await wire.refused(422, "Invalid", "GET", f"{wire.config_maps}?{query}")
    assert status["message"] == f'ListOptions.meta.k8s.io "" is invalid: {field}: {message}'
    assert status["details"]["causes"][0]["field"] == field


@pytest.mark.parametrize("name", ["", "/a"])
async def test_resource_versions_of_the_future(wire: Wire, name: str) -> None:
    future = version(await wire.create("a")) + 1_000_000
    answer = await wire.call("GET", f"{wire.config_maps}{name}?resourceVersion={future}")
    status = answer.json()
    assert (answer.status, status["reason"]) == (504, "Timeout")
    pattern = rf"Timeout: Too large resource version: {future}, current: \d+"
    assert re.fullmatch(pattern, status["message"]), status["message"]
    assert status["details"]["causes"] == [
        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    ]
    assert int(answer.headers["retry-after"]) == status["details"]["retryAfterSeconds"]


async def test_gets_at_resource_versions(wire: Wire) -> None:
    created = await wire.create("a")
    for wanted in ("", "0", str(version(created)), "1"):
        answer = await wire.call("GET", f"{wire.config_maps}/a?resourceVersion={wanted}")
        assert (answer.status, answer.json()) == (200, created)


async def test_pages_and_their_tokens(wire: Wire) -> None:
    for name in ("a", "b", "c"):
        await wire.create(name)
    page = (await wire.call("GET", f"{wire.config_maps}?limit=2")).json()
    token = page["metadata"]["continue"]
    assert (names(page), page["metadata"]["remainingItemCount"]) == (["a", "b"], 1)
    await wire.call("DELETE", f"{wire.config_maps}/c")
    rest = (await wire.call("GET", f"{wire.config_maps}?limit=2&continue={token}")).json()
    assert names(rest) == ["c"]
    assert rest["metadata"] == {"resourceVersion": page["metadata"]["resourceVersion"]}
    selected = (await wire.call("GET", f"{wire.config_maps}?limit=1&labelSelector=!x")).json()
    assert "remainingItemCount" not in selected["metadata"]  # nobody knows how many match

    status = await wire.refused(400, "BadRequest", "GET", f"{wire.config_maps}?continue=nonsense")
    assert status["message"].startswith("invalid continue token: continue key is not valid: ")
    both = f"{wire.config_maps}?continue={token}&resourceVersion=1"
    status = await wire.refused(400, "BadRequest", "GET", both)
    assert status["message"] == "specifying resource version is not allowed when using continue"
    both = f"{wire.config_maps}?continue={token}&resourceVersionMatch=Exact&resourceVersion=1"
    status = await wire.refused(422, "Invalid", "GET", both)
    assert "resourceVersionMatch is forbidden when continue is provided" in status["message"]
    status = await wire.refused(400, "BadRequest", "GET", f"{wire.config_maps}?limit=many")
    assert 'parsing "many": invalid syntax' in status["message"]


# Watches


async def test_a_watch_without_a_version_begins_with_what_is_there(wire: Wire) -> None:
    await wire.create("a")
    for query in ("", "&resourceVersion=0"):
        async with watch(wire, f"{wire.config_maps}?watch=true{query}") as events:
            assert brief(await events.next()) == ("ADDED", "a")
            await wire.call("PATCH", f"{wire.config_maps}/a", {"data": {"x": query or "y"}}, Content_Type=MERGE_PATCH)
            assert brief(await events.next()) == ("MODIFIED", "a")


async def test_a_watch_from_a_version_resumes_after_it(wire: Wire) -> None:
    created = await wire.create("a")
    await wire.create("b")
    await wire.call("DELETE", f"{wire.config_maps}/a")
    query = f"watch=true&resourceVersion={version(created)}&timeoutSeconds=1"
    async with watch(wire, f"{wire.config_maps}?{query}") as events:
        seen = await events.rest()
    assert [brief(event) for event in seen] == [("ADDED", "b"), ("DELETED", "a")]
    deleted = seen[1]["object"]
    assert version(deleted) > version(seen[0]["object"])  # the version of the deletion, with the last state
    assert deleted["data"] == created["data"]


async def test_a_watch_of_a_name_and_of_labels(wire: Wire) -> None:
    await wire.create("a", labels={"color": "red"})
    await wire.create("b", labels={"color": "tan"})
    async with watch(wire, f"{wire.config_maps}?watch=1&fieldSelector=metadata.name%3Db&timeoutSeconds=1") as events:
        assert [brief(event) for event in await events.rest()] == [("ADDED", "b")]
    async with watch(wire, f"{wire.config_maps}?watch=1&labelSelector=color%3Dred") as events:
        assert brief(await events.next()) == ("ADDED", "a")
        for color, expected in (("tan", "DELETED"), ("red", "ADDED"), ("red", None)):
            patch = {"metadata": {"labels": {"color": color}}}
            await wire.call("PATCH", f"{wire.config_maps}/a", patch, Content_Type=MERGE_PATCH)
            if expected:  # a patch that changes nothing writes nothing
                assert brief(await events.next()) == (expected, "a")
        await wire.call("DELETE", f"{wire.config_maps}/a")
        assert brief(await events.next()) == ("DELETED", "a")


async def test_the_old_form_of_a_watch(wire: Wire) -> None:
    await wire.create("a")
    old = f"/api/v1/watch/namespaces/{wire.namespace}/configmaps"
    for path in (old, f"{old}/a"):
        async with watch(wire, f"{path}?timeoutSeconds=1") as events:
            assert [brief(event) for event in await events.rest()] == [("ADDED", "a")]


async def test_a_watch_list_ends_its_initial_events_with_a_bookmark(wire: Wire) -> None:
    await wire.create("a")
    last = await wire.create("b")
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watch(wire, f"{wire.config_maps}?{query}") as events:
        assert {brief(await events.next()) for _ in range(2)} == {("ADDED", "a"), ("ADDED", "b")}
        bookmark = await events.next()
        assert bookmark["type"] == "BOOKMARK"
        obj = bookmark["object"]
        assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert version(obj) >= version(last)
        await wire.create("c")
        assert brief(await events.next()) == ("ADDED", "c")
    query = f"{query.replace('true&resource', 'false&resource')}&resourceVersion={version(last)}"
    async with watch(wire, f"{wire.config_maps}?{query}") as events:
        assert brief(await events.next()) == ("ADDED", "c")


async def test_a_watch_gets_a_bookmark_before_it_ends(wire: Wire) -> None:
    created = await wire.create("a")
    query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds=4&resourceVersion={version(created)}"
    async with watch(wire, f"{wire.config_maps}?{query}") as events:
        seen = await events.rest()
    assert {event["type"] for event in seen} == {"BOOKMARK"}
    metadata = seen[-1]["object"]["metadata"]
    assert int(metadata["resourceVersion"]) >= version(created)
    assert "annotations" not in metadata


async def test_a_watch_in_protobuf(wire: Wire) -> None:
    await wire.create("a")
    path = f"{wire.config_maps}?watch=true&timeoutSeconds=1"
    async with contextlib.aclosing(wire.connection.chunks(path, PROTOBUF)) as chunks:
        stream = b"".join([chunk async for chunk in chunks])
    length = int.from_bytes(stream[:4], "big")
    assert len(stream) == 4 + length
    event = stream[4:]
    assert b"ADDED" in event
    envelope = event[event.index(b"k8s\0") :]
    decoded = Codec(load_scheme()).from_wire(envelope)
    assert (decoded["kind"], decoded["metadata"]["name"]) == ("ConfigMap", "a")


async def test_a_watch_as_table_names_its_columns_once(wire: Wire) -> None:
    await wire.create("a")
    async with watch(wire, f"{wire.config_maps}?watch=true", TABLE) as events:
        first = (await events.next())["object"]
        await wire.create("b")
        second = (await events.next())["object"]
    assert first["kind"] == second["kind"] == "Table"
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["columnDefinitions"] in (None, [])
    assert [table["rows"][0]["cells"][0] for table in (first, second)] == ["a", "b"]
    assert second["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


# Forms of bodies


async def test_protobuf_there_and_back(wire: Wire) -> None:
    codec = Codec(load_scheme())
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "data": {"color": "blue"},
        "binaryData": {"raw": "AAEC/w=="},
    }
    sent = codec.to_storage(codec.normalize(obj, strict=True).obj)
    answer = await wire.call("POST", wire.config_maps, sent, Content_Type=PROTOBUF, Accept=PROTOBUF)
    assert (answer.status, answer.headers["content-type"]) == (201, PROTOBUF)
    assert answer.body.startswith(b"k8s\0")
    received = codec.from_wire(answer.body)
    assert received["binaryData"] == obj["binaryData"]
    read = (await wire.call("GET", f"{wire.config_maps}/a")).json()
    assert received == read
    listed = await wire.call("GET", wire.config_maps, Accept=PROTOBUF)
    decoded = codec.from_wire(listed.body)
    assert (decoded["kind"], names(decoded)) == ("ConfigMapList", ["a"])
    missing = await wire.call("GET", f"{wire.config_maps}/none", Accept=PROTOBUF)
    assert (missing.status, missing.headers["content-type"]) == (404, PROTOBUF)
    assert codec.from_wire(missing.body)["reason"] == "NotFound"


async def test_yaml_there_and_back(wire: Wire) -> None:
    body = b"metadata:\n  name: a\ndata:\n  color: blue\n"
    answer = await wire.call("POST", wire.config_maps, body, Content_Type="application/yaml", Accept="application/yaml")
    assert (answer.status, answer.headers["content-type"]) == (201, "application/yaml")
    assert answer.body.startswith(b"apiVersion: v1\ndata:\n  color: blue\nkind: ConfigMap\nmetadata:\n")


async def test_accept_headers_of_all_sorts(wire: Wire) -> None:
    await wire.create("a")
    path = f"{wire.config_maps}/a"
    for accept in ("*/*", "application/*", "text/html, */*;q=0.1", "application/json;q=0.9, text/plain", ""):
        answer = await wire.call("GET", path, Accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), accept
    status = await wire.refused(406, "NotAcceptable", "GET", path, Accept="application/xml")
    assert status["message"] == (
        "only the following media types are accepted: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )
    await wire.refused(406, "NotAcceptable", "GET", path, Accept="application/json;as=Flower;v=v1;g=meta.k8s.io")
    no_stream = await wire.call("GET", f"{wire.config_maps}?watch=true", Accept="application/yaml")
    assert (no_stream.status, no_stream.headers["content-type"]) == (406, "application/yaml")
    assert b"application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch" in no_stream.body


async def test_tables(wire: Wire) -> None:
    await wire.create("a", data={"x": "1", "y": "2"})
    listed = (await wire.call("GET", wire.config_maps, Accept=TABLE)).json()
    assert (listed["kind"], listed["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert int(listed["metadata"]["resourceVersion"]) > 0
    definitions = [(column["name"], column["type"], column["format"]) for column in listed["columnDefinitions"]]
    assert definitions == [("Name", "string", "name"), ("Data", "string", ""), ("Age", "string", "")]
    (row,) = listed["rows"]
    assert row["cells"][:2] == ["a", 2]
    assert (row["object"]["kind"], row["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert "data" not in row["object"]
    one = (await wire.call("GET", f"{wire.config_maps}/a?includeObject=Object", Accept=TABLE)).json()
    assert one["rows"][0]["object"]["data"] == {"x": "1", "y": "2"}
    bare = (await wire.call("GET", f"{wire.config_maps}?includeObject=None", Accept=TABLE)).json()
    assert bare["rows"][0].get("object") is None
    kubectl = f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
    assert (await wire.call("GET", wire.config_maps, Accept=kubectl)).json()["kind"] == "Table"
    missing = await wire.refused(404, "NotFound", "GET", f"{wire.config_maps}/none", Accept=kubectl)
    assert missing["message"] == 'configmaps "none" not found'


async def test_metadata_only(wire: Wire) -> None:
    created = await wire.create("a", labels={"x": "y"})
    one = (await wire.call("GET", f"{wire.config_maps}/a", Accept=PARTIAL)).json()
    assert one == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": created["metadata"],
    }
    listed = (await wire.call("GET", wire.config_maps, Accept=PARTIAL_LIST)).json()
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert [item["metadata"] for item in listed["items"]] == [created["metadata"]]
    codec = Codec(load_scheme())
    protobuf = PARTIAL_LIST.replace("application/json", PROTOBUF)
    answer = await wire.call("GET", wire.config_maps, Accept=f"{protobuf},{PARTIAL_LIST}")
    assert answer.headers["content-type"] == PROTOBUF
    assert names(codec.from_wire(answer.body)) == ["a"]


async def test_content_types_nobody_knows(wire: Wire) -> None:
    status = await wire.refused(
        415, "UnsupportedMediaType", "POST", wire.config_maps, b"<a/>", Content_Type="application/xml"
    )
    assert status["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )
    await wire.create("a")
    status = await wire.refused(415, "UnsupportedMediaType", "PATCH", f"{wire.config_maps}/a", {})
    assert status["message"].startswith(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
    )


async def test_bodies_that_are_too_large_or_not_readable(wire: Wire) -> None:
    large = {"metadata": {"name": "a"}, "data": {"a": "x" * (3 << 20)}}
    async with await HTTPConnection.open(wire.server.kubeconfig) as connection:
        answer = await connection.call("POST", wire.config_maps, large)
    assert (answer.status, answer.json()["reason"]) == (413, "RequestEntityTooLarge")
    assert answer.json()["message"] == "Request entity too large: limit is 3145728"
    status = await wire.refused(400, "BadRequest", "POST", wire.config_maps, b'{"metadata":')
    assert status["message"].startswith("the object provided is unrecognized (must be of type ConfigMap): ")
    status = await wire.refused(400, "BadRequest", "POST", wire.config_maps, {"kind": "Secret", "apiVersion": "v1"})
    assert status["message"].startswith('Secret in version "v1" cannot be handled as a ConfigMap: ')
    status = await wire.refused(400, "BadRequest", "POST", wire.config_maps, {"data": {"a": 1}})
    assert status["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: '
        "cannot unmarshal number into Go struct field ConfigMap.data of type string"
    )


async def test_paths_and_methods_that_are_not_there(wire: Wire) -> None:
    await wire.create("a")
    for method, path in (("POST", f"{wire.config_maps}/a"), ("PUT", wire.config_maps), ("PATCH", "/api/v1/nodes")):
        status = await wire.refused(405, "MethodNotAllowed", method, path, {})
        assert status["message"] == "the server does not allow this method on the requested resource"
    status = await wire.refused(404, "NotFound", "GET", f"/api/v1/namespaces/{wire.namespace}/flowers")
    assert status["message"] == "the server could not find the requested resource"
    for path in ("/apis/example.com/v1/flowers", "/nothing"):
        answer = await wire.call("GET", path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
    status = await wire.refused(404, "NotFound", "GET", "/apis/apps/v1/namespaces/default/deployments/none")
    assert status["message"] == 'deployments.apps "none" not found'
    assert status["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


async def test_pretty_and_compressed(wire: Wire) -> None:
    await wire.create("a", data={"large": "x" * 200_000})
    compact = await wire.call("GET", f"{wire.config_maps}/a")
    pretty = await wire.call("GET", f"{wire.config_maps}/a?pretty=true")
    assert b"\n" not in compact.body.rstrip()
    assert pretty.body.startswith(b'{\n  "')
    assert pretty.json() == compact.json()
    packed = await wire.call("GET", wire.config_maps, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body))["items"][0]["metadata"]["name"] == "a"
    assert "content-encoding" not in (await wire.call("GET", wire.config_maps)).headers


async def test_headers_of_every_answer(wire: Wire) -> None:
    answer = await wire.call("GET", wire.config_maps)
    assert answer.headers["cache-control"] == "no-cache, private"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["audit-id"])
    other = await wire.call("GET", wire.config_maps)
    assert other.headers["audit-id"] != answer.headers["audit-id"]


# Fields


UNKNOWN_AND_TWICE = b'{"metadata":{"name":"a","name":"a","flower":1},"dta":{}}'


async def test_fields_that_are_unknown_or_there_twice(wire: Wire) -> None:
    problems = ('duplicate field "metadata.name"', 'unknown field "metadata.flower"', 'unknown field "dta"')
    strict = f"{wire.config_maps}?fieldValidation=Strict"
    status = await wire.refused(400, "BadRequest", "POST", strict, UNKNOWN_AND_TWICE)
    start = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
    assert status["message"].startswith(start)
    assert sorted(status["message"].removeprefix(start).split(", ")) == sorted(problems)
    answer = await wire.call("POST", f"{wire.config_maps}?fieldValidation=Ignore", UNKNOWN_AND_TWICE)
    assert answer.status == 201
    assert "warning" not in answer.headers
    status = await wire.refused(422, "Invalid", "POST", f"{wire.config_maps}?fieldValidation=Some", UNKNOWN_AND_TWICE)
    assert (
        'fieldValidation: Unsupported value: "Some": supported values: "", "Ignore", "Strict", "Warn"'
        in (status["message"])
    )
    for query in ("", "&fieldValidation=Warn"):
        answer = await wire.call("POST", f"{wire.config_maps}?dryRun=All{query}", {"metadata": {"name": "b"}, "dta": 1})
        assert answer.status == 201
        assert answer.headers["warning"] == '299 - "unknown field \\"dta\\""'
    patch = {"dta": {"x": "y"}}
    status = await wire.refused(
        422, "Invalid", "PATCH", f"{wire.config_maps}/a?fieldValidation=Strict", patch, Content_Type=MERGE_PATCH
    )
    assert 'unknown field "dta"' in status["message"]


async def test_deprecated_kinds_warn(wire: Wire) -> None:
    answer = await wire.call("GET", f"/api/v1/namespaces/{wire.namespace}/endpoints")
    text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert answer.headers["warning"] == f'299 - "{text}"'


# Writes


async def test_dry_run_goes_all_the_way_but_the_last_step(wire: Wire) -> None:
    ghost = await wire.call("POST", f"{wire.config_maps}?dryRun=All", {"metadata": {"generateName": "ghost-"}})
    assert ghost.status == 201
    assert ghost.json()["metadata"]["uid"]
    assert "resourceVersion" not in ghost.json()["metadata"]
    created = await wire.create("a")
    await wire.refused(409, "AlreadyExists", "POST", f"{wire.config_maps}?dryRun=All", {"metadata": {"name": "a"}})
    patched = await wire.call(
        "PATCH", f"{wire.config_maps}/a?dryRun=All", {"data": {"color": "red"}}, Content_Type=MERGE_PATCH
    )
    assert patched.json()["data"] == {"color": "red"}
    assert (await wire.call("DELETE", f"{wire.config_maps}/a", {"dryRun": ["All"]})).status == 200
    assert (await wire.call("DELETE", f"{wire.config_maps}?dryRun=All")).status == 200
    assert (await wire.call("GET", f"{wire.config_maps}/a")).json() == created
    status = await wire.refused(422, "Invalid", "POST", f"{wire.config_maps}?dryRun=Some", {"metadata": {"name": "b"}})
    assert status["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'
    )


async def test_names_are_generated(wire: Wire) -> None:
    found = set()
    for _ in range(3):
        answer = await wire.call("POST", wire.config_maps, {"metadata": {"generateName": "work-"}})
        metadata = answer.json()["metadata"]
        assert re.fullmatch("work-[bcdfghjklmnpqrstvwxz2456789]{5}", metadata["name"])
        assert metadata["generateName"] == "work-"
        found.add(metadata["name"])
    assert len(found) == 3
    status = await wire.refused(422, "Invalid", "POST", wire.config_maps, {"metadata": {}})
    assert status["message"] == (
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
    )


async def test_what_the_server_alone_sets(wire: Wire) -> None:
    sent = {
        "name": "a",
        "uid": "mine",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
        "selfLink": "/mine",
        "generation": 7,
    }
    answer = await wire.call("POST", wire.config_maps, {"metadata": sent})
    metadata = answer.json()["metadata"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", metadata["uid"])
    assert metadata["creationTimestamp"] > "2020"
    assert not {"deletionTimestamp", "selfLink"} & set(metadata)
    status = await wire.refused(500, "", "POST", wire.config_maps, {"metadata": {"name": "b", "resourceVersion": "1"}})
    assert status["message"] == "resourceVersion should not be set on objects to be created"


async def test_updates_must_match_their_path_and_their_object(wire: Wire) -> None:
    created = await wire.create("a")
    path = f"{wire.config_maps}/a"
    status = await wire.refused(400, "BadRequest", "PUT", path, {"metadata": {"name": "b"}})
    assert status["message"] == "the name of the object (b) does not match the name on the URL (a)"
    elsewhere = {"metadata": {"name": "a", "namespace": "default"}}
    status = await wire.refused(400, "BadRequest", "PUT", path, elsewhere)
    mismatch = "the namespace of the provided object does not match the namespace sent on the request"
    assert status["message"] == mismatch
    status = await wire.refused(400, "BadRequest", "POST", wire.config_maps, elsewhere)
    assert status["message"] == mismatch
    other = {"metadata": {"name": "a", "uid": "other"}}
    status = await wire.refused(409, "Conflict", "PUT", path, other)
    uid = created["metadata"]["uid"]
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, '
        f"Key: /registry/configmaps/{wire.namespace}/a, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: other, UID in object meta: {uid}"
    )
    await wire.refused(404, "NotFound", "PUT", f"{wire.config_maps}/none", {"metadata": {"name": "none"}})
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{wire.namespace}/leases/new"
    body = {"metadata": {"name": "new"}, "spec": {"holderIdentity": "me"}}
    assert (await wire.call("PUT", lease, body)).status == 201  # one of the few kinds that an update may create
    status = await wire.refused(422, "Invalid", "PUT", lease, body)
    assert status["message"] == (
        'leases.coordination.k8s.io "new" is invalid: '
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    )
    unchanged = await wire.call("PUT", path, created)
    assert unchanged.json() == created  # and no new resourceVersion


async def test_json_patches_test_first(wire: Wire) -> None:
    await wire.create("a")
    path = f"{wire.config_maps}/a"
    patch = [{"op": "test", "path": "/data/color", "value": "blue"}, {"op": "add", "path": "/data/size", "value": "3"}]
    answer = await wire.call("PATCH", path, patch, Content_Type=JSON_PATCH)
    assert answer.json()["data"] == {"color": "blue", "size": "3"}
    patch[0]["value"] = "red"
    await wire.refused(422, "Invalid", "PATCH", path, patch, Content_Type=JSON_PATCH)
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}}
    status = await wire.refused(409, "Conflict", "PATCH", path, stale, Content_Type=MERGE_PATCH)
    assert status["message"].startswith('Operation cannot be fulfilled on configmaps "a": ')


# Deletion


async def test_delete_answers_and_preconditions(wire: Wire) -> None:
    created = await wire.create("a")
    path, uid = f"{wire.config_maps}/a", created["metadata"]["uid"]
    status = await wire.refused(409, "Conflict", "DELETE", path, {"preconditions": {"uid": "other"}})
    assert status["message"] == (
        f'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match '
        f"the UID in record ({uid}). The object might have been deleted and then recreated"
    )
    status = await wire.refused(409, "Conflict", "DELETE", path, {"preconditions": {"resourceVersion": "1"}})
    assert (
        "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record"
        in (status["message"])
    )
    status = await wire.refused(422, "Invalid", "DELETE", path, {"propagationPolicy": "Some"})
    assert status["message"].startswith('DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: ')
    answer = await wire.call("DELETE", path, {"preconditions": {"uid": uid}})
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": uid},
    }
    await wire.refused(404, "NotFound", "DELETE", path)


async def test_a_finalizer_holds_an_object(wire: Wire) -> None:
    created = await wire.create("a", finalizers=["example.com/hold"])
    path = f"{wire.config_maps}/a"
    async with watch(wire, f"{wire.config_maps}?watch=true&resourceVersion={version(created)}") as events:
        answer = await wire.call("DELETE", path)
        held = answer.json()
        assert (answer.status, held["kind"]) == (200, "ConfigMap")
        assert held["metadata"]["deletionGracePeriodSeconds"] == 0
        assert held["metadata"]["deletionTimestamp"]
        again = (await wire.call("DELETE", path)).json()
        assert again["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
        more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
        status = await wire.refused(422, "Invalid", "PATCH", path, more, Content_Type=MERGE_PATCH)
        assert status["message"] == (
            'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object '
            'is being deleted, found new finalizers []string{"example.com/more"}'
        )
        answer = await wire.call("PATCH", path, {"metadata": {"finalizers": None}}, Content_Type=MERGE_PATCH)
        assert answer.status == 200
        await wire.refused(404, "NotFound", "GET", path)
        assert [(await events.next())["type"] for _ in range(2)] == ["MODIFIED", "DELETED"]


async def test_propagation_policies_are_finalizers(wire: Wire) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        name = policy.lower()
        await wire.create(name)
        answer = await wire.call("DELETE", f"{wire.config_maps}/{name}?propagationPolicy={policy}")
        assert answer.json()["metadata"]["finalizers"] == [finalizer]
        assert answer.json()["metadata"]["deletionTimestamp"]
    await wire.create("background")
    answer = await wire.call("DELETE", f"{wire.config_maps}/background?propagationPolicy=Background")
    assert answer.json()["status"] == "Success"


async def test_pods_on_a_node_are_deleted_gracefully(wire: Wire) -> None:
    spec = {"containers": [{"name": "main", "image": "nginx:1.27"}], "terminationGracePeriodSeconds": 20}
    for name, node in (("free", {}), ("placed", {"nodeName": "node-1"})):
        answer = await wire.call("POST", wire.pods, {"metadata": {"name": name}, "spec": {**spec, **node}})
        assert answer.status == 201, answer.body
    free = (await wire.call("DELETE", f"{wire.pods}/free")).json()
    assert free["metadata"]["deletionGracePeriodSeconds"] == 0  # nobody has to stop it
    await wire.refused(404, "NotFound", "GET", f"{wire.pods}/free")

    path = f"{wire.pods}/placed"
    placed = (await wire.call("DELETE", path)).json()
    assert placed["metadata"]["deletionGracePeriodSeconds"] == 20
    shorter = (await wire.call("DELETE", path, {"gracePeriodSeconds": 5})).json()
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < placed["metadata"]["deletionTimestamp"]
    longer = (await wire.call("DELETE", path, {"gracePeriodSeconds": 60})).json()
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (await wire.call("GET", path)).status == 200
    assert (await wire.call("DELETE", path, {"gracePeriodSeconds": 0})).status == 200
    await wire.refused(404, "NotFound", "GET", path)


async def test_collections_are_deleted_by_selectors(wire: Wire) -> None:
    for name, color in (("a", "red"), ("b", "tan"), ("c", "red")):
        await wire.create(name, labels={"color": color})
    answer = await wire.call("DELETE", f"{wire.config_maps}?labelSelector=color%3Dred")
    assert answer.status == 200
    deleted = answer.json()
    assert (deleted["kind"], sorted(names(deleted))) == ("ConfigMapList", ["a", "c"])
    assert names((await wire.call("GET", wire.config_maps)).json()) == ["b"]
    await wire.call("DELETE", f"{wire.config_maps}?fieldSelector=metadata.name%3Dnone")
    assert names((await wire.call("GET", wire.config_maps)).json()) == ["b"]


async def test_owner_references(wire: Wire) -> None:
    owner = await wire.create("owner")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    body = {"metadata": {"name": "owned", "ownerReferences": [reference, reference]}}
    answer = await wire.call("POST", wire.config_maps, body)
    assert answer.json()["metadata"]["ownerReferences"] == [reference]
    assert ".metadata.ownerReferences contains duplicate entries" in answer.headers["warning"]
    controllers = [{**reference, "controller": True}, {**reference, "uid": "other", "controller": True}]
    status = await wire.refused(
        422, "Invalid", "POST", wire.config_maps, {"metadata": {"name": "x", "ownerReferences": controllers}}
    )
    assert "Only one reference can have Controller set to true" in status["message"]
    incomplete = {"metadata": {"name": "x", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap"}]}}
    status = await wire.refused(422, "Invalid", "POST", wire.config_maps, incomplete)
    assert {cause["field"] for cause in status["details"]["causes"]} == {
        "metadata.ownerReferences[0].name",
        "metadata.ownerReferences[0].uid",
    }


# Documents


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/api", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/openapi/v2", "application/json"),
        ("/openapi/v3", "application/json"),
        ("/openapi/v3/apis/apps/v1", "application/json"),
    ],
)
async def test_documents_are_sent_once(wire: Wire, path: str, accept: str) -> None:
    first = await wire.call("GET", path, Accept=accept)
    assert first.status == 200
    again = await wire.call("GET", path, Accept=accept, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    other = await wire.call("GET", path, Accept=accept, If_None_Match='"other"')
    assert (other.status, other.body) == (200, first.body)


async def test_aggregated_discovery(wire: Wire) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await wire.call("GET", "/apis", Accept=accept)
    assert answer.headers["content-type"] == accept
    document = answer.json()
    assert (document["kind"], document["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    (apps,) = [group for group in document["items"] if group["metadata"]["name"] == "apps"]
    (deployments,) = [one for one in apps["versions"][0]["resources"] if one["resource"] == "deployments"]
    assert deployments["responseKind"] == {"group": "", "version": "", "kind": "Deployment"}  # those of the list
    assert deployments["scope"] == "Namespaced"
    assert {one["subresource"] for one in deployments["subresources"]} == {"scale", "status"}
    plain = (await wire.call("GET", "/apis")).json()
    assert plain["kind"] == "APIGroupList"
    assert [group["name"] for group in plain["groups"]] == [group["metadata"]["name"] for group in document["items"]]
