"""One world for all tests: making strategies costs more than using them."""

from __future__ import annotations

import pytest

from tests.unit.apiserver.validation.support import World


@pytest.fixture(scope="session")
def world() -> World:
    return World()
