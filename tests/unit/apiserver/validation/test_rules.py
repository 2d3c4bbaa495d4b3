"""Valid and invalid neighbours of each rule, and the errors in kube-apiserver's words; the tables stand in `rules/`.

A row changes a valid manifest and says what a create, or an update of what the manifest made, is refused for.
`${NAME}` in a row is a text of `texts.py`, `${x*300}` so many characters, `${DROP}` takes a member away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver.registry.interface import Object
from tests.unit.apiserver.validation import texts
from tests.unit.apiserver.validation.support import DROP, World, changed

RULES = Path(__file__).parent / "rules"
_PLACEHOLDER = re.compile(r"\$\{(?:([A-Z0-9_]+)|(.)\*(\d+))\}")


def filled(value: Any) -> Any:
    if value == "${DROP}":
        return DROP
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: getattr(texts, match[1]) if match[1] else match[2] * int(match[3]), value)
    if isinstance(value, dict):
        return {filled(key): filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return value


def rows(which: str) -> list[Any]:
    found = []
    for path in sorted(RULES.glob("*.yaml")):
        for table in yaml.load(path.read_text(), yaml.CSafeLoader):
            manifest = table["manifest"]
            for row in table.get(which) or ():
                name = f"{manifest['apiVersion']} {manifest['kind']} {row['change']}"[:100]
                found.append(pytest.param(manifest, filled(row["change"]), filled(row["errors"]), id=name))
    return found


@pytest.mark.parametrize(("manifest", "change", "errors"), rows("creates"))
def test_a_create_is_refused_for_what_is_wrong(
    world: World, manifest: Object, change: dict[str, Any], errors: list[str]
) -> None:
    assert world.problems(changed(manifest, change)) == errors


@pytest.mark.parametrize("subresource", ["status", "finalize", "ephemeralcontainers", "resize"])
def test_an_update_of_a_subresource_is_refused_likewise(world: World, subresource: str) -> None:
    cases = [row.values for row in rows(f"{subresource} updates")]
    assert cases
    for manifest, change, errors in cases:
        assert world.update_problems(changed(manifest, change), manifest, subresource) == errors, change


@pytest.mark.parametrize(("manifest", "change", "errors"), rows("updates"))
def test_an_update_is_refused_for_what_it_may_not_change(
    world: World, manifest: Object, change: dict[str, Any], errors: list[str]
) -> None:
    assert world.update_problems(changed(manifest, change), manifest) == errors
