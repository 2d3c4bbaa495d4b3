"""Downgrades of the cluster, and the version it has agreed on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kvstore.app import Member
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.downgrade import VersionMonitor

VALIDATE, ENABLE, CANCEL = pb.DowngradeRequest.VALIDATE, pb.DowngradeRequest.ENABLE, pb.DowngradeRequest.CANCEL
StartMember = Callable[..., Awaitable[Member]]


class Context:
    trusted = False

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.peer_certificate = None


async def downgrade(member: Member, action: int, version: str = "") -> str:
    request = pb.DowngradeRequest(version=version)
    request.action = pb.DowngradeRequest.DowngradeAction.ValueType(action)
    response = await member.services().maintenance.downgrade(request, Context())
    assert response.header.member_id == member.identity.member_id
    assert response.header.revision == member.core.store.revision
    return response.version


async def refusal(member: Member, action: int, version: str = "") -> tuple[StatusCode, str]:
    with pytest.raises(EtcdError) as refused:
        await downgrade(member, action, version)
    return refused.value.code, refused.value.message.removeprefix("etcdserver: ")


async def status(member: Member) -> pb.StatusResponse:
    return await member.services().maintenance.status(pb.StatusRequest(), Context())


@pytest.mark.parametrize("version", ["3.5", "3.5.0", "v3.5.7", "3.5.1-rc.1"])
async def test_the_release_before_is_valid(member: Member, version: str) -> None:
    assert await downgrade(member, VALIDATE, version) == "3.6"
    assert not (await status(member)).downgradeInfo.enabled


async def test_other_releases_and_no_releases_are_not(member: Member) -> None:
    for version in ("3.4", "3.6", "3.7.0", "2.5", "3", "4"):
        assert await refusal(member, VALIDATE, version) == (
            StatusCode.INVALID_ARGUMENT,
            "invalid downgrade target version",
        )
    for action in (VALIDATE, ENABLE):
        for version in ("", "3.x", "three", "3.5.0.0", "-3.5"):
            assert await refusal(member, action, version) == (
                StatusCode.INVALID_ARGUMENT,
                "wrong downgrade target version format",
            )
    assert await refusal(member, 7) == (StatusCode.UNKNOWN, "unknown method")


async def test_a_downgrade_from_beginning_to_end(start: StartMember) -> None:
    member = await start()
    assert await downgrade(member, ENABLE, "3.5") == "3.6"
    assert (await status(member)).downgradeInfo == pb.DowngradeInfo(enabled=True, targetVersion="3.5.0")
    in_progress = (StatusCode.FAILED_PRECONDITION, "cluster has a downgrade job in progress")
    assert await refusal(member, ENABLE, "3.5") == in_progress
    assert await refusal(member, VALIDATE, "3.5") == in_progress
    monitor = VersionMonitor(member.core, member.core.environment.clock)
    await monitor.update()
    assert (await status(member)).storageVersion == "3.5.0"
    assert member.core.membership.cluster_version == "3.5.0"
    invalid = (StatusCode.INVALID_ARGUMENT, "invalid downgrade target version")
    assert await refusal(member, ENABLE, "3.5") == invalid  # that is where the cluster is already

    member = await start()  # again, from what it has stored
    assert (await status(member)).downgradeInfo == pb.DowngradeInfo(enabled=True, targetVersion="3.5.0")
    assert member.core.membership.cluster_version == "3.5.0"
    assert await downgrade(member, CANCEL) == "3.5"
    assert (await status(member)).downgradeInfo == pb.DowngradeInfo()
    await VersionMonitor(member.core, member.core.environment.clock).update()
    assert member.core.membership.cluster_version == "3.6.0"


async def test_cancelling_what_is_not_there_is_only_logged(member: Member, caplog: Any) -> None:
    assert await downgrade(member, CANCEL) == "3.6"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "failed to cancel downgrade"
    ]


async def test_before_the_first_decision_there_is_nothing_to_downgrade(member: Member) -> None:
    member.core.membership.cluster_version = ""
    assert await refusal(member, VALIDATE, "3.5") == (
        StatusCode.FAILED_PRECONDITION,
        "cluster version not found during downgrade",
    )


async def test_only_the_leader_decides_the_version(member: Member) -> None:
    consensus: Any = member.core.consensus
    member.core.membership.cluster_version = "3.4.0"
    consensus.is_leader = False
    await VersionMonitor(member.core, member.core.environment.clock).update()
    assert member.core.membership.cluster_version == "3.4.0"
    consensus.is_leader = True
    await VersionMonitor(member.core, member.core.environment.clock).update()
    assert member.core.membership.cluster_version == "3.6.0"
