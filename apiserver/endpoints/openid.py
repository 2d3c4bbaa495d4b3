"""What others need to check tokens of service accounts themselves (OpenID Connect Discovery 1.0; kubernetes
`pkg/serviceaccount/openidmetadata.go`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from apiserver.endpoints.documents import document_handler
from apiserver.request import Handler, Request, Response

__all__ = ["CONFIGURATION_PATH", "KEYS_PATH", "openid_handlers"]

CONFIGURATION_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
_CACHE = [("Cache-Control", "public, max-age=3600")]


def openid_handlers(
    issuer: str, keys_url: Callable[[], str], key_set: Callable[[], Mapping[str, Any]]
) -> dict[str, Handler]:
    """The handlers of the two documents by path; none when the issuer is no https URL that one could fetch from.

    Args:
        issuer: the claim `iss` of new tokens.
        keys_url: where the key set can be fetched; asked once it is needed.
        key_set: the JSON Web Key Set.
    """
    parts = urlsplit(issuer)
    if parts.scheme != "https" or parts.query or parts.fragment:
        return {}

    def configuration(request: Request) -> Response:
        document = {
            "issuer": issuer,
            "jwks_uri": keys_url(),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": _algorithms(key_set()["keys"]),
        }
        return Response(200, orjson.dumps(document), "application/json", _CACHE)

    def keys(request: Request) -> Response:
        return Response(200, orjson.dumps(key_set()), "application/jwk-set+json", _CACHE)

    return {CONFIGURATION_PATH: document_handler(configuration), KEYS_PATH: document_handler(keys)}


def _algorithms(keys: Sequence[Mapping[str, str]]) -> list[str]:
    return sorted({key["alg"] for key in keys})
