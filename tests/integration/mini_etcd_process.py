"""`mini-etcd` as a process of its own, and its commands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.integration.etcd_process import READY_LINE, EtcdProcess, free_ports

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0


def mini_etcd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "kvstore", *arguments]
    environment = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=SECONDS_MAX)


class MiniEtcdProcess(EtcdProcess):
    """A running member of ours, with the face of a real one."""

    @classmethod
    def start(cls, directory: Path, *, scheme: str = "http", flags: Sequence[str] = (), port: int = 0) -> Self:
        """See `EtcdProcess.start`; the data is in `directory / "etcd"` too."""
        (client_port,) = free_ports(1)
        client_url = f"{scheme}://127.0.0.1:{port or client_port}"
        command = [
            *(sys.executable, "-m", "kvstore"),
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            *flags,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
        member = cls(client_url, directory, process)
        threading.Thread(target=member._read_log, daemon=True).start()
        member._ready.wait(SECONDS_MAX)
        if process.poll() is not None or not any(READY_LINE in line for line in member.log):
            member.stop()
            raise RuntimeError("mini-etcd did not start:\n" + b"".join(member.log[-20:]).decode(errors="replace"))
        return member
