"""HTTP/2 frames: their names, numbers and shapes (RFC 9113 sections 4, 6 and 7). Pure."""

from __future__ import annotations

import enum
import struct

__all__ = [
    "ACK",
    "CLIENT_PREFACE",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "FRAME_HEADER_BYTES",
    "MAX_FRAME_BYTES_DEFAULT",
    "MAX_FRAME_BYTES_LIMIT",
    "MAX_STREAM_ID",
    "MAX_WINDOW_BYTES",
    "PADDED",
    "PRIORITY",
    "WINDOW_BYTES_DEFAULT",
    "ConnectionFault",
    "ErrorCode",
    "FrameType",
    "Setting",
    "StreamFault",
    "frame",
    "goaway_frame",
    "header_frames",
    "parse_settings",
    "rst_stream_frame",
    "settings_frame",
    "strip_padding",
    "window_update_frame",
]

CLIENT_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# 24 bits of length as 16 + 8, then type, flags and stream id (its first bit is reserved).
FRAME_HEADER = struct.Struct(">HBBBL")
FRAME_HEADER_BYTES = 9
_LONG = struct.Struct(">L")
_GOAWAY = struct.Struct(">LL")
_SETTING = struct.Struct(">HL")

MAX_FRAME_BYTES_DEFAULT = 16_384
MAX_FRAME_BYTES_LIMIT = (1 << 24) - 1
WINDOW_BYTES_DEFAULT = 65_535
MAX_WINDOW_BYTES = (1 << 31) - 1
MAX_STREAM_ID = (1 << 31) - 1

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class FrameType(enum.IntEnum):
    """RFC 9113 section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class ErrorCode(enum.IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(enum.IntEnum):
    """RFC 9113 section 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """The peer broke the protocol so that the connection cannot go on (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(Exception):
    """The peer broke the protocol on one stream (RFC 9113 section 5.4.2)."""

    def __init__(self, stream_id: int, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    length = len(payload)
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def header_frames(stream_id: int, block: bytes, end_stream: bool, max_frame_bytes: int) -> bytes:
    """A header block as HEADERS and as many CONTINUATION frames as it takes."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame_bytes:
        return frame(FrameType.HEADERS, flags | END_HEADERS, stream_id, block)
    frames = [frame(FrameType.HEADERS, flags, stream_id, block[:max_frame_bytes])]
    for start in range(max_frame_bytes, len(block), max_frame_bytes):
        last = start + max_frame_bytes >= len(block)
        part = block[start : start + max_frame_bytes]
        frames.append(frame(FrameType.CONTINUATION, END_HEADERS if last else 0, stream_id, part))
    return b"".join(frames)


def settings_frame(settings: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def rst_stream_frame(stream_id: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(FrameType.RST_STREAM, 0, stream_id, _LONG.pack(code))


def window_update_frame(stream_id: int, increment_bytes: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, _LONG.pack(increment_bytes))


def goaway_frame(last_stream_id: int, code: ErrorCode, message: str = "") -> bytes:
    """A GOAWAY frame; `message` is for the peer's log."""
    return frame(FrameType.GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + message.encode())


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """(name, value) pairs, unknown ones included. Raises `ConnectionFault` for a length no settings have."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a partial setting")
    return list(_SETTING.iter_unpack(payload))


def strip_padding(payload: bytes) -> bytes:
    """What a PADDED frame carries. Raises `ConnectionFault` when the padding is longer than the frame."""
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a pad length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - padding]
