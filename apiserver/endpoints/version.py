"""`/version`: what `kubectl version` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from apiserver.request import Handler, Request, Response

__all__ = ["KUBERNETES_MINOR", "version_handler"]

KUBERNETES_MINOR: Final = 37
"""The API that is served is that of Kubernetes 1.37."""


def version_handler(info: Mapping[str, str]) -> Handler:
    """Serves a `version.Info`: major, minor, gitVersion, gitCommit, gitTreeState, buildDate, goVersion, compiler,
    platform."""
    body = orjson.dumps(dict(info), option=orjson.OPT_INDENT_2)

    async def handler(request: Request) -> Response:
        return Response(200, body)

    return handler
