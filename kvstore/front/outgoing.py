"""What a connection has yet to send: frames in order, data by flow control, streams in turn (RFC 9113 section 5.2).

Pure: bytes pile up until `take`. Control and header frames go out as they come; the data of streams waits for its
windows and, while the transport is full, for the transport.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from struct import Struct

from kvstore.front.frames import (
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    MAX_FRAME_BYTES_DEFAULT,
    MAX_WINDOW_BYTES,
    WINDOW_BYTES_DEFAULT,
    FrameType,
    header_frames,
)

__all__ = ["Backlog", "Outgoing", "Stream"]

WRITE_BYTES_MAX = 512 * 1024

# An HPACK size update to zero: we never use the peer's table, and say so when it shrinks it (RFC 7541 section 4.2).
_EMPTY_TABLE = b"\x20"


@lru_cache(maxsize=16)  # there are two or three kinds of responses
def _whole_response_frames(headers_bytes: int, trailers_bytes: int) -> tuple[Struct, Struct]:
    """HEADERS and the head of DATA; then the trailers. Each in one packing."""
    return Struct(f">HBBBL{headers_bytes}sHBBBL"), Struct(f">HBBBL{trailers_bytes}s")


class Backlog:
    """Data of a stream that waits, and what comes after it.

    Attributes:
        parts, length_bytes: the data.
        trailers: the header block that ends the stream after it; empty for a bare END_STREAM, None when there is more
            to come.
        scheduled: whether the stream has its place in the turn.
    """

    __slots__ = ("length_bytes", "parts", "scheduled", "trailers")

    def __init__(self) -> None:
        self.parts: deque[memoryview] = deque()
        self.length_bytes = 0
        self.trailers: bytes | None = None
        self.scheduled = False


class Stream:
    """One request and its response.

    Attributes:
        send_window: bytes the peer still takes; negative after it shrank the initial window.
        receive_window: bytes the peer may still send.
        uncredited_bytes: received and not yet given back by WINDOW_UPDATE.
        remote_closed: whether the request is complete.
        backlog: response data that could not be written yet; None when there is none.
    """

    __slots__ = ("backlog", "id", "receive_window", "remote_closed", "send_window", "uncredited_bytes")

    def __init__(self, stream_id: int, send_window: int, receive_window: int, remote_closed: bool) -> None:
        self.id = stream_id
        self.send_window = send_window
        self.receive_window = receive_window
        self.uncredited_bytes = 0
        self.remote_closed = remote_closed
        self.backlog: Backlog | None = None


class Outgoing:
    """The sending half of a connection.

    `drained` collects the streams whose backlog has just emptied, `finished` those whose last frame has been written;
    the owner looks at both and empties them. `progressed` is set by every frame of a response. `backlog_bytes` is
    the data of all streams that wait.
    """

    def __init__(self) -> None:
        self.max_frame_bytes = MAX_FRAME_BYTES_DEFAULT
        self.window = WINDOW_BYTES_DEFAULT
        self.drained: list[Stream] = []
        self.finished: list[Stream] = []
        self.progressed = False
        self.backlog_bytes = 0
        self._frames: list[bytes] = []
        self._data_bytes = 0  # in `_frames`
        self._turn: deque[Stream] = deque()
        self._paused = False
        self._forget_table = False

    @property
    def has_more(self) -> bool:
        """Whether `pump` would write something."""
        return bool(self._turn) and self.window > 0 and not self._paused

    def take(self) -> bytes:
        """Everything to be written now."""
        frames = self._frames
        if not frames:
            return b""
        self._frames = []
        self._data_bytes = 0
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def control(self, encoded: bytes) -> None:
        """Send a frame that flow control does not concern."""
        self._frames.append(encoded)

    def forget_table(self) -> None:
        """The peer made its decoding table smaller: acknowledge that in the next header block."""
        self._forget_table = True

    def headers(self, stream: Stream, block: bytes) -> None:
        """Send the header block that begins a response."""
        self._header_block(stream, block, end_stream=False)

    def data(self, stream: Stream, data: bytes) -> None:
        """Send data as far as the windows allow; the rest waits."""
        if not data:
            return
        backlog = stream.backlog
        if backlog is None:
            backlog = stream.backlog = Backlog()
        backlog.parts.append(memoryview(data))
        backlog.length_bytes += len(data)
        self.backlog_bytes += len(data)
        self._schedule(stream)
        self.pump()

    def end(self, stream: Stream, trailers: bytes = b"") -> None:
        """End the stream after its data: with a block of trailers, or bare."""
        if stream.backlog is not None:
            stream.backlog.trailers = trailers
        else:
            self._end(stream, trailers)

    def whole_response(self, stream: Stream, headers: bytes, data: bytes, trailers: bytes) -> bool:
        """A response that is all there: in one piece when the windows have room for it.

        Returns whether it was; the stream is then over, without being among the `finished`.
        """
        length = len(data)
        if (
            length > stream.send_window
            or length > self.window
            or length > self.max_frame_bytes
            or stream.backlog is not None
            or self._paused
            or self._forget_table
        ):
            self.headers(stream, headers)
            self.data(stream, data)
            self.end(stream, trailers)
            return False
        self.window -= length
        self.progressed = True
        stream_id = stream.id
        before, after = _whole_response_frames(len(headers), len(trailers))
        self._frames.append(
            before.pack(
                0, len(headers), 1, END_HEADERS, stream_id, headers, length >> 8, length & 0xFF, 0, 0, stream_id
            )
        )
        self._frames.append(data)
        self._frames.append(after.pack(0, len(trailers), 1, END_HEADERS | END_STREAM, stream_id, trailers))
        return True

    def drop(self, stream: Stream) -> None:
        """Forget what a stream still had to send."""
        if stream.backlog is not None:
            self.backlog_bytes -= stream.backlog.length_bytes
            stream.backlog = None

    def pause(self) -> None:
        """The transport is full: hold data back."""
        self._paused = True

    def resume(self) -> None:
        """The transport has room again."""
        self._paused = False
        self.pump()

    def widen(self, stream: Stream | None, increment_bytes: int) -> bool:
        """A WINDOW_UPDATE arrived, for a stream or (None) the connection. False: the window is over its limit."""
        if stream is None:
            self.window += increment_bytes
            within = self.window <= MAX_WINDOW_BYTES
        else:
            stream.send_window += increment_bytes
            within = stream.send_window <= MAX_WINDOW_BYTES
            self._schedule(stream)
        if within:
            self.pump()
        return within

    def shift_window(self, stream: Stream, delta_bytes: int) -> bool:
        """The peer changed the initial window by `delta_bytes`. False: the window is over its limit."""
        stream.send_window += delta_bytes
        self._schedule(stream)
        return stream.send_window <= MAX_WINDOW_BYTES

    def pump(self) -> None:
        """Write waiting data, one frame of each stream in turn, until a window or the transport is full.

        So much at a time: between two writes others get their turn of the loop, and the transport may say stop.
        """
        turn = self._turn
        while turn and self.window > 0 and not self._paused and self._data_bytes < WRITE_BYTES_MAX:
            stream = turn.popleft()
            if stream.backlog is not None:
                stream.backlog.scheduled = False
            self._write_some(stream)
            self._schedule(stream)

    def _write_some(self, stream: Stream) -> None:
        backlog = stream.backlog
        room = min(stream.send_window, self.window, self.max_frame_bytes)
        if backlog is None or room <= 0:
            return
        # Several small messages share a frame: a stream of little events costs one frame, not one each.
        parts: list[memoryview] = []
        length = 0
        while backlog.parts and length < room:
            part = backlog.parts.popleft()
            if len(part) > room - length:
                backlog.parts.appendleft(part[room - length :])
                part = part[: room - length]
            parts.append(part)
            length += len(part)
        self.progressed = True
        self._data_bytes += length
        backlog.length_bytes -= length
        self.backlog_bytes -= length
        stream.send_window -= length
        self.window -= length
        self._frames.append(FRAME_HEADER.pack(length >> 8, length & 0xFF, FrameType.DATA, 0, stream.id))
        self._frames.extend(parts)  # type: ignore[arg-type]  # join takes any buffer
        if not backlog.length_bytes:
            stream.backlog = None
            if backlog.trailers is not None:
                self._end(stream, backlog.trailers)
            else:
                self.drained.append(stream)

    def _schedule(self, stream: Stream) -> None:
        backlog = stream.backlog
        if backlog is not None and stream.send_window > 0 and not backlog.scheduled:
            backlog.scheduled = True
            self._turn.append(stream)

    def _end(self, stream: Stream, trailers: bytes) -> None:
        if trailers:
            self._header_block(stream, trailers, end_stream=True)
        else:
            self._frames.append(FRAME_HEADER.pack(0, 0, FrameType.DATA, END_STREAM, stream.id))
        self.finished.append(stream)

    def _header_block(self, stream: Stream, block: bytes, end_stream: bool) -> None:
        self.progressed = True
        if self._forget_table:
            self._forget_table = False
            block = _EMPTY_TABLE + block
        self._frames.append(header_frames(stream.id, block, end_stream, self.max_frame_bytes))
