"""gRPC's own layer over HTTP/2: message frames, deadlines, status (grpc/doc/PROTOCOL-HTTP2.md). Pure.

Texts of errors are grpc-go's, which is what clients of etcd know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from kvstore.errors import EtcdError, StatusCode

__all__ = [
    "FIELDS_OK",
    "TRAILERS_OK",
    "MessageReader",
    "encode_field",
    "frame_message",
    "frame_messages",
    "parse_timeout",
    "status_block",
    "status_only_block",
]

PREFIX_BYTES = 5  # a flag and four bytes of length
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TO_PERCENT_ENCODE = re.compile(rb"[^ -$&-~]")


def _length(length: int) -> bytes:
    """The length of a string in HPACK: an integer with a 7-bit prefix (RFC 7541 section 5.1)."""
    if length < 0x7F:
        return bytes((length,))
    rest = length - 0x7F
    encoded = bytearray((0x7F,))
    while rest >= 0x80:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def encode_field(name: bytes, value: bytes) -> bytes:
    """One header field for HPACK, as a literal that leaves the peer's table alone.

    Every response therefore is the same bytes on every connection, at the price of some 15 bytes each.
    """
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


# :status 200 is entry 8 of the static table.
FIELDS_OK = b"\x88" + encode_field(b"content-type", b"application/grpc")
TRAILERS_OK = encode_field(b"grpc-status", b"0")


def status_block(code: StatusCode, message: str) -> bytes:
    """Trailers that say how a call ended, after its headers were sent."""
    encoded = _TO_PERCENT_ENCODE.sub(lambda match: b"%%%02X" % match[0][0], message.encode(errors="replace"))
    return encode_field(b"grpc-status", b"%d" % code) + encode_field(b"grpc-message", encoded)


def status_only_block(code: StatusCode, message: str, http_status: int = 200) -> bytes:
    """The same for a call that has sent nothing: one block, headers and trailers at once.

    `http_status` is for requests that are no calls at all, and for whatever stands between that knows HTTP only.
    """
    if http_status == 200:
        return FIELDS_OK + status_block(code, message)
    fields = encode_field(b":status", b"%d" % http_status) + encode_field(b"content-type", b"application/grpc")
    return fields + status_block(code, message)


def frame_message(message: bytes) -> bytes:
    """A message as it goes into DATA frames."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def frame_messages(messages: Sequence[bytes]) -> bytes:
    """Several, one after the other."""
    parts: list[bytes] = []
    for message in messages:
        parts += (b"\x00", len(message).to_bytes(4, "big"), message)
    return b"".join(parts)


@lru_cache(maxsize=1024)  # clients count down from the same few values
def parse_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`. Raises `EtcdError` (INTERNAL) when it is malformed."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        text = value.decode(errors="replace")
        raise EtcdError(StatusCode.INTERNAL, f"malformed grpc-timeout: transport: timeout is malformed: {text!r}")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


class MessageReader:
    """Messages out of the data of one request.

    Args:
        message_bytes_max: longer ones are refused before they are read.
    """

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = bytearray()

    @property
    def partial_bytes(self) -> int:
        """Of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes.

        Raises `EtcdError`: RESOURCE_EXHAUSTED for one over the limit, INTERNAL for a compressed one (a client that
        announced a compression was refused before).
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        while len(buffer) >= PREFIX_BYTES:
            end = PREFIX_BYTES + self._check_prefix(buffer)
            if len(buffer) < end:
                break
            messages.append(bytes(buffer[PREFIX_BYTES:end]))
            del buffer[:end]
        return messages

    def finish(self) -> None:
        """There is no more data. Raises `EtcdError` (INTERNAL) in the middle of a message."""
        if self._buffer:
            raise EtcdError(StatusCode.INTERNAL, "unexpected EOF")

    def _check_prefix(self, buffer: bytearray) -> int:
        flag = buffer[0]
        if flag == 1:
            raise EtcdError(StatusCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if flag != 0:
            raise EtcdError(StatusCode.INTERNAL, f"grpc: received unexpected payload format {flag}")
        length = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        if length > self._message_bytes_max:
            raise EtcdError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"grpc: received message larger than max ({length} vs. {self._message_bytes_max})",
            )
        return length
