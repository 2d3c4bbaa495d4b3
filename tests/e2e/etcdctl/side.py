"""One side of a comparison: a server, and etcdctl on it going through a script."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.etcdctl import script as steps
from tests.e2e.etcdctl.normal import Normaliser, decoded
from tests.integration.etcd_process import EtcdProcess, binary

SECONDS_MAX = 30.0


@dataclass(frozen=True)
class Answer:
    """A command and what was written, and why etcd 3.5.1 answers otherwise, if it does."""

    lines: list[str]
    differs: str


class Background:
    """A command that goes on while others run."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            bufsize=1,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._told = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterable[str], lines: list[str]) -> None:
        for line in stream:
            with self._told:
                lines.append(line)
                self._told.notify_all()

    def wait_for_lines(self, count: int) -> str:
        with self._told:
            came = self._told.wait_for(lambda: len(self.lines) >= count, SECONDS_MAX)
        assert came, f"{self.process.args!r} wrote only {self.lines}, {self.errors}"
        return "".join(self.lines)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, interrupt: bool) -> int:
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(SECONDS_MAX)
        for reader in self._readers:
            reader.join()
        self.close()
        return code

    def close(self) -> None:
        """Release what is open, whether it has ended or not."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            if not stream.closed:
                stream.close()


@dataclass
class Side:
    """A server with an etcdctl for it; `play` gives what was written, but for what must differ between servers."""

    etcdctl: str
    server: EtcdProcess
    directory: Path
    mirror: EtcdProcess | None = None
    words: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words |= {"dir": str(self.directory), "endpoint": self.server.endpoint}
        if self.mirror is not None:
            self.words["mirror"] = self.mirror.endpoint
        self.normaliser = Normaliser()
        self.normaliser.name("dir", str(self.directory))
        for server in filter(None, (self.server, self.mirror)):
            self.normaliser.learn_server(
                self._output_of("member", "list", "-w", "json", "--endpoints", server.endpoint)
            )
        self.words["member"] = self.normaliser.member
        self._backgrounds: dict[str, tuple[str, Background]] = {}
        self._last = ""
        self._written: list[tuple[str, str, int, str, str]] = []

    def play(self, script: list[steps.Step]) -> list[Answer]:
        """Go through it; returns what was answered, with names for what was named anywhere in the script."""
        try:
            for step in script:
                self._play(step)
        finally:
            for _, background in self._backgrounds.values():
                background.close()
        return [self._answer(*written) for written in self._written]

    def _play(self, step: steps.Step) -> None:
        match step:
            case steps.Run():
                self._run(step)
            case steps.Capture(name, pattern):
                match = pattern.search(self._last)
                assert match, f"{pattern.pattern!r} does not match {self._last!r}"
                self.words[name] = match[1]
                self.normaliser.name(name, match[1])
            case steps.Begin(name, line):
                assert name not in self._backgrounds, f"{name} is running already"
                self._backgrounds[name] = (line, Background(self._command(line), self._environment()))
            case steps.Await(name, count):
                self._last = self._backgrounds[name][1].wait_for_lines(count)
            case steps.Say(name, line):
                self._backgrounds[name][1].say(self._filled(line))
            case steps.End(name, interrupt):
                line, background = self._backgrounds.pop(name)
                code = background.end(interrupt)
                self._written.append((line, "", code, "".join(background.lines), "".join(background.errors)))

    def _run(self, step: steps.Run) -> None:
        done = subprocess.run(
            self._command(step.line),
            input="".join(self._filled(given) + "\n" for given in step.stdin).encode(),
            capture_output=True,
            env=self._environment(),
            timeout=SECONDS_MAX,
        )
        self._last = (done.stdout + done.stderr).decode(errors="backslashreplace")
        out = decoded(step.line, done.stdout) if "-w protobuf" in step.line and not done.returncode else None
        if out is None:
            out = done.stdout.decode(errors="backslashreplace")
        errors = done.stderr.decode(errors="backslashreplace")
        self._written.append((step.line, step.differs, done.returncode, out, errors))

    def _answer(self, line: str, differs: str, code: int, out: str, errors: str) -> Answer:
        lines = self.normaliser.lines(line, out) + self.normaliser.lines(line, errors)
        return Answer([f"$ {line}", *lines, *([f"exit {code}"] if code else [])], differs)

    def _command(self, line: str) -> list[str]:
        words = shlex.split(self._filled(line))
        if words[0] == "etcdutl":
            return [str(binary("etcdutl")), *words[1:]]
        endpoints = [] if "--endpoints" in line else [f"--endpoints={self.server.endpoint}"]
        return [self.etcdctl, *endpoints, *words]

    def _filled(self, text: str) -> str:
        return re.sub(r"<(\w+)>", lambda match: self.words.get(match[1], match[0]), text)

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "ETCDCTL_API": "3"}

    def _output_of(self, *words: str) -> bytes:
        return subprocess.run(
            [self.etcdctl, *words], capture_output=True, env=self._environment(), timeout=SECONDS_MAX, check=True
        ).stdout
