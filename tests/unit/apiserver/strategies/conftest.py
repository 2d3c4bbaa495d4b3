from __future__ import annotations

import pytest

from tests.unit.apiserver.strategies.strategy_world import Cluster, Server


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def server(cluster: Cluster) -> Server:
    return Server(cluster)
