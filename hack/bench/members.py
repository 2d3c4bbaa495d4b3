"""Clusters of etcd or mini-etcd on loopback, as real processes with the same flags."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.etcd_process import MINI_ETCD, READY_LINE, binary, free_ports

__all__ = ["MINI_ETCD", "Cluster", "Member", "etcd_command", "running"]

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 120.0


def etcd_command() -> tuple[str, ...] | None:
    """How to start the real etcd; None where there is none."""
    path = binary("etcd")
    return None if path is None else (path,)


class Member:
    """One process and what it was started with; its data outlive it."""

    def __init__(self, name: str, command: Sequence[str], client_port: int) -> None:
        self.name = name
        self.target = f"127.0.0.1:{client_port}"
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._last_lines: list[bytes] = []

    def launch(self) -> threading.Event:
        """Start the process; the event is set when it says that it serves, or has ended."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
        ready = threading.Event()
        threading.Thread(target=self._read_log, args=(self.process, ready), daemon=True).start()
        return ready

    def start(self) -> float:
        """Start and wait until it serves; the seconds that took. Raises SystemExit with its last words otherwise."""
        started = time.perf_counter()
        self.wait_ready(self.launch())
        return time.perf_counter() - started

    def wait_ready(self, ready: threading.Event) -> None:
        """Wait for what `launch` returned. Raises SystemExit."""
        assert self.process is not None
        if not ready.wait(READY_SECONDS_MAX) or self.process.poll() is not None:
            raise SystemExit(b"".join([b"a member did not start:\n", *self._last_lines]).decode(errors="replace"))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()

    def resident_mib(self) -> float:
        """Resident memory, as the kernel counts it."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def processor_seconds(self) -> float:
        """Processor time spent so far, in user and kernel."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read_log(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._last_lines = [*self._last_lines[-9:], line]
                if READY_LINE in line:
                    ready.set()
        ready.set()


class Cluster:
    """`size` members with default settings, each with a directory of its own."""

    def __init__(self, command: Sequence[str], size: int, directory: Path) -> None:
        ports = free_ports(2 * size)
        names = [f"m{number}" for number in range(size)]
        peers = dict(zip(names, (f"http://127.0.0.1:{port}" for port in ports[size:]), strict=True))
        initial = ",".join(f"{name}={url}" for name, url in peers.items())
        self.members = []
        for name, port in zip(names, ports, strict=False):
            flags = [
                f"--name={name}",
                f"--data-dir={directory / name}",
                f"--listen-client-urls=http://127.0.0.1:{port}",
                f"--advertise-client-urls=http://127.0.0.1:{port}",
                f"--listen-peer-urls={peers[name]}",
                f"--initial-advertise-peer-urls={peers[name]}",
                f"--initial-cluster={initial}",
            ]
            self.members.append(Member(name, [*command, *flags], port))

    def start(self) -> Cluster:
        """Start all and wait for all."""
        waiting = [(member, member.launch()) for member in self.members]
        for member, ready in waiting:
            member.wait_ready(ready)
        return self

    def stop(self) -> None:
        """Kill what still runs."""
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.stop(signal.SIGKILL)

    @property
    def targets(self) -> list[str]:
        """`host:port` of every member's client port."""
        return [member.target for member in self.members]


@contextlib.contextmanager
def running(command: Sequence[str], size: int, directory: Path) -> Iterator[Cluster]:
    """A cluster for the length of a with statement."""
    cluster = Cluster(command, size, directory)
    try:
        yield cluster.start()
    finally:
        cluster.stop()
