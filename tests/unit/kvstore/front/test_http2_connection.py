"""The HTTP/2 connection without sockets: against the h2 package as client, and against frames no client may send."""

from __future__ import annotations

import struct

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from hpack import Decoder, Encoder
from hyperframe import frame as hyper
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.front.connection import Connection
from kvstore.front.events import (
    CallReceived,
    ConnectionEnded,
    DataReceived,
    RequestReceived,
    StreamDrained,
    StreamReset,
)
from kvstore.front.frames import CLIENT_PREFACE, ErrorCode, FrameType, frame, rst_stream_frame, settings_frame
from kvstore.front.grpc import FIELDS_OK, TRAILERS_OK
from kvstore.front.limits import FrontLimits
from tests.fuzz_examples import examples

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a/b"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
]


def in_steps(events: list) -> list:
    """Events with `CallReceived` taken apart."""
    steps: list = []
    for event in events:
        if isinstance(event, CallReceived):
            steps.append(RequestReceived(event.stream_id, event.head, event.timeout, False))
            steps.append(DataReceived(event.stream_id, event.data, len(event.data), True))
        else:
            steps.append(event)
    return steps


class Pair:
    """An h2 client and our server, joined by hand; `events` are the server's, `answers` the client's."""

    def __init__(self, limits: FrontLimits | None = None) -> None:
        self.server = Connection(limits or FrontLimits())
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.events: list = []
        self.answers: list = []
        self.now = 0.0
        self.client.initiate_connection()
        self.exchange()

    def exchange(self, piece_bytes: int = 1 << 20) -> None:
        """Carry bytes both ways until neither side has any left."""
        while True:
            to_server, to_client = self.client.data_to_send(), self.server.take_output()
            self.events += self.server.proceed()
            if not to_server and not to_client:
                return
            for start in range(0, len(to_server), piece_bytes):
                self.events += in_steps(self.server.receive(to_server[start : start + piece_bytes], self.now))
            if to_client:
                self.answers += self.client.receive_data(to_client)

    def request(self, data: bytes = b"", end: bool = True) -> int:
        """Send a request; its stream."""
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, REQUEST, end_stream=end and not data)
        if data:
            self.client.send_data(stream_id, data, end_stream=end)
        return stream_id

    def answer_data(self, stream_id: int) -> bytes:
        """What the client has received on a stream."""
        return b"".join(
            event.data
            for event in self.answers
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id
        )

    def of(self, kind: type) -> list:
        """Events of one kind, of either side."""
        return [event for event in (*self.events, *self.answers) if isinstance(event, kind)]


def raw_server(*frames: bytes, limits: FrontLimits | None = None) -> tuple[Connection, list]:
    """A server after the preface, empty settings and `frames`, with the events of the frames."""
    server = Connection(limits or FrontLimits())
    server.receive(CLIENT_PREFACE + settings_frame({}), 0.0)
    server.take_output()
    return server, server.receive(b"".join(frames), 0.0)


def sent(server: Connection) -> list[hyper.Frame]:
    """The frames a server has to send, parsed by hyperframe."""
    data = memoryview(server.take_output())
    frames = []
    while data:
        parsed, length = hyper.Frame.parse_frame_header(data[:9])
        parsed.parse_body(data[9 : 9 + length])
        frames.append(parsed)
        data = data[9 + length :]
    return frames


def headers(stream_id: int, flags: int = 0x5, block: bytes | None = None) -> bytes:
    """HEADERS of a request."""
    return frame(FrameType.HEADERS, flags, stream_id, Encoder().encode(REQUEST) if block is None else block)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_a_call_and_its_answer(piece_bytes: int) -> None:
    pair = Pair()
    stream_id = pair.request(b"hello")
    pair.exchange(piece_bytes)
    request, data = pair.events
    assert (request.stream_id, request.head.path, request.end_stream) == (stream_id, b"/a/b", False)
    assert data == DataReceived(stream_id, b"hello", 5, True)
    pair.server.send_response(stream_id, FIELDS_OK, b"world", TRAILERS_OK)
    pair.exchange()
    (response,) = pair.of(h2.events.ResponseReceived)
    assert dict(response.headers)[b":status"] == b"200"
    assert pair.answer_data(stream_id) == b"world"
    (trailers,) = pair.of(h2.events.TrailersReceived)
    assert trailers.headers == [(b"grpc-status", b"0")]
    assert pair.of(h2.events.StreamEnded)
    assert pair.server.stream_count == 0


def test_an_answer_before_the_request_is_complete_stops_the_request() -> None:
    pair = Pair()
    stream_id = pair.request(b"x", end=False)
    pair.exchange()
    pair.server.send_end(stream_id, FIELDS_OK + TRAILERS_OK)
    pair.exchange()
    (reset,) = pair.of(h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream_id, h2.errors.ErrorCodes.NO_ERROR)
    assert pair.server.stream_count == 0


@settings(deadline=None, max_examples=examples(50))
@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    st.integers(0, 40_000),
    st.integers(16_384, 40_000),
    st.lists(st.integers(1, 30_000), max_size=40),
)
def test_answers_keep_within_the_clients_windows(
    sizes: list[int], window: int, max_frame: int, credits: list[int]
) -> None:
    """h2 refuses data beyond its windows; whatever they are, everything arrives in the end, in order."""
    pair = Pair()
    codes = h2.settings.SettingCodes
    pair.client.update_settings({codes.INITIAL_WINDOW_SIZE: window, codes.MAX_FRAME_SIZE: max_frame})
    pair.exchange()
    answers = {pair.request(): bytes([index]) * size for index, size in enumerate(sizes)}
    pair.exchange()
    for stream_id, data in answers.items():
        pair.server.send_headers(stream_id, FIELDS_OK)
        pair.server.send_data(stream_id, data[: len(data) // 2])
        pair.server.send_data(stream_id, data[len(data) // 2 :])
        pair.server.send_end(stream_id, TRAILERS_OK)
    pair.exchange()
    streams = list(answers)
    for index, credit in enumerate([*credits, *[100_000] * len(sizes)]):
        stream_id = streams[index % len(streams)]
        if pair.answer_data(stream_id) != answers[stream_id]:
            pair.client.increment_flow_control_window(credit, stream_id)
        pair.client.increment_flow_control_window(credit)
        pair.exchange()
    assert {stream_id: pair.answer_data(stream_id) for stream_id in streams} == answers
    assert len(pair.of(h2.events.StreamEnded)) == len(sizes)


def test_streams_take_turns() -> None:
    pair = Pair()
    first, second = pair.request(), pair.request()
    pair.exchange()
    for stream_id in (first, second):
        pair.server.send_headers(stream_id, FIELDS_OK)
    pair.server.send_data(first, bytes(200_000))  # fills the connection window
    pair.server.send_data(second, b"short")
    pair.exchange()
    assert pair.answer_data(second) == b""
    pair.client.increment_flow_control_window(100_000)
    pair.client.increment_flow_control_window(200_000, first)
    pair.exchange()
    assert pair.answer_data(second) == b"short"
    assert len(pair.answer_data(first)) < 200_000
    assert StreamDrained(second) in pair.events


def test_a_full_transport_holds_data_back() -> None:
    pair = Pair()
    stream_id = pair.request()
    pair.exchange()
    pair.server.send_headers(stream_id, FIELDS_OK)
    pair.server.pause()
    assert pair.server.send_data(stream_id, b"abc") == 3
    pair.exchange()
    assert pair.answer_data(stream_id) == b""
    assert pair.server.resume() == [StreamDrained(stream_id)]
    pair.exchange()
    assert pair.answer_data(stream_id) == b"abc"


def test_a_large_response_leaves_in_portions() -> None:
    """Whatever the client would take at once."""
    server, _ = raw_server(
        frame(SETTINGS, 0, 0, struct.pack(">HL", 4, (1 << 31) - 1)),
        frame(WINDOW, 0, 0, b"\x7f\x00\x00\x00"),
        headers(1),
    )
    server.send_response(1, FIELDS_OK, bytes(5_000_000), TRAILERS_OK)
    portions = []
    while server.has_more_output:
        portions.append(len(server.take_output()))
        server.proceed()
    portions.append(len(server.take_output()))
    assert sum(portions) > 5_000_000
    assert max(portions) < 600_000
    assert server.stream_count == 0


def test_a_request_larger_than_the_window_needs_credit() -> None:
    limits = FrontLimits(stream_window_bytes=20_000, connection_window_bytes=100_000)
    pair = Pair(limits)
    stream_id = pair.request(end=False)
    pair.exchange()
    total = 0
    while total < 1_000_000:
        room = min(pair.client.local_flow_control_window(stream_id), pair.client.max_outbound_frame_size)
        assert room > 0
        pair.client.send_data(stream_id, bytes(room))
        total += room
        pair.exchange()
        for event in pair.events:
            if isinstance(event, DataReceived):
                pair.server.credit(stream_id, event.flow_bytes)
        pair.events.clear()
        pair.exchange()
    assert pair.client.local_flow_control_window(stream_id) <= 20_000


def test_without_credit_the_client_stops() -> None:
    pair = Pair(FrontLimits(stream_window_bytes=20_000))
    stream_id = pair.request(end=False)
    pair.client.send_data(stream_id, bytes(16_000))
    pair.client.send_data(stream_id, bytes(4_000))
    pair.exchange()
    assert pair.client.local_flow_control_window(stream_id) == 0


def test_padding_counts_for_flow_control_and_is_not_data() -> None:
    pair = Pair()
    stream_id = pair.request(end=False)
    pair.client.send_data(stream_id, b"abc", pad_length=10)
    pair.exchange()
    assert pair.events[-1] == DataReceived(stream_id, b"abc", 14, False)


def test_trailers_end_a_request() -> None:
    pair = Pair()
    stream_id = pair.request(end=False)
    pair.client.send_headers(stream_id, [("x-trailer", "1")], end_stream=True)
    pair.exchange()
    assert pair.events[-1] == DataReceived(stream_id, b"", 0, True)


def test_a_reset_ends_a_stream_and_what_is_sent_after_is_lost() -> None:
    pair = Pair()
    stream_id = pair.request()
    pair.exchange()
    pair.client.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
    pair.exchange()
    assert pair.events[-1] == StreamReset(stream_id, ErrorCode.CANCEL)
    pair.server.send_response(stream_id, FIELDS_OK, b"late", TRAILERS_OK)
    assert pair.server.take_output() == b""


def test_a_long_header_block_comes_in_pieces_and_leaves_in_pieces() -> None:
    pair = Pair()
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_headers(stream_id, [*REQUEST, ("x-long", "v" * 40_000)], end_stream=True)
    pair.exchange()
    assert len(pair.events[0].head.metadata["x-long"]) == 40_000
    pair.server.send_headers(stream_id, b"\x88\x00\x01x\x7f\xc1\xb7\x02" + b"y" * 40_000)
    pair.exchange()
    (response,) = pair.of(h2.events.ResponseReceived)
    assert len(dict(response.headers)[b"x"]) == 40_000


def test_a_client_that_shrinks_its_table_is_obeyed() -> None:
    server, _ = raw_server(frame(FrameType.SETTINGS, 0, 0, struct.pack(">HL", 1, 0)), headers(1))
    server.send_response(1, FIELDS_OK, b"x", TRAILERS_OK)
    block = next(part for part in sent(server) if isinstance(part, hyper.HeadersFrame)).data
    decoder = Decoder()
    decoder.max_allowed_table_size = 0  # from here on it insists on being told
    assert (":status", "200") in decoder.decode(block)


def test_draining_finishes_what_is_under_way() -> None:
    pair = Pair()
    first = pair.request()
    pair.exchange()
    pair.server.drain()
    crossing = pair.request()  # sent before the client has heard of it
    data = pair.client.data_to_send()
    pair.events += pair.server.receive(data, 0.0)
    assert [event.stream_id for event in pair.of(RequestReceived)] == [first, crossing]
    goaway, ping = sent(pair.server)[:2]
    assert isinstance(goaway, hyper.GoAwayFrame)
    assert goaway.last_stream_id == 2**31 - 1
    assert isinstance(ping, hyper.PingFrame)
    pair.server.receive(frame(FrameType.PING, 1, 0, ping.opaque_data), 0.0)
    (final,) = sent(pair.server)
    assert isinstance(final, hyper.GoAwayFrame)
    assert final.last_stream_id == crossing
    late = pair.server.receive(headers(crossing + 2), 0.0)
    assert late == []
    assert not pair.server.drained
    for stream_id in (first, crossing):
        pair.server.send_end(stream_id, FIELDS_OK + TRAILERS_OK)
    assert pair.server.drained


def test_too_many_streams_are_refused_one_by_one() -> None:
    server, events = raw_server(headers(1), headers(3), headers(5), limits=FrontLimits(max_concurrent_streams=2))
    assert [event.stream_id for event in events] == [1, 3]
    (reset,) = sent(server)
    assert isinstance(reset, hyper.RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (5, ErrorCode.REFUSED_STREAM)


def test_a_header_list_too_large_costs_only_its_stream() -> None:
    limits = FrontLimits(header_list_bytes_max=8_000)
    encoder = Encoder()
    large = encoder.encode([*REQUEST, ("x-large", "v" * 3_000)], huffman=False)
    repeated = large + b"\xbe" * 3
    server, events = raw_server(headers(1, block=repeated), headers(3, block=encoder.encode(REQUEST)), limits=limits)
    assert [event.stream_id for event in events if isinstance(event, RequestReceived)] == [3]
    (reset,) = sent(server)
    assert (reset.stream_id, reset.error_code) == (1, ErrorCode.ENHANCE_YOUR_CALM)


GO = ErrorCode
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(DATA, 0, 0, b"x")], GO.PROTOCOL_ERROR),
        ([frame(DATA, 0, 1, b"x")], GO.PROTOCOL_ERROR),  # idle
        ([headers(1, 0x4), frame(DATA, 0x8, 1, b"\x05abc")], GO.PROTOCOL_ERROR),  # padding longer than the frame
        ([headers(1, 0x4), frame(DATA, 0x8, 1, b"")], GO.FRAME_SIZE_ERROR),
        ([headers(0)], GO.PROTOCOL_ERROR),
        ([headers(2)], GO.PROTOCOL_ERROR),
        ([headers(1, block=b"\xff\xff\xff\xff\xff\xff\xff")], GO.COMPRESSION_ERROR),
        ([headers(1, 0x25, b"\0\0")], GO.FRAME_SIZE_ERROR),
        ([frame(HEADERS, 0x1, 1, b"\x82"), frame(PING, 0, 0, bytes(8))], GO.PROTOCOL_ERROR),
        ([frame(HEADERS, 0x1, 1, b"\x82"), frame(CONT, 0x4, 3, b"")], GO.PROTOCOL_ERROR),
        ([frame(CONT, 0x4, 1, b"")], GO.PROTOCOL_ERROR),
        ([frame(HEADERS, 0x1, 1, b""), *[frame(CONT, 0, 1, bytes(16_384))] * 5], GO.ENHANCE_YOUR_CALM),
        ([frame(PRIORITY, 0, 0, bytes(5))], GO.PROTOCOL_ERROR),
        ([frame(RST, 0, 0, bytes(4))], GO.PROTOCOL_ERROR),
        ([frame(RST, 0, 1, bytes(4))], GO.PROTOCOL_ERROR),  # idle
        ([headers(1), frame(RST, 0, 1, bytes(3))], GO.FRAME_SIZE_ERROR),
        ([frame(SETTINGS, 0, 1)], GO.PROTOCOL_ERROR),
        ([frame(SETTINGS, 0, 0, bytes(5))], GO.FRAME_SIZE_ERROR),
        ([frame(SETTINGS, 1, 0, bytes(6))], GO.FRAME_SIZE_ERROR),
        ([frame(SETTINGS, 0, 0, struct.pack(">HL", 2, 2))], GO.PROTOCOL_ERROR),
        ([frame(SETTINGS, 0, 0, struct.pack(">HL", 4, 1 << 31))], GO.FLOW_CONTROL_ERROR),
        ([frame(SETTINGS, 0, 0, struct.pack(">HL", 5, 16_383))], GO.PROTOCOL_ERROR),
        ([frame(SETTINGS, 0, 0, struct.pack(">HL", 5, 1 << 24))], GO.PROTOCOL_ERROR),
        ([frame(PUSH, 0x4, 1, bytes(4))], GO.PROTOCOL_ERROR),
        ([frame(PING, 0, 1, bytes(8))], GO.PROTOCOL_ERROR),
        ([frame(PING, 0, 0, bytes(7))], GO.FRAME_SIZE_ERROR),
        ([frame(GOAWAY, 0, 0, bytes(7))], GO.PROTOCOL_ERROR),
        ([frame(WINDOW, 0, 0, bytes(3))], GO.FRAME_SIZE_ERROR),
        ([frame(WINDOW, 0, 0, bytes(4))], GO.PROTOCOL_ERROR),
        ([frame(WINDOW, 0, 1, b"\0\0\0\1")], GO.PROTOCOL_ERROR),  # idle
        ([frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], GO.FLOW_CONTROL_ERROR),
        ([b"\x01\x00\x00\x00\x00\x00\x00\x00\x01"], GO.FRAME_SIZE_ERROR),  # 65,536 bytes announced
    ],
)
def test_faults_that_end_the_connection(frames: list[bytes], code: ErrorCode) -> None:
    server, events = raw_server(*frames)
    assert isinstance(events[-1], ConnectionEnded)
    assert events[-1].code == code
    goaway = sent(server)[-1]
    assert isinstance(goaway, hyper.GoAwayFrame)
    assert goaway.error_code == code
    assert server.receive(b"anything", 0.0) == []


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([headers(1), frame(DATA, 0, 1, b"x")], GO.STREAM_CLOSED),
        ([headers(1), headers(1)], GO.STREAM_CLOSED),
        ([headers(1, 0x4), headers(1, 0x4)], GO.PROTOCOL_ERROR),  # trailers that do not end the stream
        ([headers(1, 0x4), headers(1)], GO.PROTOCOL_ERROR),  # trailers with pseudo-header fields
        ([headers(1, block=b"\x82")], GO.PROTOCOL_ERROR),  # only :method
        ([headers(1), frame(PRIORITY, 0, 1, bytes(4))], GO.FRAME_SIZE_ERROR),
        ([headers(1), frame(WINDOW, 0, 1, bytes(4))], GO.PROTOCOL_ERROR),
        ([headers(1), frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff")], GO.FLOW_CONTROL_ERROR),
        ([headers(1, 0x4), *[frame(DATA, 0, 1, bytes(16_384))] * 4], GO.FLOW_CONTROL_ERROR),
    ],
)
def test_faults_that_end_one_stream(frames: list[bytes], code: ErrorCode) -> None:
    server, events = raw_server(*frames, headers(3), limits=FrontLimits(stream_window_bytes=60_000))
    assert not any(isinstance(event, ConnectionEnded) for event in events)
    assert any(isinstance(event, RequestReceived) and event.stream_id == 3 for event in events)
    resets = [part for part in sent(server) if isinstance(part, hyper.RstStreamFrame)]
    assert (resets[0].stream_id, resets[0].error_code) == (1, code)
    assert server.stream_count == 1


@pytest.mark.parametrize(
    "late",
    [
        frame(DATA, 0x1, 1, b"late"),
        headers(1),
        frame(WINDOW, 0, 1, b"\0\0\0\1"),
        rst_stream_frame(1, ErrorCode.CANCEL),
        frame(PRIORITY, 0, 1, bytes(5)),
        frame(0x42, 0xFF, 1, b"whatever"),
    ],
)
def test_what_crossed_the_end_of_a_stream_is_ignored(late: bytes) -> None:
    server, _ = raw_server(headers(1, 0x4))
    server.send_end(1, FIELDS_OK + TRAILERS_OK)
    server.take_output()
    assert server.receive(late, 0.0) == []
    assert server.take_output() == b""


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])
def test_a_wrong_preface(first: bytes) -> None:
    (ended,) = Connection(FrontLimits()).receive(first, 0.0)
    assert ended.code == GO.PROTOCOL_ERROR


def test_settings_come_first() -> None:
    (ended,) = Connection(FrontLimits()).receive(CLIENT_PREFACE + frame(PING, 0, 0, bytes(8)), 0.0)
    assert ended.code == GO.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "flood",
    [
        lambda n: headers(2 * n + 3) + rst_stream_frame(2 * n + 3, ErrorCode.CANCEL),  # CVE-2023-44487
        lambda n: settings_frame({}),
        lambda n: frame(PRIORITY, 0, 5, bytes(5)),
        lambda n: frame(DATA, 0, 1),
        lambda n: frame(0x42, 0, 1),
        lambda n: frame(DATA, 0, 3, b"x") if n else headers(3) + rst_stream_frame(3, ErrorCode.CANCEL),
    ],
    ids=["rapid reset", "settings", "priority", "empty data", "unknown frames", "data nobody waits for"],
)
def test_floods_are_bounded(flood) -> None:
    limits = FrontLimits(useless_frames_burst=100, useless_frames_per_second=10)
    server, _ = raw_server(headers(1, 0x4), limits=limits)
    ended: list = []
    count = 0
    while not ended and count < 1_000:
        ended = [event for event in server.receive(flood(count), 1.0) if isinstance(event, ConnectionEnded)]
        server.take_output()
        count += 1
    assert ended[0].code == ErrorCode.ENHANCE_YOUR_CALM
    assert 90 <= count <= 120


def test_the_same_at_leisure_is_welcome() -> None:
    limits = FrontLimits(useless_frames_burst=100, useless_frames_per_second=10)
    server, _ = raw_server(headers(1, 0x4), limits=limits)
    for count in range(500):
        server.receive(settings_frame({}), count * 0.1)
    assert not server.ended


def test_empty_continuations_are_bounded() -> None:
    limits = FrontLimits(useless_frames_burst=100)
    _, events = raw_server(frame(HEADERS, 0, 1, b"\x82"), *[frame(CONT, 0, 1)] * 200, limits=limits)
    assert events[-1].code == ErrorCode.ENHANCE_YOUR_CALM


def test_pings_are_answered_and_too_many_are_not() -> None:
    """grpc-go's enforcement: three pings too soon, with nothing sent in between."""
    server, _ = raw_server(headers(1, 0x4))
    ping = frame(PING, 0, 0, b"12345678")
    assert server.receive(ping, 100.0) == []
    (answer,) = sent(server)
    assert (answer.opaque_data, answer.flags) == (b"12345678", {"ACK"})
    assert server.receive(ping, 106.0) == []
    for second in range(10):
        server.send_data(1, b"x")  # a client that receives data may measure its connection
        assert server.receive(ping, 107.0 + second / 10) == []
    events = []
    for second in range(3):
        events = server.receive(ping, 109.0 + second)
    assert events == [ConnectionEnded(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")]


def test_pings_with_nothing_to_wait_for() -> None:
    server, _ = raw_server()
    events = []
    for minute in range(4):
        events = server.receive(frame(PING, 0, 0, bytes(8)), 60.0 * minute)
    assert events[-1].code == ErrorCode.ENHANCE_YOUR_CALM


frames_of_any_kind = st.builds(
    lambda kind, flags, stream_id, payload: frame(kind, flags, stream_id, payload),
    st.integers(0, 11),
    st.integers(0, 255) | st.sampled_from([0, 1, 4, 5]),
    st.integers(0, 9) | st.integers(0, 2**31 - 1),
    st.binary(max_size=60) | st.just(Encoder().encode(REQUEST)) | st.binary(min_size=4, max_size=8),
)


@settings(deadline=None, max_examples=examples(150))
@given(st.lists(frames_of_any_kind, max_size=30), st.binary(max_size=50), st.integers(1, 100))
def test_whatever_arrives_is_handled_or_refused(frames: list[bytes], tail: bytes, piece_bytes: int) -> None:
    """Never an exception; a fault always leaves GOAWAY as the last frame, and the same one however it is cut."""
    data = CLIENT_PREFACE + settings_frame({}) + b"".join(frames) + tail
    whole, pieces = Connection(FrontLimits()), Connection(FrontLimits())
    events = whole.receive(data, 0.0)
    events_of_pieces = []
    for start in range(0, len(data), piece_bytes):
        events_of_pieces += pieces.receive(data[start : start + piece_bytes], 0.0)
    comparable = [event for event in in_steps(events) if not isinstance(event, RequestReceived)]
    assert comparable == [event for event in in_steps(events_of_pieces) if not isinstance(event, RequestReceived)]
    out = sent(whole)
    assert [type(part) for part in out] == [type(part) for part in sent(pieces)]
    if whole.ended:
        assert isinstance(out[-1], hyper.GoAwayFrame)
        assert isinstance(events[-1], ConnectionEnded)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 3, 3, 4, 5, 7, 2**31 - 1]),
            st.sampled_from([0x4, 0x4, 0x5, 0xC]),
            st.sampled_from([Encoder().encode(REQUEST), b"\x82", b"\xff" * 9, b"\xbe"]),
            st.sampled_from([0, 1, 2]),
            st.sampled_from([0x1, 0x1, 0x0, 0x9]),
            st.binary(max_size=40) | st.just(bytes(16_384)),
        ),
        max_size=6,
    ),
    st.sampled_from([1, 1_000, 1 << 20]),
)
def test_calls_in_one_piece_are_what_they_are_in_two(calls: list[tuple], window: int) -> None:
    """The short way through `receive` does what the long one does, for whatever nearly looks like a call."""
    limits = FrontLimits(max_concurrent_streams=2, stream_window_bytes=window)
    whole, pieces = raw_server(limits=limits)[0], raw_server(limits=limits)[0]
    for stream_id, flags, block, gap, data_flags, data in calls:
        call = frame(HEADERS, flags, stream_id, block) + frame(DATA, data_flags, stream_id + gap, data)
        events = in_steps(whole.receive(call, 0.0))
        expected = pieces.receive(call[:5], 0.0) + pieces.receive(call[5:], 0.0)
        assert [event[:1] + event[2:] for event in events] == [event[:1] + event[2:] for event in expected]
        assert [getattr(event, "head", None) is None for event in events] == [
            getattr(event, "head", None) is None for event in expected
        ]
        assert whole.take_output() == pieces.take_output()
        assert whole.stream_count == pieces.stream_count


@settings(deadline=None, max_examples=examples(100))
@given(st.binary(max_size=300))
def test_any_bytes_at_all(data: bytes) -> None:
    server = Connection(FrontLimits())
    server.receive(data, 0.0)
    server.receive(CLIENT_PREFACE + data, 0.0)
    assert sent(server)
