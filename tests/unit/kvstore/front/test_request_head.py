"""Which fields make a request, and that equal blocks are looked at once."""

from __future__ import annotations

import pytest
from hpack import Encoder

from kvstore.front.head import HeadReader, MalformedHead, parse_head

GRPC = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Range"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
]


def test_a_grpc_request() -> None:
    head = parse_head([*GRPC, (b"te", b"trailers"), (b"token", b"a"), (b"token", b"b")])
    assert (head.method, head.path, head.scheme, head.authority) == (
        "POST",
        b"/etcdserverpb.KV/Range",
        "http",
        "localhost",
    )
    assert head.is_grpc
    assert head.metadata["token"] == "a,b"


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/GRPC;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ],
)
def test_content_types(content_type: bytes, is_grpc: bool) -> None:
    assert parse_head([*GRPC[:4], (b"content-type", content_type)]).is_grpc is is_grpc


@pytest.mark.parametrize(
    "fields",
    [
        GRPC[1:],
        [GRPC[0], GRPC[1]],
        [*GRPC, (b":method", b"GET")],
        [GRPC[0], *GRPC],
        [*GRPC[:4], (b":status", b"200")],
        [*GRPC, (b"Upper", b"1")],
        [*GRPC, (b"connection", b"close")],
        [*GRPC, (b"transfer-encoding", b"chunked")],
        [*GRPC, (b"te", b"gzip")],
        [*GRPC, (b"", b"1")],
        [*GRPC, (b"x", b"a\r\nb")],
        [*GRPC, (b"x", b"a\x00")],
        [*GRPC, (b"x", b" a")],
    ],
)
def test_malformed_requests(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(MalformedHead):
        parse_head(fields)


def test_values_that_are_not_utf8_are_kept() -> None:
    head = parse_head([*GRPC, (b"client-api-version", b"\xff3")])
    assert head.metadata["client-api-version"].encode(errors="surrogateescape") == b"\xff3"


def test_equal_blocks_give_the_same_head_and_the_table_is_respected() -> None:
    reader, encoder = HeadReader(1 << 16), Encoder()
    first, _ = reader.read(encoder.encode(GRPC))
    block = encoder.encode(GRPC)
    second, _ = reader.read(block)
    third, _ = reader.read(block)
    assert first is second is third
    # Another field moves the table on: the same block now means something else.
    encoder.encode([(b"x", b"1")])
    reader.skip(b"\x40\x01x\x011")
    with pytest.raises(MalformedHead):
        reader.read(block)


def test_the_deadline_is_kept_apart() -> None:
    reader, encoder = HeadReader(1 << 16), Encoder()
    heads = [reader.read(encoder.encode([*GRPC, (b"grpc-timeout", b"%dm" % number)])) for number in range(3)]
    assert [timeout for _, timeout in heads] == [b"0m", b"1m", b"2m"]
    assert heads[0][0] is heads[2][0]
    assert "grpc-timeout" not in heads[0][0].metadata
