"""What the codec's tests share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from apiserver.api.scheme import Scheme, load_scheme
from apiserver.codec import Codec

GOLDEN = Path(__file__).resolve().parents[3] / "golden"


@pytest.fixture(scope="session")
def scheme() -> Scheme:
    return load_scheme()


@pytest.fixture(scope="session")
def codec(scheme: Scheme) -> Codec:
    return Codec(scheme)


@pytest.fixture(scope="session")
def populate() -> ModuleType:
    """tests/golden/populate.py, which the script that writes the golden files uses as well."""
    spec = importlib.util.spec_from_file_location("golden_populate", GOLDEN / "populate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
