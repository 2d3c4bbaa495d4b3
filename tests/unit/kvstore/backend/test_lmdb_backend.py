from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import lmdb
import pytest

from kvstore.backend import BackendError, LMDBBackend, lmdb_backend
from kvstore.environment import RealClock
from kvstore.mvcc import encode_revision


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "db")


@pytest.fixture
async def backend(path: str) -> AsyncIterator[LMDBBackend]:
    backend = LMDBBackend(path, RealClock())
    yield backend
    await backend.close()


def rows(backend: LMDBBackend, start: bytes = b"") -> list[tuple[bytes, bytes]]:
    return list(backend.scan_revisions(start))


def revision(number: int) -> bytes:
    return encode_revision(number, 0)


async def test_reads_see_the_buffer_the_flush_under_way_and_the_file(backend: LMDBBackend) -> None:
    backend.put_revision(revision(1), b"one")
    backend.put("meta", b"k", b"1")
    await backend.flush()
    backend.put_revision(revision(2), b"two")
    backend.put("meta", b"k", b"2")
    flushing = backend.start_flush()
    await asyncio.sleep(0)  # the flush has taken the buffer, and the file has not changed yet
    backend.put_revision(revision(3), b"three")
    backend.put("meta", b"l", b"3")
    wanted = [(revision(1), b"one"), (revision(2), b"two"), (revision(3), b"three")]
    for _ in range(2):
        assert rows(backend) == wanted
        assert rows(backend, revision(2)) == wanted[1:]
        assert [backend.get_revision(revision(number)) for number in range(1, 5)] == [b"one", b"two", b"three", None]
        assert backend.get_revisions([revision(3), revision(1), revision(2)]) == [b"three", b"one", b"two"]
        assert backend.items("meta") == [(b"k", b"2"), (b"l", b"3")]
        await flushing
    with pytest.raises(KeyError):
        backend.get_revisions([revision(1), revision(9)])
    with pytest.raises(KeyError):
        backend.get_revisions([revision(9)])


async def test_deletions_in_every_place(backend: LMDBBackend) -> None:
    for number in range(1, 4):
        backend.put_revision(revision(number), b"v")
    backend.put("lease", b"a", b"1")
    await backend.flush()
    backend.put_revision(revision(4), b"v")
    backend.delete("lease", b"a")
    backend.delete_revisions([revision(2), revision(4)])
    assert [key for key, _ in rows(backend)] == [revision(1), revision(3)]
    assert backend.items("lease") == []
    assert backend.get("lease", b"a") is None
    await backend.flush()
    assert [key for key, _ in rows(backend)] == [revision(1), revision(3)]
    backend.delete_revisions([revision(2)])
    await backend.flush()


async def test_the_buffer_is_flushed_by_itself(backend: LMDBBackend) -> None:
    flushed = asyncio.Event()
    backend.on_flush = lambda _: flushed.set()
    backend.put("meta", b"k", b"v")
    await asyncio.wait_for(flushed.wait(), 5)
    assert not backend._buffer


async def test_close_writes_what_is_left(path: str) -> None:
    backend = LMDBBackend(path, RealClock())
    backend.put_revision(revision(1), b"v")
    await backend.close()
    again = LMDBBackend(path, RealClock())
    assert rows(again) == [(revision(1), b"v")]
    await again.close()


async def test_all_of_a_flush_or_nothing(path: str) -> None:
    """The file as another process finds it while a flush is under way has none of it."""
    backend = LMDBBackend(path, RealClock())
    backend.put("meta", b"index", b"1")
    await backend.flush()
    for number in range(1, 2501):
        backend.put_revision(revision(number), b"v")
    backend.put("meta", b"index", b"2")
    flushing = backend.start_flush()
    while not flushing.done():
        reader = backend._env.begin()
        count = reader.stat(backend._keys)["entries"]
        index = reader.get(b"index", db=backend._databases["meta"])
        reader.abort()
        assert (count, index) in ((0, b"1"), (2500, b"2"))
        await asyncio.sleep(0)
    await backend.close()


async def test_the_map_grows(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_backend, "MAP_BYTES_MIN", 1 << 20)
    backend = LMDBBackend(path, RealClock())
    for number in range(1, 101):
        backend.put_revision(revision(number), bytes(100_000))
    await backend.flush()
    assert len(rows(backend)) == 100
    for number in range(101, 301):
        backend.put_revision(revision(number), bytes(100_000))
    await backend.close()
    again = LMDBBackend(path, RealClock())
    assert len(rows(again)) == 300
    assert again.size_bytes() > 30_000_000
    assert again.size_in_use_bytes() <= again.size_bytes()
    await again.close()


async def test_a_failed_flush_loses_nothing(backend: LMDBBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_backend, "RETRY_SECONDS", 0.01)
    errors: list[Exception] = []
    backend.on_error = errors.append
    begin = backend._begin_write
    full = [True]

    def begin_or_fail() -> lmdb.Transaction:
        if full[0]:
            raise lmdb.DiskError("no space left on device")
        return begin()

    monkeypatch.setattr(backend, "_begin_write", begin_or_fail)
    backend.put_revision(revision(1), b"one")
    with pytest.raises(lmdb.DiskError):
        await backend.flush()
    backend.put_revision(revision(2), b"two")
    assert [value for _, value in rows(backend)] == [b"one", b"two"]
    flushed = asyncio.Event()
    backend.on_flush = lambda _: flushed.set()
    full[0] = False
    await asyncio.wait_for(flushed.wait(), 5)
    assert errors
    assert not backend._buffer
    assert [value for _, value in rows(backend)] == [b"one", b"two"]


async def test_closing_on_a_full_disk_closes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LMDBBackend(path, RealClock())
    backend.put("meta", b"k", b"v")

    def full() -> bool:
        raise lmdb.DiskError("no space left on device")

    monkeypatch.setattr(backend, "_write_sync", full)
    with pytest.raises(BackendError, match="no space left"):
        await backend.close()
    again = LMDBBackend(path, RealClock())
    assert again.items("meta") == []
    await again.close()


async def test_defragment_keeps_everything_and_frees_pages(backend: LMDBBackend) -> None:
    for number in range(1, 2001):
        backend.put_revision(revision(number), bytes(1000))
    backend.put("meta", b"k", b"v")
    await backend.flush()
    backend.delete_revisions([revision(number) for number in range(1, 1901)])
    await backend.flush()
    before = backend.size_bytes()
    defragmenting = asyncio.get_running_loop().create_task(backend.defragment())
    number = 2000
    while not defragmenting.done():
        number += 1
        backend.put_revision(revision(number), b"meanwhile")
        await asyncio.sleep(0)
    await defragmenting
    assert backend.size_bytes() < before / 2
    await backend.flush()
    assert len(rows(backend)) == 100 + number - 2000
    assert backend.get("meta", b"k") == b"v"


async def test_a_copy_has_what_was_written_before_it(backend: LMDBBackend, tmp_path: Path) -> None:
    backend.put_revision(revision(1), b"v")
    copy = str(tmp_path / "copy")
    await backend.copy_to(copy)
    other = LMDBBackend(copy, RealClock())
    assert rows(other) == [(revision(1), b"v")]
    await other.close()


async def test_what_is_no_database(path: str) -> None:
    Path(path).write_bytes(b"not a database" * 1000)
    with pytest.raises(BackendError, match=path):
        LMDBBackend(path, RealClock())


async def test_a_flush_asked_for_at_the_moment_another_ends(backend: LMDBBackend) -> None:
    """A flush that is over is never taken for one under way: whoever waits for it to end would wait for ever."""

    async def flush_at_the_end_of(task: asyncio.Task[None]) -> None:
        while not task.done():
            await asyncio.sleep(0)
        assert backend._task is not task
        await backend.flush()

    for number in range(1, 300):
        backend.put_revision(revision(number), b"value")
        task = backend.start_flush()
        await asyncio.gather(*(flush_at_the_end_of(task) for _ in range(3)))
    assert len(rows(backend)) == 299
