"""What a path asks for (k8s.io/apiserver `endpoints/request/requestinfo.go`)."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import replace

from apiserver.api.selectors import SelectorError, parse_field_selector
from apiserver.api.status import internal_error
from apiserver.request import Handler, Request, RequestInfo, Response

__all__ = ["RequestInfoFactory", "is_long_running", "with_request_info"]

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SPECIAL_VERBS = frozenset({"proxy", "watch"})
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_LONG_RUNNING_VERBS = frozenset({"watch", "proxy"})
_LONG_RUNNING_SUBRESOURCES = frozenset({"attach", "exec", "proxy", "log", "portforward"})
_KNOWN_PATHS_MAX = 4096


class RequestInfoFactory:
    """Parses requests; remembers what it found for a method and path.

    Args:
        api_prefixes: first path segments below which resources live.
        groupless_prefixes: those of them without a group segment.
    """

    def __init__(
        self, api_prefixes: Iterable[str] = ("api", "apis"), groupless_prefixes: Iterable[str] = ("api",)
    ) -> None:
        self._prefixes = frozenset(api_prefixes)
        self._groupless = frozenset(groupless_prefixes)
        self._known: dict[tuple[str, str], RequestInfo] = {}

    def info(self, request: Request) -> RequestInfo:
        """The request's info.

        Raises:
            StatusError: 500 for `/api/v1/watch` and the like, as kube-apiserver does.
        """
        key = (request.method, request.path)
        info = self._known.get(key)
        if info is None:
            info = self._parse(request.method, request.path)
            if len(self._known) >= _KNOWN_PATHS_MAX:
                self._known.clear()
            self._known[key] = info
        if request.query and info.verb == "list":
            return _with_query(info, request)
        return info

    def _parse(self, method: str, path: str) -> RequestInfo:
        trimmed = path.strip("/")
        parts = trimmed.split("/") if trimmed else []
        other = RequestInfo(False, path, method.lower())
        if len(parts) < 3 or parts[0] not in self._prefixes:
            return other
        prefix, group, rest = parts[0], "", parts[1:]
        if prefix not in self._groupless:
            if len(rest) < 3:
                return replace(other, api_prefix=prefix)
            group, rest = rest[0], rest[1:]
        version, rest = rest[0], rest[1:]
        verb = _VERBS.get(method, "")
        if rest[0] in _SPECIAL_VERBS:
            if len(rest) < 2:
                raise internal_error(f"unable to determine kind and namespace from url, {path}")
            verb, rest = rest[0], rest[1:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 1:
            namespace = rest[1]
            if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
                rest = rest[2:]
        name = rest[1] if len(rest) > 1 else ""
        subresource = rest[2] if len(rest) > 2 and verb != "proxy" else ""
        if not name:
            verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        return RequestInfo(True, path, verb, prefix, group, version, namespace, rest[0], subresource, name, tuple(rest))


def _with_query(info: RequestInfo, request: Request) -> RequestInfo:
    """A list may be a watch, and one that selects a single name is about that name."""
    watch = request.query.get("watch")
    verb = "watch" if watch and watch[0].lower() not in ("false", "0") else "list"
    name = ""
    selector = request.parameter("fieldSelector")
    if "metadata.name" in selector:
        try:
            name = parse_field_selector(selector).exact("metadata.name") or ""
        except SelectorError:
            name = ""
        if name in (".", "..") or "/" in name or "%" in name:
            name = ""
    if verb == info.verb and not name:
        return info
    return replace(info, verb=verb, name=name)


def is_long_running(info: RequestInfo) -> bool:
    """Requests that may go on for ever: no deadline, no place among those in flight."""
    return info.verb in _LONG_RUNNING_VERBS or info.subresource in _LONG_RUNNING_SUBRESOURCES


def with_request_info(handler: Handler, factory: RequestInfoFactory) -> Handler:
    """Set `request.info`."""

    def filtered(request: Request) -> Awaitable[Response]:  # no coroutine of its own: there is nothing to do afterwards
        request.info = factory.info(request)
        return handler(request)

    return filtered
