"""YAML documents, with the library behind them loaded when the first one comes: most clients speak JSON."""

from __future__ import annotations

from typing import Any

__all__ = ["dump_yaml", "parse_yaml"]


def parse_yaml(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """See `yaml_documents.parse_yaml`."""
    from apiserver.codec import yaml_documents

    return yaml_documents.parse_yaml(body, strict=strict)


def dump_yaml(value: Any) -> bytes:
    """See `yaml_documents.dump_yaml`."""
    from apiserver.codec import yaml_documents

    return yaml_documents.dump_yaml(value)
