"""Log lines as etcd writes them: one JSON object each, with `level`, `ts`, `caller`, `msg` and whatever else there is.

Code logs with the standard library; what goes beside the message is passed as `extra={"fields": {…}}`.
"""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Sequence

import orjson

__all__ = ["JSONFormatter", "configure_logging"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "fatal"}


class JSONFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "ts": when.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
            "caller": f"{'/'.join(record.pathname.split('/')[-2:])}:{record.lineno}",
            "msg": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str, outputs: Sequence[str]) -> None:
    """Send log lines of this level and above to the outputs.

    Raises:
        ValueError: there is no such level.
        OSError: an output cannot be written.
    """
    if level not in _LEVELS:
        raise ValueError(f"unrecognized log level {level!r}")
    handlers: list[logging.Handler] = []
    for output in outputs:
        if output in ("default", "stderr"):
            handlers.append(logging.StreamHandler(sys.stderr))
        elif output == "stdout":
            handlers.append(logging.StreamHandler(sys.stdout))
        else:
            handlers.append(logging.FileHandler(output))
    for handler in handlers:
        handler.setFormatter(JSONFormatter())
    logging.basicConfig(level=_LEVELS[level], handlers=handlers, force=True)
