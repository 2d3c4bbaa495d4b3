"""Watches: frames, tables, bookmarks, errors, ends."""

from __future__ import annotations

import json
from typing import Any

from apiserver.api.status import expired
from apiserver.storage.interface import EventType, WatchEvent

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def _next(answer: Any) -> list[dict[str, Any]]:
    chunk = await anext(answer.stream)
    assert chunk.endswith(b"\n")
    return [json.loads(line) for line in chunk.splitlines()]


async def test_events_come_one_to_a_line(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100", expect=200)
    assert answer.content_type == "application/json"
    created = (await api("POST", CONFIG_MAPS, BODY, expect=201)).json
    assert await _next(answer) == [{"type": "ADDED", "object": created}]
    await api("DELETE", CONFIG_MAPS + "/a", expect=200)
    (event,) = await _next(answer)
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["resourceVersion"] == str(api.storage.revision)
    await answer.stream.aclose()
    assert api.storage.watchers[0][2].stopped


async def test_events_of_a_batch_leave_together(api: Any) -> None:
    for name in "abc":
        await api("POST", CONFIG_MAPS, {**BODY, "metadata": {"name": name}}, expect=201)
    answer = await api("GET", CONFIG_MAPS + "?watch=1", expect=200)
    assert [event["object"]["metadata"]["name"] for event in await _next(answer)] == ["a", "b", "c"]
    await answer.stream.aclose()


async def test_watch_ends_at_its_timeout(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100&timeoutSeconds=7", expect=200)
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    await _next(answer)
    api.clock.advance(7.5)
    assert [chunk async for chunk in answer.stream] == []


async def test_default_timeout_is_between_half_an_hour_and_an_hour(api: Any) -> None:
    for _ in range(20):
        answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100", expect=200)
        await api("POST", CONFIG_MAPS, {**BODY, "metadata": {"generateName": "x"}}, expect=201)
        await anext(answer.stream)
        (deadline,) = (at for at, _ in api.clock.timers if at - api.clock.seconds > 100)
        assert 1800 <= deadline - api.clock.seconds <= 3600
        await answer.stream.aclose()


async def test_protobuf_frames(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100", expect=200, accept=PROTOBUF)
    assert answer.content_type == PROTOBUF + ";stream=watch"
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    chunk = await anext(answer.stream)
    length = int.from_bytes(chunk[:4], "big")
    assert length == len(chunk) - 4
    assert chunk[4:11] == b"\n\x05ADDED"
    stored = api.storage.objects["/registry/configmaps/default/a"].object_copy(None)
    assert chunk.endswith(api.codec.to_storage(stored))
    await answer.stream.aclose()


async def test_tables_have_columns_once(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100", expect=200, accept=TABLE)
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    await api("PUT", CONFIG_MAPS + "/a", {**BODY, "data": {"x": "1", "y": "2"}}, expect=200)
    (first,) = await _next(answer)
    (second,) = await _next(answer)
    assert first["object"]["kind"] == "Table"
    assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["type"] == "MODIFIED"
    assert second["object"]["rows"][0]["cells"] == ["a", 2, "0s"]
    await answer.stream.aclose()


async def test_bookmarks(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100&allowWatchBookmarks=true", expect=200)
    options, watcher = api.storage.watchers[0][1:]
    assert options.bookmarks
    watcher.queue.put_nowait(
        [WatchEvent(EventType.BOOKMARK, 107), WatchEvent(EventType.BOOKMARK, 108, initial_end=True)]
    )
    first, second = await _next(answer)
    assert first == {
        "type": "BOOKMARK",
        "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "107"}},
    }
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await answer.stream.aclose()


async def test_a_revision_that_is_gone_is_an_error_event(api: Any) -> None:
    api.storage.watch_error = expired("too old resource version: 1 (100)")
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=1", expect=200)
    (event,) = await _next(answer)
    assert event["type"] == "ERROR"
    assert event["object"]["kind"] == "Status"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert [chunk async for chunk in answer.stream] == []


async def test_error_events_of_the_storage(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=100", expect=200)
    watcher = api.storage.watchers[0][2]
    watcher.queue.put_nowait([WatchEvent(EventType.ERROR, 0, status=expired("gone").to_dict())])
    (event,) = await _next(answer)
    assert event["object"]["message"] == "gone"
    await answer.stream.aclose()


async def test_watch_options_are_checked(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=1&sendInitialEvents=true", expect=422)
    assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in answer.json["message"]
    await api("GET", CONFIG_MAPS + "?watch=true", expect=406, accept="application/yaml")


async def test_the_old_watch_paths(api: Any) -> None:
    answer = await api("GET", "/api/v1/watch/namespaces/default/configmaps?resourceVersion=100", expect=200)
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    assert (await _next(answer))[0]["type"] == "ADDED"
    await answer.stream.aclose()
    one = await api("GET", "/api/v1/watch/namespaces/default/configmaps/a?resourceVersion=100", expect=200)
    options = api.storage.watchers[-1][1]
    assert str(options.fields) == "metadata.name=a"
    await one.stream.aclose()
