"""One change of one key, as watchers see it."""

from __future__ import annotations

from kvstore.etcdpb import kv_pb2

__all__ = ["Event", "key_of"]


class Event:
    """A put or a deletion at a revision.

    Attributes:
        revision: main revision of the change.
        key: the key changed.
        kv: the stored `mvccpb.KeyValue`, serialised; a deletion's has only key and mod_revision.
        deleted: whether this is a deletion.
        previous: stored revision of the key's value one revision earlier; None when the key was created, or did not
            exist then.
    """

    __slots__ = ("_wire", "_wire_with_previous", "deleted", "key", "kv", "previous", "revision")

    def __init__(self, revision: int, key: bytes, kv: bytes, deleted: bool, previous: bytes | None) -> None:
        self.revision = revision
        self.key = key
        self.kv = kv
        self.deleted = deleted
        self.previous = previous
        self._wire: bytes | None = None
        self._wire_with_previous: bytes | None = None

    def __repr__(self) -> str:
        return f"Event({'DELETE' if self.deleted else 'PUT'} {self.key!r} at {self.revision})"

    def wire(self) -> bytes:
        """The serialised `mvccpb.Event` without previous value; made once for all watchers."""
        if self._wire is None:
            kind = kv_pb2.Event.DELETE if self.deleted else kv_pb2.Event.PUT
            self._wire = _head(kind) + _field(_KV_TAG, self.kv)
        return self._wire

    def wire_with_previous(self, previous_kv: bytes | None) -> bytes:
        """The serialised `mvccpb.Event` with the previous `KeyValue`, if there was one; made once for all watchers."""
        if previous_kv is None:
            return self.wire()
        if self._wire_with_previous is None:
            self._wire_with_previous = self.wire() + _field(_PREVIOUS_TAG, previous_kv)
        return self._wire_with_previous

    @property
    def has_wire_with_previous(self) -> bool:
        """Whether the form with the previous value was made already, so that it need not be read again."""
        return self._wire_with_previous is not None


# Field tags of mvccpb.Event and mvccpb.KeyValue: number << 3 | 2 (length-delimited) or 0 (varint).
_TYPE_TAG = 0x08
_KV_TAG = 0x12
_PREVIOUS_TAG = 0x1A
_KEY_TAG = 0x0A


def _head(kind: int) -> bytes:
    return bytes((_TYPE_TAG, kind)) if kind else b""


def _field(tag: int, payload: bytes) -> bytes:
    return bytes((tag,)) + encode_varint(len(payload)) + payload


def encode_varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base-128 form.

    >>> encode_varint(300).hex()
    'ac02'
    """
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key_of(kv: bytes) -> bytes:
    """The key of a serialised `KeyValue`, without decoding the rest: it is the first field.

    >>> key_of(kv_pb2.KeyValue(key=b"foo", value=b"bar").SerializeToString())
    b'foo'
    """
    if len(kv) > 1 and kv[0] == _KEY_TAG and kv[1] < 0x80:
        return kv[2 : 2 + kv[1]]
    return kv_pb2.KeyValue.FromString(kv).key
