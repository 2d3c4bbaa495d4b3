"""The storage's view of the codec: which version a resource is stored in, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.api import conversion
from apiserver.api.claim_templates import holds_claim_templates, name_claim_templates
from apiserver.api.scheme import GroupVersion, Resource
from apiserver.api.status import internal_error
from apiserver.codec import Codec

__all__ = ["Convert", "SchemeCodec"]

Convert = Callable[[dict[str, Any], GroupVersion], dict[str, Any]]
"""An object in another version of its kind; the object given is left as it is."""


class SchemeCodec:
    """`ObjectCodec` that writes the scheme's kinds as protobuf and everything else, custom resources, as JSON.

    Args:
        codec: bytes and dicts.
        convert: between versions; by default the scheme's conversions, and for custom resources a change of name.
    """

    def __init__(self, codec: Codec, convert: Convert | None = None) -> None:
        self._codec = codec
        self._convert = convert if convert is not None else self._convert_by_scheme
        # Resource -> whether its objects are stored in another version, and whether the scheme knows its kind.
        self._plans: dict[Resource, tuple[bool, bool]] = {}

    def encode(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """See `ObjectCodec.encode`."""
        plan = self._plans.get(resource)
        if plan is None:
            plan = self._plans[resource] = self._plan(resource)
        converted, built_in = plan
        if converted:
            assert resource.storage_group_version is not None
            obj = self._convert(obj, resource.storage_group_version)
        return self._codec.to_storage(obj) if built_in else self._codec.custom_to_storage(obj)

    def decode(self, data: bytes) -> dict[str, Any]:
        """See `ObjectCodec.decode`."""
        obj = self._codec.from_storage(data)
        if holds_claim_templates(obj):
            name_claim_templates(obj)
        return obj

    def convert(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """See `ObjectCodec.convert`."""
        return self._convert(obj, resource.group_version)

    def message(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """See `ObjectCodec.message`."""
        return self._codec.encode_body((resource.group, resource.version, resource.kind), obj)

    def _plan(self, resource: Resource) -> tuple[bool, bool]:
        stored_in = resource.storage_group_version or resource.group_version
        built_in = self._codec.scheme.has_kind(stored_in.group, stored_in.version, resource.kind)
        return stored_in != resource.group_version, built_in

    def _convert_by_scheme(self, obj: dict[str, Any], target: GroupVersion) -> dict[str, Any]:
        scheme = self._codec.scheme
        if not scheme.has_kind(target.group, target.version, obj["kind"]):
            return {**obj, "apiVersion": target.api_version}
        try:
            return conversion.convert(scheme, obj, target)
        except conversion.ConversionError as error:
            raise internal_error(str(error)) from error
