"""Very many watchers, and watchers that do not listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hyperframe import frame as hyper

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.frames import FrameType, Setting, frame
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess
from tests.integration.kvstore_front.wire import Canary, RawConnection, data, grpc_fields, headers, message

pytestmark = pytest.mark.e2e

MEBIBYTE = 1 << 20
WINDOW = 1 << 30
WRITES = 100
SLOW = 20


def create(key: bytes, end: bytes = b"", watch_id: int = 0) -> pb.WatchRequest:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, range_end=end, watch_id=watch_id))


class Watches:
    """Watch streams on one connection, with windows so wide that only the socket holds the server back."""

    def __init__(self, endpoint: str, streams: int = 1) -> None:
        self._connection = RawConnection(endpoint, {Setting.INITIAL_WINDOW_SIZE: WINDOW})
        self._partial: dict[int, bytearray] = {}
        self.stream_ids = range(1, 2 * streams, 2)
        path = grpc_fields("/etcdserverpb.Watch/Watch")
        widen = frame(FrameType.WINDOW_UPDATE, 0, 0, WINDOW.to_bytes(4, "big"))
        self._responses = self._parse(
            self._connection.flood([widen, *(headers(stream_id, path) for stream_id in self.stream_ids)])
        )

    def send(self, requests: list[pb.WatchRequest], stream_id: int = 1) -> None:
        """Ask; what is answered meanwhile is kept."""
        bodies = (data(stream_id, message(one.SerializeToString()), end_stream=False) for one in requests)
        for piece in bodies:
            self._responses += self._parse(self._connection._send(piece))

    def take(self, count: int, wanted: Callable[[pb.WatchResponse], bool]) -> list[pb.WatchResponse]:
        """Wait for so many of a kind; the others are dropped."""
        taken = [one for one in self._responses if wanted(one)]
        while len(taken) < count:
            frames = self._connection._receive()
            assert not self._connection.closed
            taken += [one for one in self._parse(frames) if wanted(one)]
        self._responses = []
        return taken

    def events(self, count: int) -> list[tuple[bytes, int]]:
        """Wait for so many events: their keys and revisions."""
        found: list[tuple[bytes, int]] = []
        while len(found) < count:
            for response in self.take(1, lambda one: bool(one.events)):
                found += [(event.kv.key, event.kv.mod_revision) for event in response.events]
        return found

    def _parse(self, frames: list[hyper.Frame]) -> list[pb.WatchResponse]:
        responses = []
        for one in frames:
            assert not isinstance(one, hyper.GoAwayFrame | hyper.RstStreamFrame), one
            if isinstance(one, hyper.DataFrame):
                left = self._partial.setdefault(one.stream_id, bytearray())
                left += one.data
                while len(left) >= 5 and len(left) >= (end := 5 + int.from_bytes(left[1:5], "big")):
                    responses.append(pb.WatchResponse.FromString(bytes(left[5:end])))
                    del left[:end]
        return responses

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@pytest.fixture
def canary(mini_etcd: EtcdProcess) -> Iterator[Canary]:
    canary = Canary(mini_etcd.endpoint)
    yield canary
    canary.sing()
    canary.close()


def heap_bytes(process: EtcdProcess) -> int:
    """Resident memory that is not a file's: pages of the database that happen to be in memory do not count."""
    for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def test_ten_thousand_watchers_on_one_stream(mini_etcd: EtcdProcess, canary: Canary) -> None:
    count, written = 10_000, range(0, 10_000, 200)
    before = heap_bytes(mini_etcd)
    watches = Watches(mini_etcd.endpoint)
    watches.send([create(b"w%05d" % number, watch_id=number + 1) for number in range(count)])
    created = watches.take(count, lambda one: one.created)
    assert [one.watch_id for one in created] == list(range(1, count + 1))
    assert heap_bytes(mini_etcd) - before < 64 * MEBIBYTE
    for number in written:
        canary.put(b"w%05d" % number, b"1")
    assert [key for key, _ in watches.events(len(written))] == [b"w%05d" % number for number in written]
    watches.send(
        [pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=number + 1)) for number in range(count)]
    )
    cancelled = watches.take(count, lambda one: one.canceled)
    assert [one.watch_id for one in cancelled] == list(range(1, count + 1))
    canary.put(b"w00000", b"2")
    watches.send([create(b"w00000", watch_id=7)])
    (response,) = watches.take(1, lambda one: True)
    assert response.created, "a watcher outlived its cancellation"
    watches.close()


def test_a_thousand_streams(mini_etcd: EtcdProcess, canary: Canary) -> None:
    watches = Watches(mini_etcd.endpoint, 1000)
    for stream_id in watches.stream_ids:
        watches.send([create(b"stream")], stream_id)
    watches.take(1000, lambda one: one.created)
    for _ in range(3):
        canary.put(b"stream", b"1")
        events = watches.events(1000)
        assert len(events) == 1000
        assert len(set(events)) == 1
    watches.close()


def test_those_who_do_not_listen_cost_little_and_miss_nothing(tmp_path: Path) -> None:
    """100 MB of events for each of 20 watchers that do not read: two gigabytes, if they were kept for them."""
    with EtcdProcess.start(tmp_path, program=MINI_ETCD, flags=["--quota-backend-bytes=-1"]) as server:
        canary = Canary(server.endpoint)
        quick = Watches(server.endpoint)
        quick.send([create(b"slow/", b"slow0")])
        quick.take(1, lambda one: one.created)

        def write() -> list[tuple[bytes, int]]:
            written = []
            for number in range(WRITES):
                canary.put(b"slow/%03d" % number, bytes(MEBIBYTE))
                written += quick.events(1)  # on time: before the next is written
            return written

        start = heap_bytes(server)
        write()
        without = heap_bytes(server) - start
        slow = []
        for _ in range(SLOW):
            watches = Watches(server.endpoint)
            watches.send([create(b"slow/", b"slow0")])
            watches.take(1, lambda one: one.created)
            slow.append(watches)
        start = heap_bytes(server)
        written = write()
        with_slow = heap_bytes(server) - start
        print(
            f"heap grew by {without / MEBIBYTE:.0f} MiB without and {with_slow / MEBIBYTE:.0f} MiB with slow watchers"
        )
        assert with_slow < without + 250 * MEBIBYTE
        for watches in slow:
            assert watches.events(WRITES) == written
            watches.close()
        canary.sing()
        canary.close()
        quick.close()
        assert server.process.poll() is None
