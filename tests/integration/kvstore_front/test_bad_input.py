"""Requests that are wrong, side by side with a real etcd: the same codes, and the same texts where clients look."""

from __future__ import annotations

import base64
import http.client
import json

import grpc
import pytest

from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess
from tests.integration.kvstore_front.wire import Answer, call, grpc_fields, message, target_of

pytestmark = pytest.mark.e2e

RANGE, PUT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"
READ = message(pb.RangeRequest(key=b"a").SerializeToString())


SAME_TEXT = [
    pytest.param(grpc_fields(PUT), message(b""), id="no key"),
    pytest.param(grpc_fields("/etcdserverpb.KV/Nope"), READ, id="unknown method"),
    pytest.param(grpc_fields("/nope.Nope/Range"), READ, id="unknown service"),
    pytest.param(grpc_fields("/etcdserverpb.KV/"), READ, id="path with empty method"),
    pytest.param(grpc_fields(RANGE), message(READ[5:], 1), id="compressed flag"),
    pytest.param(grpc_fields(RANGE), message(READ[5:], 2), id="flag of 2"),
    pytest.param(grpc_fields(RANGE, ("grpc-encoding", "snappy")), READ, id="unknown encoding"),
    pytest.param(grpc_fields(RANGE, ("grpc-timeout", "5S")), READ, id="timeout"),
]

SAME_CODE = [
    pytest.param(grpc_fields(RANGE), message(b"\xff\xff\xff"), id="no protobuf"),
    pytest.param(grpc_fields(RANGE), message(b"\x0a\x7fabc"), id="field longer than its message"),
    pytest.param(grpc_fields(RANGE), message(READ[5:] + b"\xba\x3e\x03abc"), id="unknown field"),
    pytest.param(grpc_fields(RANGE, ("x-bin", base64.b64encode(b"\xff\0").decode())), READ, id="binary metadata"),
    pytest.param([f for f in grpc_fields(RANGE) if f[0] != "te"], READ, id="without te"),
    pytest.param([*grpc_fields(RANGE)[:-2], ("content-type", "application/grpc+proto")], READ, id="with subtype"),
    pytest.param(grpc_fields("/etcdserverpb.Watch/Watch"), message(b"\xff\xff"), id="no protobuf in a stream"),
]


@pytest.mark.parametrize(("fields", "body"), SAME_TEXT)
def test_the_same_code_and_text(
    mini_etcd: EtcdProcess, etcd: EtcdProcess, fields: list[tuple[str, str]], body: bytes
) -> None:
    ours, theirs = (call(server.endpoint, fields, body) for server in (mini_etcd, etcd))
    assert (ours.status, ours.reset, *ours.grpc) == (theirs.status, theirs.reset, *theirs.grpc)


@pytest.mark.parametrize(("fields", "body"), SAME_CODE)
def test_the_same_code(mini_etcd: EtcdProcess, etcd: EtcdProcess, fields: list[tuple[str, str]], body: bytes) -> None:
    def outcome(answer: Answer) -> tuple:
        return answer.status, answer.reset, answer.grpc[0]

    ours, theirs = (call(server.endpoint, fields, body) for server in (mini_etcd, etcd))
    assert outcome(ours) == outcome(theirs)


# Where newer releases of grpc-go and of the gateway answer otherwise than those in etcd 3.5.1, we answer as they do.
NEWER = [
    pytest.param(grpc_fields("/nope"), READ, ("200", "12", 'malformed method name: "/nope"'), id="path without method"),
    pytest.param(grpc_fields(RANGE), READ[:-1], ("200", "13", "unexpected EOF"), id="message cut short"),
    pytest.param(
        grpc_fields(RANGE, ("grpc-timeout", "1n")), READ, ("200", "4", "context deadline exceeded"), id="no time left"
    ),
    pytest.param(
        grpc_fields(RANGE, ("grpc-timeout", "soon")),
        READ,
        ("400", "13", "malformed grpc-timeout: transport: timeout is malformed: 'soon'"),
        id="timeout that is none",
    ),
    pytest.param(
        grpc_fields(RANGE, ("grpc-timeout", "123456789S")),
        READ,
        ("400", "13", "malformed grpc-timeout: transport: timeout is malformed: '123456789S'"),
        id="timeout of nine digits",
    ),
    pytest.param(
        grpc_fields(RANGE),
        b"",
        ("200", "13", "cardinality violation: received no request message from non-client-streaming RPC"),
        id="no message",
    ),
    pytest.param(
        [(":method", "GET"), *grpc_fields(RANGE)[1:]],
        READ,
        ("405", "13", 'http2Server.operateHeaders parsed a :method field "GET" which should be POST'),
        id="GET",
    ),
    pytest.param([f for f in grpc_fields(RANGE) if f[0] != "content-type"], READ, ("404", "", ""), id="no grpc"),
    pytest.param(
        [*grpc_fields(RANGE)[:-2], ("content-type", "application/json")], READ, ("404", "", ""), id="json over HTTP/2"
    ),
]


@pytest.mark.parametrize(("fields", "body", "expected"), NEWER)
def test_as_newer_releases(
    mini_etcd: EtcdProcess, fields: list[tuple[str, str]], body: bytes, expected: tuple[str, str, str]
) -> None:
    answer = call(mini_etcd.endpoint, fields, body)
    assert (answer.status, *answer.grpc) == expected


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (1_572_864 - 100, "OK"),
        (1_600_000, "INVALID_ARGUMENT"),
        (2_097_152 - 20, "INVALID_ARGUMENT"),
        (2_097_152, "RESOURCE_EXHAUSTED"),
    ],
)
def test_sizes_at_both_limits(mini_etcd: EtcdProcess, etcd: EtcdProcess, size: int, code: str) -> None:
    """etcd's own limit is on requests, gRPC's on messages: they have different codes."""
    outcomes = []
    for server in (mini_etcd, etcd):
        host, port = target_of(server.endpoint)
        with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
            put = channel.unary_unary(PUT)
            request = pb.PutRequest(key=b"large", value=bytes(size)).SerializeToString()
            try:
                put(request, timeout=30)
                outcomes.append(("OK", ""))
            except grpc.RpcError as error:
                outcomes.append((error.code().name, error.details()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == code


GATEWAY = [
    pytest.param("/v3/kv/range", b"", id="nothing"),
    pytest.param("/v3/kv/range", b"{", id="cut short"),
    pytest.param("/v3/kv/range", b"[]", id="a list"),
    pytest.param("/v3/kv/range", b'"a"', id="a string"),
    pytest.param("/v3/kv/range", b"{}", id="no key"),
    pytest.param("/v3/kv/range", b'{"key":"!"}', id="no base64"),
    pytest.param("/v3/kv/range", b'{"key":5}', id="a number for bytes"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","limit":"x"}', id="a word for a number"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","limit":1e400}', id="a huge number"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","limit":99999999999999999999}', id="a number of 70 bits"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","limit":1.5}', id="a fraction"),
    pytest.param("/v3/kv/range", b'{"key":"\xff"}', id="no UTF-8"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","unknown":1}', id="unknown field"),
    pytest.param("/v3/kv/range", b'{"key":"YQ=="} trailing', id="something behind"),
    pytest.param("/v3/kv/range", b'{"x":' * 20_000 + b"1" + b"}" * 20_000, id="deep nesting"),
    pytest.param("/v3/kv/range", b'{"key":"YQ==","revision":999999999}', id="future revision"),
    pytest.param("/v3/kv/put", b'{"key":"YQ==","lease":"12345"}', id="no such lease"),
    pytest.param("/v3/kv/txn", b'{"compare":[{"target":"VERSION","key":"YQ==","version":"x"}]}', id="deeper error"),
]


GATEWAY_NEWER = [
    ("/v3/kv/range", b'{"key":"YQ"}', (200, None)),
    ("/v3/kv/range", b'{"key":"YQ==","sort_order":"SIDEWAYS"}', (200, None)),
    ("/v3/kv/nope", b"{}", (404, 5)),
]


def post(server: EtcdProcess, path: str, body: bytes) -> tuple[int, int | None]:
    """HTTP status, and the code in the answer."""
    connection = http.client.HTTPConnection(*target_of(server.endpoint), timeout=30)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    try:
        return response.status, json.loads(text).get("code")
    except ValueError:
        return response.status, None


@pytest.mark.parametrize(("path", "body"), GATEWAY)
def test_gateway(mini_etcd: EtcdProcess, etcd: EtcdProcess, path: str, body: bytes) -> None:
    assert post(mini_etcd, path, body) == post(etcd, path, body)


@pytest.mark.parametrize(("path", "body", "expected"), GATEWAY_NEWER)
def test_gateway_as_newer_releases(
    mini_etcd: EtcdProcess, path: str, body: bytes, expected: tuple[int, int | None]
) -> None:
    assert post(mini_etcd, path, body) == expected
