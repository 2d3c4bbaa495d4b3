"""How a change that is refused is shown: a unified diff of both values as indented JSON (apimachinery `util/diff`)."""

from __future__ import annotations

import json
from difflib import unified_diff
from typing import Any

__all__ = ["show_diff"]


def show_diff(old: Any, new: Any) -> str:
    """The lines that differ, with three lines around them."""
    before, after = (json.dumps(value, indent=1, ensure_ascii=False).split("\n") for value in (old, new))
    lines = list(unified_diff(before, after, lineterm=""))[2:]  # without the names of files, which there are none
    return "\n".join(lines) + "\n" if lines else ""
