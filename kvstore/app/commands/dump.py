"""`mini-etcd dump wal` and `mini-etcd dump db`: what is on the disk of a stopped member, for people.

The log may be a real etcd's too, and `dump db` takes a snapshot or a database file of etcd's with `--file`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from kvstore.app.commands.console import CommandError, command_parser, parse_arguments
from kvstore.backend import BackendError, LMDBFile
from kvstore.environment import Environment, FileSystem, real_environment
from kvstore.etcdpb import kv_pb2, lease_pb2, raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import decode_revision
from kvstore.mvcc.revision import is_tombstone
from kvstore.server.data_dir import DataDir, DataDirError
from kvstore.server.identity import Identity
from kvstore.snapshot import SavedSnapshot, SnapshotError
from kvstore.snapshot.schema import BUCKET_NAMES
from raft.core import ConfState, Entry, EntryType
from raft.errors import RaftError
from raft.wal import WAL
from raft.wire import ProtobufConfChangeCodec

__all__ = ["run"]

_VALUE_CHARACTERS_MAX = 120
"""How much of a long text is shown."""

_SECRET_FIELDS = {"password", "hashedPassword", "simple_token"}


def run(arguments: Sequence[str]) -> None:
    """Print the log or the database.

    Raises:
        CommandError: it cannot be read.
    """
    parser = command_parser("dump", "Prints what is on the disk of a member that is not running.")
    parser.add_argument("what", choices=("wal", "db"), help="the log, or the database")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", metavar="DIR", help="the member's data directory")
    source.add_argument("--file", metavar="FILE", help="for db: a snapshot, or the database file of an etcd")
    parser.add_argument("--wal-dir", default="", metavar="DIR", help="the log's directory, if it is elsewhere")
    parser.add_argument("--bucket", choices=BUCKET_NAMES, help="for db: this bucket only")
    options = parse_arguments(parser, arguments)
    if options.file and options.what == "wal":
        parser.error("--file is for db")
    environment = real_environment()
    try:
        if options.what == "wal":
            lines = _in_data_dir(options, environment, _log_lines)
        elif options.file:
            lines = _file_lines(options, environment.files)
        else:
            lines = _in_data_dir(options, environment, _database_lines)
        for line in lines:
            sys.stdout.write(line + "\n")
    except (DataDirError, BackendError, SnapshotError, RaftError) as error:
        raise CommandError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(
            f"{error.filename or options.data_dir or options.file}: {error.strerror or error}"
        ) from error


def _in_data_dir(
    options: argparse.Namespace,
    environment: Environment,
    lines: Callable[[argparse.Namespace, DataDir, FileSystem], Iterator[str]],
) -> Iterator[str]:
    """Lines about a data directory, which is ours for as long as they come."""
    if not environment.files.exists(f"{options.data_dir}/member"):
        raise DataDirError(f"there is no member in {options.data_dir!r}")
    data_dir = DataDir(options.data_dir, environment.files, options.wal_dir)
    try:
        yield from lines(options, data_dir, environment.files)
    finally:
        data_dir.release()


# --- the log


def _log_lines(options: argparse.Namespace, data_dir: DataDir, files: FileSystem) -> Iterator[str]:
    wal, recovered = WAL.open(files, data_dir.wal_path)
    wal.close()
    try:
        identity = Identity.decode(recovered.metadata)
        yield f"WAL metadata: nodeID={identity.member_id:x} clusterID={identity.cluster_id:x}"
    except ValueError as error:
        yield f"WAL metadata: {error}"
    state = recovered.hard_state
    yield f"WAL state: term={state.term} vote={state.vote:x} commitIndex={state.commit}"
    for mark in recovered.snapshots:
        voters = _conf_state(mark.conf_state) if mark.conf_state else ""
        yield f"WAL snapshot: index={mark.index} term={mark.term}{voters}"
    yield f"WAL entries: {len(recovered.entries)}"
    yield f"{'term':>10}{'index':>12}  type        data"
    for entry in recovered.entries:
        yield f"{entry.term:>10}{entry.index:>12}  {entry.type.name.lower():<11} {_entry_text(entry)}"


def _conf_state(state: ConfState) -> str:
    return f" voters=[{' '.join(f'{voter:x}' for voter in state.voters)}]"


def _entry_text(entry: Entry) -> str:
    if entry.type is not EntryType.NORMAL:
        change = ProtobufConfChangeCodec().decode(entry)
        singles = " ".join(f"{single.type.name.lower()}={single.node_id:x}" for single in change.changes)
        return f"{singles} {_text(change.context)}".rstrip()
    if not entry.data:
        return "(a leader's first entry)"
    return _message(raft_internal_pb2.InternalRaftRequest, entry.data, _without_secrets)


# --- the database


def _database_lines(options: argparse.Namespace, data_dir: DataDir, files: FileSystem) -> Iterator[str]:
    if not files.exists(data_dir.database_path):
        raise DataDirError(f"there is no database in {options.data_dir!r}")
    source = LMDBFile(data_dir.database_path)
    try:
        yield from _bucket_lines(source.rows, options.bucket)
    finally:
        source.close()


def _file_lines(options: argparse.Namespace, files: FileSystem) -> Iterator[str]:
    with files.open(options.file, "rb") as file:
        yield from _bucket_lines(SavedSnapshot(file).rows, options.bucket)


def _bucket_lines(rows: Callable[[str], Iterator[tuple[bytes, bytes]]], only: str | None) -> Iterator[str]:
    for bucket in [only] if only else BUCKET_NAMES:
        yield f"bucket {bucket}"
        for key, value in rows(bucket):
            yield f"  {_row_text(bucket, key, value)}"


def _row_text(bucket: str, key: bytes, value: bytes) -> str:
    if bucket == "key":
        try:
            revision = decode_revision(key)
        except ValueError as error:
            return str(error)
        mark = " deleted" if is_tombstone(key) else ""
        return f"rev={{{revision.main} {revision.sub}}}{mark} {_message(kv_pb2.KeyValue, value)}"
    if bucket == "lease":
        return _message(lease_pb2.Lease, value)
    if bucket == "alarm":
        return _message(pb.AlarmMember, key)
    if bucket == "meta" and len(value) == 8:
        return f"{_text(key)} = {int.from_bytes(value, 'big')}"
    if bucket == "authUsers":  # the value has the password's hash in it
        return _text(key)
    return f"{_text(key)} = {_text(value)}"


def _message(kind: type[Any], data: bytes, prepare: Callable[[Any], None] = lambda _: None) -> str:
    try:
        message = kind.FromString(data)
        prepare(message)
        return _short(text_format.MessageToString(message, as_one_line=True))
    except DecodeError as error:
        return f"({len(data)} bytes that are no {kind.DESCRIPTOR.name}: {error})"


def _without_secrets(request: raft_internal_pb2.InternalRaftRequest) -> None:
    for descriptor, inner in request.ListFields():
        if descriptor.message_type is not None:
            for name in _SECRET_FIELDS & set(descriptor.message_type.fields_by_name):
                inner.ClearField(name)


def _text(data: bytes) -> str:
    text = data.decode(errors="backslashreplace")
    return _short(text if text.isprintable() else data.hex(" "))


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_CHARACTERS_MAX else text[: _VALUE_CHARACTERS_MAX - 1] + "…"
