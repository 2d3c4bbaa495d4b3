"""The storage's view of the codec: which version a resource is stored in, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.api.scheme import GroupVersion, Resource, parse_api_version
from apiserver.codec import Codec

__all__ = ["Convert", "SchemeCodec"]

Convert = Callable[[dict[str, Any], GroupVersion], dict[str, Any]]
"""An object in another version of its kind; the object given is left as it is."""


class SchemeCodec:
    """`ObjectCodec` that writes the scheme's kinds as protobuf and everything else, custom resources, as JSON.

    Args:
        codec: bytes and dicts.
        convert: between versions.
    """

    def __init__(self, codec: Codec, convert: Convert) -> None:
        self._codec = codec
        self._convert = convert

    def encode(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """See `ObjectCodec.encode`."""
        stored_in = resource.storage_group_version
        if stored_in is not None and stored_in != resource.group_version:
            obj = self._convert(obj, stored_in)
        version = parse_api_version(obj["apiVersion"])
        if self._codec.scheme.has_kind(version.group, version.version, obj["kind"]):
            return self._codec.to_storage(obj)
        return self._codec.custom_to_storage(obj)

    def decode(self, data: bytes) -> dict[str, Any]:
        """See `ObjectCodec.decode`."""
        return self._codec.from_storage(data)

    def convert(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """See `ObjectCodec.convert`."""
        return self._convert(obj, resource.group_version)

    def message(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """See `ObjectCodec.message`."""
        return self._codec.encode_body((resource.group, resource.version, resource.kind), obj)
