"""Every built-in kind, from its creation to its end, with the real kubectl.

`every_kind.yaml` holds one object of each kind, `every_kind_tables.yaml` what `kubectl get` prints for it. A kind that
is served and has no manifest fails the first test, so that none is left out without notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.discovery import discover
from tests.e2e.http_client import HTTPConnection
from tests.e2e.server_process import Kubectl, ServerProcess

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
MANIFESTS = HERE / "every_kind.yaml"
TABLES: dict[str, dict[str, dict[str, str]]] = yaml.safe_load((HERE / "every_kind_tables.yaml").read_text())
PROTOBUF = "application/vnd.kubernetes.protobuf"
EVENTS_SECONDS_MAX = 30.0


def manifests(namespace: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFESTS.read_text().replace("NAMESPACE", namespace)))


def kind_of(obj: dict[str, Any]) -> str:
    return f"{obj['apiVersion']} {obj['kind']}"


def on_every_kind(problem: Callable[[dict[str, Any]], str], objects: list[dict[str, Any]]) -> None:
    """Fail with the problems of all kinds, not only of the first."""
    found = {kind_of(obj): text for obj in objects if (text := problem(obj))}
    assert not found, "\n".join(f"{kind}: {text}" for kind, text in found.items())


async def test_every_kind_that_is_served_has_a_manifest(server: ServerProcess) -> None:
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        resources = await discover(connection)
    served = {one.kind for one in resources if "/" not in one.name and {"create", "delete"} <= one.verbs}
    assert len(served) > 60
    assert served == {kind_of(obj) for obj in manifests("")}
    assert served == set(TABLES)


class Watch:
    """A watch of one kind, and what it saw of the one object, until that was deleted."""

    def __init__(self, name: str, connection: HTTPConnection, path: str) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._follow(connection, path))

    async def _follow(self, connection: HTTPConnection, path: str) -> None:
        async with contextlib.aclosing(connection.stream(path)) as stream:
            async for event in stream:
                if event["object"]["metadata"]["name"] == self.name:
                    self.events.append(event)
                    if event["type"] == "DELETED":
                        return


async def test_the_life_of_every_kind(server: ServerProcess, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    wanted = manifests(namespace)
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(wanted))
    async with watching(server, namespace, wanted) as watches:
        await asyncio.to_thread(live, kubectl, namespace, file, wanted, tmp_path)
        async with asyncio.timeout(EVENTS_SECONDS_MAX):
            await asyncio.gather(*(watch.task for watch in watches.values()))
    on_every_kind(lambda obj: watched_badly(watches[kind_of(obj)].events), wanted)
    assert kubectl("get", "-n", namespace, "-f", str(file), "--ignore-not-found", "-o", "name") == ""


@contextlib.asynccontextmanager
async def watching(
    server: ServerProcess, namespace: str, wanted: list[dict[str, Any]]
) -> AsyncIterator[dict[str, Watch]]:
    """A watch of each kind, from now on; ended when the block is left."""
    watches = {}
    async with contextlib.AsyncExitStack() as stack:
        connection = await stack.enter_async_context(await HTTPConnection.open(server.kubeconfig))
        served = {one.kind: one for one in await discover(connection) if "/" not in one.name}
        _, listed = await connection.request("GET", "/api/v1/namespaces?limit=1")
        since = f"?watch=true&resourceVersion={listed['metadata']['resourceVersion']}"
        for obj in wanted:
            connection = await stack.enter_async_context(await HTTPConnection.open(server.kubeconfig))
            path = served[kind_of(obj)].path(namespace) + since
            watch = watches[kind_of(obj)] = Watch(obj["metadata"]["name"], connection, path)
            stack.callback(watch.task.cancel)
        yield watches


def live(kubectl: Kubectl, namespace: str, file: Path, wanted: list[dict[str, Any]], tmp_path: Path) -> None:
    """Create, read, print, change and delete all of them."""
    in_namespace = ("-n", namespace, "-f", str(file))
    created = kubectl("create", "--save-config", *in_namespace)
    assert created.count(" created\n") == len(wanted), created

    first = served_objects(kubectl, in_namespace)
    on_every_kind(lambda obj: lost(obj, first[kind_of(obj)]), wanted)
    narrow, wide = (tables(kubectl("get", *in_namespace, *form)) for form in ((), ("-o", "wide")))
    on_every_kind(lambda obj: printed_badly(kind_of(obj), narrow, wide), wanted)

    changed = tmp_path / "changed.yaml"
    for obj in wanted:
        obj["metadata"].setdefault("labels", {})["stage"] = "applied"
    changed.write_text(yaml.safe_dump_all(wanted))
    applied = kubectl("apply", "-n", namespace, "-f", str(changed))
    assert applied.count(" configured\n") == len(wanted), applied
    second = served_objects(kubectl, in_namespace)
    on_every_kind(lambda obj: changed_more_than_a_label(first[kind_of(obj)], second[kind_of(obj)]), wanted)

    labeled = kubectl("label", *in_namespace, "stage=labeled", "--overwrite")
    assert labeled.count(" labeled\n") == len(wanted), labeled
    names = kubectl("get", ",".join(sorted(resource_names(wanted, kubectl))), "-A", "-l", "stage=labeled", "-o", "name")
    assert len(names.split()) >= len(wanted)

    # Without waiting: kubectl asks for one object after the other, and not more than five times a second.
    deleted = kubectl("delete", *in_namespace, "--wait=false")
    assert deleted.count(" deleted") == len(wanted), deleted


def served_objects(kubectl: Kubectl, in_namespace: tuple[str, ...]) -> dict[str, Any]:
    listed = yaml.load(kubectl("get", *in_namespace, "-o", "yaml"), Loader=yaml.CSafeLoader)
    return {kind_of(obj): obj for obj in listed["items"]}


def resource_names(wanted: list[dict[str, Any]], kubectl: Kubectl) -> set[str]:
    names = kubectl("api-resources", "--verbs=create,delete", "-o", "name").split()
    assert len(names) + 1 == len(wanted)  # HorizontalPodAutoscaler is there in two versions
    return set(names)


def lost(sent: Any, served: Any, path: str = "") -> str:
    """What was sent and is not there, or is there with another value; empty when all is."""
    if isinstance(sent, dict):
        if not isinstance(served, dict):
            return f"{path} is {served!r}"
        missing = [key for key in sent if key not in served and key != "stringData"]
        if missing:
            return f"{path} has lost {missing}"
        found = [lost(value, served[key], f"{path}.{key}") for key, value in sent.items() if key != "stringData"]
        return next(filter(None, found), "")
    if isinstance(sent, list):
        if not isinstance(served, list) or len(sent) != len(served):
            return f"{path} is {served!r}"
        return next(filter(None, (lost(one, other, f"{path}[]") for one, other in zip(sent, served, strict=True))), "")
    return "" if sent == served else f"{path} is {served!r} instead of {sent!r}"


def tables(text: str) -> dict[str, dict[str, str]]:
    """The one row of each table of an output, by its object; its cells by their column."""
    rows = {}
    for block in text.strip().split("\n\n"):
        header, row = block.splitlines()
        starts = [match.start() for match in re.finditer(r"\S+(?: \S+)*", header)]
        ends = [*starts[1:], max(len(header), len(row))]
        cells = {header[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}
        rows[" ".join(value for key, value in cells.items() if key in ("NAME", "OBJECT", "MESSAGE"))] = cells
    return rows


def printed_badly(kind: str, narrow: dict[str, dict[str, str]], wide: dict[str, dict[str, str]]) -> str:
    columns, extra = TABLES[kind]["columns"], TABLES[kind].get("wide", {})
    shown = [row for row in narrow.values() if list(row) == list(columns) and cells_match(columns, row)]
    if len(shown) != 1:
        near = [row for row in narrow.values() if set(row) & set(columns) - {"NAME", "AGE"}]
        return f"no row is {columns}; there are {near}"
    everything = columns | extra
    if not any(set(row) == set(everything) and cells_match(everything, row) for row in wide.values()):
        return f"no wide row is {everything}"
    return ""


def cells_match(wanted: dict[str, str], row: dict[str, str]) -> bool:
    return all(text in ("*", row[column]) and (text == row[column] or row[column]) for column, text in wanted.items())


def changed_more_than_a_label(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Applying what is there with another label must leave everything else alone, defaulted fields too."""
    if after["metadata"]["labels"].get("stage") != "applied":
        return f"labels are {after['metadata']['labels']}"
    for obj in (before, after):
        obj["metadata"].get("labels", {}).pop("stage", None)
        obj["metadata"]["labels"] = obj["metadata"].get("labels") or {}
        del obj["metadata"]["resourceVersion"]
        del obj["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        if obj["kind"] in ("Deployment", "EndpointSlice"):  # annotations, and labels, are a change of their spec
            del obj["metadata"]["generation"]
    return lost(before, after) or lost(after, before)


def watched_badly(events: list[dict[str, Any]]) -> str:
    types = [event["type"] for event in events]
    if not re.fullmatch(r"ADDED( MODIFIED)+ DELETED", " ".join(types)):
        return f"events were {types}"
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    if revisions != sorted(set(revisions)):
        return f"revisions were {revisions}"
    label = events[-1]["object"]["metadata"]["labels"].get("stage")
    return "" if label == "labeled" else f"the deleted object has the label {label}"


async def test_every_kind_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Read from the store instead of from memory, and written back without a change, in JSON and in protobuf."""
    server = ServerProcess(tmp_path / "data").start()
    created = {}
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        served = {one.kind: one for one in await discover(connection) if "/" not in one.name}
        for obj in manifests("default"):
            status, answer = await connection.request("POST", served[kind_of(obj)].path("default"), obj)
            assert status == 201, answer
            created[f"{served[kind_of(obj)].path('default')}/{answer['metadata']['name']}"] = answer
    assert server.stop() == 0
    server.start()
    try:
        async with await HTTPConnection.open(server.kubeconfig) as connection:
            problems = {kind_of(obj): await changed_by_itself(connection, path, obj) for path, obj in created.items()}
        on_every_kind(lambda obj: problems[kind_of(obj)], list(created.values()))
    finally:
        assert server.stop() == 0


async def changed_by_itself(connection: HTTPConnection, path: str, created: dict[str, Any]) -> str:
    _, read = await connection.request("GET", path)
    if problem := lost(created, read) or lost(read, created):
        return problem
    status, written = await connection.request("PUT", path, read)
    if status != 200:
        return f"cannot be written back: {written['message']}"
    if problem := lost(read, written) or lost(written, read):
        return f"changes when written back: {problem}"
    protobuf = {"Accept": PROTOBUF, "Content-Type": PROTOBUF}
    answer = await connection.call("GET", path, None, protobuf)
    if answer.headers["content-type"] != PROTOBUF or not answer.body.startswith(b"k8s\0"):
        return f"is no protobuf: {answer}"
    again = await connection.call("PUT", path, answer.body, protobuf)
    return "" if (again.status, again.body) == (200, answer.body) else f"changes when written in protobuf: {again}"
