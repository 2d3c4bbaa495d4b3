"""The last resort: whatever goes wrong, the client gets an answer and the log gets the reason."""

from __future__ import annotations

import logging

from apiserver.api.status import StatusError
from apiserver.endpoints.responses import ErrorWriter
from apiserver.request import Handler, Request, Response

__all__ = ["with_panic_recovery"]

_LOG = logging.getLogger("apiserver.filters")
_TEXT = b"This request caused apiserver to panic. Look in the logs for details.\n"


def with_panic_recovery(handler: Handler, write_error: ErrorWriter) -> Handler:
    """Answer `StatusError`s as a Status, anything else as 500 in plain text (`filters/wrap.go`)."""

    async def filtered(request: Request) -> Response:
        try:
            return await handler(request)
        except StatusError as error:
            return write_error(request, error)
        except Exception:
            _LOG.exception("%s %s panicked (audit-ID %s)", request.method, request.raw_path, request.audit_id)
            return Response(500, _TEXT, "text/plain; charset=utf-8", [("x-content-type-options", "nosniff")])

    return filtered
