from __future__ import annotations

import gzip
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.app.log_rotation import MEGABYTE, RotatingFile, Rotation
from kvstore.app.logs import ConsoleFormatter, JSONFormatter, LogSettings, configure_logging

WHEN = 1_700_000_000.25  # 2023-11-14T22:13:20.250Z


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was before when the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def record(level: int = logging.INFO, message: str = "a %s", **more: object) -> logging.LogRecord:
    made = logging.LogRecord("kvstore.x", level, "/src/kvstore/app/serve.py", 7, message, ("b",), None)
    made.created = WHEN
    made.__dict__.update(more)
    return made


def test_a_line_of_json() -> None:
    line = JSONFormatter().format(record(fields={"took": 1.5, "urls": ("a", "b"), "path": Path("/x")}))
    assert list(json.loads(line).items()) == [
        ("level", "info"),
        ("ts", json.loads(line)["ts"]),
        ("caller", "app/serve.py:7"),
        ("msg", "a b"),
        ("took", 1.5),
        ("urls", ["a", "b"]),
        ("path", "/x"),
    ]


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2023-11-14T22:13:20.250000Z"),
        ("XXX-5:30", "2023-11-15T03:43:20.250000+0530"),
        ("XXX3", "2023-11-14T19:13:20.250000-0300"),
    ],
)
def test_times_are_local_as_go_writes_them(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert json.loads(JSONFormatter().format(record()))["ts"] == shown
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("level", "name"),
    [(logging.DEBUG, "debug"), (logging.WARNING, "warn"), (logging.ERROR, "error"), (logging.CRITICAL, "fatal")],
)
def test_levels_have_etcd_s_names(level: int, name: str) -> None:
    assert json.loads(JSONFormatter().format(record(level)))["level"] == name


def test_a_line_for_the_console() -> None:
    line = ConsoleFormatter().format(record(message="two\nlines %s", fields={"a": 1}))
    assert line.split("\t")[1:] == ["info", "app/serve.py:7", "two\\nlines b", '{"a":1}']
    try:
        raise ValueError("boom")
    except ValueError:
        told = record(exc_info=sys.exc_info())
    assert "ValueError: boom" in json.loads(JSONFormatter().format(told))["stacktrace"]
    assert ConsoleFormatter().format(told).splitlines()[-1] == "ValueError: boom"


def test_several_outputs(root: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ("stdout", str(tmp_path / "a"), f"file://{tmp_path / 'b'}")
    configure_logging(LogSettings("warn", "json", outputs), lambda: WHEN)
    logging.getLogger("kvstore.x").info("quiet")
    logging.getLogger("kvstore.x").warning("loud")
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in (shown.out, (tmp_path / "a").read_text(), (tmp_path / "b").read_text()):
        assert [json.loads(line)["msg"] for line in text.splitlines()] == ["loud"]


def test_standard_error_is_named_in_three_ways(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("default", "stderr", "systemd/journal"):
        configure_logging(LogSettings("info", "", (output,)), lambda: WHEN)
        logging.getLogger("kvstore.x").info(output)
    assert [json.loads(line)["msg"] for line in capsys.readouterr().err.splitlines()] == [
        "default",
        "stderr",
        "systemd/journal",
    ]


def test_nowhere(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings("info", "json", ("stderr", "/dev/null")), lambda: WHEN)
    logging.getLogger("kvstore.x").error("unheard")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (LogSettings(level="loud"), 'unrecognized level: "loud"'),
        (LogSettings(format="xml"), "unknown log format: xml, supported values json, console"),
        (LogSettings(outputs=("default", "stdout")), 'multi logoutput for "default" is not supported yet'),
        (LogSettings(rotation="{}"), "--log-outputs requires a single file path"),
        (LogSettings(outputs=("a", "b"), rotation="{}"), "--log-outputs requires a single file path"),
        (LogSettings(outputs=("a",), rotation="{"), "improperly formatted log rotation config"),
        (LogSettings(outputs=("a",), rotation="[]"), "invalid log rotation config"),
        (LogSettings(outputs=("a",), rotation='{"maxsize": "1"}'), 'maxsize cannot be "1"'),
        (LogSettings(outputs=("a",), rotation='{"maxage": true}'), "maxage cannot be true"),
        (LogSettings(outputs=("a",), rotation='{"maxbackups": -1}'), "maxbackups cannot be -1"),
    ],
)
def test_what_cannot_be_logged_to(root: logging.Logger, settings: LogSettings, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        configure_logging(settings, lambda: WHEN)


class Clock:
    def __init__(self) -> None:
        self.now = WHEN

    def __call__(self) -> float:
        return self.now


def fill(handler: RotatingFile, clock: Clock, times: int, step_seconds: float = 1.0) -> None:
    """Lines of half a megabyte: the third one does not fit beside the first two."""
    for number in range(times):
        handler.emit(record(message=f"{number}:" + "x" * (MEGABYTE // 2 - 64) + "%s"))
        clock.now += step_seconds


def test_rotation(tmp_path: Path) -> None:
    clock = Clock()
    handler = RotatingFile(str(tmp_path / "etcd.log"), Rotation(maxsize=1), clock)
    fill(handler, clock, 5)
    handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "etcd-2023-11-14T22-13-22.250.log",
        "etcd-2023-11-14T22-13-24.250.log",
        "etcd.log",
    ]
    starts = [path.read_text()[:2] for path in sorted(tmp_path.iterdir())]
    assert starts == ["0:", "2:", "4:"]
    assert all(path.stat().st_size <= MEGABYTE for path in tmp_path.iterdir())


def test_rotation_within_one_moment_loses_nothing(tmp_path: Path) -> None:
    clock = Clock()
    handler = RotatingFile(str(tmp_path / "log"), Rotation(maxsize=1), clock)
    fill(handler, clock, 7, step_seconds=0.0)
    handler.close()
    assert sorted(path.read_text()[:2] for path in tmp_path.iterdir()) == ["0:", "2:", "4:", "6:"]


def test_old_files_are_compressed_and_removed(tmp_path: Path) -> None:
    clock = Clock()
    stranger = tmp_path / "etcd-notes.log"
    stranger.write_text("mine")
    handler = RotatingFile(str(tmp_path / "etcd.log"), Rotation(maxsize=1, maxbackups=2, compress=True), clock)
    fill(handler, clock, 9)
    handler.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "etcd-2023-11-14T22-13-26.250.log.gz",
        "etcd-2023-11-14T22-13-28.250.log.gz",
        "etcd-notes.log",
        "etcd.log",
    ]
    assert gzip.decompress((tmp_path / names[0]).read_bytes()).startswith(b"4:")


def test_age(tmp_path: Path) -> None:
    import os

    clock = Clock()
    old, young = tmp_path / "etcd-2023-11-01T00-00-00.000.log", tmp_path / "etcd-2023-11-14T00-00-00.000.log"
    for path, days in ((old, 8), (young, 6)):
        path.write_text("")
        os.utime(path, (WHEN - days * 86_400, WHEN - days * 86_400))
    handler = RotatingFile(str(tmp_path / "etcd.log"), Rotation(maxsize=1, maxage=7), clock)
    fill(handler, clock, 3)
    handler.close()
    assert not old.exists()
    assert young.exists()
