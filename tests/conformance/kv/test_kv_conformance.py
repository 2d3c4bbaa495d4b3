"""The suite on every store, and what they answer compared."""

from __future__ import annotations

import pytest

from kvstore.client import Client
from tests.conformance.kv import scenarios_kv, scenarios_lease, scenarios_txn, scenarios_watch
from tests.conformance.kv.suite import SCENARIOS, Recorder, Scenario, newer_etcd

MODULES = (scenarios_kv, scenarios_lease, scenarios_txn, scenarios_watch)
every_scenario = pytest.mark.parametrize("run", SCENARIOS, ids=lambda run: run.__name__.removeprefix("run_"))

# What the reference answered, by scenario: it is asked once and both of ours are held against it.
_answers: dict[str, list[str]] = {}


async def transcript(client: Client, run: Scenario) -> list[str]:
    recorder = Recorder(client, run.__name__.removeprefix("run_"))
    await recorder.begin()
    await run(recorder)
    return recorder.transcript


async def compare_with_reference(answers: list[str], reference: Client | None, run: Scenario) -> None:
    if reference is None or newer_etcd(run):
        return
    if run.__name__ not in _answers:
        _answers[run.__name__] = await transcript(reference, run)
    assert answers == _answers[run.__name__]


@every_scenario
async def test_in_process(run: Scenario, in_process: Client, reference: Client | None) -> None:
    await compare_with_reference(await transcript(in_process, run), reference, run)


@pytest.mark.e2e
@every_scenario
async def test_over_grpc(run: Scenario, over_grpc: Client, reference: Client | None) -> None:
    await compare_with_reference(await transcript(over_grpc, run), reference, run)


def test_the_suite_is_complete() -> None:
    """Every function of the scenario modules is in the suite, under a name of its own."""
    written = [name for module in MODULES for name in vars(module) if name.startswith("run_")]
    assert sorted(written) == sorted(run.__name__ for run in SCENARIOS)
