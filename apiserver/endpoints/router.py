"""From a request to what answers it: dictionary lookups on what `request_info` has found in the path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import orjson

from apiserver.api.status import GenericServerError, StatusError
from apiserver.request import Handler, Request, Response

__all__ = [
    "NO_SUCH_RESOURCE",
    "Router",
    "method_not_allowed",
    "no_such_resource",
    "page_not_found",
]

NO_SUCH_RESOURCE = "the server could not find the requested resource"
ResourceFinder = Callable[[str, str, str], Handler | None]


def no_such_resource() -> StatusError:
    """404 for a resource that a served version does not have."""
    return GenericServerError(404, "NotFound", NO_SUCH_RESOURCE)


def method_not_allowed() -> StatusError:
    """405 for a method that a resource does not have."""
    return GenericServerError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def page_not_found() -> Response:
    """404 for everything else."""
    headers = [("x-content-type-options", "nosniff")]
    return Response(404, b"404 page not found\n", "text/plain; charset=utf-8", headers)


class Router:
    """The innermost handler.

    Args:
        find_resource: the handler of a resource by group, version and plural name, or None.
        serves_version: whether a version of a group is served at all.
    """

    def __init__(self, find_resource: ResourceFinder, serves_version: Callable[[str, str], bool]) -> None:
        self._find_resource = find_resource
        self._serves_version = serves_version
        self._resources: dict[tuple[str, str, str], Handler] = {}
        self._paths: dict[str, Handler] = {}
        self._prefixes: list[tuple[str, Handler]] = []
        self._listed: set[str] = set()

    def add_path(self, path: str, handler: Handler, *, listed: bool = True) -> None:
        """Serve exactly this path; `listed` paths appear in the index at `/`."""
        self._paths[path] = handler
        if listed:
            self._listed.add(path)

    def add_paths(self, handlers: dict[str, Handler]) -> None:
        """Serve several."""
        for path, handler in handlers.items():
            self.add_path(path, handler)

    def add_prefix(self, prefix: str, handler: Handler) -> None:
        """Serve everything below a prefix (which ends with a slash); the longest one wins."""
        self._prefixes.append((prefix, handler))
        self._prefixes.sort(key=lambda entry: -len(entry[0]))

    def list_paths(self, paths: Iterable[str]) -> None:
        """Name further paths in the index, such as `/apis/apps/v1`, that a prefix serves."""
        self._listed.update(paths)

    def forget_resources(self) -> None:
        """Look resources up again: some came or went (custom resource definitions)."""
        self._resources.clear()

    def __call__(self, request: Request) -> Awaitable[Response]:
        """The answer."""
        info = request.info
        if info.is_resource_request:
            key = (info.api_group, info.api_version, info.resource)
            handler = self._resources.get(key)
            if handler is not None:
                return handler(request)
            return self._resource(key, request)
        return self._path(request)

    async def _resource(self, key: tuple[str, str, str], request: Request) -> Response:
        """A resource that is met for the first time, or that there is not."""
        handler = self._find_resource(*key)
        if handler is None:
            return self._unknown_resource(key[0], key[1])
        self._resources[key] = handler
        return await handler(request)

    async def _path(self, request: Request) -> Response:
        path = request.path
        handler = self._paths.get(path) or self._prefix_handler(path) or self._paths.get(path.rstrip("/"))
        if handler is not None:
            return await handler(request)
        return self._index() if path == "/" else page_not_found()

    def _prefix_handler(self, path: str) -> Handler | None:
        for prefix, handler in self._prefixes:
            if path.startswith(prefix):
                return handler
        return None

    def _unknown_resource(self, group: str, version: str) -> Response:
        if self._serves_version(group, version):
            raise no_such_resource()
        return page_not_found()

    def _index(self) -> Response:
        return Response(200, orjson.dumps({"paths": sorted(self._listed)}, option=orjson.OPT_INDENT_2))
