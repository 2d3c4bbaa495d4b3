"""Every scenario gives the transcript that is written in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.raft.runner import DIRECTORY, replay


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    text = path.read_text()
    assert replay(text) == text


def test_there_are_scenarios() -> None:
    assert len(list(DIRECTORY.glob("*.txt"))) >= 25
