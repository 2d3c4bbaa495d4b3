"""Every scenario gives the transcript that is written in its file."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from tests.scenarios.raft.runner import DIRECTORY, replay


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    text = path.read_text()
    assert replay(text) == text


def test_there_are_scenarios() -> None:
    assert len(list(DIRECTORY.glob("*.txt"))) >= 60


def test_the_tables_name_every_scenario_and_no_other() -> None:
    text = (DIRECTORY / "README.md").read_text()
    named = set(re.findall(r"`([a-z_0-9*]+\.txt)`", text))
    files = {path.name for path in DIRECTORY.glob("*.txt")}
    assert {name for name in named if not any(fnmatch.fnmatch(it, name) for it in files)} == set()
    assert {name for name in files if not any(fnmatch.fnmatch(name, it) for it in named)} == set()
