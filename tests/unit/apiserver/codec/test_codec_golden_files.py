"""The golden wire files: each kind as json, yaml and pb; all three read as one object and write as the same bytes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from apiserver.codec import Codec
from apiserver.codec.json import parse_json
from apiserver.codec.yaml import dump_yaml, parse_yaml

HEAD = Path(__file__).resolve().parents[3] / "golden" / "HEAD"
STEMS = sorted(path.stem for path in HEAD.glob("*.pb"))


def test_there_are_golden_files() -> None:
    assert len(STEMS) >= 12


@pytest.mark.parametrize("stem", STEMS)
def test_golden_files(codec: Codec, stem: str) -> None:
    stored = (HEAD / f"{stem}.pb").read_bytes()
    as_json = (HEAD / f"{stem}.json").read_bytes()
    as_yaml = (HEAD / f"{stem}.yaml").read_bytes()
    obj = codec.from_storage(stored)
    assert codec.to_storage(obj) == stored
    from_json, duplicates = parse_json(as_json, strict=True)
    assert duplicates == []
    assert from_json == obj
    assert orjson.dumps(from_json, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) == as_json
    from_yaml, duplicates = parse_yaml(as_yaml, strict=True)
    assert duplicates == []
    assert from_yaml == obj
    assert dump_yaml(obj) == as_yaml
    normalized = codec.normalize(from_yaml, strict=True)
    assert normalized.unknown == []
    assert codec.to_storage(normalized.obj) == stored
