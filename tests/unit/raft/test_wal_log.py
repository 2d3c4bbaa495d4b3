"""The log on disk: written, cut anywhere, zeroed, damaged, rotated, locked."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft.core import ConfState, Entry, EntryType, HardState, Snapshot
from raft.environment import FileSystem, RealFileSystem
from raft.errors import CorruptLogError, DataDirInUseError, RaftError
from raft.failpoint import arm, disarm
from raft.wal import WAL, SnapshotMark, SnapshotStore, open_store
from tests.sim.disk import SimDisk

FILES = RealFileSystem()
SEGMENT = 4096


def entries_between(first: int, last: int, term: int = 1, size: int = 20) -> list[Entry]:
    return [Entry(index, term, bytes([index % 251 + 1]) * size) for index in range(first, last + 1)]


def write_small_log(files: FileSystem, directory: str) -> list[int]:
    """Three synced writes; returns the file offset behind each."""
    wal = WAL.create(files, directory, b"metadata", segment_bytes=SEGMENT)
    offsets = [wal._offset]
    for first, last in ((1, 2), (3, 5), (6, 6)):
        wal.save(HardState(1, 1, first - 1), entries_between(first, last))
        offsets.append(wal._offset)
    wal.close()
    return offsets


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk(random.Random(1))


def test_reopens_what_was_written(tmp_path: Path) -> None:
    write_small_log(FILES, str(tmp_path / "wal"))
    wal, recovered = WAL.open(FILES, str(tmp_path / "wal"), segment_bytes=SEGMENT)
    assert recovered.metadata == b"metadata"
    assert recovered.hard_state == HardState(1, 1, 5)
    assert recovered.entries == entries_between(1, 6)
    assert recovered.snapshots == [SnapshotMark(0, 0)]
    assert recovered.torn_path is None
    wal.close()


def test_file_names_and_size_are_etcds(tmp_path: Path) -> None:
    wal = WAL.create(FILES, str(tmp_path / "wal"))
    wal.close()
    names = [path.name for path in (tmp_path / "wal").iterdir()]
    assert names == ["0000000000000000-0000000000000000.wal"]
    path = tmp_path / "wal" / names[0]
    assert path.stat().st_size == 64_000_000
    # A checksum record of 0, empty metadata, the mark of snapshot 0: the frames etcd begins with.
    assert path.read_bytes()[:32].hex() == (
        "0400000000000084" + "08041000" + "00000000" + "0600000000000082" + "080110001a00" + "0000"
    )


DIRECTORY = "d/wal"
PATH = f"{DIRECTORY}/0000000000000000-0000000000000000.wal"


def cut_and_reopen(disk: SimDisk, content: bytes) -> list[Entry]:
    disk.put(PATH, content)
    wal, recovered = WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)
    found = list(recovered.entries)
    # Whatever was lost, appending goes on from there and is read back.
    following = entries_between(len(found) + 1, len(found) + 3, term=2)
    wal.save(HardState(2, 0, recovered.hard_state.commit), following)
    wal.close()
    wal, recovered = WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)
    assert recovered.entries == [*found, *following]
    assert recovered.torn_path is None
    wal.close()
    return found


@pytest.mark.parametrize("zero_to_end", [False, True], ids=["cut", "zeroed"])
def test_cut_at_every_byte_gives_the_intact_prefix(disk: SimDisk, zero_to_end: bool) -> None:
    offsets = write_small_log(disk, DIRECTORY)
    content = disk.get(PATH)
    header, end = offsets[0], offsets[-1]
    ends_of_entries = _entry_ends(content, header)
    for cut in range(header, end + 1):
        rest = bytes(len(content) - cut) if zero_to_end else b""
        found = cut_and_reopen(disk, content[:cut] + rest)
        whole = sum(1 for entry_end in ends_of_entries if entry_end <= cut)
        # The padding, and a zero that would have been there anyway, may be cut off without loss.
        assert whole <= len(found) <= whole + 1
        assert found == entries_between(1, len(found))
        if cut in offsets:
            assert len(found) == whole


def _entry_ends(content: bytes, offset: int) -> list[int]:
    ends = []
    while length := int.from_bytes(content[offset : offset + 8], "little"):
        body = (length & (1 << 56) - 1) + ((length >> 56) & 7 if length >> 63 else 0)
        if content[offset + 9] == 2:
            ends.append(offset + 8 + body)
        offset += 8 + body
    return ends


def test_cut_in_the_first_records_is_damage(disk: SimDisk) -> None:
    header = write_small_log(disk, DIRECTORY)[0]
    content = disk.get(PATH)
    for cut in range(header):
        disk.put(PATH, content[:cut])
        with pytest.raises(CorruptLogError) as caught:
            WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)
        assert caught.value.path == PATH


def test_each_flipped_bit_in_a_synced_record_is_named(disk: SimDisk) -> None:
    offsets = write_small_log(disk, DIRECTORY)
    content = disk.get(PATH)
    for position in range(offsets[0], offsets[2]):
        if not content[position]:
            continue  # flipping zeros of length fields and padding is the subject of the next test
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            disk.put(PATH, damaged)
            with pytest.raises(CorruptLogError) as caught:
                WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)[0].close()
            assert caught.value.path == PATH
            # The type of a record is not under its checksum; a wrong one shows at the latest by what follows.
            assert caught.value.offset <= offsets[3]


def test_flipped_zeros_never_change_what_is_read(disk: SimDisk) -> None:
    offsets = write_small_log(disk, DIRECTORY)
    content = disk.get(PATH)
    for position in range(offsets[0], offsets[2]):
        if content[position]:
            continue
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            disk.put(PATH, damaged)
            try:
                wal, recovered = WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)
            except CorruptLogError:
                continue
            wal.close()
            assert recovered.entries == entries_between(1, 6)


def test_a_lost_sector_of_the_last_write_is_torn(tmp_path: Path) -> None:
    """A disk writes pages in any order: the middle of the last write may be missing and its end be there."""
    directory = tmp_path / "wal"
    wal = WAL.create(FILES, str(directory), segment_bytes=1 << 16)
    wal.save(HardState(1, 1, 0), entries_between(1, 2))
    start = wal._offset
    wal.save(HardState(1, 1, 2), entries_between(3, 8, size=900))
    wal.close()
    (path,) = directory.iterdir()
    content = bytearray(path.read_bytes())
    sector = (start // 512 + 3) * 512
    content[sector : sector + 512] = bytes(512)
    path.write_bytes(content)
    wal, recovered = WAL.open(FILES, str(directory), segment_bytes=1 << 16)
    assert recovered.torn_path == str(path)
    assert recovered.entries[:2] == entries_between(1, 2)
    assert recovered.entries == entries_between(1, 2) + entries_between(3, 8, size=900)[: len(recovered.entries) - 2]
    wal.close()


def test_a_lost_sector_of_an_earlier_write_is_damage(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = WAL.create(FILES, str(directory), segment_bytes=1 << 16)
    wal.save(HardState(1, 1, 0), entries_between(1, 2, size=2000))
    wal.save(HardState(1, 1, 2), entries_between(3, 4, size=900))
    wal.close()
    (path,) = directory.iterdir()
    content = bytearray(path.read_bytes())
    content[1024:1536] = bytes(512)
    path.write_bytes(content)
    with pytest.raises(CorruptLogError, match="committed later"):
        WAL.open(FILES, str(directory), segment_bytes=1 << 16)


def test_later_entries_replace_earlier_ones(tmp_path: Path) -> None:
    directory = str(tmp_path / "wal")
    wal = WAL.create(FILES, directory, segment_bytes=SEGMENT)
    wal.save(HardState(1, 0, 0), entries_between(1, 5))
    wal.save(HardState(2, 0, 0), entries_between(3, 4, term=2))
    wal.close()
    wal, recovered = WAL.open(FILES, directory, segment_bytes=SEGMENT)
    assert recovered.entries == [*entries_between(1, 2), *entries_between(3, 4, term=2)]
    wal.close()


def test_rotation_keeps_everything_and_release_drops_the_rest(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = WAL.create(FILES, str(directory), b"m", segment_bytes=SEGMENT)
    for index in range(1, 101):
        wal.save(HardState(1, 1, index - 1), entries_between(index, index, size=100))
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) > 3
    assert names == [str(name) for name in wal.segments]
    assert int(names[1][:16], 16) == 1
    finished = sorted(directory.iterdir())[:-1]
    assert all(not path.read_bytes().endswith(bytes(64)) for path in finished)  # cut to their length
    wal.close()
    wal, recovered = WAL.open(FILES, str(directory), segment_bytes=SEGMENT)
    assert recovered.entries == entries_between(1, 100, size=100)
    keep_from = wal.segments[2].index
    assert wal.release(keep_from - 1) == names[:1]  # the entry before is in the segment before
    removed = names[:1] + wal.release(keep_from)
    assert removed == names[:2]
    wal.close()
    wal, recovered = WAL.open(FILES, str(directory), segment_bytes=SEGMENT)
    assert recovered.entries == entries_between(keep_from, 100, size=100)
    assert recovered.hard_state == HardState(1, 1, 99)
    assert recovered.metadata == b"m"
    wal.close()


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = WAL.create(FILES, str(directory), segment_bytes=SEGMENT)
    for index in range(1, 101):
        wal.save(None, entries_between(index, index, size=100))
    wal.close()
    sorted(directory.iterdir())[1].unlink()
    with pytest.raises(CorruptLogError, match="missing"):
        WAL.open(FILES, str(directory), segment_bytes=SEGMENT)


def test_a_finished_segment_may_not_be_cut(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    wal = WAL.create(FILES, str(directory), segment_bytes=SEGMENT)
    for index in range(1, 101):
        wal.save(None, entries_between(index, index, size=100))
    wal.close()
    first = sorted(directory.iterdir())[0]
    first.write_bytes(first.read_bytes()[:-5])
    with pytest.raises(CorruptLogError) as caught:
        WAL.open(FILES, str(directory), segment_bytes=SEGMENT)
    assert caught.value.path == str(first)


def test_an_unfinished_next_segment_is_ignored(tmp_path: Path) -> None:
    directory = tmp_path / "wal"
    write_small_log(FILES, str(directory))
    (directory / "0.tmp").write_bytes(b"whatever")
    wal, recovered = WAL.open(FILES, str(directory), segment_bytes=SEGMENT)
    assert recovered.entries == entries_between(1, 6)
    wal.close()


def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    wal = WAL.create(FILES, str(tmp_path / "wal"), segment_bytes=SEGMENT)
    with pytest.raises(DataDirInUseError, match="in use"):
        WAL.open(FILES, str(tmp_path / "wal"), segment_bytes=SEGMENT)
    with pytest.raises(FileExistsError):
        WAL.create(FILES, str(tmp_path / "wal"))
    wal.close()
    WAL.open(FILES, str(tmp_path / "wal"), segment_bytes=SEGMENT)[0].close()


def test_nothing_is_written_after_a_failed_write(tmp_path: Path) -> None:
    wal = WAL.create(FILES, str(tmp_path / "wal"), segment_bytes=SEGMENT)

    def fail() -> None:
        raise OSError(5, "Input/output error")

    arm("wal_before_sync", fail)
    try:
        with pytest.raises(OSError, match="Input/output"):
            wal.save(HardState(1, 0, 0), entries_between(1, 1))
    finally:
        disarm()
    with pytest.raises(RaftError, match="after an error"):
        wal.save(HardState(1, 0, 0), entries_between(2, 2))
    wal.close()


def test_hard_states_that_need_no_sync_wait_for_the_next_write(tmp_path: Path) -> None:
    directory = str(tmp_path / "wal")
    wal = WAL.create(FILES, directory, segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 0), entries_between(1, 3))
    offset = wal._offset
    wal.save(HardState(1, 1, 1), (), must_sync=False)
    wal.save(HardState(1, 1, 2), (), must_sync=False)
    assert wal._offset == offset
    wal.close()
    wal, recovered = WAL.open(FILES, directory, segment_bytes=SEGMENT)
    assert recovered.hard_state == HardState(1, 1, 2)
    wal.close()


def test_entry_types_survive(tmp_path: Path) -> None:
    directory = str(tmp_path / "wal")
    wal = WAL.create(FILES, directory, segment_bytes=SEGMENT)
    written = [Entry(1, 1, b"x", EntryType.CONF_CHANGE), Entry(2, 1, b"", EntryType.CONF_CHANGE_V2), Entry(3, 1)]
    wal.save(None, written)
    wal.close()
    wal, recovered = WAL.open(FILES, directory, segment_bytes=SEGMENT)
    assert recovered.entries == written
    wal.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 480), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_in_the_file_opening_gives_a_log_or_the_documented_error(changes: list[tuple[int, int]]) -> None:
    disk = SimDisk(random.Random(1))
    write_small_log(disk, DIRECTORY)
    content = bytearray(disk.get(PATH))
    for position, value in changes:
        content[position] = value
    disk.put(PATH, content)
    try:
        wal, recovered = WAL.open(disk, DIRECTORY, segment_bytes=SEGMENT)
    except CorruptLogError:
        return
    wal.close()
    indexes = [entry.index for entry in recovered.entries]
    assert indexes == list(range(1, len(indexes) + 1))


# Log and snapshots together


def snapshot_at(index: int, term: int = 1) -> Snapshot:
    return Snapshot(index, term, ConfState((1,)), b"state at %d" % index)


def test_store_takes_the_newest_snapshot_and_the_entries_behind_it(tmp_path: Path) -> None:
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, stored = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    assert stored.is_new
    wal.save(HardState(1, 1, 8), entries_between(1, 9))
    for index in (4, 7):
        snapshots.save(snapshot_at(index))
        wal.save_snapshot(SnapshotMark(index, 1, ConfState((1,))))
    wal.close()
    wal, stored = open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)
    assert not stored.is_new
    assert stored.metadata == b"m"
    assert stored.snapshot == snapshot_at(7)
    assert list(stored.entries) == entries_between(8, 9)
    wal.close()


def test_store_falls_back_to_an_older_snapshot(tmp_path: Path) -> None:
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, _ = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 8), entries_between(1, 9))
    for index in (4, 7):
        path = Path(snapshots.save(snapshot_at(index)))
        wal.save_snapshot(SnapshotMark(index, 1, ConfState((1,))))
    wal.close()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    wal, stored = open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)
    assert stored.snapshot == snapshot_at(4)
    assert list(stored.entries) == entries_between(5, 9)
    assert Path(f"{path}.broken").exists()
    wal.close()


def test_store_ignores_a_snapshot_that_the_log_does_not_know(tmp_path: Path) -> None:
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, _ = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 8), entries_between(1, 9))
    snapshots.save(snapshot_at(4))  # and a crash before its mark
    wal.close()
    wal, stored = open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)
    assert stored.snapshot is None
    assert list(stored.entries) == entries_between(1, 9)
    wal.close()


def test_a_leaders_snapshot_takes_the_place_of_a_log_that_contradicts_it(tmp_path: Path) -> None:
    """Else the log would end in a term below the snapshot's, and this member would vote for candidates without it."""
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, _ = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    wal.save(HardState(3, 1, 1), entries_between(1, 12, term=3))
    snapshots.save(snapshot_at(10, term=5))
    wal.append_snapshot(SnapshotMark(10, 5, ConfState((1,))))
    wal.save(HardState(5, 0, 10), ())
    wal.close()
    wal, stored = open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)
    assert stored.snapshot == snapshot_at(10, term=5)
    assert stored.entries == ()
    wal.close()


def test_a_log_behind_a_leaders_snapshot_goes_on_after_it(tmp_path: Path) -> None:
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, _ = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 3), entries_between(1, 3))
    snapshots.save(snapshot_at(10))
    wal.append_snapshot(SnapshotMark(10, 1, ConfState((1,))))
    wal.save(HardState(1, 0, 10), ())
    wal.save(HardState(1, 0, 11), entries_between(11, 12))
    wal.close()
    wal, stored = open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)
    assert stored.snapshot == snapshot_at(10)
    assert list(stored.entries) == entries_between(11, 12)
    wal.close()


def test_store_without_usable_snapshot_refuses_a_log_without_beginning(tmp_path: Path) -> None:
    wal_dir, snapshots = str(tmp_path / "wal"), SnapshotStore(FILES, str(tmp_path / "snap"))
    wal, _ = open_store(FILES, wal_dir, snapshots, b"m", segment_bytes=SEGMENT)
    for index in range(1, 101):
        wal.save(HardState(1, 1, index), entries_between(index, index, size=100))
    path = Path(snapshots.save(snapshot_at(90)))
    wal.save_snapshot(SnapshotMark(90, 1, ConfState((1,))))
    assert wal.release(90)
    wal.close()
    path.unlink()
    with pytest.raises(CorruptLogError, match="no good snapshot"):
        open_store(FILES, wal_dir, snapshots, b"", segment_bytes=SEGMENT)


def test_old_and_unfinished_snapshot_files_are_removed(tmp_path: Path) -> None:
    snapshots = SnapshotStore(FILES, str(tmp_path / "snap"), keep=2)
    for index in (1, 2, 3):
        snapshots.save(snapshot_at(index))
    (tmp_path / "snap" / "0000000000000001-0000000000000009.snap.tmp").write_bytes(b"half")
    snapshots.remove_old()
    assert sorted(path.name for path in (tmp_path / "snap").iterdir()) == [
        "0000000000000001-0000000000000002.snap",
        "0000000000000001-0000000000000003.snap",
    ]
    assert snapshots.oldest_kept() == 2


@pytest.mark.parametrize("size", range(1780, 1960, 8))
def test_the_mark_of_the_newest_snapshot_is_never_released(disk: SimDisk, size: int) -> None:
    """The mark may be the last thing in a segment, behind the last entry that the snapshot covers."""
    snapshots = SnapshotStore(disk, "d/snap", keep=1)
    wal, _ = open_store(disk, DIRECTORY, snapshots, b"m", segment_bytes=2048)
    wal.save(HardState(1, 1, 1), entries_between(1, 1, size=size))
    snapshots.save(snapshot_at(1))
    wal.save_snapshot(SnapshotMark(1, 1, ConfState((1,))))
    wal.release(snapshots.oldest_kept())
    wal.close()
    wal, stored = open_store(disk, DIRECTORY, snapshots, b"", segment_bytes=2048)
    assert stored.snapshot == snapshot_at(1)
    wal.close()


def test_a_first_write_that_was_never_finished_counts_as_nothing(disk: SimDisk) -> None:
    snapshots = SnapshotStore(disk, "d/snap")
    wal, _ = open_store(disk, DIRECTORY, snapshots, b"m", segment_bytes=SEGMENT)
    wal.save(None, entries_between(1, 3))  # the hard state behind them did not reach the disk
    wal.close()
    wal, stored = open_store(disk, DIRECTORY, snapshots, b"", segment_bytes=SEGMENT)
    assert stored.is_new
    assert stored.entries == ()
    wal.save(HardState(1, 0, 1), entries_between(1, 1, term=1))
    wal.close()
    wal, stored = open_store(disk, DIRECTORY, snapshots, b"", segment_bytes=SEGMENT)
    assert list(stored.entries) == entries_between(1, 1)
    wal.close()
