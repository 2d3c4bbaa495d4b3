"""The scenarios on ours and on a real etcd, and what they answer compared."""

from __future__ import annotations

import pytest

from tests.conformance.auth import scenarios
from tests.conformance.auth.suite import SCENARIOS, Scenario, recorded

pytestmark = pytest.mark.e2e


async def transcript(endpoint: str, run: Scenario) -> list[str]:
    async with recorded(endpoint) as recorder:
        await run(recorder)
    return recorder.transcript


@pytest.mark.parametrize("run", SCENARIOS, ids=lambda run: run.__name__.removeprefix("run_"))
async def test_scenario(run: Scenario, mini_etcd: str, etcd: str | None) -> None:
    answers = await transcript(mini_etcd, run)
    assert answers
    if etcd is not None:
        assert answers == await transcript(etcd, run)


def test_the_suite_is_complete() -> None:
    """Every function of the scenarios is in the suite."""
    written = [name for name in vars(scenarios) if name.startswith("run_")]
    assert sorted(written) == sorted(run.__name__ for run in SCENARIOS)
