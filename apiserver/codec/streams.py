"""Lists and watch events put together from objects that are already encoded.

An object is encoded once per revision; get, list and watch answers are joined from those bytes. As kube-apiserver has
it, items in a list of a built-in kind carry no `kind` and `apiVersion` of their own (custom resources do).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from apiserver.codec.errors import DecodeError
from apiserver.codec.wire import ENVELOPE_TAIL, MAGIC, read_varint, watch_frame

__all__ = [
    "encode_list_json",
    "encode_watch_event_json",
    "encode_watch_event_proto",
    "item_json",
    "split_envelope",
]


def encode_list_json(api_version: str, kind: str, metadata: dict[str, Any], item_jsons: Iterable[bytes]) -> bytes:
    """A list object with a newline at its end; `kind` is that of the list, `metadata` its ListMeta."""
    head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    return b"".join((head[:-1], b',"items":[', b",".join(item_jsons), b"]}\n"))


def encode_watch_event_json(event_type: str, object_json: bytes) -> bytes:
    """One line of a JSON watch stream; the object comes whole, with kind and apiVersion."""
    return b"".join((b'{"type":"', event_type.encode(), b'","object":', object_json, b"}\n"))


def encode_watch_event_proto(event_type: str, envelope_bytes: bytes) -> bytes:
    """One frame of a protobuf watch stream: four bytes of length, then a WatchEvent around the enveloped object."""
    return watch_frame(event_type, envelope_bytes)


def item_json(object_json: bytes, api_version: str, kind: str) -> bytes:
    """An object's JSON as an item of a list, without kind and apiVersion.

    Canonical objects start with these two; other JSON is parsed and written again.
    """
    head = b'{"kind":"%b","apiVersion":"%b"' % (kind.encode(), api_version.encode())
    if object_json.startswith(head):
        rest = object_json[len(head) :]
        return b"{" + rest[1:] if rest.startswith(b",") else b"{" + rest
    obj = orjson.loads(object_json)
    return orjson.dumps({name: value for name, value in obj.items() if name not in ("kind", "apiVersion")})


def split_envelope(data: bytes) -> bytes:
    """The bare message in a stored value as Codec.to_storage makes it, for `Codec.encode_list_proto`.

    Raises DecodeError when the value is not laid out that way.
    """
    try:
        position = 6 + data[5]
        if data.startswith(MAGIC) and data[4] == 10 and data[position] == 18:
            length, start = read_varint(data, position + 1)
            if data[start + length :] == ENVELOPE_TAIL:
                return data[start : start + length]
    except IndexError:
        pass
    raise DecodeError("the value has no envelope as Kubernetes writes it")
