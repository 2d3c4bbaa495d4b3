"""The version the cluster has agreed on, and the way back to the release before (etcd `server/etcdserver/version`).

All members of a cluster of ours run one release, so the version is decided at once and only ever leaves it for a
downgrade: then it is the target's, so that members of that release may join, until the downgrade is cancelled. etcd
also ends a downgrade by itself, when every member runs the target release; here none ever does.
"""

from __future__ import annotations

import logging
import re

from kvstore.environment import Clock
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import membership_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue
from kvstore.server.background import BackgroundWork
from kvstore.server.core import MemberCore
from kvstore.server.version import CLUSTER_VERSION

__all__ = ["VERSION_CHECK_SECONDS", "Downgrades", "VersionMonitor"]

VERSION_CHECK_SECONDS = 5.0

_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.\d+)?(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")

logger = logging.getLogger(__name__)


class Downgrades:
    """Maintenance.Downgrade."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core

    async def validate(self, version: str) -> None:
        """Whether a downgrade to this version could begin.

        Raises:
            EtcdError: it could not.
        """
        await self._check(_parse(version))

    async def enable(self, version: str) -> None:
        """Begin a downgrade.

        Raises:
            EtcdError: it cannot begin.
        """
        target = _parse(version)
        await self._check(target)
        await self._set(membership_pb2.DowngradeInfoSetRequest(enabled=True, ver=f"{target[0]}.{target[1]}.0"))

    async def cancel(self) -> None:
        """End a downgrade. That there is none is only worth a line in the log."""
        core = self._core
        try:
            await core.proposer.linearize()
            if not core.membership.downgrade_target:
                raise catalogue.NO_INFLIGHT_DOWNGRADE.error()
            await self._set(membership_pb2.DowngradeInfoSetRequest(enabled=False))
        except EtcdError as error:
            logger.warning("failed to cancel downgrade", extra={"fields": {"error": error.message}})

    async def _check(self, target: tuple[int, int]) -> None:
        core = self._core
        if not core.membership.cluster_version:
            raise catalogue.CLUSTER_VERSION_UNAVAILABLE.error()
        await core.proposer.linearize()
        major, minor = _parse(core.membership.cluster_version)
        if target != (major, minor - 1):
            raise catalogue.INVALID_DOWNGRADE_VERSION.error()
        if core.membership.downgrade_target:
            raise catalogue.DOWNGRADE_IN_PROGRESS.error()

    async def _set(self, request: membership_pb2.DowngradeInfoSetRequest) -> None:
        await self._core.proposer.propose("downgrade_info_set", request)

    async def answer(self, request: pb.DowngradeRequest) -> pb.DowngradeResponse:
        """Do what the request asks.

        Raises:
            EtcdError: it cannot be done.
        """
        if request.action == pb.DowngradeRequest.VALIDATE:
            await self.validate(request.version)
        elif request.action == pb.DowngradeRequest.ENABLE:
            try:
                await self.enable(request.version)
            except EtcdError as error:
                logger.warning("reject downgrade request", extra={"fields": {"error": error.message}})
                raise
        elif request.action == pb.DowngradeRequest.CANCEL:
            await self.cancel()
        else:
            raise EtcdError(StatusCode.UNKNOWN, "etcdserver: unknown method")
        core = self._core
        response = pb.DowngradeResponse(version=".".join(core.membership.cluster_version.split(".")[:2]))
        core.headers.fill(response.header, core.store.revision)
        return response


class VersionMonitor(BackgroundWork):
    """Keeps the cluster's version where it should be, on the leader."""

    def __init__(self, core: MemberCore, clock: Clock) -> None:
        super().__init__()
        self._core = core
        self._clock = clock

    async def update(self) -> None:
        """Propose the version that should be, if this member leads and there is another.

        Raises:
            EtcdError: no leader took it in time.
        """
        membership = self._core.membership
        wanted = membership.downgrade_target or CLUSTER_VERSION
        if not self._core.consensus.is_leader or membership.cluster_version == wanted:
            return
        if membership.cluster_version:
            fields = {"from": _short(membership.cluster_version), "to": _short(wanted)}
            logger.info("updating cluster version using v3 API", extra={"fields": fields})
        else:
            fields = {"cluster-version": _short(wanted)}
            logger.info("setting up initial cluster version using v3 API", extra={"fields": fields})
        request = membership_pb2.ClusterVersionSetRequest(ver=wanted)
        await self._core.proposer.propose("cluster_version_set", request)
        logger.info("cluster version is updated", extra={"fields": {"cluster-version": _short(wanted)}})

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(VERSION_CHECK_SECONDS)
            try:
                await self.update()
            except EtcdError as error:
                logger.warning("failed to update cluster version", extra={"fields": {"error": error.message}})


def _short(version: str) -> str:
    return version.rpartition(".")[0]


def _parse(version: str) -> tuple[int, int]:
    """Major and minor; what is left out is 0.

    Raises:
        EtcdError: it is no version.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise catalogue.WRONG_DOWNGRADE_VERSION_FORMAT.error()
    return int(match[1]), int(match[2] or 0)
