"""`mini-etcd`, or etcd itself, as a child process, with every line of its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.etcd_process import free_ports

ROOT = Path(__file__).parents[3]
MINI_ETCD = (sys.executable, "-m", "kvstore")
READY = "ready to serve client requests"
SECONDS_MAX = 20.0


def environment(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to run with: ours, and any port for peers, whose default is one for the whole machine."""
    chosen = any("listen-peer-urls" in argument or "config-file" in argument for argument in arguments)
    return {**({} if chosen else {"ETCD_LISTEN_PEER_URLS": "http://127.0.0.1:0"}), **os.environ, **environ}


def run(*arguments: str, program: Sequence[str] = MINI_ETCD, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(arguments, environ),
        timeout=SECONDS_MAX,
    )


def log_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def urls(scheme: str = "http", count: int = 1) -> list[str]:
    return [f"{scheme}://127.0.0.1:{port}" for port in free_ports(count)]


class Running:
    """One that serves, started with exactly these arguments; a context manager that stops it."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [*MINI_ETCD, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(arguments, environ),
        )
        self.log: list[dict[str, Any]] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["msg"] == READY:
                return
        self.stop()
        raise AssertionError(f"did not start: {self.log}")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, if it still runs; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS_MAX)
        self.log += log_of(err)
        self.out = out
        return self.process.returncode

    def messages(self, level: str | None = None) -> list[str]:
        """What it has logged, of all levels or one."""
        return [line["msg"] for line in self.log if level in (None, line["level"])]
