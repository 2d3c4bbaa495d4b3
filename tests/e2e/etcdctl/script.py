"""Scripts of etcdctl commands, as text.

    # What is said after a hash is for the reader.
    $ put foo bar                        a command of etcdctl; it runs to its end
    $ get foo -w *                       once for each output format
    $ etcdutl snapshot status <dir>/db   another program
    | some line                          a line of the standard input of the command above
    => L lease ([0-9a-f]+)               what the last command wrote and matches is called <L> from here on
    & w watch foo                        a command that goes on, under the name `w`
    w 4                                  wait until `w` has written four lines in all
    w < put foo bar                      give `w` a line of standard input
    w !                                  interrupt `w` (SIGINT)
    w .                                  wait for the end of `w`
    ~ why                                etcd 3.5.1 answers the command below otherwise, for this reason

`<dir>` is a directory of the script's own, `<endpoint>` the server, `<member>` its id in hexadecimal, `<mirror>` the
endpoint of a second server, which is started if the script has the word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FORMATS = ("simple", "json", "fields", "table", "protobuf")


@dataclass
class Run:
    """A command, what it is given to read, and why its answers differ, if they do."""

    line: str
    stdin: list[str] = field(default_factory=list)
    differs: str = ""


@dataclass(frozen=True)
class Capture:
    """A name for something that the last command wrote."""

    name: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Begin:
    """A command that goes on in the background."""

    name: str
    line: str


@dataclass(frozen=True)
class Await:
    """Wait for that many lines of a command in the background."""

    name: str
    lines: int


@dataclass(frozen=True)
class Say:
    """A line for a command in the background."""

    name: str
    line: str


@dataclass(frozen=True)
class End:
    """A command in the background comes to its end, by itself or by an interrupt."""

    name: str
    interrupt: bool


Step = Run | Capture | Begin | Await | Say | End

_NAMED = re.compile(r"(?P<name>\w+) (?:(?P<lines>\d+)|< ?(?P<say>.*)|(?P<end>[!.]))")


def parse(path: Path) -> list[Step]:
    """The steps of a script. Raises ValueError with file and line for one that says nothing known."""
    steps: list[Step] = []
    differs = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("~ "):
            differs = line.removeprefix("~ ")
            continue
        try:
            more = _steps(line, steps)
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}: {line}") from error
        for step in more:
            if isinstance(step, Run):
                step.differs, differs = differs, ""
        steps += more
    return steps


def _steps(line: str, before: list[Step]) -> list[Step]:
    mark, _, rest = line.partition(" ")
    if mark == "$":
        formats = FORMATS if "-w *" in rest else ("",)
        return [Run(rest.replace("-w *", f"-w {format}")) for format in formats]
    if mark == "|":
        # The input belongs to every form of the command above.
        last = before[-1]
        if not isinstance(last, Run):
            raise ValueError("input without a command")
        if _is_one_of_many(last, before):
            for step in before[-len(FORMATS) :]:
                assert isinstance(step, Run)
                step.stdin.append(rest)
        else:
            last.stdin.append(rest)
        return []
    if mark == "=>":
        name, _, pattern = rest.partition(" ")
        return [Capture(name, re.compile(pattern))]
    if mark == "&":
        name, _, command = rest.partition(" ")
        return [Begin(name, command)]
    match = _NAMED.fullmatch(line)
    if match is None:
        raise ValueError("not a step")
    name = match["name"]
    if match["lines"]:
        return [Await(name, int(match["lines"]))]
    if match["end"]:
        return [End(name, interrupt=match["end"] == "!")]
    return [Say(name, match["say"])]


def _is_one_of_many(last: Run, before: list[Step]) -> bool:
    """Whether the command was written once and stands for one in each format."""
    group = before[-len(FORMATS) :]
    template = last.line.replace(f"-w {FORMATS[-1]}", "-w *")
    forms = [template.replace("-w *", f"-w {format}") for format in FORMATS]
    return "-w *" in template and [step.line if isinstance(step, Run) else "" for step in group] == forms
