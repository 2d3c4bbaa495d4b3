"""Log lines as etcd's zap writes them: JSON objects of `level`, `ts`, `caller`, `msg` and whatever else there is.

Code logs with the standard library; what goes beside the message is passed as `extra={"fields": {…}}`.
"""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from kvstore.app.log_rotation import RotatingFile, Rotation

__all__ = ["ConsoleFormatter", "JSONFormatter", "LogSettings", "configure_logging"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "fatal"}
_STDERR = ("default", "stderr", "systemd/journal")  # systemd puts what a unit writes to stderr into the journal
_NOWHERE = "/dev/null"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`--log-level`, `--log-format`, `--log-outputs`, and `--log-rotation-config-json` where rotation is on."""

    level: str = "info"
    format: str = "json"
    outputs: tuple[str, ...] = ("default",)
    rotation: str | None = None


class JSONFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, object] = {
            "level": _level(record),
            "ts": _timestamp(record),
            "caller": _caller(record),
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class ConsoleFormatter(logging.Formatter):
    """A record as a line with tabs between its parts; only what goes beside the message is JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        message = record.getMessage().replace("\n", "\\n")
        parts = [_timestamp(record), _level(record), _caller(record), message]
        fields = _fields(record)
        if fields:
            parts.append(orjson.dumps(fields, default=str).decode())
        line = "\t".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


_FORMATTERS: Mapping[str, Callable[[], logging.Formatter]] = {"json": JSONFormatter, "console": ConsoleFormatter}


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, record.levelname.lower())


def _timestamp(record: logging.LogRecord) -> str:
    """RFC 3339 with microseconds in local time, the zone as a number; Go writes Z where that number is zero."""
    when = datetime.datetime.fromtimestamp(record.created).astimezone()
    zone = when.strftime("%z")
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if zone == "+0000" else zone[:5])


def _caller(record: logging.LogRecord) -> str:
    return f"{'/'.join(record.pathname.split('/')[-2:])}:{record.lineno}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return dict(getattr(record, "fields", {}))


def configure_logging(settings: LogSettings, now: Callable[[], float]) -> None:
    """Send log lines of this level and above to the outputs.

    Args:
        now: the wall clock, in seconds since the epoch: for the names of files that were rotated away.

    Raises:
        ValueError: there is no such level, format or rotation, or the outputs do not go together.
        OSError: an output cannot be written.
    """
    level = _LEVELS.get(settings.level.lower())
    if level is None:
        raise ValueError(f'unrecognized level: "{settings.level}"')
    formatter = _FORMATTERS.get(settings.format or "json")
    if formatter is None:
        raise ValueError(f"unknown log format: {settings.format}, supported values json, console")
    handlers = _handlers(settings, now)
    for handler in handlers:
        handler.setFormatter(formatter())
    logging.basicConfig(level=level, handlers=handlers, force=True)


def _handlers(settings: LogSettings, now: Callable[[], float]) -> list[logging.Handler]:
    outputs = settings.outputs or ("default",)
    if len(outputs) > 1 and "default" in outputs:
        raise ValueError('multi logoutput for "default" is not supported yet')
    if _NOWHERE in outputs:
        return [logging.NullHandler()]
    files = [output for output in outputs if output not in (*_STDERR, "stdout")]
    rotation = None
    if settings.rotation is not None:
        if len(files) != 1:
            raise ValueError("--log-outputs requires a single file path when --log-rotate-config-json is defined")
        rotation = Rotation.parse(settings.rotation)
    handlers: list[logging.Handler] = []
    if len(files) < len(outputs):
        streams = {sys.stdout if output == "stdout" else sys.stderr for output in outputs if output not in files}
        handlers += [logging.StreamHandler(stream) for stream in streams]
    for file in files:
        path = file.removeprefix("file://")
        handlers.append(logging.FileHandler(path) if rotation is None else RotatingFile(path, rotation, now))
    return handlers
