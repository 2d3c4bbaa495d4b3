"""Members that are killed, paused and cut off while clients work: nobody may notice more than a delay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.robustness.links import supported
from tests.robustness.session import run

SECONDS = float(os.environ.get("ROBUSTNESS_SECONDS", "60"))
SEED = int(os.environ.get("ROBUSTNESS_SEED", "1"))

pytestmark = pytest.mark.skipif(not supported(), reason="whose a connection is, only Linux tells")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
async def test_three_members_under_faults(tmp_path: Path) -> None:
    """ROBUSTNESS_SECONDS and ROBUSTNESS_SEED choose another run."""
    report = await run(tmp_path, seed=SEED, seconds=SECONDS)
    print(report.figures())
    assert not report.problems, f"seed {report.seed}, logs in {tmp_path}:\n" + "\n".join(report.problems[:20])
