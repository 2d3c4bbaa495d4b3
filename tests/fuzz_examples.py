"""How long tests with random input go on: a moment in every run, for as long as one likes with FUZZ_EXAMPLES."""

from __future__ import annotations

import os

__all__ = ["examples"]


def examples(usual: int) -> int:
    """`max_examples` of a property: `usual`, unless FUZZ_EXAMPLES says otherwise."""
    return int(os.environ.get("FUZZ_EXAMPLES", usual))
