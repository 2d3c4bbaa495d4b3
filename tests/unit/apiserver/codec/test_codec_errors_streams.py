"""Stored values that are not what they should be; lists and watch events; content negotiation."""

from __future__ import annotations

import struct
from typing import Any

import orjson
import pytest

from apiserver.codec import (
    Codec,
    DecodeError,
    EncodeError,
    EncryptedValueError,
    UnknownObjectKindError,
    encode_list_json,
    encode_watch_event_json,
    encode_watch_event_proto,
    item_json,
    split_envelope,
)
from apiserver.codec.negotiate import JSON, PROTOBUF, YAML, MediaType, content_type, negotiate

TABLE = ("meta.k8s.io", "v1", "Table")
HEAD = {"kind": "ConfigMap", "apiVersion": "v1"}


def config_map(name: str) -> dict[str, Any]:
    return {**HEAD, "metadata": {"name": name}, "data": {"k": name * 100}}


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def test_envelope_in_any_layout(codec: Codec) -> None:
    """Order, empty fields and unknown ones do not matter to protobuf."""
    body = codec.encode_body(("", "v1", "ConfigMap"), {"metadata": {"name": "a"}})
    type_meta = field(1, b"v1") + field(2, b"ConfigMap")
    expected = {**HEAD, "metadata": {"name": "a"}}
    for envelope in (
        field(1, type_meta) + field(2, body),
        field(2, body) + field(1, type_meta),
        field(1, type_meta) + field(2, body) + field(9, b"later"),
        field(1, field(2, b"ConfigMap") + field(1, b"v1")) + field(2, body) + field(3, b"") + field(4, b""),
    ):
        assert codec.from_storage(b"k8s\0" + envelope) == expected


def test_json_in_the_envelope(codec: Codec) -> None:
    raw = orjson.dumps({**HEAD, "data": {"a": "b"}})
    stored = (
        b"k8s\0" + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, raw) + field(4, b"application/json")
    )
    assert codec.from_storage(stored)["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("stored", "error", "message"),
    [
        (b"", DecodeError, "neither a Kubernetes protobuf object"),
        (b"\x00\x01", DecodeError, "neither a Kubernetes protobuf object"),
        (b"[]", DecodeError, "no object"),
        (b"k8s\0", DecodeError, "unexpected EOF"),
        (b"k8s\0\x0a", DecodeError, "envelope"),
        (b"k8s\0\x0a\x05ab", DecodeError, "envelope"),
        (
            b"k8s\0" + field(1, field(1, b"v9") + field(2, b"Nope")),
            UnknownObjectKindError,
            'no kind "Nope" is registered for version "v9"',
        ),
        (b"k8s\0" + field(1, field(1, b"a/b/c") + field(2, b"Nope")), DecodeError, "unexpected GroupVersion"),
        (
            b"k8s\0" + field(1, field(1, b"v1") + field(2, b"Pod")) + field(4, b"text/plain"),
            DecodeError,
            "content type",
        ),
        (b"k8s\0" + field(1, field(1, b"v1") + field(2, b"Pod")) + field(3, b"gzip"), DecodeError, "content encoding"),
        (b"k8s\0" + field(1, field(1, b"\xff") + field(2, b"Pod")), DecodeError, "no text"),
        (b"k8s:enc:aesgcm:v1:k:\x01\x02", EncryptedValueError, "encrypted by the provider 'aesgcm'"),
    ],
)
def test_values_that_are_no_objects(codec: Codec, stored: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        codec.from_storage(stored)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (field(1, b"\xff"), "wrong wireType"),
        (field(2, field(1, b"\xff") + field(2, b"x")), "invalid UTF-8"),
        (bytes([1 << 3 | 1]) + b"12345678", "wrong wireType"),
        (b"\x0b", "illegal wireType 3"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "integer overflow"),
        (b"\x0a\x05ab", "unexpected EOF"),
    ],
)
def test_messages_that_are_damaged(codec: Codec, body: bytes, message: str) -> None:
    broken = body if message != "wrong wireType" or body[0] != 10 else b"\x08\x01"
    with pytest.raises(DecodeError) as raised:
        codec.decode_body(("", "v1", "ConfigMap"), broken)
    assert message in str(raised.value)


def test_packed_numbers_and_narrow_integers(codec: Codec) -> None:
    context = b"\x22\x02\x01\x02"  # supplementalGroups = 4, packed
    assert codec.decode_body("k8s.io.api.core.v1.PodSecurityContext", context) == {"supplementalGroups": [1, 2]}
    wide = b"\x08\x81\x80\x80\x80\x10"  # 2^32 + 1 in an int32
    assert (
        codec.decode_body("k8s.io.api.apps.v1.RollingUpdateStatefulSetStrategy", b"\x12\x00" + wide)["partition"] == 1
    )


def test_deep_messages_are_an_error(codec: Codec) -> None:
    body = b""
    for _ in range(3000):
        length = len(body)
        varint = b""
        while length > 127:
            varint += bytes([length & 127 | 128])
            length >>= 7
        body = b"\xe2\x01" + varint + bytes([length]) + body  # 28 not
    with pytest.raises(DecodeError, match="nested too deeply"):
        codec.decode_body("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps", body)


@pytest.mark.parametrize(
    "obj",
    [
        {**HEAD, "data": {"a": 1}},
        {**HEAD, "metadata": {"creationTimestamp": "yesterday"}},
        {**HEAD, "metadata": {"labels": ["a"]}},
        {**HEAD, "binaryData": {"a": "?"}},
    ],
)
def test_objects_that_are_not_canonical(codec: Codec, obj: dict[str, Any]) -> None:
    with pytest.raises(EncodeError, match="not canonical"):
        codec.to_storage(obj)


def test_kinds_that_cannot_be_encoded(codec: Codec) -> None:
    with pytest.raises(UnknownObjectKindError):
        codec.to_storage({"apiVersion": "example.com/v1", "kind": "Widget"})
    with pytest.raises(EncodeError, match="unexpected GroupVersion"):
        codec.to_storage({"apiVersion": "a/b/c", "kind": "Widget"})
    with pytest.raises(EncodeError, match="Table has no protobuf form"):
        codec.to_storage({"apiVersion": "meta.k8s.io/v1", "kind": "Table"})
    with pytest.raises(EncodeError):
        codec.custom_to_storage({"a": object()})


def test_custom_resources_are_json(codec: Codec) -> None:
    widget = {"kind": "Widget", "apiVersion": "example.com/v1", "spec": {"b": 1, "a": 1.5}}
    stored = codec.custom_to_storage(widget)
    assert stored == b'{"apiVersion":"example.com/v1","kind":"Widget","spec":{"a":1.5,"b":1}}\n'
    assert codec.from_storage(stored) == widget


def test_type_meta_of(codec: Codec) -> None:
    assert codec.type_meta_of(codec.to_storage(config_map("a"))) == ("v1", "ConfigMap")
    assert codec.type_meta_of(b'{"apiVersion":"example.com/v1","kind":"Widget"}') == ("example.com/v1", "Widget")
    assert codec.type_meta_of(b"k8s\0" + field(1, field(1, b"v9") + field(2, b"Nope"))) == ("v9", "Nope")


def test_request_bodies(codec: Codec) -> None:
    assert codec.from_wire(codec.to_storage(config_map("a"))) == config_map("a")
    with pytest.raises(DecodeError, match="does not appear to be a protobuf message"):
        codec.from_wire(b"{}")


def test_lists_are_joined_from_bytes(codec: Codec) -> None:
    items = [config_map(name) for name in "abc"]
    metadata = {"resourceVersion": "7"}
    expected_items = [{"metadata": item["metadata"], "data": item["data"]} for item in items]
    bodies = [split_envelope(codec.to_storage(item)) for item in items]
    listed = codec.from_storage(codec.encode_list_proto(("", "v1", "ConfigMapList"), metadata, bodies))
    assert listed == {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": expected_items}
    texts = [item_json(orjson.dumps(item), "v1", "ConfigMap") for item in items]
    assert orjson.loads(encode_list_json("v1", "ConfigMapList", metadata, texts)) == listed
    empty = codec.from_storage(codec.encode_list_proto(("", "v1", "ConfigMapList"), metadata, []))
    assert empty["items"] is None
    assert orjson.loads(encode_list_json("v1", "ConfigMapList", metadata, []))["items"] == []


def test_item_json_in_any_order() -> None:
    assert item_json(b'{"kind":"A","apiVersion":"v1"}', "v1", "A") == b"{}"
    assert item_json(b'{"metadata":{},"kind":"A","apiVersion":"v1"}', "v1", "A") == b'{"metadata":{}}'


def test_split_envelope_refuses_other_layouts() -> None:
    for data in (b"", b"k8s\0", b"{}", b"k8s\0" + field(2, b"x")):
        with pytest.raises(DecodeError, match="no envelope"):
            split_envelope(data)


def test_watch_events(codec: Codec) -> None:
    stored = codec.to_storage(config_map("a"))
    frame = encode_watch_event_proto("ADDED", stored)
    assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4
    assert frame[4:11] == field(1, b"ADDED")
    assert frame.endswith(stored)
    line = encode_watch_event_json("DELETED", orjson.dumps(config_map("a")))
    assert line.endswith(b"\n")
    assert orjson.loads(line) == {"type": "DELETED", "object": config_map("a")}


@pytest.mark.parametrize(
    ("accept", "agreed"),
    [
        ("", MediaType(JSON)),
        ("*/*", MediaType(JSON)),
        ("*", MediaType(JSON)),
        ("application/*", MediaType(JSON)),
        ("application/yaml", MediaType(YAML)),
        ("text/html, application/yaml;q=0.5, application/json;q=0.4", MediaType(YAML)),
        ("application/json;q=0.4, application/vnd.kubernetes.protobuf", MediaType(PROTOBUF)),
        ("*/*, application/yaml", MediaType(YAML)),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
            MediaType(JSON, "Table", "meta.k8s.io", "v1"),
        ),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io, application/yaml", MediaType(YAML)),
        ("application/json;stream=watch", MediaType(JSON, stream="watch")),
        ("application/json;stream=other, application/yaml", MediaType(YAML)),
        ("application/json;pretty=1", MediaType(JSON, pretty=True)),
        ("application/json;sv=x", None),
        ("application/json;q=0", None),
        ("text/html", None),
        ("json", None),
        ("Application/JSON;charset=utf-8", MediaType(JSON)),
    ],
)
def test_negotiation(accept: str, agreed: MediaType | None) -> None:
    assert negotiate(accept, transforms=[TABLE]) == agreed


def test_transforms_have_to_be_allowed() -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert negotiate(accept) is None
    agreed = negotiate(accept, transforms=[TABLE])
    assert agreed is not None
    assert agreed.transform == TABLE
    assert MediaType(JSON).transform is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", JSON),
        ("application/json", JSON),
        ("Application/Json; charset=UTF-8", JSON),
        ("application/yaml", YAML),
        ("application/vnd.kubernetes.protobuf", PROTOBUF),
        ("text/plain", None),
    ],
)
def test_content_type(header: str, found: str | None) -> None:
    assert content_type(header) == found
