"""The claim templates of a StatefulSet: the only objects of a kind of their own within another object.

They say their apiVersion and kind to every client (kubernetes `pkg/apis/apps/v1/conversion.go`), and protobuf, in which
objects are stored, has no place for either.
"""

from __future__ import annotations

from typing import Any

__all__ = ["holds_claim_templates", "name_claim_templates"]


def holds_claim_templates(obj: dict[str, Any]) -> bool:
    """Whether the object is a StatefulSet of Kubernetes' own."""
    return obj.get("kind") == "StatefulSet" and obj.get("apiVersion") == "apps/v1"


def name_claim_templates(stateful_set: dict[str, Any]) -> None:
    """Let the templates say what they are, in place."""
    for claim in (stateful_set.get("spec") or {}).get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
