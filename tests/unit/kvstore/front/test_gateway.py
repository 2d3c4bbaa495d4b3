"""The JSON gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import CallContext, build_front, service_descriptors
from kvstore.front.gateway import GATEWAY_PATHS, _ObjectSplitter


async def post(port: int, path: str, body: bytes | str, *headers: str, method: str = "POST") -> tuple[int, Any]:
    """Status, and the JSON values of the response, one a line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.0", f"Content-Length: {len(data)}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode() + data)
    head, _, payload = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"Content-Type: application/json" in head
    if b"chunked" in head:
        payload = b"".join(payload.split(b"\r\n")[1::2])
    values = [json.loads(line) for line in payload.splitlines()]
    return int(head.split()[1]), values[0] if len(values) == 1 else values


async def test_put_and_range(served) -> None:
    assert await post(served.port, "/v3/kv/put", '{"key":"Zm9v","value":"YmFy"}') == (
        200,
        {"header": {"revision": "2"}},
    )
    assert await post(served.port, "/v3/kv/range", '{"key":"Zm9v"}') == (
        200,
        {"header": {"revision": "1"}, "kvs": [{"key": "Zm9v", "value": "YmFy"}], "count": "1"},
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"key": "Zm9v", "limit": "5", "unknown": {"a": [1]}, "sort_order": "DESCEND"}',
        '{"key": "Zm9v", "limit": 5, "sort_order": 2}',
        '{"key": "Zm9v", "rangeEnd": ""}',
        "",
        "{}",
        '{"key":"Zm9v"} trailing words are not read',
    ],
)
async def test_requests_in_many_forms(served, body: str) -> None:
    status, answer = await post(served.port, "/v3/kv/range", body)
    assert (status, answer["header"]) == (200, {"revision": "1"})


@pytest.mark.parametrize(
    "body",
    ['{"key":', '"Zm9v"', "[]", "nonsense", '{"key": 5}', '{"limit": "x"}', '{"limit": 1e99}', "{" * 5000, b"{\xff}"],
)
async def test_bad_requests(served, body: str) -> None:
    status, answer = await post(served.port, "/v3/kv/range", body)
    assert (status, answer["code"], answer["details"]) == (400, 3, [])
    assert "Traceback" not in answer["message"]


@pytest.mark.parametrize("text", ["!!!", "a key", "Zm9v=", "Zm8=Zm8=", "Z", "Zm-/"])
async def test_what_is_not_base64_is_no_other_key(served, text: str) -> None:
    for body in (f'{{"key": "{text}"}}', f'{{"kvs": [], "key": "{text}"}}'):
        status, answer = await post(served.port, "/v3/kv/range", body)
        assert (status, answer["message"]) == (400, "proto: invalid value for bytes field key")


@pytest.mark.parametrize("text", ["Zm9v", "Zm8=", "Zm8", "-_-_", "+/+/", "_w==", ""])
async def test_either_alphabet_padded_or_not(served, text: str) -> None:
    assert (await post(served.port, "/v3/kv/range", f'{{"key": "{text}"}}'))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status", "code", "text"),
    [
        ("/v3/nope", "POST", 404, 5, "Not Found"),
        ("/v3/kv/range", "GET", 501, 12, "Method Not Allowed"),
        ("/v3/kv/txn", "POST", 404, 5, "Not Found"),  # there is no handler for it here
    ],
)
async def test_paths_that_are_not_served(served, path: str, method: str, status: int, code: int, text: str) -> None:
    answer = await post(served.port, path, "{}", method=method)
    assert answer == (status, {"code": code, "message": text, "details": []})


async def test_refusals_and_bugs(served) -> None:
    text = "etcdserver: mvcc: required revision is a future revision"
    answer = await post(served.port, "/v3/kv/range", '{"key":"IXJlZnVzZQ=="}')
    assert answer == (400, {"code": 11, "message": text, "details": []})


async def test_headers_become_metadata(served) -> None:
    headers = ("Authorization: tok", "Grpc-Metadata-hasleader: true", "Grpc-Timeout: 5S")
    await post(served.port, "/v3/kv/range", "{}", *headers)
    (context,) = served.kv.contexts
    assert (context.metadata["authorization"], context.metadata["hasleader"]) == ("tok", "true")
    assert context.deadline is not None


async def test_deadline(served) -> None:
    answer = await post(served.port, "/v3/kv/range", '{"key":"IWhhbmc="}', "Grpc-Timeout: 20m")
    assert answer == (504, {"code": 4, "message": "context deadline exceeded", "details": []})
    assert served.kv.cancelled.is_set()


async def test_streams_answer_line_by_line(served) -> None:
    requests = '{"create_request":{"key":"Zm9v","watch_id":2}}\n{"create_request":{"key":"YmFy","watch_id":"1"}}'
    status, answers = await post(served.port, "/v3/watch", requests)
    foo, bar = ({"events": [{"kv": {"value": value}}]} for value in ("Zm9v", "YmFy"))
    assert (status, answers) == (200, [{"result": foo}, {"result": {"watch_id": "1", **foo}}, {"result": bar}])
    status, answers = await post(served.port, "/v3/maintenance/snapshot", "")
    assert [answer["result"]["blob"] for answer in answers] == ["YmxvYg=="] * 3


async def test_a_stream_refused(served) -> None:
    """At once it has a status, later only a line."""
    error = {"error": {"code": 1, "message": "etcdserver: watch canceled", "details": []}}
    assert await post(served.port, "/v3/watch", '{"cancel_request":{}}') == (499, error)
    requests = '{"create_request":{"watch_id":1}}{"cancel_request":{}}'
    status, answers = await post(served.port, "/v3/watch", requests)
    assert (status, answers[1]) == (200, error)
    assert await post(served.port, "/v3/watch", "{}") == (200, [])


async def test_a_stream_that_is_given_up_ends_its_handler() -> None:
    ended = asyncio.Event()

    class Watch:
        async def watch(self, requests: Any, context: CallContext) -> Any:
            try:
                yield pb.WatchResponse(created=True)
                await asyncio.Event().wait()
            finally:
                ended.set()

    front = build_front({"etcdserverpb.Watch": Watch()})
    (url,) = await front.listen(["http://127.0.0.1:0"])
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"POST /v3/watch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    await reader.readuntil(b'{"result":{"created":true}}\n')
    writer.close()
    await ended.wait()
    await writer.wait_closed()
    await front.close(1.0)


async def test_closing_ends_a_stream(served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /v3/watch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    text = b'{"create_request":{"watch_id":1}}'
    writer.write(b"%x\r\n%b\r\n" % (len(text), text))
    await reader.readuntil(b"}}\n")
    await served.front.close(10.0)
    assert await reader.read() == b"\r\n"
    writer.close()
    await served.watch.ended.wait()


async def test_requests_of_a_stream_are_answered_as_they_come(served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /v3/watch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for name in ("YQ==", "Yg=="):
        text = b'{"create_request":{"key":"%b","watch_id":1}}' % name.encode()
        for part in (text[:20], text[20:]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        assert name.encode() in await reader.readuntil(b"}}\n")
    writer.write(b"0\r\n\r\n")
    await reader.readuntil(b"0\r\n\r\n")
    writer.close()


def test_every_path_belongs_to_a_method_and_every_method_but_one_has_a_path() -> None:
    methods = {
        f"/{service.full_name}/{rpc.name}" for service in service_descriptors().values() for rpc in service.methods
    }
    assert methods - set(GATEWAY_PATHS) == {"/etcdserverpb.KV/RangeStream"}
    assert set(GATEWAY_PATHS) < methods


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (StatusCode.UNAUTHENTICATED, 401),
        (StatusCode.PERMISSION_DENIED, 403),
        (StatusCode.RESOURCE_EXHAUSTED, 429),
        (StatusCode.UNAVAILABLE, 503),
        (StatusCode.DATA_LOSS, 500),
        (StatusCode.UNKNOWN, 500),
    ],
)
async def test_statuses(code: StatusCode, status: int) -> None:
    class KV:
        async def range(self, request: Any, context: CallContext) -> Any:
            raise EtcdError(code, "why")

    front = build_front({"etcdserverpb.KV": KV()})
    (url,) = await front.listen(["http://127.0.0.1:0"])
    answer = await post(int(url.rpartition(":")[2]), "/v3/kv/range", "{}")
    assert answer == (status, {"code": code, "message": "why", "details": []})
    await front.close(1.0)


texts = st.text(st.sampled_from('ab"\\\\{}[],: \nö'), max_size=8)
inner_values = texts | st.integers() | st.lists(texts, max_size=3) | st.dictionaries(texts, texts, max_size=3)


@given(
    st.lists(st.dictionaries(texts, inner_values, max_size=3), max_size=4), st.lists(st.integers(1, 9)), st.booleans()
)
def test_objects_are_found_however_they_are_cut(values: list, cuts: list[int], ascii_only: bool) -> None:
    text = " \n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values)
    splitter = _ObjectSplitter()
    found: list[str] = []
    for cut in cuts:
        found += splitter.feed(text[:cut])
        text = text[cut:]
    found += splitter.feed(text)
    assert [json.loads(part) for part in found] == values
    assert splitter.rest() == ""
