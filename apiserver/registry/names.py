"""Storage keys and generated names (k8s.io/apiserver `registry/generic/registry`, `storage/names/generate.go`)."""

from __future__ import annotations

import json

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, bad_request
from kvstore.environment import Randomness

__all__ = ["GENERATED_NAME_ATTEMPTS", "generate_name", "generate_name_conflict", "path_segment_errors", "storage_key"]

GENERATED_NAME_ATTEMPTS = 8
"""How often a create with generateName is tried before the name conflict is the client's."""

_NAME_LENGTH_MAX = 63
_RANDOM_LENGTH = 5
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and no look-alikes (apimachinery `util/rand`)


def generate_name(base: str, randomness: Randomness) -> str:
    """The base, cut if need be, and five random characters."""
    suffix = "".join(_ALPHABET[randomness.below(len(_ALPHABET))] for _ in range(_RANDOM_LENGTH))
    return base[: _NAME_LENGTH_MAX - _RANDOM_LENGTH] + suffix


def generate_name_conflict(resource: Resource, name: str) -> StatusError:
    """409 when all the generated names were taken (errors.NewGenerateNameConflict)."""
    qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    message = f'{qualified} "{name}" already exists, the server was not able to generate a unique name for the object'
    return StatusError(
        409, "AlreadyExists", message, group=resource.group, kind=resource.plural, name=name, retry_after_seconds=1
    )


def path_segment_errors(name: str) -> list[str]:
    """Why a name cannot be a segment of a path (apimachinery `api/validate/content`)."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in name]


def storage_key(resource: Resource, namespace: str, name: str) -> str:
    """The key of an object.

    Raises:
        StatusError: 400 when the namespace or the name is missing or cannot be part of a key.
    """
    if resource.namespaced and not namespace:
        raise bad_request("Namespace parameter required.")
    if not name:
        raise bad_request("Name parameter required.")
    if "/" in name or "%" in name or name in (".", ".."):
        quoted = json.dumps(name, ensure_ascii=False)
        raise bad_request(f"Name parameter invalid: {quoted}: {';'.join(path_segment_errors(name))}")
    if resource.namespaced:
        return f"{resource.storage_prefix}{namespace}/{name}"
    return f"{resource.storage_prefix}{name}"
