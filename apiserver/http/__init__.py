"""HTTP/1.1 for the API: an ASGI application, and the uvicorn protocol that carries it.

`serve.HTTPServer` owns the sockets; `protocol.APIProtocol` parses what comes in and keeps the client certificate;
`exchange.Exchange` is one request and its answer in ASGI messages; `asgi.ASGIApplication` turns those into
`Request`, `Handler` and `Response`.
"""

from apiserver.http.asgi import ASGIApplication
from apiserver.http.serve import HTTPServer

__all__ = ["ASGIApplication", "HTTPServer"]
