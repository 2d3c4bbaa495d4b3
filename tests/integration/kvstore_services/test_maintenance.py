"""Looking after a member with etcdctl; each test runs against a real etcd as well."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.kvstore_services.conftest import SECONDS_MAX, Calls

pytestmark = pytest.mark.e2e


def run(etcdctl: list[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    ran = subprocess.run([*etcdctl, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX)
    return ran.returncode, ran.stdout + ran.stderr


async def test_downgrades_are_validated(calls: Calls) -> None:
    downgrade = "etcdserverpb.Maintenance/Downgrade"
    version = (await calls("etcdserverpb.Maintenance/Status")).version
    major, minor, _ = version.split(".")
    valid = await calls(downgrade, version=f"{major}.{int(minor) - 1}")
    assert valid.version.removesuffix(".0") == f"{major}.{minor}"  # which 3.5 still wrote in full
    for target, reason in (
        ("3.0", "etcdserver: invalid downgrade target version"),
        (f"{major}.{minor}", "etcdserver: invalid downgrade target version"),
        ("next", "etcdserver: wrong downgrade target version format"),
    ):
        assert await calls.refusal(downgrade, version=target) == ("INVALID_ARGUMENT", reason)


async def test_the_lead_goes_to_nobody_who_is_not_there(calls: Calls) -> None:
    move = "etcdserverpb.Maintenance/MoveLeader"
    refused = ("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
    assert await calls.refusal(move, targetID=1) == refused
    status = await calls("etcdserverpb.Maintenance/Status")
    assert (await calls(move, targetID=status.leader)).ByteSize() == 0


def test_defragment_and_alarms(etcdctl: list[str], endpoint: str) -> None:
    assert run(etcdctl, "defrag") == (0, f"Finished defragmenting etcd member[{endpoint}]\n")
    assert run(etcdctl, "alarm", "list") == (0, "")
    assert run(etcdctl, "alarm", "disarm") == (0, "")
