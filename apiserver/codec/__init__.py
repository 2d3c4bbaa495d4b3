"""Objects to bytes and back.

In memory an object is a dict in the shape of its JSON, *exactly as Kubernetes would print it* ("canonical"): `kind` and
`apiVersion` first, fields with `omitempty` absent when zero, others present, quantities and times in their one form,
bytes as padded base64, empty lists and maps absent (or null where they are always printed). `Codec.normalize` makes
what a client sent canonical; `from_storage` and `decode_body` return canonical objects; encoding expects them.

Pure: no I/O, no clock. All errors derive from `CodecError`; `DecodeError` is the client's mistake, `EncodeError` ours.
"""

from __future__ import annotations

from apiserver.codec.codec import Codec, Kind
from apiserver.codec.errors import CodecError, DecodeError, EncodeError, EncryptedValueError, UnknownObjectKindError
from apiserver.codec.normalize import Normalized
from apiserver.codec.streams import (
    encode_list_json,
    encode_watch_event_json,
    encode_watch_event_proto,
    item_json,
    split_envelope,
)

__all__ = [
    "Codec",
    "CodecError",
    "DecodeError",
    "EncodeError",
    "EncryptedValueError",
    "Kind",
    "Normalized",
    "UnknownObjectKindError",
    "encode_list_json",
    "encode_watch_event_json",
    "encode_watch_event_proto",
    "item_json",
    "split_envelope",
]
