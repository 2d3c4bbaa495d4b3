"""Which conversion applies to which pair of versions, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from apiserver.api.conversion.autoscaling import hpa_v1_to_v2, hpa_v2_to_v1
from apiserver.api.conversion.events import event_from_core, event_to_core
from apiserver.api.conversion.resource import (
    claim_from_v1beta1,
    claim_template_from_v1beta1,
    claim_template_to_v1beta1,
    claim_to_v1beta1,
    slice_from_v1beta1,
    slice_to_v1beta1,
)
from apiserver.api.conversion.shape import fit
from apiserver.api.scheme import GroupVersion, Scheme, UnknownKindError, parse_api_version

__all__ = ["CONVERSIONS", "ConversionError", "Convert", "convert"]

Object = dict[str, Any]
# Takes an object and returns another; the one given is not changed, parts of it may be shared.
Convert = Callable[[Object], Object]

# (kind, from apiVersion, to apiVersion) -> what happens beyond the renaming.
CONVERSIONS: Final[dict[tuple[str, str, str], Convert]] = {
    ("Event", "events.k8s.io/v1", "v1"): event_to_core,
    ("Event", "v1", "events.k8s.io/v1"): event_from_core,
    ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"): hpa_v1_to_v2,
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1"): hpa_v2_to_v1,
    ("ResourceClaim", "resource.k8s.io/v1beta1", "resource.k8s.io/v1"): claim_from_v1beta1,
    ("ResourceClaim", "resource.k8s.io/v1", "resource.k8s.io/v1beta1"): claim_to_v1beta1,
    ("ResourceClaim", "resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2"): claim_from_v1beta1,
    ("ResourceClaim", "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1"): claim_to_v1beta1,
    ("ResourceClaimTemplate", "resource.k8s.io/v1beta1", "resource.k8s.io/v1"): claim_template_from_v1beta1,
    ("ResourceClaimTemplate", "resource.k8s.io/v1", "resource.k8s.io/v1beta1"): claim_template_to_v1beta1,
    ("ResourceClaimTemplate", "resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2"): claim_template_from_v1beta1,
    ("ResourceClaimTemplate", "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1"): claim_template_to_v1beta1,
    ("ResourceSlice", "resource.k8s.io/v1beta1", "resource.k8s.io/v1"): slice_from_v1beta1,
    ("ResourceSlice", "resource.k8s.io/v1", "resource.k8s.io/v1beta1"): slice_to_v1beta1,
    ("ResourceSlice", "resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2"): slice_from_v1beta1,
    ("ResourceSlice", "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1"): slice_to_v1beta1,
}

# Kinds without a function of their own whose fields are not quite the same: what one side lacks is dropped or filled.
_REFITTED: Final = frozenset({"PodCertificateRequest"})


class ConversionError(ValueError):
    """The object cannot be had in the version wanted."""


def convert(scheme: Scheme, obj: Object, target: GroupVersion) -> Object:
    """A canonical object in another version of its kind; canonical again, and the one given is not changed.

    The result is the object itself when it has that version already. Raises ConversionError when the scheme does not
    have the kind in that version.
    """
    api_version, kind = obj["apiVersion"], obj["kind"]
    wanted = target.api_version
    if api_version == wanted:
        return obj
    try:
        type_ = scheme.type_of(target.group, target.version, kind)
    except UnknownKindError as error:
        raise ConversionError(str(error)) from None
    change = CONVERSIONS.get((kind, api_version, wanted))
    head = {"kind": kind, "apiVersion": wanted}
    if change is None and kind not in _REFITTED:
        if parse_api_version(api_version).group != target.group:
            raise ConversionError(f"{kind} in {api_version} has no counterpart in {wanted}")
        return head | obj | head
    changed = obj if change is None else change(obj)
    fitted: Object = fit(scheme, type_, head | changed | head)
    return fitted
