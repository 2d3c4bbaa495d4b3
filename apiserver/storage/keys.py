"""Where objects live in the store.

    /registry/<resource>/<name>                 cluster-scoped
    /registry/<resource>/<namespace>/<name>     namespaced

The part up to `<resource>/` is `Resource.storage_prefix`; a few are historical (`/registry/minions/`,
`/registry/services/specs/`), and custom resources have their group in it. Keys sort as their UTF-8 bytes, which is also
how Python sorts them as text.
"""

from __future__ import annotations

from apiserver.api.scheme import Resource

__all__ = ["REGISTRY_PREFIX", "collection_prefix", "namespace_of", "object_key", "object_name", "prefix_end"]

REGISTRY_PREFIX = "/registry/"


def collection_prefix(resource: Resource, namespace: str = "") -> str:
    """The prefix of a resource's keys, or of those in one namespace; ends with a slash."""
    assert resource.storage_prefix.endswith("/"), resource.plural
    if namespace and resource.namespaced:
        return f"{resource.storage_prefix}{namespace}/"
    return resource.storage_prefix


def object_key(resource: Resource, namespace: str, name: str) -> str:
    """The key of one object. The names were validated as path segments before."""
    assert name, resource.plural
    assert "/" not in name, name
    return f"{collection_prefix(resource, namespace)}{name}"


def object_name(key: str) -> str:
    """The name in a key."""
    return key[key.rfind("/") + 1 :]


def namespace_of(key: str, prefix: str) -> str:
    """The namespace in the key of a namespaced object below `prefix`."""
    return key[len(prefix) : key.find("/", len(prefix))]


def prefix_end(prefix: bytes) -> bytes:
    """The first key behind all keys with a prefix (etcd's `range_end`)."""
    assert prefix.endswith(b"/")
    return prefix[:-1] + b"0"
