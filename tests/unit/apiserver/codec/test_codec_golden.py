"""The shared golden files, where present: every kind as Kubernetes 1.36 serialises it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from apiserver.api.scheme import load_scheme
from apiserver.codec import Codec

GOLDEN = Path(__file__).resolve().parents[5] / "shared" / "golden"
PAIRS = sorted(path for path in GOLDEN.glob("*.pb")) if GOLDEN.is_dir() else []
# Their fields are those of the release before ours.
REMOVED_SINCE = {"core.v1.Pod": ("status", "nodeAllocatableResourceClaimStatuses", 0, "resources")}

pytestmark = pytest.mark.skipif(not PAIRS, reason="the shared golden files are not here")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(load_scheme())


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    return orjson.loads(path.with_suffix(".json").read_bytes()), path.read_bytes()


def without(obj: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    parent: Any = obj
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return obj


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_golden_pair(codec: Codec, path: Path) -> None:
    from_json, stored = read(path)
    if path.stem == "core.v1.WatchEvent":
        assert codec.decode_body(("", "v1", "WatchEvent"), stored[12 : 12 + stored[11]]).items() >= from_json.items()
        return
    if path.stem in REMOVED_SINCE:
        from_json = without(from_json, REMOVED_SINCE[path.stem])
        assert codec.from_storage(stored) == from_json
        assert codec.from_storage(codec.to_storage(from_json)) == from_json
        return
    from_proto = codec.from_storage(stored)
    assert from_proto == from_json
    assert list(from_proto)[:2] == ["kind", "apiVersion"]
    assert codec.to_storage(from_proto) == stored
    assert codec.to_storage(from_json) == stored


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_golden_json_is_canonical(codec: Codec, path: Path) -> None:
    from_json, _ = read(path)
    if path.stem in REMOVED_SINCE:
        from_json = without(from_json, REMOVED_SINCE[path.stem])
    kind = ("", "v1", "WatchEvent") if path.stem == "core.v1.WatchEvent" else None
    normalized = codec.normalize(copy.deepcopy(from_json), kind, strict=True)
    assert normalized.unknown == []
    assert normalized.obj.items() >= from_json.items()
