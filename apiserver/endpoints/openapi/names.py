"""How OpenAPI documents name things: schemas, operations, tags, and the paths of the documents themselves."""

from __future__ import annotations

__all__ = ["camel_group_version", "document_name", "schema_name", "tag"]


def schema_name(type_name: str) -> str:
    """`io.k8s.api.apps.v1.Deployment` for the message `k8s.io.api.apps.v1.Deployment`.

    The name is that of the Go type with the host of its import path turned round; protobuf has underscores where the
    path has dashes.
    """
    package, _, message = type_name.rpartition(".")
    if package.startswith("k8s.io."):
        package = "io.k8s." + package.removeprefix("k8s.io.").replace("_", "-")
    return f"{package}.{message}"


def _words(group: str) -> list[str]:
    return (group.removesuffix(".k8s.io") or "core").split(".")


def camel_group_version(group: str, version: str) -> str:
    """`AppsV1`, `CoreV1`, `RbacAuthorizationV1`: a part of operation ids."""
    return "".join(word[:1].upper() + word[1:] for word in [*_words(group), version] if word)


def tag(group: str, version: str = "") -> str:
    """`apps_v1`, `core_v1`, `rbacAuthorization_v1`: the tag of a version's operations."""
    first, *others = _words(group)
    name = first + "".join(word[:1].upper() + word[1:] for word in others)
    return f"{name}_{version}" if version else name


def document_name(group: str, version: str) -> str:
    """`api/v1`, `apis/apps/v1`: the path of the API and, below `/openapi/v3/`, of its document."""
    return f"apis/{group}/{version}" if group else f"api/{version}"
