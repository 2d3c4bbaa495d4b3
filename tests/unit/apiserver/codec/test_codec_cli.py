"""`mini-apiserver decode` and `encode`."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from apiserver.codec import Codec
from apiserver.codec.cli import decode_main, encode_main, stored_values
from apiserver.codec.yaml import parse_yaml

CONFIG_MAP: dict[str, Any] = {
    "kind": "ConfigMap",
    "apiVersion": "v1",
    "metadata": {"name": "a", "namespace": "default"},
    "data": {"text": "one\n/registry/two\n{three"},
}
CUSTOM = b'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"}}\n'


@pytest.fixture(scope="module")
def stored(codec: Codec) -> bytes:
    return codec.to_storage(CONFIG_MAP)


def decode(data: bytes, *arguments: str) -> bytes:
    out = io.BytesIO()
    assert decode_main(list(arguments), io.BytesIO(data), out) == 0
    return out.getvalue()


def encode(data: bytes, *arguments: str) -> bytes:
    out = io.BytesIO()
    assert encode_main(list(arguments), io.BytesIO(data), out) == 0
    return out.getvalue()


def test_decode_to_yaml_and_json(stored: bytes) -> None:
    assert parse_yaml(decode(stored), strict=True)[0] == CONFIG_MAP
    assert orjson.loads(decode(stored, "-o", "json")) == CONFIG_MAP


def test_decode_a_value_below_its_key(stored: bytes) -> None:
    assert orjson.loads(decode(b"/registry/configmaps/default/a\n" + stored + b"\n", "-o", "json")) == CONFIG_MAP


def test_decode_several_values(stored: bytes) -> None:
    """Values hold line ends and what looks like keys; their envelopes say where they end."""
    printed = (
        b"/registry/x/a\n" + stored + b"\n/registry/example.com/widgets/w\n" + CUSTOM + b"\n/registry/x/b\n" + stored
    )
    assert stored_values(printed) == [stored, CUSTOM.rstrip(), stored]
    assert stored_values(stored + b"\n" + stored + b"\n") == [stored, stored]
    assert decode(printed).count(b"\n---\n") == 2


def test_decode_etcdctl_json(stored: bytes) -> None:
    pairs = [{"key": "L3g=", "value": b64encode(value).decode()} for value in (stored, CUSTOM)]
    answer = orjson.dumps({"header": {"revision": 1}, "kvs": pairs, "count": 2})
    assert stored_values(answer) == [stored, CUSTOM]


def test_decode_hex_and_base64(stored: bytes) -> None:
    for text, flag in ((stored.hex(), "--hex"), (b64encode(stored).decode(), "--base64")):
        assert orjson.loads(decode(text.encode(), flag, "-o", "json")) == CONFIG_MAP
    escaped = "".join(f"\\x{byte:02x}" for byte in stored)
    assert orjson.loads(decode(escaped.encode(), "--hex", "-o", "json")) == CONFIG_MAP


def test_decode_custom_resource() -> None:
    assert orjson.loads(decode(CUSTOM, "-o", "json"))["kind"] == "Widget"
    indented = orjson.dumps(orjson.loads(CUSTOM), option=orjson.OPT_INDENT_2)
    assert orjson.loads(decode(indented, "-o", "json"))["kind"] == "Widget"


def test_decode_to_proto(codec: Codec, stored: bytes) -> None:
    assert decode(stored, "-o", "proto") == codec.encode_body(("", "v1", "ConfigMap"), CONFIG_MAP)


def test_decode_reads_files(tmp_path: Path, stored: bytes) -> None:
    path = tmp_path / "value"
    path.write_bytes(stored)
    assert orjson.loads(decode(b"", "-o", "json", str(path))) == CONFIG_MAP


UNKNOWN = b"k8s\x00\n\x16\n\x0eexample.com/v1\x12\x04Nope\x12\x00\x1a\x00\x22\x00"


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (UNKNOWN, [], "does not know kind 'Nope' of apiVersion 'example.com/v1'"),
        (b"k8s:enc:aescbc:v1:key1:\x8a\n\x01", [], "encrypted by the provider 'aescbc'"),
        (b"/registry/x\nk8s:enc:kms:v2:mykms:\x8a\n\x01", [], "encrypted by the provider 'kms'"),
        (b"", [], "no value in the input"),
        (b"/registry/x\n", [], "no value in the input"),
        (b"\x00\x01\x02", [], "no stored value"),
        (b"zz", ["--hex"], "not hexadecimal"),
        (b"a", ["--base64"], "not base64"),
        (b"k8s\x00\n\x40abc", [], "cut off"),
        (b"{", [], "neither a Kubernetes protobuf object"),
        (CUSTOM, ["-o", "proto"], "is JSON"),
        (b"", ["/does/not/exist"], "No such file"),
    ],
)
def test_decode_errors(data: bytes, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.BytesIO()
    assert decode_main(arguments, io.BytesIO(data), out) == 1
    assert out.getvalue() == b""
    error = capsys.readouterr().err
    assert error.startswith("mini-apiserver decode: ")
    assert message in error


def test_encode_is_the_inverse(stored: bytes) -> None:
    assert encode(decode(stored)) == stored
    assert encode(decode(stored, "-o", "json")) == stored
    assert bytes.fromhex(encode(decode(stored), "-o", "hex").decode()) == stored
    assert encode(decode(stored), "-o", "base64") == b64encode(stored) + b"\n"
    assert encode(decode(stored), "-o", "proto") == decode(stored, "-o", "proto")


def test_encode_to_the_storage_version(codec: Codec) -> None:
    event = b"apiVersion: events.k8s.io/v1\nkind: Event\nmetadata: {name: e}\nnote: hi\neventTime: null\n"
    assert codec.from_storage(encode(event, "--storage-version"))["message"] == "hi"


def test_encode_custom_resource() -> None:
    assert encode(CUSTOM, "--custom") == CUSTOM


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (b"kind: ConfigMap", [], "Object 'apiVersion' is missing"),
        (b"apiVersion: v1", [], "Object 'Kind' is missing"),
        (b'{"apiVersion":"v1","kind":"ConfigMap","dta":{}}', [], 'strict decoding error: unknown field "dta"'),
        (b'{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","a":"2"}}', [], 'duplicate field "data.a"'),
        (b'{"apiVersion":"v1","kind":"ConfigMap","data":[]}', [], "cannot unmarshal array into Go struct field"),
        (b"a: [", [], "error converting YAML to JSON"),
        (b"- a", [], "the input is no object"),
        (CUSTOM, [], "does not know kind 'Widget'"),
        (b"apiVersion: v1\nkind: Status", ["--storage-version"], "objects of kind Status are not stored"),
    ],
)
def test_encode_errors(data: bytes, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.BytesIO()
    assert encode_main(arguments, io.BytesIO(data), out) == 1
    assert out.getvalue() == b""
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("run", [decode_main, encode_main])
def test_help_has_examples(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["--help"])
    assert stopped.value.code == 0
    assert "examples:" in capsys.readouterr().out
