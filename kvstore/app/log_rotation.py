"""A log file that makes room for the next one when it is large (`--enable-log-rotation`).

etcd leaves this to lumberjack, whose settings and names these are: `etcd.log` goes on, what it held until now is
`etcd-2026-11-27T20-39-42.007.log`, or that and `.gz`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gzip
import json
import logging.handlers
import os
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["RotatingFile", "Rotation"]

MEGABYTE = 1024 * 1024
DAY_SECONDS = 86_400.0
MAX_SIZE_MEGABYTES = 100

_STAMP = "%Y-%m-%dT%H-%M-%S"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to rotate, and what to keep; 0 is no limit, but for the size, where it is lumberjack's 100.

    Attributes:
        maxsize: megabytes.
        maxage: days.
        maxbackups: files beside the current one.
        localtime: whether names have the local time, not UTC.
        compress: whether files that were rotated away are compressed with gzip.
    """

    maxsize: int = MAX_SIZE_MEGABYTES
    maxage: int = 0
    maxbackups: int = 0
    localtime: bool = False
    compress: bool = False

    @classmethod
    def parse(cls, text: str) -> Rotation:
        """Read `--log-rotation-config-json`.

        Raises:
            ValueError: it is not JSON, or has a value of the wrong type.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"improperly formatted log rotation config: {error}") from None
        if not isinstance(content, dict):
            raise ValueError("invalid log rotation config: an object is wanted")
        chosen: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            default: Any = field.default
            value = content.get(field.name, default)
            if type(value) is not type(default) or value < 0:
                raise ValueError(f"invalid log rotation config: {field.name} cannot be {json.dumps(value)}")
            chosen[field.name] = value
        return cls(**chosen)


class RotatingFile(logging.handlers.RotatingFileHandler):
    """Appends to `path`; rotates it before it grows beyond `maxsize`.

    Args:
        now: the wall clock, in seconds since the epoch.
    """

    def __init__(self, path: str, rotation: Rotation, now: Callable[[], float]) -> None:
        size = (rotation.maxsize or MAX_SIZE_MEGABYTES) * MEGABYTE
        super().__init__(path, maxBytes=size, backupCount=1, encoding="utf-8")
        self._rotation = rotation
        self._now = now
        self._tidying: threading.Thread | None = None

    def doRollover(self) -> None:
        """See `logging.handlers.RotatingFileHandler`: once per file, under the handler's lock."""
        if self.stream:
            self.stream.close()
        os.replace(self.baseFilename, self._backup_name())
        self.stream = self._open()
        self._start_tidying()

    def close(self) -> None:
        """See `logging.Handler.close`; waits for a file that is being compressed."""
        super().close()
        if self._tidying is not None:
            self._tidying.join()

    def _backup_name(self) -> str:
        zone = None if self._rotation.localtime else datetime.UTC
        when = datetime.datetime.fromtimestamp(self._now(), zone)
        stem, extension = os.path.splitext(self.baseFilename)
        milliseconds = when.microsecond // 1000
        while os.path.exists(name := f"{stem}-{when.strftime(_STAMP)}.{milliseconds:03d}{extension}"):
            milliseconds += 1  # two within a millisecond
        return name

    def _start_tidying(self) -> None:
        """Compressing takes as long as seconds: nobody waits for it but the next rotation."""
        if self._tidying is not None:
            self._tidying.join()
        self._tidying = threading.Thread(target=self._tidy, name="log-rotation", daemon=True)
        self._tidying.start()

    def _tidy(self) -> None:
        with contextlib.suppress(OSError):  # a log must not end the server; it is tried again at the next rotation
            backups = self._backups()
            for path in backups[self._rotation.maxbackups :] if self._rotation.maxbackups else []:
                os.remove(path)
            for path in self._backups():
                if self._is_too_old(path):
                    os.remove(path)
                elif self._rotation.compress and not path.endswith(".gz"):
                    _compress(path)

    def _backups(self) -> list[str]:
        """The files that were rotated away, newest first: their names sort as their times do."""
        directory = os.path.dirname(self.baseFilename)
        stem, extension = os.path.splitext(os.path.basename(self.baseFilename))
        pattern = re.compile(
            rf"{re.escape(stem)}-(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3,}}){re.escape(extension)}(\.gz)?"
        )
        names = [name for name in os.listdir(directory) if pattern.fullmatch(name)]
        return [os.path.join(directory, name) for name in sorted(names, reverse=True)]

    def _is_too_old(self, path: str) -> bool:
        age_seconds = self._now() - os.stat(path).st_mtime
        return bool(self._rotation.maxage) and age_seconds > self._rotation.maxage * DAY_SECONDS


def _compress(path: str) -> None:
    partial = f"{path}.gz.tmp"
    with (
        open(path, "rb") as source,
        open(partial, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target)
    os.replace(partial, f"{path}.gz")
    os.remove(path)
