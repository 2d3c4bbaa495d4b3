"""Serves the OpenAPI documents: `/openapi/v3`, the documents it lists, and `/openapi/v2`.

The index names each document with a hash of its content; a client that asks with the hash may keep the answer for good,
and one that asks with an old hash is sent to the new one. Documents are made when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any

import orjson

from apiserver.api.scheme import Resource, Scheme
from apiserver.codec.negotiate import JSON, negotiate
from apiserver.endpoints.documents import Document
from apiserver.endpoints.openapi.names import document_name
from apiserver.endpoints.openapi.schemas import Dialect, Schemas
from apiserver.endpoints.openapi.v2 import swagger_document
from apiserver.endpoints.openapi.v2_protobuf import swagger_protobuf
from apiserver.endpoints.openapi.v3 import group_document, root_document, version_document
from apiserver.request import Request, Response

__all__ = ["OpenAPI", "Provider"]

_INDEX = "/openapi/v3"
_SWAGGER = "/openapi/v2"
_SWAGGER_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_SWAGGER_FORMS = (JSON, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", _SWAGGER_PROTOBUF)
"""What may be asked for; the one with the @ is no valid media type, and still what clients send."""
_YEAR_SECONDS = 365 * 24 * 3600

Provider = Callable[[], Mapping[str, dict[str, Any]]]
"""Further documents by name, e.g. `apis/example.com/v1`."""


class OpenAPI:
    """The OpenAPI documents of one server.

    Args:
        enabled: whether a built-in resource is served (`--runtime-config`).
        version: the server's, e.g. `v1.37.0`.
        providers: further documents, asked anew after each `invalidate()`.
    """

    def __init__(
        self,
        scheme: Scheme,
        enabled: Callable[[Resource], bool],
        version: str,
        *,
        providers: Sequence[Provider] = (),
    ) -> None:
        self._scheme = scheme
        self._version = version
        self._providers = list(providers)
        self._schemas = Schemas(scheme, Dialect.V3)
        self._resources: dict[tuple[str, str], list[Resource]] = {}
        for resource in filter(enabled, scheme.resources()):
            self._resources.setdefault((resource.group, resource.version), []).append(resource)
        self._makers = self._built_in()
        self._documents: dict[str, Document] = {}
        self._provided: dict[str, Document] | None = None
        self._index: Document | None = None
        self._swagger: Document | None = None
        self._swagger_protobuf: Document | None = None

    def add_provider(self, provider: Provider) -> None:
        """Ask this one too."""
        self._providers.append(provider)
        self.invalidate()

    def invalidate(self) -> None:
        """Ask the providers anew."""
        self._provided = self._index = None

    def respond(self, request: Request) -> Response | None:
        """The document at the request's path, or None when there is none."""
        path = request.path.rstrip("/")
        if path == _SWAGGER:
            return self._respond_swagger(request)
        if path == _INDEX:
            if self._index is None:
                self._index = Document.of(self._index_value())
            return _tagged(request, self._index)
        name = path.removeprefix(_INDEX + "/")
        document = self.document(name) if name != path else None
        return None if document is None else self._respond_document(request, name, document)

    def names(self) -> list[str]:
        """The names of all documents, e.g. `apis/apps/v1`."""
        return sorted({*self._makers, *self._provided_documents()})

    def document(self, name: str) -> Document | None:
        """The document of that name."""
        document = self._documents.get(name) or self._provided_documents().get(name)
        if document is None and name in self._makers:
            document = self._documents[name] = Document.of(self._makers[name]())
        return document

    def swagger(self) -> Document:
        """The OpenAPI 2.0 document."""
        if self._swagger is None:
            resources = [resource for found in self._resources.values() for resource in found]
            schemas = Schemas(self._scheme, Dialect.V2)
            self._swagger = Document.of(swagger_document(self._scheme, schemas, self._version, resources))
        return self._swagger

    def swagger_protobuf(self) -> Document:
        """The OpenAPI 2.0 document in protobuf."""
        if self._swagger_protobuf is None:
            body = swagger_protobuf(orjson.loads(self.swagger().body))
            self._swagger_protobuf = Document.of_bytes(body)
        return self._swagger_protobuf

    def _built_in(self) -> dict[str, Callable[[], dict[str, Any]]]:
        scheme, schemas, version = self._scheme, self._schemas, self._version
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            path: partial(root_document, schemas, version, path) for path in ("api", "apis", "version")
        }
        for (group, api_version), resources in self._resources.items():
            name = document_name(group, api_version)
            makers[name] = partial(version_document, scheme, schemas, version, group, api_version, resources)
            if group:
                makers[f"apis/{group}"] = partial(group_document, schemas, version, group)
        return makers

    def _provided_documents(self) -> dict[str, Document]:
        if self._provided is None:
            values = {name: value for provider in self._providers for name, value in provider().items()}
            self._provided = {name: Document.of(value) for name, value in values.items()}
        return self._provided

    def _index_value(self) -> dict[str, Any]:
        paths = {}
        for name in self.names():
            document = self.document(name)
            assert document is not None
            paths[name] = {"serverRelativeURL": _url(name, document)}
        return {"paths": paths}

    def _respond_document(self, request: Request, name: str, document: Document) -> Response:
        if not _accepts_json(request):
            return Response(406, b"", JSON, [("Vary", "Accept")])
        wanted = request.parameter("hash")
        if wanted and wanted != document.tag:
            return Response(301, b"", JSON, [("Location", _url(name, document)), ("Vary", "Accept")])
        response = _tagged(request, document)
        if wanted:
            response.headers.append(("Cache-Control", "public, immutable"))
            expires = formatdate(request.received_seconds + _YEAR_SECONDS, usegmt=True)
            response.headers.append(("Expires", expires))
        return response

    def _respond_swagger(self, request: Request) -> Response:
        agreed = negotiate(request.headers.get("accept", ""), served=_SWAGGER_FORMS)
        if agreed is None:
            return Response(406, b"", JSON, [("Vary", "Accept")])
        if agreed.name == JSON:
            return _tagged(request, self.swagger())
        return _tagged(request, self.swagger_protobuf(), _SWAGGER_PROTOBUF)


def _url(name: str, document: Document) -> str:
    return f"{_INDEX}/{name}?hash={document.tag}"


def _accepts_json(request: Request) -> bool:
    return negotiate(request.headers.get("accept", ""), served=(JSON,)) is not None


def _tagged(request: Request, document: Document, content_type: str = JSON) -> Response:
    headers = [("ETag", f'"{document.tag}"'), ("Vary", "Accept")]
    if document.is_cached_by(request):
        return Response(304, b"", content_type, headers)
    return Response(200, document.body, content_type, headers)
