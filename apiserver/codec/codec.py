"""The codec: canonical objects to bytes and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from apiserver.api.scheme import GroupVersion, Scheme, UnknownKindError, parse_api_version
from apiserver.codec.decoder import Decoders
from apiserver.codec.encoder import Encode, Encoders
from apiserver.codec.errors import DecodeError, EncodeError, EncryptedValueError, UnknownObjectKindError
from apiserver.codec.normalize import Normalized, Normalizers
from apiserver.codec.wire import ENVELOPE_TAIL, LENGTHS, MAGIC, envelope_head, read_varint, skip_field

__all__ = ["Codec", "Kind"]

# (group, version, kind)
Kind = tuple[str, str, str]

_ENCRYPTED_PREFIX: Final = b"k8s:enc:"
_JSON_CONTENT_TYPE: Final = b"application/json"
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


class Codec:
    """Reads and writes every kind of a scheme. Functions for a type are made when it is first met."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        self._encoders = Encoders(scheme)
        self._decoders = Decoders(scheme)
        self._normalizers = Normalizers(scheme)
        # (apiVersion, kind) -> (start of the envelope, encoder)
        self._writers: dict[tuple[str, str], tuple[bytes, Encode]] = {}
        # (apiVersion, kind) -> type name
        self._named: dict[tuple[str, str], str] = {}
        # typeMeta bytes -> (type name, kind and apiVersion as the object starts with them)
        self._readers: dict[bytes, tuple[str, dict[str, Any]]] = {}

    # Stored values.

    def to_storage(self, obj: dict[str, Any]) -> bytes:
        """A canonical object of a built-in kind as Kubernetes stores it: protobuf in its envelope.

        Raises UnknownObjectKindError; EncodeError when the object is not canonical.
        """
        key = obj.get("apiVersion", ""), obj.get("kind", "")
        found = self._writers.get(key)
        if found is None:
            found = self._writers[key] = self._writer(*key)
        head, encode = found
        body = self._run(encode, obj)
        return b"".join((head, LENGTHS[len(body)], body, ENVELOPE_TAIL))

    def custom_to_storage(self, obj: dict[str, Any]) -> bytes:
        """A custom resource as Kubernetes stores it: JSON with sorted keys and a newline, no envelope."""
        try:
            return orjson.dumps(obj, option=_SORTED)
        except orjson.JSONEncodeError as error:
            raise EncodeError(str(error)) from None

    def from_storage(self, data: bytes) -> dict[str, Any]:
        """The canonical object in a stored value, protobuf or JSON.

        Raises UnknownObjectKindError for a protobuf value of a kind the scheme does not have, EncryptedValueError for a
        value that is still sealed, DecodeError for anything else that is no object.
        """
        if not data.startswith(MAGIC):
            return _json_value(data)
        try:
            # The shortest possible head decides: one tag, one length byte, then the typeMeta.
            start = 6 + data[5]
            reader = self._readers.get(data[6:start])
            if reader is not None and data[4] == 10 and data[start] == 18:
                length, start = read_varint(data, start + 1)
                end = start + length
                if data[end:] == ENVELOPE_TAIL:
                    return self._decoders.decode(reader[0], data, start, end, reader[1])
            return self._from_envelope(data)
        except IndexError:
            raise DecodeError("unexpected EOF in the envelope") from None

    def type_meta_of(self, data: bytes) -> tuple[str, str]:
        """(apiVersion, kind) of a stored value, known to the scheme or not. Raises DecodeError."""
        if not data.startswith(MAGIC):
            obj = _json_value(data)
            return str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        return _type_meta(_envelope(data)[0])

    # Messages without envelope.

    def encode_body(self, kind: str | Kind, obj: dict[str, Any]) -> bytes:
        """A canonical object as bare message; `kind` is a full message name or (group, version, kind).

        Raises UnknownObjectKindError or EncodeError.
        """
        return self._run(self._encoders.get(self._type_name(kind)), obj)

    def decode_body(self, kind: str | Kind, data: bytes) -> dict[str, Any]:
        """The canonical object in a bare message; apiVersion and kind are put in when `kind` is (group, version, kind).

        Raises UnknownObjectKindError or DecodeError.
        """
        head = {} if isinstance(kind, str) else {"kind": kind[2], "apiVersion": GroupVersion(*kind[:2]).api_version}
        return self._decoders.decode(self._type_name(kind), data, 0, len(data), head)

    def encode_list_proto(self, kind: Kind, metadata: dict[str, Any], item_bodies: Iterable[bytes]) -> bytes:
        """A list in its envelope, joined from bodies of items that are already encoded.

        `kind` is that of the list; every list has 1 metadata and 2 items.
        """
        type_name = self._type_name(kind)
        meta_type = self.scheme.type(type_name).by_json_name["metadata"].type_name
        meta = self._run(self._encoders.get(meta_type), metadata)
        parts = [b"\n", LENGTHS[len(meta)], meta]
        for body in item_bodies:
            parts += (b"\x12", LENGTHS[len(body)], body)
        raw = b"".join(parts)
        head = envelope_head(GroupVersion(*kind[:2]).api_version, kind[2])
        return b"".join((head, LENGTHS[len(raw)], raw, ENVELOPE_TAIL))

    # Objects from clients.

    def normalize(self, obj: dict[str, Any], kind: Kind | None = None, *, strict: bool) -> Normalized:
        """The canonical form of a parsed document; see `apiserver.codec.normalize`.

        `kind` is what the document must be read as; by default what its apiVersion and kind say. The document is
        changed in place and belongs to the result. `strict` asks for the paths of unknown fields, which are pruned
        either way. Raises UnknownObjectKindError or DecodeError.
        """
        if kind is None:
            api_version, name = _type_meta_in(obj)
        else:
            api_version, name = GroupVersion(*kind[:2]).api_version, kind[2]
        type_name = self._named.get((api_version, name))
        if type_name is None:
            type_name = self._named[api_version, name] = self._type_name(kind or _parse_kind(api_version, name))
        return self._normalizers.normalize(type_name, obj, {"kind": name, "apiVersion": api_version}, strict=strict)

    def from_wire(self, data: bytes) -> dict[str, Any]:
        """The canonical object in a protobuf request body (which has the envelope of stored values)."""
        if not data.startswith(MAGIC):
            raise DecodeError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
        return self.from_storage(data)

    def _type_name(self, kind: str | Kind) -> str:
        if isinstance(kind, str):
            return kind
        try:
            return self.scheme.type_of(*kind).name
        except UnknownKindError:
            raise UnknownObjectKindError(GroupVersion(*kind[:2]).api_version, kind[2]) from None

    def _writer(self, api_version: str, kind: str) -> tuple[bytes, Encode]:
        try:
            type_name = self._type_name(_parse_kind(api_version, kind))
        except UnknownObjectKindError:
            raise
        except DecodeError as error:
            raise EncodeError(str(error)) from None
        return envelope_head(api_version, kind), self._encoders.get(type_name)

    def _run(self, encode: Encode, obj: dict[str, Any]) -> bytes:
        """Encode, and say that the object is not canonical when that fails."""
        try:
            return encode(obj)
        except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
            raise EncodeError(f"the object is not canonical: {error}") from error
        except RecursionError:
            raise EncodeError("the object is nested too deeply") from None

    def _from_envelope(self, data: bytes) -> dict[str, Any]:
        """Any layout of the envelope, and kinds not met before."""
        type_meta, raw, content_type, encoding = _envelope(data)
        api_version, kind = _type_meta(type_meta)
        if encoding:
            raise DecodeError(f"the value has the unknown content encoding {encoding.decode(errors='replace')!r}")
        if content_type and content_type != _JSON_CONTENT_TYPE:
            raise DecodeError(f"the value has the unknown content type {content_type.decode(errors='replace')!r}")
        if content_type:
            return _json_value(raw)
        type_name = self._type_name(_parse_kind(api_version, kind))
        head = {"kind": kind, "apiVersion": api_version}
        self._readers[type_meta] = type_name, head
        return self._decoders.decode(type_name, raw, 0, len(raw), head)


def _type_meta_in(obj: dict[str, Any]) -> tuple[str, str]:
    """(apiVersion, kind) of a parsed document. Raises DecodeError when either is missing."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(kind, str) or not kind:
        raise DecodeError("Object 'Kind' is missing")
    if not isinstance(api_version, str) or not api_version:
        raise DecodeError("Object 'apiVersion' is missing")
    return api_version, kind


def _parse_kind(api_version: str, kind: str) -> Kind:
    """(group, version, kind). Raises DecodeError."""
    try:
        group_version = parse_api_version(api_version)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    return group_version.group, group_version.version, kind


def _json_value(data: bytes) -> dict[str, Any]:
    """A value stored as JSON."""
    if data.startswith(_ENCRYPTED_PREFIX):
        provider = data[len(_ENCRYPTED_PREFIX) :].split(b":", 1)[0].decode(errors="replace")
        raise EncryptedValueError(f"the value is encrypted by the provider {provider!r}")
    try:
        obj = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise DecodeError("the value is neither a Kubernetes protobuf object (k8s\\0 ...) nor JSON") from None
    if not isinstance(obj, dict):
        raise DecodeError("the value is JSON, but no object")
    return obj


def _envelope(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """(typeMeta, raw, contentType, contentEncoding) of a runtime.Unknown behind the magic."""
    found = _bytes_fields(data, len(MAGIC))
    return found.get(1, b""), found.get(2, b""), found.get(4, b""), found.get(3, b"")


def _type_meta(data: bytes) -> tuple[str, str]:
    """(apiVersion, kind) of a TypeMeta message."""
    found = _bytes_fields(data, 0)
    try:
        return found.get(1, b"").decode(), found.get(2, b"").decode()
    except UnicodeDecodeError:
        raise DecodeError("apiVersion or kind is no text") from None


def _bytes_fields(data: bytes, position: int) -> dict[int, bytes]:
    """Field number -> last value, of the length-delimited fields of a message."""
    end = len(data)
    found: dict[int, bytes] = {}
    try:
        while position < end:
            tag, position = read_varint(data, position)
            start = position
            position = skip_field(data, position, tag & 7)
            if tag & 7 == 2:
                found[tag >> 3] = data[read_varint(data, start)[1] : position]
    except (IndexError, ValueError) as error:
        raise DecodeError(f"damaged envelope: {error}") from None
    if position != end:
        raise DecodeError("unexpected EOF in the envelope")
    return found
