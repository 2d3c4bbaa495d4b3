"""Clusters of processes that are gone after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kvstore_cluster import in_process
from tests.integration.kvstore_cluster.processes import Cluster, MakeCluster


@pytest.fixture
async def make_cluster(tmp_path: Path) -> AsyncIterator[MakeCluster]:
    """Makes clusters without members."""
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        made.append(Cluster(tmp_path / f"cluster-{len(made)}", **options))
        made[-1].directory.mkdir()
        return made[-1]

    yield make
    for cluster in made:
        await cluster.close()


@pytest.fixture
async def cluster(make_cluster: MakeCluster) -> Cluster:
    """One cluster without members."""
    return make_cluster()


@pytest.fixture
async def make_members(tmp_path: Path) -> AsyncIterator[Callable[..., in_process.Cluster]]:
    """Makes clusters in this process, without members yet."""
    made: list[in_process.Cluster] = []

    def make(**options: Any) -> in_process.Cluster:
        made.append(in_process.Cluster(tmp_path / f"members-{len(made)}", **options))
        made[-1].directory.mkdir()
        return made[-1]

    yield make
    for cluster in made:
        await cluster.close()
