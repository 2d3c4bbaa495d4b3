"""The server side of one HTTP/2 connection (RFC 9113), without any I/O.

`receive` takes what the peer sent and returns events; whoever owns the connection answers them with `send_…` and
`reset`, and writes out what `take_output` gives. After a fault of the peer's the output ends with GOAWAY and the last
event is `ConnectionEnded`.

    connection = Connection(FrontLimits())
    for event in connection.receive(data, now):
        ...
    transport.write(connection.take_output())

A request is `RequestReceived`, any number of `DataReceived`, the last of them (or the head itself) with `end_stream`;
or all of that at once as `CallReceived`; or `StreamReset` at any point after the head. Stream ids of events are valid
until the stream is over on both sides; sending on one that is gone does nothing, because the peer may end it at any
time.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.front.events import (
    CallReceived,
    ConnectionEnded,
    DataReceived,
    Event,
    RequestReceived,
    StreamDrained,
    StreamReset,
)
from kvstore.front.frames import (
    ACK,
    CLIENT_PREFACE,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    MAX_FRAME_BYTES_DEFAULT,
    MAX_FRAME_BYTES_LIMIT,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    PADDED,
    PRIORITY,
    WINDOW_BYTES_DEFAULT,
    ConnectionFault,
    ErrorCode,
    FrameType,
    Setting,
    StreamFault,
    frame,
    goaway_frame,
    parse_settings,
    rst_stream_frame,
    settings_frame,
    strip_padding,
    window_update_frame,
)
from kvstore.front.head import HeadReader, MalformedHead, RequestHead
from kvstore.front.hpack_decoder import TABLE_BYTES_MAX, HeaderListTooLarge, HPACKError
from kvstore.front.limits import Allowance, FrontLimits
from kvstore.front.outgoing import Outgoing, Stream

__all__ = ["Connection"]

# As plain integers, for the places every request passes.
_DATA, _HEADERS = int(FrameType.DATA), int(FrameType.HEADERS)
PING_STRIKES_MAX = 2  # grpc-go's: the third ping that comes too soon ends the connection
PING_INTERVAL_WITHOUT_STREAMS_SECONDS = 7_200.0
_DRAIN_PING = b"draining"
_KEEPALIVE_PING = b"are-you?"


class Connection:
    """See the module's docstring. Not safe for use by several threads."""

    def __init__(self, limits: FrontLimits) -> None:
        self.limits = limits
        self.ended = False
        self._buffer = b""
        self._preface_seen = False
        # The one type of frame that may come next: SETTINGS at first, CONTINUATION within a header block.
        self._only_frame: FrameType | None = FrameType.SETTINGS
        self._heads = HeadReader(limits.header_list_bytes_max)
        self._streams: dict[int, Stream] = {}
        self._highest_stream_id = 0
        self._last_stream_id_accepted = MAX_STREAM_ID
        self._draining = False
        self._final = False  # no request can come any more: the last GOAWAY is out, or the peer has sent its own
        self._outgoing = Outgoing()
        self._initial_send_window = WINDOW_BYTES_DEFAULT
        self._uncredited_bytes = 0
        self._call_bytes_max = min(MAX_FRAME_BYTES_DEFAULT, limits.stream_window_bytes)
        self._credit_after_bytes = limits.connection_window_bytes // 2
        self._partial_block: _PartialBlock | None = None
        self._useless = Allowance(limits.useless_frames_burst, limits.useless_frames_per_second)
        self._now = 0.0
        self._last_ping = float("-inf")
        self._ping_strikes = 0
        self._events: list[Event] = []
        # By type, in the order of `FrameType`.
        self._on_frame: tuple[Callable[[int, int, bytes], None], ...] = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            Setting.MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max,
        }
        self._outgoing.control(settings_frame(settings))
        if limits.connection_window_bytes > WINDOW_BYTES_DEFAULT:
            self._outgoing.control(window_update_frame(0, limits.connection_window_bytes - WINDOW_BYTES_DEFAULT))

    @property
    def stream_count(self) -> int:
        """Requests under way."""
        return len(self._streams)

    @property
    def backlog_bytes(self) -> int:
        """Response data that waits for the peer."""
        return self._outgoing.backlog_bytes

    @property
    def drained(self) -> bool:
        """Whether the connection was asked to end and has nothing left to do, nor anything crossing to it."""
        return self._final and not self._streams

    # Receiving.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer; `now` is in seconds of any clock that never goes back."""
        if self.ended:
            return []
        self._now = now
        if self._buffer:
            data = self._buffer + data
        elif self._only_frame is None and self._read_call(data):
            return self._take_events()
        try:
            position = 0 if self._preface_seen else self._read_preface(data)
            if self._preface_seen:
                position = self._read_frames(data, position)
            self._buffer = data[position:]
        except ConnectionFault as fault:
            self._end(fault.code, fault.message)
        return self._take_events()

    def _read_call(self, data: bytes) -> bool:
        """The shape nearly every read has, without the detours: one HEADERS frame and all its DATA, nothing else.

        Returns whether that is what it was; if not, nothing has happened.
        """
        end = len(data)
        if end < 2 * FRAME_HEADER_BYTES:
            return False
        high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data)
        middle = FRAME_HEADER_BYTES + low
        start = middle + FRAME_HEADER_BYTES
        if kind != _HEADERS or flags != END_HEADERS or high or end < start:
            return False
        high, low, kind, flags, same_id = FRAME_HEADER.unpack_from(data, middle)
        length = high << 8 | low
        if (
            kind != _DATA
            or flags != END_STREAM
            or same_id != stream_id
            or start + length != end
            or length > self._call_bytes_max
            or stream_id <= self._highest_stream_id
            or not stream_id & 1
            or stream_id > self._last_stream_id_accepted
            or len(self._streams) >= self.limits.max_concurrent_streams
        ):
            return False
        try:
            head, timeout = self._read_head(stream_id, data[FRAME_HEADER_BYTES:middle])
        except StreamFault as fault:
            self._on_stream_fault(fault)
            return True
        except ConnectionFault as fault:
            self._end(fault.code, fault.message)
            return True
        self._count_data(length)
        self._streams[stream_id] = Stream(stream_id, self._initial_send_window, self.limits.stream_window_bytes, True)
        self._events.append(CallReceived(stream_id, head, timeout, data[start:]))
        return True

    def _read_preface(self, data: bytes) -> int:
        """Check as much of the preface as there is; 0 until it is complete."""
        if not data.startswith(CLIENT_PREFACE):
            if CLIENT_PREFACE.startswith(data):
                return 0
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 preface")
        self._preface_seen = True
        return len(CLIENT_PREFACE)

    def _read_frames(self, data: bytes, position: int) -> int:
        """Handle every complete frame; where the first incomplete one begins."""
        end = len(data)
        on_frame = self._on_frame
        while end - position >= FRAME_HEADER_BYTES and not self.ended:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > MAX_FRAME_BYTES_DEFAULT:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            start = position + FRAME_HEADER_BYTES
            if end - start < length:
                break
            position = start + length
            if self._only_frame is not None and kind != self._only_frame:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"expected {self._only_frame.name}")
            if kind >= len(on_frame):
                self._useless.take(self._now, "frames of unknown types")
                continue
            try:
                on_frame[kind](stream_id & MAX_STREAM_ID, flags, data[start:position])
            except StreamFault as fault:
                self._on_stream_fault(fault)
        return position

    def _on_stream_fault(self, fault: StreamFault) -> None:
        self._useless.take(self._now, "requests that break the protocol")
        self._outgoing.control(rst_stream_frame(fault.stream_id, fault.code))
        self._forget(fault.stream_id, fault.code)

    def _forget(self, stream_id: int, code: int) -> None:
        """A stream ended without our doing."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._outgoing.drop(stream)
            self._events.append(StreamReset(stream_id, code))

    def _on_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self._count_data(length)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            self._useless.take(self._now, "frames on streams that are over")
            return
        if stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "data after END_STREAM")
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream window allows")
        if flags & PADDED:
            payload = strip_padding(payload)
        ended = flags & END_STREAM != 0
        if ended:
            stream.remote_closed = True
        elif not payload:
            self._useless.take(self._now, "empty frames")
        self._events.append(DataReceived(stream_id, payload, length, ended))

    def _count_data(self, length_bytes: int) -> None:
        """What waits in memory is bounded stream by stream; the connection's window only has to keep moving."""
        self._uncredited_bytes += length_bytes
        if self._uncredited_bytes >= self._credit_after_bytes:
            self._outgoing.control(window_update_frame(0, self._uncredited_bytes))
            self._uncredited_bytes = 0

    def _on_headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if flags & (PADDED | PRIORITY):
            payload = strip_padding(payload) if flags & PADDED else payload
            if flags & PRIORITY and len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            payload = payload[5:] if flags & PRIORITY else payload
        if flags & END_HEADERS:
            self._on_block(stream_id, flags, payload)
        else:
            self._partial_block = _PartialBlock(stream_id, flags, payload)
            self._only_frame = FrameType.CONTINUATION

    def _on_continuation(self, stream_id: int, flags: int, payload: bytes) -> None:
        partial = self._partial_block
        if partial is None or partial.stream_id != stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        if not payload:
            self._useless.take(self._now, "empty frames")
        partial.block += payload
        if len(partial.block) > self.limits.header_list_bytes_max:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            self._partial_block = None
            self._only_frame = None
            self._on_block(stream_id, partial.flags, bytes(partial.block))

    def _on_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A complete header block. Whatever becomes of it, it must be decoded: later ones refer to its fields."""
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients open odd streams")
        if stream_id <= self._highest_stream_id:
            self._on_trailers(stream_id, flags, block)
            return
        head, timeout = self._read_head(stream_id, block)
        if stream_id > self._last_stream_id_accepted:
            return  # it crossed our GOAWAY; the client knows that it was not handled
        if len(self._streams) >= self.limits.max_concurrent_streams:
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, "too many concurrent streams")
        ended = flags & END_STREAM != 0
        self._streams[stream_id] = Stream(stream_id, self._initial_send_window, self.limits.stream_window_bytes, ended)
        self._events.append(RequestReceived(stream_id, head, timeout, ended))

    def _read_head(self, stream_id: int, block: bytes) -> tuple[RequestHead, bytes | None]:
        """The head of a new request. Raises `ConnectionFault`, `StreamFault`."""
        self._highest_stream_id = stream_id
        try:
            return self._heads.read(block)
        except HeaderListTooLarge as error:
            raise StreamFault(stream_id, ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        except MalformedHead as error:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from None

    def _on_trailers(self, stream_id: int, flags: int, block: bytes) -> None:
        """Fields after the data: gRPC gives them no meaning in a request."""
        try:
            fields = self._heads.skip(block)
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        stream = self._streams.get(stream_id)
        if stream is None:
            self._useless.take(self._now, "frames on streams that are over")
        elif stream.remote_closed:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "fields after END_STREAM")
        elif not flags & END_STREAM or any(name[:1] == b":" for name, _ in fields):
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "malformed trailers")
        else:
            stream.remote_closed = True
            self._events.append(DataReceived(stream_id, b"", 0, True))

    def _on_priority(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of the wrong length")
        self._useless.take(self._now, "priorities")

    def _on_rst_stream(self, stream_id: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of the wrong length")
        self._check_not_idle(stream_id)
        self._useless.take(self._now, "cancelled requests")
        self._forget(stream_id, int.from_bytes(payload, "big"))

    def _on_settings(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            self._useless.take(self._now, "settings")
            return
        self._only_frame = None
        self._useless.take(self._now, "settings")
        for name, value in parse_settings(payload):
            self._apply_setting(name, value)
        self._outgoing.control(frame(FrameType.SETTINGS, ACK, 0))
        self._outgoing.pump()
        self._settle()

    def _apply_setting(self, name: int, value: int) -> None:
        if name == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial window over 2^31-1")
            delta = value - self._initial_send_window
            self._initial_send_window = value
            for stream in self._streams.values():
                if not self._outgoing.shift_window(stream, delta):
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window over 2^31-1")
        elif name == Setting.MAX_FRAME_SIZE:
            if not MAX_FRAME_BYTES_DEFAULT <= value <= MAX_FRAME_BYTES_LIMIT:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "maximal frame size out of range")
            self._outgoing.max_frame_bytes = value
        elif name == Setting.HEADER_TABLE_SIZE:
            if value < TABLE_BYTES_MAX:
                self._outgoing.forget_table()
        elif name == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")

    def _on_push_promise(self, stream_id: int, flags: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")

    def _on_ping(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of the wrong length")
        if flags & ACK:
            if payload == _DRAIN_PING and self._draining and not self._final:
                self._refuse_new_streams()
            return
        self._outgoing.control(frame(FrameType.PING, ACK, 0, payload))
        self._judge_ping()

    def _judge_ping(self) -> None:
        """grpc-go's keepalive enforcement: pings that come too soon, with nothing sent in between, add up."""
        since_last = self._now - self._last_ping
        self._last_ping = self._now
        if self._outgoing.progressed:
            self._outgoing.progressed = False
            self._ping_strikes = 0
            return
        interval = self.limits.keepalive_min_seconds
        if not self._streams and not self.limits.keepalive_without_streams:
            interval = PING_INTERVAL_WITHOUT_STREAMS_SECONDS
        if since_last < interval:
            self._ping_strikes += 1
            if self._ping_strikes > PING_STRIKES_MAX:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _on_goaway(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "malformed GOAWAY")
        self._final = True  # what is under way is finished

    def _on_window_update(self, stream_id: int, flags: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of the wrong length")
        increment = int.from_bytes(payload, "big") & MAX_WINDOW_BYTES
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            if not self._outgoing.widen(None, increment):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window over 2^31-1")
        else:
            self._check_not_idle(stream_id)
            stream = self._streams.get(stream_id)
            if stream is None:
                return
            if increment == 0:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            if not self._outgoing.widen(stream, increment):
                raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "stream window over 2^31-1")
        self._settle()

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self._highest_stream_id or not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")

    # Sending.

    def send_headers(self, stream_id: int, block: bytes) -> None:
        """Begin a response with an encoded header block."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outgoing.headers(stream, block)

    def send_data(self, stream_id: int, data: bytes) -> int:
        """Send response data; how many bytes of the stream still wait for the peer."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        self._outgoing.data(stream, data)
        self._outgoing.drained.clear()  # the caller sees it in the result
        return 0 if stream.backlog is None else stream.backlog.length_bytes

    def send_end(self, stream_id: int, trailers: bytes = b"") -> None:
        """End a response, with an encoded block of trailers or without."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outgoing.end(stream, trailers)
            self._settle()

    def send_response(self, stream_id: int, headers: bytes, data: bytes, trailers: bytes) -> None:
        """A whole response at once."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            if not self._outgoing.whole_response(stream, headers, data, trailers):
                self._settle()
            elif stream.remote_closed:
                del self._streams[stream_id]
            else:
                self._close(stream)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Give a stream up."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._outgoing.drop(stream)
            self._outgoing.control(rst_stream_frame(stream_id, code))

    def credit(self, stream_id: int, flow_bytes: int) -> None:
        """Data of a request has been dealt with: the peer may send as much again."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return
        stream.uncredited_bytes += flow_bytes
        if stream.uncredited_bytes >= self.limits.stream_window_bytes // 2:
            self._outgoing.control(window_update_frame(stream_id, stream.uncredited_bytes))
            stream.receive_window += stream.uncredited_bytes
            stream.uncredited_bytes = 0

    def ping(self) -> None:
        """Ask whether the peer is still there; any bytes from it are an answer."""
        self._outgoing.control(frame(FrameType.PING, 0, 0, _KEEPALIVE_PING))

    def drain(self) -> None:
        """Take no new requests, and finish those under way.

        Requests that are crossing our GOAWAY are still taken: the final one follows when the peer has answered a ping
        sent behind it (RFC 9113 section 6.8).
        """
        if not self._draining and not self.ended:
            self._outgoing.control(goaway_frame(MAX_STREAM_ID, ErrorCode.NO_ERROR))
            self._outgoing.control(frame(FrameType.PING, 0, 0, _DRAIN_PING))
        self._draining = True

    def pause(self) -> None:
        """The transport is full: hold response data back."""
        self._outgoing.pause()

    def resume(self) -> list[Event]:
        """The transport has room again."""
        self._outgoing.resume()
        self._settle()
        return self._take_events()

    @property
    def has_more_output(self) -> bool:
        """Whether there is more to send than one `take_output` gives; `proceed` prepares the next."""
        return self._outgoing.has_more

    def proceed(self) -> list[Event]:
        """Prepare more output, after what `take_output` gave has been written."""
        self._outgoing.pump()
        self._settle()
        return self._take_events()

    def take_output(self) -> bytes:
        """The bytes to write now; empty when there are none."""
        return self._outgoing.take()

    def _refuse_new_streams(self) -> None:
        self._final = True
        self._last_stream_id_accepted = self._highest_stream_id
        self._outgoing.control(goaway_frame(self._highest_stream_id, ErrorCode.NO_ERROR))

    def _settle(self) -> None:
        """Close the streams whose response is out, and report those with room for more."""
        outgoing = self._outgoing
        if outgoing.finished:
            for stream in outgoing.finished:
                self._close(stream)
            outgoing.finished.clear()
        if outgoing.drained:
            self._events.extend(StreamDrained(stream.id) for stream in outgoing.drained)
            outgoing.drained.clear()

    def _close(self, stream: Stream) -> None:
        """The response is out; what the peer may still send of its request is not needed (RFC 9113 section 8.1)."""
        if not stream.remote_closed:
            self._outgoing.control(rst_stream_frame(stream.id, ErrorCode.NO_ERROR))
        self._streams.pop(stream.id, None)

    def _take_events(self) -> list[Event]:
        events = self._events
        self._events = []
        return events

    def _end(self, code: ErrorCode, message: str) -> None:
        self.ended = True
        self._buffer = b""
        self._outgoing.control(goaway_frame(self._highest_stream_id, code, message))
        self._streams.clear()
        self._events.append(ConnectionEnded(code, message))


class _PartialBlock:
    """A header block whose CONTINUATION frames are still to come."""

    __slots__ = ("block", "flags", "stream_id")

    def __init__(self, stream_id: int, flags: int, first: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.block = bytearray(first)
