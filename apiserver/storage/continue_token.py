"""Continue tokens: where a list goes on, and at which revision (k8s.io/apiserver `storage/continue.go`).

A token is unpadded base64url of `{"v":"meta.k8s.io/v1","rv":12,"start":"default/a\\u0000"}`: `start` is the first
key of the next page below the prefix of the list, `rv` the revision of all pages, or -1 for the most recent one.
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from typing import Any, Final

from apiserver.api.status import StatusError, bad_request

__all__ = ["MOST_RECENT", "decode_continue", "encode_continue"]

MOST_RECENT: Final = -1
_VERSION: Final = "meta.k8s.io/v1"
# What Go's JSON encoder escapes beyond the standard.
_GO_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def encode_continue(next_key: str, prefix: str, revision: int) -> str:
    """The token for going on at `next_key`, which has the list's prefix."""
    assert next_key.startswith(prefix), (next_key, prefix)
    start = json.dumps(next_key[len(prefix) :], ensure_ascii=False)
    for char, escape in _GO_ESCAPES.items():
        start = start.replace(char, escape)
    text = f'{{"v":"{_VERSION}","rv":{revision},"start":{start}}}'
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_continue(token: str, prefix: str) -> tuple[str, int]:
    """The first key of the page and its revision, which is negative for the most recent.

    Raises `StatusError` 400. A start that would lead out of the prefix is refused.
    """
    fields = _fields(token)
    if fields.get("v") != _VERSION:
        raise _invalid(
            f"continue key is not valid: server does not recognize this encoded version {fields.get('v', '')}"
        )
    revision, start = fields.get("rv", 0), fields.get("start", "")
    if not isinstance(revision, int) or not isinstance(start, str):
        raise _invalid("continue key is not valid")
    if revision == 0:
        raise _invalid(f"continue key is not valid: incorrect encoded start resourceVersion (version {_VERSION})")
    if not start:
        raise _invalid(f"continue key is not valid: encoded start key empty (version {_VERSION})")
    rooted = start if start.startswith("/") else f"/{start}"
    if rooted.startswith("//") or posixpath.normpath(rooted) != rooted:
        raise _invalid(f"continue key is not valid: {start}")
    return prefix + rooted[1:], revision


def _fields(token: str) -> dict[str, Any]:
    try:
        data = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("continue key is not valid: illegal base64 data") from None
    try:
        fields = json.loads(data)
    except ValueError:
        raise _invalid("continue key is not valid: the token holds no JSON") from None
    if not isinstance(fields, dict):
        raise _invalid("continue key is not valid")
    return fields


def _invalid(reason: str) -> StatusError:
    return bad_request(f"invalid continue token: {reason}")
