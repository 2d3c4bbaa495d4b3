"""Requests as they may be written into a log: without values and passwords, and of a bearable length."""

from __future__ import annotations

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["described"]

LENGTH_MAX = 1024

_SECRET = frozenset(("password", "hashedPassword", "simple_token", "token"))
_REDACTED_BYTES = frozenset(("value",))


def described(message: Message) -> str:
    """A message in protobuf's text form, on one line. Values are replaced by their sizes."""
    copy = type(message)()
    copy.CopyFrom(message)
    _redact(copy)
    text = text_format.MessageToString(copy, as_one_line=True)
    return text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}…"


def _redact(message: Message) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                _redact(inner)
        elif field.name in _SECRET:
            setattr(message, field.name, "redacted")
        elif field.name in _REDACTED_BYTES:
            setattr(message, field.name, b"%d bytes" % len(value))
