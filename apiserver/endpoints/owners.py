"""Owner references that stand twice in an object."""

from __future__ import annotations

from typing import Any

from apiserver.request import Request

__all__ = ["deduplicate_owner_references"]


def deduplicate_owner_references(request: Request, metadata: dict[str, Any], *, after_admission: bool) -> None:
    """Keep the first of equal references, and warn (handlers/rest.go: dedupOwnerReferencesAndAddWarning)."""
    references = metadata.get("ownerReferences")
    if not references or len(references) < 2:
        return
    kept: list[dict[str, Any]] = []
    duplicates: list[str] = []
    for reference in references:
        if reference in kept:
            duplicates.append(reference.get("uid", ""))
        else:
            kept.append(reference)
    if not duplicates:
        return
    metadata["ownerReferences"] = kept
    place = " after mutating admission happens" if after_admission else ""
    request.warnings.append(
        f".metadata.ownerReferences contains duplicate entries{place}; API server dedups owner references in 1.20+, "
        "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        f"{', '.join(duplicates)}"
    )
