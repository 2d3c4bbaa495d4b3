"""`mini-etcd snapshot status` and `mini-etcd snapshot restore`, as etcdutl has them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from kvstore.app.commands.console import CommandError, Progress, command_parser, parse_arguments
from kvstore.environment import real_environment
from kvstore.snapshot import SavedSnapshot, SnapshotError, SnapshotStatus, human_bytes

__all__ = ["run"]

_DEFAULT_PEER_URL = "http://localhost:2380"


def run(arguments: Sequence[str]) -> None:
    """Run `status` or `restore`.

    Raises:
        CommandError: it failed.
    """
    parser = command_parser("snapshot", "Manages snapshots, of this server's or of etcd's.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_status(commands)
    _add_restore(commands)
    # Which of the two it is decides about the switches, so the second word is looked at before the rest.
    chosen = commands.choices.get(arguments[0]) if arguments else None
    options = parse_arguments(chosen, arguments[1:]) if chosen else parser.parse_args(arguments)
    options.command(options)


# --- status


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "status",
        allow_abbrev=False,
        help="figures of a snapshot",
        description="Checks a snapshot and prints its hash, revision, total keys, total size and version.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("-w", "--write-out", choices=sorted(_PRINTERS), default="simple", metavar="FORMAT")
    parser.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> None:
    progress = Progress("rows read", real_environment().clock)
    try:
        with open(options.file, "rb") as file:
            status = SavedSnapshot(file, progress).status()
    except OSError as error:
        raise CommandError(f"cannot read {options.file}: {error.strerror or error}") from error
    except SnapshotError as error:
        raise CommandError(f"{options.file}: {error}") from error
    finally:
        progress.clear()
    sys.stdout.write(_PRINTERS[options.write_out](status) + "\n")


def _cells(status: SnapshotStatus) -> list[str]:
    return [
        f"{status.hash:x}",
        str(status.revision),
        str(status.total_keys),
        human_bytes(status.total_size),
        status.version,
    ]


def _simple(status: SnapshotStatus) -> str:
    return ", ".join(_cells(status))


def _json(status: SnapshotStatus) -> str:
    record = {
        "hash": status.hash,
        "revision": status.revision,
        "totalKey": status.total_keys,
        "totalSize": status.total_size,
        "version": status.version,
    }
    return json.dumps(record, separators=(",", ":"))


def _fields(status: SnapshotStatus) -> str:
    values = (status.hash, status.revision, status.total_keys, status.total_size, status.version)
    names = ("Hash", "Revision", "Keys", "Size", "Version")
    return "\n".join(f'"{name}" : {value}' for name, value in zip(names, values, strict=True))


def _table(status: SnapshotStatus) -> str:
    header = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"]
    cells = _cells(status)
    widths = [max(len(name), len(cell)) for name, cell in zip(header, cells, strict=True)]
    line = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    titles = "|".join(["", *(f" {name:^{width}} " for name, width in zip(header, widths, strict=True)), ""])
    row = "|".join(["", *(f" {cell:>{width}} " for cell, width in zip(cells, widths, strict=True)), ""])
    return "\n".join([line, titles, line, row, line])


_PRINTERS = {"simple": _simple, "json": _json, "fields": _fields, "table": _table}


# --- restore


def _add_restore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "restore",
        allow_abbrev=False,
        help="a data directory from a snapshot",
        description="Makes the data directory of one member of a new cluster from a snapshot. Restore every member of "
        "that cluster from the same snapshot, each with its own name and peer URLs.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="the new data directory (default: NAME.etcd)")
    parser.add_argument("--wal-dir", default="", metavar="DIR", help="the new log (default: in the data directory)")
    parser.add_argument("--name", default="default", help="the member's name (default: %(default)s)")
    parser.add_argument(
        "--initial-cluster",
        default=f"default={_DEFAULT_PEER_URL}",
        metavar="NAME=URL,…",
        help="every member of the new cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--initial-cluster-token",
        default="etcd-cluster",
        metavar="TOKEN",
        help="its token (default: %(default)s)",
    )
    parser.add_argument(
        "--initial-advertise-peer-urls",
        default=_DEFAULT_PEER_URL,
        metavar="URL,…",
        help="this member's peer URLs (default: %(default)s)",
    )
    parser.add_argument(
        "--skip-hash-check",
        action="store_true",
        help="do without the snapshot's hash; a database file copied from a data directory has none",
    )
    parser.add_argument(
        "--bump-revision", type=_revisions, default=0, metavar="N", help="raise the newest revision by so much"
    )
    parser.add_argument(
        "--mark-compacted",
        action="store_true",
        help="count everything up to the raised revision as compacted; required with --bump-revision",
    )
    parser.set_defaults(command=_restore, parser=parser)


def _revisions(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 62:
        raise ValueError(text)
    return value


def _restore(options: argparse.Namespace) -> None:
    from kvstore.app.logs import LogSettings, configure_logging
    from kvstore.app.restore import RestoreError, RestoreOptions, restore

    if bool(options.bump_revision) != options.mark_compacted:
        options.parser.error("--mark-compacted required if --bump-revision > 0, and only then allowed")
    environment = real_environment()
    configure_logging(LogSettings(), environment.clock.now)
    progress = Progress("rows or bytes done", environment.clock)
    try:
        restore(
            RestoreOptions(
                snapshot_path=options.file,
                name=options.name,
                data_dir=options.data_dir or f"{options.name}.etcd",
                wal_dir=options.wal_dir,
                initial_cluster=options.initial_cluster,
                initial_cluster_token=options.initial_cluster_token,
                peer_urls=tuple(filter(None, options.initial_advertise_peer_urls.split(","))),
                skip_hash_check=options.skip_hash_check,
                revision_bump=options.bump_revision,
            ),
            environment,
            progress,
        )
    except RestoreError as error:
        raise CommandError(str(error)) from error
    finally:
        progress.clear()
