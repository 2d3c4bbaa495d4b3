"""`mini-apiserver decode` and `mini-apiserver encode`: stored values to text and back, outside of any server."""

from __future__ import annotations

import argparse
import sys
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from binascii import unhexlify
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from apiserver.api.conversion import ConversionError, convert
from apiserver.api.scheme import load_scheme
from apiserver.codec.codec import Codec
from apiserver.codec.errors import CodecError, DecodeError, EncryptedValueError, UnknownObjectKindError
from apiserver.codec.json import parse_json
from apiserver.codec.streams import split_envelope
from apiserver.codec.wire import MAGIC, read_varint
from apiserver.codec.yaml import dump_yaml, parse_yaml
from kvstore.environment import Environment, real_environment

__all__ = ["decode_main", "encode_main", "stored_values"]

_DECODE_HELP: Final = """\
Show what the API server keeps in its store, as JSON or YAML.

Reads a value, or several, as etcdctl prints them: alone, below their keys, or as `-w json` writes them. Values may come
from any Kubernetes cluster: objects of built-in kinds are protobuf, custom resources are JSON."""

_DECODE_EXAMPLES: Final = """\
examples:
  etcdctl get /registry/pods/default/web --print-value-only | mini-apiserver decode
  etcdctl get --prefix /registry/configmaps/ | mini-apiserver decode -o json
  etcdctl get --prefix /registry/ -w json | mini-apiserver decode > all.yaml
  mini-apiserver decode --base64 value.txt
"""

_ENCODE_HELP: Final = """\
Write a JSON or YAML object as the API server stores it: protobuf in its envelope. Unknown fields are an error; nothing
is defaulted or validated."""

_ENCODE_EXAMPLES: Final = """\
examples:
  mini-apiserver encode configmap.yaml | etcdctl put /registry/configmaps/default/settings
  mini-apiserver decode -o json value | jq '.data.a = "b"' | mini-apiserver encode > changed
  mini-apiserver encode --storage-version event.yaml | xxd
"""


@dataclass(frozen=True, slots=True)
class _Streams:
    """Where a command reads and writes."""

    stdin: BinaryIO
    stdout: BinaryIO
    environment: Environment

    def read(self, path: str) -> bytes:
        """The content of a file, or of standard input for `-`. Raises OSError."""
        if path == "-":
            return self.stdin.read()
        with self.environment.files.open(path, "rb") as file:
            return file.read()


def decode_main(
    argv: Sequence[str] | None = None, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
) -> int:
    """`mini-apiserver decode`. Returns the exit code: 0, or 1 after an error on standard error; 2 is a wrong usage."""
    parser = _parser("decode", _DECODE_HELP, _DECODE_EXAMPLES)
    parser.add_argument("-o", "--output", choices=("yaml", "json", "proto"), default="yaml", help=_OUTPUT_HELP)
    given_as = parser.add_mutually_exclusive_group()
    given_as.add_argument(
        "--hex", action="store_true", help=r"the input is hexadecimal (spaces and \x are passed over)"
    )
    given_as.add_argument("--base64", action="store_true", help="the input is base64")
    return _run(parser, argv, _decode, stdin, stdout)


def encode_main(
    argv: Sequence[str] | None = None, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
) -> int:
    """`mini-apiserver encode`. Exit codes as `decode_main`."""
    parser = _parser("encode", _ENCODE_HELP, _ENCODE_EXAMPLES)
    parser.add_argument("-o", "--output", choices=("storage", "proto", "hex", "base64"), default="storage")
    parser.add_argument(
        "--storage-version",
        action="store_true",
        help="convert the object to the version that Kubernetes stores its kind in",
    )
    parser.add_argument("--custom", action="store_true", help="take the object as a custom resource: store it as JSON")
    return _run(parser, argv, _encode, stdin, stdout)


_OUTPUT_HELP: Final = "yaml (default), json, or proto: the bare protobuf message without its envelope"


def _parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"mini-apiserver {command}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", default="-", help="what to read; standard input when absent or -")
    return parser


def _run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Callable[[argparse.Namespace, bytes], bytes],
    stdin: BinaryIO | None,
    stdout: BinaryIO | None,
) -> int:
    options = parser.parse_args(argv)
    streams = _Streams(stdin or sys.stdin.buffer, stdout or sys.stdout.buffer, real_environment())
    try:
        result = command(options, streams.read(options.file))
    except (CodecError, ConversionError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {_explained(error)}\n")
        return 1
    streams.stdout.write(result)
    streams.stdout.flush()
    return 0


def _explained(error: Exception) -> str:
    """The error, and what to do about it where that is known."""
    if isinstance(error, UnknownObjectKindError):
        return f"{error}: this program does not know kind {error.kind!r} of apiVersion {error.api_version!r}"
    if isinstance(error, EncryptedValueError):
        return f"{error}: read it through the API server, which has the keys, or decrypt it first"
    return str(error)


def _decode(options: argparse.Namespace, data: bytes) -> bytes:
    if options.hex or options.base64:
        data = _from_text(data, is_hex=options.hex)
    values = stored_values(data)
    if not values:
        raise DecodeError("there is no value in the input")
    codec = Codec(load_scheme())
    if options.output == "proto":
        if len(values) > 1:
            raise DecodeError(f"the input has {len(values)} values; -o proto takes one")
        if not values[0].startswith(MAGIC):
            raise DecodeError("the value is JSON, it has no protobuf message")
        return split_envelope(values[0])
    objects = [codec.from_storage(value) for value in values]
    if options.output == "json":
        return b"".join(orjson.dumps(o, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) for o in objects)
    return b"---\n".join(dump_yaml(obj) for obj in objects)


def _from_text(data: bytes, *, is_hex: bool) -> bytes:
    text = b"".join(data.split())
    try:
        return unhexlify(text.replace(b"\\x", b"")) if is_hex else b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise DecodeError(f"the input is not {'hexadecimal' if is_hex else 'base64'}") from None


def stored_values(data: bytes) -> list[bytes]:
    """The values in what etcdctl printed: one value, keys and values in turn, values alone, or its JSON output.

    Raises DecodeError when that cannot be told apart.
    """
    if data.lstrip().startswith(b"{"):
        return _from_etcdctl_json(data) or list(_documents(data))
    return list(_documents(data))


def _from_etcdctl_json(data: bytes) -> list[bytes]:
    """The values in the output of `etcdctl get -w json`; none when it is something else."""
    try:
        answer = orjson.loads(data)
        if not isinstance(answer.get("header"), dict):
            return []
        return [b64decode(pair["value"], validate=True) for pair in answer.get("kvs", ())]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, Base64Error):
        return []


def _documents(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        if data.startswith(MAGIC, position):
            end = _envelope_end(data, position + len(MAGIC))
        elif data.startswith((b"{", b"k8s:enc:"), position):
            # JSON stands on one line, unless it is all there is; ciphertext has no end that could be told.
            end = len(data) if data.startswith(b"k8s:enc:", position) else _json_end(data, position)
        else:
            position = _line_end(data, position)  # a key, or an empty line
            continue
        yield data[position:end]
        position = end


def _line_end(data: bytes, position: int) -> int:
    """Behind a line that holds a key or nothing."""
    end = data.find(b"\n", position)
    line = data[position : len(data) if end < 0 else end].strip()
    if line and not line.startswith(b"/"):
        raise DecodeError(
            "the input is no stored value: it starts neither with k8s\\0 (protobuf) nor with { (JSON), "
            "and is no key of the form /registry/..."
        )
    return len(data) if end < 0 else end + 1


def _json_end(data: bytes, position: int) -> int:
    """Behind a JSON value: the end of the line, as the API server writes it, or else of the input."""
    end = data.find(b"\n", position)
    try:
        orjson.loads(data[position:end] if end >= 0 else b"")
    except orjson.JSONDecodeError:
        return len(data)
    return end


def _envelope_end(data: bytes, position: int) -> int:
    """Behind a runtime.Unknown: its four fields stand in order, so the first that does not is no longer part of it."""
    previous = 0
    try:
        while position < len(data) and data[position] in (10, 18, 26, 34) and data[position] > previous:
            previous = data[position]
            length, start = read_varint(data, position + 1)
            position = start + length
    except (IndexError, ValueError):
        raise DecodeError("unexpected EOF in the envelope") from None
    if position > len(data):
        raise DecodeError("the value is cut off: unexpected EOF in the envelope")
    return position


def _encode(options: argparse.Namespace, data: bytes) -> bytes:
    codec = Codec(load_scheme())
    document, duplicates = parse_json(data, strict=True) if _is_json(data) else parse_yaml(data, strict=True)
    if not isinstance(document, dict):
        raise DecodeError("the input is no object")
    if options.custom:
        value = codec.custom_to_storage(document)
    else:
        obj = _strictly(codec, document, duplicates)
        if options.storage_version:
            obj = _in_storage_version(codec, obj)
        value = codec.to_storage(obj)
    if options.output == "proto":
        return split_envelope(value)
    if options.output == "hex":
        return value.hex().encode() + b"\n"
    return b64encode(value) + b"\n" if options.output == "base64" else value


def _is_json(data: bytes) -> bool:
    return data.lstrip().startswith((b"{", b"["))


def _strictly(codec: Codec, document: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    normalized = codec.normalize(document, strict=True)
    problems = problems + normalized.unknown
    if problems:
        raise DecodeError(f"strict decoding error: {', '.join(problems)}")
    return normalized.obj


def _in_storage_version(codec: Codec, obj: dict[str, Any]) -> dict[str, Any]:
    group, _, version = obj["apiVersion"].rpartition("/")
    resource = codec.scheme.resource_for_kind(group, version, obj["kind"])
    if resource is None or resource.storage_group_version is None:
        raise DecodeError(f"objects of kind {obj['kind']} are not stored")
    return convert(codec.scheme, obj, resource.storage_group_version)
