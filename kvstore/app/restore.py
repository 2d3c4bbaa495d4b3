"""A data directory from a snapshot: the data of one cluster as the beginning of another.

What the snapshot says about its cluster – its members, how far its log was – is replaced by the new cluster's:
a log that begins with every founding member being added, all committed, and a database that has applied just that
(etcd `etcdutl/snapshot/v3_snapshot.go`). Members that are restored from the same snapshot with the same
`initial_cluster` find each other and have equal data.

The directory is made under another name and renamed at the end: it is there whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from google.protobuf.message import DecodeError

from kvstore.apply import Member, Membership, MembershipChange, MembershipChangeKind
from kvstore.backend import KEY_BUCKET, BackendError, MemoryBackend, write_lmdb_file
from kvstore.environment import Environment, FileSystem
from kvstore.etcdpb import kv_pb2, lease_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Revision, decode_revision, encode_revision
from kvstore.server.identity import Identity, check_founding, derive_identity, member_id_of, parse_initial_cluster
from kvstore.snapshot import SavedSnapshot, SnapshotError
from kvstore.snapshot.saved import verify_digest
from kvstore.snapshot.schema import BUCKET_NAMES
from raft.core import ConfChange, ConfChangeType, ConfState, Entry, HardState
from raft.errors import RaftError
from raft.wal import WAL, SnapshotMark
from raft.wire import ProtobufConfChangeCodec

__all__ = ["RestoreError", "RestoreOptions", "restore"]

FIRST_TERM = 1

Row = tuple[bytes, bytes]
Progress = Callable[[int], None]

logger = logging.getLogger(__name__)


class RestoreError(Exception):
    """A snapshot was not restored; the message says why. Nothing is left of the attempt."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What to restore, and as whom.

    Attributes:
        wal_dir: where the log goes; "" means into the data directory.
        revision_bump: how much to raise the newest revision; everything up to there then counts as compacted, so that
            clients of the old cluster, which may have seen revisions that the snapshot has not, start afresh instead of
            seeing other data under the same revisions. 0 for none.
    """

    snapshot_path: str
    name: str
    data_dir: str
    initial_cluster: str
    initial_cluster_token: str
    peer_urls: tuple[str, ...]
    wal_dir: str = ""
    skip_hash_check: bool = False
    revision_bump: int = 0


def restore(options: RestoreOptions, environment: Environment, progress: Progress = lambda _: None) -> None:
    """Make the data directory.

    Args:
        progress: told how many bytes were hashed or rows copied since it was told last.

    Raises:
        RestoreError: it cannot be made.
    """
    try:
        members = parse_initial_cluster(options.initial_cluster)
        identity = derive_identity(members, options.name, options.initial_cluster_token)
        check_founding(members, options.name, options.peer_urls)
    except ValueError as error:
        raise RestoreError(str(error)) from error
    try:
        _refuse_what_is_there(options)
        founders = _founders(members, options.initial_cluster_token)
        fields = {"path": options.snapshot_path, "data-dir": options.data_dir, "wal-dir": options.wal_dir}
        logger.info("restoring snapshot", extra={"fields": fields})
        with environment.files.open(options.snapshot_path, "rb") as file:
            _restore(options, identity, founders, file, environment.files, progress)
        logger.info("restored snapshot", extra={"fields": fields})
    except OSError as error:
        raise RestoreError(f"{error.filename or options.snapshot_path}: {error.strerror or error}") from error
    except (SnapshotError, BackendError, RaftError) as error:
        raise RestoreError(str(error)) from error


def _refuse_what_is_there(options: RestoreOptions) -> None:
    if os.path.exists(options.data_dir) and (not os.path.isdir(options.data_dir) or os.listdir(options.data_dir)):
        raise RestoreError(f'data-dir "{options.data_dir}" not empty or could not be read')
    if options.wal_dir and os.path.exists(options.wal_dir):
        raise RestoreError(f'wal-dir "{options.wal_dir}" exists')


def _founders(members: Mapping[str, Iterable[str]], token: str) -> list[Member]:
    founders = [
        Member(member_id_of(urls, token), name=name, peer_urls=tuple(sorted(urls))) for name, urls in members.items()
    ]
    return sorted(founders, key=lambda member: member.member_id)


def _restore(
    options: RestoreOptions,
    identity: Identity,
    founders: list[Member],
    file: BinaryIO,
    files: FileSystem,
    progress: Progress,
) -> None:
    if not options.skip_hash_check:
        verify_digest(file, progress)
    snapshot = SavedSnapshot(file)
    unfinished = _beside(options.data_dir)
    unfinished_wal = f"{unfinished}/member/wal"
    try:
        if options.wal_dir:
            unfinished_wal = _beside(options.wal_dir)
        files.makedirs(f"{unfinished}/member/snap")
        rows = _Rows(snapshot, founders, options.revision_bump)
        write_lmdb_file(f"{unfinished}/member/snap/db", rows.buckets(), progress)
        _write_log(files, unfinished_wal, identity, founders)
        for directory in (f"{unfinished}/member/snap", f"{unfinished}/member", unfinished):
            files.fsync_dir(directory)
        if options.wal_dir:
            files.rename(unfinished_wal, options.wal_dir)
            files.fsync_dir(_parent(options.wal_dir))
        files.rename(unfinished, options.data_dir)
        files.fsync_dir(_parent(options.data_dir))
    except BaseException:
        for directory in (unfinished, unfinished_wal):
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _parent(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _beside(path: str) -> str:
    """A new, private directory in the same place, to be renamed to `path`."""
    os.makedirs(_parent(path), exist_ok=True)
    return tempfile.mkdtemp(prefix=f".{os.path.basename(os.path.abspath(path))}.restore-", dir=_parent(path))


class _Rows:
    """The rows of the new database."""

    def __init__(self, snapshot: SavedSnapshot, founders: list[Member], bump: int) -> None:
        self._snapshot = snapshot
        self._founders = founders
        self._bump = bump
        self._newest = Revision(0, 0)

    def buckets(self) -> Iterator[tuple[str, Iterable[Row]]]:
        """Every bucket, the revisions first: `meta` has to know the newest one."""
        made: dict[str, Callable[[], Iterable[Row]]] = {
            KEY_BUCKET: self._revisions,
            "meta": self._meta,
            "lease": self._leases,
            "alarm": self._alarms,
            "members": self._members,
            "members_removed": list,
        }
        for name in BUCKET_NAMES:
            yield name, made[name]() if name in made else self._snapshot.rows(name)

    def _revisions(self) -> Iterator[Row]:
        parse = kv_pb2.KeyValue.FromString
        for stored, value in self._snapshot.rows(KEY_BUCKET):
            try:
                self._newest = decode_revision(stored)
                parse(value)
            except (ValueError, DecodeError) as error:
                raise SnapshotError(f"the snapshot has no key and value at revision {stored!r}: {error}") from error
            yield stored, value
        if self._bump:
            main = self._newest.main + self._bump
            if main >= 1 << 63:
                raise SnapshotError("there are no revisions so high")
            fields = {"latest-revision": self._newest.main, "bump-amount": self._bump, "new-latest-revision": main}
            logger.info("bumping latest revision", extra={"fields": fields})
            self._newest = Revision(main, 0)
            yield encode_revision(main, 0), b""

    def _meta(self) -> list[Row]:
        # Who votes and in which format this is are for `kvstore.snapshot.schema` to say when it is asked again.
        meta = {
            key: value for key, value in self._snapshot.rows("meta") if key not in (b"confState", b"storageVersion")
        }
        meta[b"consistent_index"] = len(self._founders).to_bytes(8, "big")
        meta[b"term"] = FIRST_TERM.to_bytes(8, "big")
        if self._bump:
            logger.info("marking revision compacted", extra={"fields": {"revision": self._newest.main}})
            meta[b"scheduledCompactRev"] = encode_revision(self._newest.main, 0)
        for key in (b"scheduledCompactRev", b"finishedCompactRev"):
            if key in meta:
                _checked(key, meta[key], decode_revision)
        return sorted(meta.items())

    def _leases(self) -> Iterator[Row]:
        for key, value in self._snapshot.rows("lease"):
            _checked(key, value, lease_pb2.Lease.FromString)
            yield key, value

    def _alarms(self) -> Iterator[Row]:
        for key, value in self._snapshot.rows("alarm"):
            _checked(key, key, pb.AlarmMember.FromString)
            yield key, value

    def _members(self) -> list[Row]:
        backend = MemoryBackend()
        membership = Membership(backend)
        for member in self._founders:
            membership.carry_out(MembershipChange(MembershipChangeKind.ADD, member))
        return sorted(backend.items("members"))


def _checked(key: bytes, value: bytes, parse: Callable[[bytes], object]) -> None:
    try:
        parse(value)
    except (ValueError, DecodeError) as error:
        raise SnapshotError(f"the snapshot has an unreadable value at {key!r}: {error}") from error


def _write_log(files: FileSystem, directory: str, identity: Identity, founders: list[Member]) -> None:
    codec = ProtobufConfChangeCodec()
    entries = []
    for index, member in enumerate(founders, 1):
        context = {"id": member.member_id, "peerURLs": list(member.peer_urls), "name": member.name}
        change = ConfChange(
            ConfChangeType.ADD_NODE, member.member_id, json.dumps(context, separators=(",", ":")).encode()
        )
        added = codec.encode(change)
        entries.append(Entry(index=index, term=FIRST_TERM, data=added.data, type=added.type))
    wal = WAL.create(files, directory, identity.encode())
    try:
        voters = tuple(member.member_id for member in founders)
        wal.save(HardState(FIRST_TERM, voters[0], len(entries)), entries)
        wal.save_snapshot(SnapshotMark(len(entries), FIRST_TERM, ConfState(voters)))
    finally:
        wal.close()
