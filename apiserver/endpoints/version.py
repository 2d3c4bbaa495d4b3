"""`/version`: what `kubectl version` shows."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from apiserver.request import Handler, Request, Response

__all__ = ["version_handler"]


def version_handler(info: Mapping[str, str]) -> Handler:
    """Serves a `version.Info`: major, minor, gitVersion, gitCommit, gitTreeState, buildDate, goVersion, compiler,
    platform."""
    body = orjson.dumps(dict(info), option=orjson.OPT_INDENT_2)

    async def handler(request: Request) -> Response:
        return Response(200, body)

    return handler
