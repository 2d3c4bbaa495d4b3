"""Patches as pure functions: a document and a parsed patch go in, the patched document comes out.

One module for each patch type (API concepts, "PATCH"). All of them treat their arguments alike: the document becomes
the function's own and may be changed or returned in parts; the patch is never changed and shares nothing with the
result, so that it can be applied again to a fresher document after a lost race. Server-side apply is no patch in this
sense and lives with the managed fields.
"""

from __future__ import annotations

from apiserver.endpoints.patches.json_patch import JSON_PATCH, apply_json_patch, decode_json_patch
from apiserver.endpoints.patches.merge_patch import MERGE_PATCH, apply_merge_patch, decode_merge_patch
from apiserver.endpoints.patches.strategic import STRATEGIC_MERGE_PATCH, apply_strategic_merge_patch

__all__ = [
    "JSON_PATCH",
    "MERGE_PATCH",
    "STRATEGIC_MERGE_PATCH",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_merge_patch",
    "decode_json_patch",
    "decode_merge_patch",
]
