"""With `--runtime-config=api/all=true`: kinds that are not served by default, and every kind in all its versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.discovery import APIResource, discover
from tests.e2e.http_client import HTTPConnection
from tests.e2e.server_process import Kubectl, ServerProcess

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("all") / "data", "--runtime-config=api/all=true").start()
    yield server
    assert server.stop() == 0


def manifests() -> list[dict[str, Any]]:
    files = ("every_kind.yaml", "other_kinds.yaml")
    text = "---\n".join((HERE / name).read_text() for name in files)
    return list(yaml.safe_load_all(text.replace("NAMESPACE", "default")))


async def test_every_version_shows_the_same_object(everything: ServerProcess) -> None:
    async with await HTTPConnection.open(everything.kubeconfig) as connection:
        versions: dict[tuple[str, str], list[APIResource]] = {}
        for resource in await discover(connection):
            if "/" in resource.name or not {"create", "delete"} <= resource.verbs:
                continue
            group = resource.group_version.rpartition("/")[0]
            versions.setdefault((group, resource.name), []).append(resource)
        wanted = {f"{obj['apiVersion']} {obj['kind']}": obj for obj in manifests()}
        several = 0
        for (group, name), found in versions.items():
            given = [one for one in found if one.kind in wanted]
            assert given, f"no manifest for {name}.{group}, in any of {[one.kind for one in found]}"
            several += len(found) > 1
            for resource in given:
                await seen_in_every_version(connection, wanted[resource.kind], resource, found)
        assert several >= 12


async def seen_in_every_version(
    connection: HTTPConnection, manifest: dict[str, Any], resource: APIResource, versions: list[APIResource]
) -> None:
    status, created = await connection.request("POST", resource.path("default"), manifest)
    assert status == 201, (resource.kind, created)
    name = created["metadata"]["name"]
    for other in versions:
        status, read = await connection.request("GET", f"{other.path('default')}/{name}")
        assert (status, f"{read['apiVersion']} {read['kind']}") == (200, other.kind), read
        assert all(read["metadata"][key] == created["metadata"][key] for key in ("uid", "resourceVersion", "name"))
        # Written back in this version, nothing of it is lost in the one it was created in.
        status, written = await connection.request("PUT", f"{other.path('default')}/{name}", read)
        assert (status, written) == (200, read), (other.kind, written)
    status, again = await connection.request("GET", f"{resource.path('default')}/{name}")
    assert again == created
    status, answer = await connection.request("DELETE", f"{resource.path('default')}/{name}")
    assert status == 200, answer


def test_kinds_that_are_not_served_by_default(everything: ServerProcess, tmp_path: Path) -> None:
    kubectl = Kubectl(everything.kubeconfig, tmp_path)
    file = HERE / "other_kinds.yaml"
    count = len(list(yaml.safe_load_all(file.read_text())))
    assert kubectl("create", "-f", str(file)).count(" created\n") == count
    rows = [line.split() for line in kubectl("get", "-f", str(file)).splitlines() if line and "NAME " not in line]
    shown = {row[0].partition("/")[0]: row[1:-1] for row in rows}
    assert shown["leasecandidate.coordination.k8s.io"] == ["leader", "1.37.0", "1.37.0"]
    assert shown["evictionrequest.lifecycle.k8s.io"] == [
        "sample",
        "Pod",
        "Pending",
        "example.com/descheduler",
        "Eviction",
    ]
    assert shown["podgroup.scheduling.k8s.io"] == ["Gang", "<none>", "Pending"]
    listed = json.loads(kubectl("get", "-f", str(file), "-o", "json"))["items"]
    assert len(listed) == count
    assert kubectl("delete", "-f", str(file), "--wait=false").count(" deleted") == count
    assert kubectl("get", "-f", str(file), "--ignore-not-found", "-o", "name") == ""
