"""Objects reduced to their metadata: `meta.k8s.io` PartialObjectMetadata and its list, for metadata-only clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.endpoints.tables.cells import Object

__all__ = ["partial_object_metadata", "partial_object_metadata_list"]


def partial_object_metadata(obj: Object, version: str = "v1") -> dict[str, Any]:
    """The object's metadata alone; shares it with the object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }


def partial_object_metadata_list(
    objects: Iterable[Object], metadata: Mapping[str, Any], version: str = "v1"
) -> dict[str, Any]:
    """A list of such objects with the list's own metadata."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata),
        "items": [partial_object_metadata(obj, version) for obj in objects],
    }
