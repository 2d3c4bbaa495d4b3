"""Acting as somebody else: the `Impersonate-*` headers, if the user may (k8s.io/apiserver
`endpoints/filters/impersonation`, KEP-5284).

There are two ways to be allowed. The older one is the verb `impersonate` on users, groups, uids and extra values. The
constrained ones ask twice: may this user do this very request as somebody else of that kind
(`impersonate-on:<mode>:<verb>`), and may they be that one (`impersonate:<mode>`); they never lead to system:masters.
The constrained ones are tried first, and when none allows, the first refusal is what the client gets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from apiserver.api.field_errors import FieldError
from apiserver.api.status import StatusError, bad_request
from apiserver.api.validation.names import dns_subdomain_problems
from apiserver.authn import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED
from apiserver.authn.service_accounts import group_names, split_username
from apiserver.authz import Attributes, Authorizer, Decision, EvaluationError, forbidden_error
from apiserver.request import ANONYMOUS, Handler, Request, Response, UserInfo

__all__ = ["with_impersonation"]

_LOG = logging.getLogger("apiserver.impersonation")
_PREFIX = "impersonate-"
_EXTRA_PREFIX = "impersonate-extra-"
_NODE_PREFIX = "system:node:"
_NODES_GROUP = "system:nodes"
_PRIVILEGED_GROUP = "system:masters"
_NODE_NAME_KEY = "authentication.kubernetes.io/node-name"
_ASSOCIATED_KEYS = "authentication.kubernetes.io/associated-node-keys"
_MANY_CHECKS = 4
"""From so many groups or extra values on, it is first asked whether all are allowed."""


def with_impersonation(handler: Handler, authorizer: Authorizer) -> Handler:
    """Replace `request.user` by whom the headers name; answer 403 when that is not allowed."""
    modes = _Modes(authorizer)

    async def impersonated(request: Request) -> Response:
        wanted = _wanted_user(request)
        if wanted is None:
            return await handler(request)
        requestor = request.user
        request.user = await modes.user(wanted, Attributes.of(request))
        request.impersonator = requestor
        _LOG.info("%s is impersonating %s", _shown(requestor), _shown(request.user))
        return await handler(request)

    def filtered(request: Request) -> Awaitable[Response]:  # a coroutine only for those who ask for it
        # One search in all names costs less than half of a look at each.
        return impersonated(request) if _PREFIX in " ".join(request.headers) else handler(request)

    return filtered


def _shown(user: UserInfo) -> str:
    return f"{user.name}[{','.join(user.groups)}]" if user.groups else user.name


def _wanted_user(request: Request) -> UserInfo | None:
    """Whom the headers name; raises 400 when they say much but not the name."""
    name = (request.header_values("impersonate-user") or [""])[0]
    uid = (request.header_values("impersonate-uid") or [""])[0]
    groups = tuple(request.header_values("impersonate-group"))
    extra: dict[str, list[str]] = {}
    for header in request.headers:
        if header.startswith(_EXTRA_PREFIX):
            key = unquote(header.removeprefix(_EXTRA_PREFIX), errors="surrogateescape")
            extra.setdefault(key, []).extend(request.header_values(header))
    wanted = UserInfo(name, uid, groups, tuple((key, tuple(values)) for key, values in extra.items()))
    if not name and (uid or groups or extra):
        raise bad_request(f"requested {_go_text(wanted)} without impersonating a user name")
    return wanted if name else None


def _go_text(user: UserInfo) -> str:
    """As Go prints the value with %#v."""
    groups = f"[]string{{{', '.join(map(json.dumps, user.groups))}}}" if user.groups else "[]string(nil)"
    extra = "map[string][]string(nil)"
    if user.extra:
        entries = [
            f"{json.dumps(key)}:[]string{{{', '.join(map(json.dumps, values))}}}" for key, values in sorted(user.extra)
        ]
        extra = f"map[string][]string{{{', '.join(entries)}}}"
    return f'&user.DefaultInfo{{Name:"", UID:{json.dumps(user.uid)}, Groups:{groups}, Extra:{extra}}}'


@dataclass(frozen=True, slots=True)
class _Mode:
    """One constrained mode.

    Attributes:
        fits: whether it can lead to the wanted user for this requestor.
    """

    name: str
    fits: Callable[[UserInfo, UserInfo], bool]


def _only_name(user: UserInfo) -> bool:
    return not user.uid and not user.groups and not user.extra


def _node_name(username: str) -> str:
    """The node with this user name; empty for other users."""
    name = username.removeprefix(_NODE_PREFIX)
    return name if name != username and not dns_subdomain_problems(name) else ""


def _is_own_node(wanted: UserInfo, requestor: UserInfo) -> bool:
    """Whether a service account's token says that its pod runs on that node."""
    node = _node_name(wanted.name)
    if not node or split_username(requestor.name) is None:
        return False
    return dict(requestor.extra).get(_NODE_NAME_KEY) == (node,)


_MODES: Sequence[_Mode] = (
    _Mode("associated-node", lambda wanted, requestor: _only_name(wanted) and _is_own_node(wanted, requestor)),
    _Mode("arbitrary-node", lambda wanted, _: _only_name(wanted) and bool(_node_name(wanted.name))),
    _Mode("serviceaccount", lambda wanted, _: _only_name(wanted) and split_username(wanted.name) is not None),
    _Mode("user-info", lambda wanted, _: not _node_name(wanted.name) and split_username(wanted.name) is None),
)


class _Modes:
    """Tries one way after the other."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def user(self, wanted: UserInfo, attributes: Attributes) -> UserInfo:
        """The user to act as; raises 403."""
        refusal: StatusError | None = None
        for mode in _MODES:
            if not mode.fits(wanted, attributes.user):
                continue
            asked = attributes
            if mode.name == "associated-node":
                asked = replace(attributes, user=_without_node(attributes.user))
            try:
                await self._check(replace(asked, verb=f"impersonate-on:{mode.name}:{attributes.verb}"))
                return await self._allowed(wanted, asked.user, mode.name)
            except StatusError as error:
                refusal = refusal or error
        try:
            return await self._allowed(wanted, attributes.user, "")
        except StatusError as error:
            raise refusal or error from None

    async def _check(self, attributes: Attributes) -> None:
        allowed, reason = await self._decide(attributes)
        if not allowed:
            raise forbidden_error(attributes, reason)

    async def _decide(self, attributes: Attributes) -> tuple[bool, str]:
        """Whether it is allowed, and why not."""
        try:
            decision, reason = await self._authorizer.authorize(attributes)
        except EvaluationError as error:
            return False, str(error)
        return decision is Decision.ALLOW, reason

    async def _allowed(self, wanted: UserInfo, requestor: UserInfo, mode: str) -> UserInfo:
        """Whether the requestor may be each part of the wanted user; `mode` is empty for the older verb."""
        verb = f"impersonate:{mode}" if mode else "impersonate"
        own = Attributes(requestor, verb, api_group="authentication.k8s.io", api_version="v1")
        named = own if mode else replace(own, api_group="")
        groups = await self._check_name(wanted, named, mode)
        if wanted.uid:
            await self._check(replace(own, resource="uids", name=wanted.uid))
        if wanted.groups:
            await self._check_groups(wanted.groups, replace(named, resource="groups"), bool(mode))
        if wanted.extra:
            await self._check_extra(wanted, replace(own, resource="userextras"), bool(mode))
        return replace(wanted, groups=_with_everybody(wanted.name, groups))

    async def _check_name(self, wanted: UserInfo, attributes: Attributes, mode: str) -> tuple[str, ...]:
        """The groups that go with the name."""
        groups = wanted.groups
        asked = replace(attributes, resource="users", name=wanted.name)
        account = split_username(wanted.name)
        node = _node_name(wanted.name) if mode else ""
        if node:
            asked = replace(asked, resource="nodes", name="*" if mode == "associated-node" else node)
            groups = (_NODES_GROUP,)
        elif account is not None:
            asked = replace(asked, resource="serviceaccounts", namespace=account[0], name=account[1])
            groups = groups or group_names(account[0])
        await self._check(asked)
        return groups

    async def _check_groups(self, groups: Sequence[str], attributes: Attributes, constrained: bool) -> None:
        if constrained:
            if "" in groups:
                raise forbidden_error(attributes, "impersonating the empty string group is not allowed")
            if _PRIVILEGED_GROUP in groups:
                asked = replace(attributes, name=_PRIVILEGED_GROUP)
                raise forbidden_error(asked, "impersonating the system:masters group is not allowed")
            if len(groups) >= _MANY_CHECKS and (await self._decide(replace(attributes, name="*")))[0]:
                return
        for group in groups:
            await self._check(replace(attributes, name=group))

    async def _check_extra(self, wanted: UserInfo, attributes: Attributes, constrained: bool) -> None:
        if constrained:
            problem = _extra_problem(wanted)
            if problem:
                raise forbidden_error(attributes, problem)
            many = len(wanted.extra) >= _MANY_CHECKS or sum(len(values) for _, values in wanted.extra) >= _MANY_CHECKS
            if many and (await self._decide(replace(attributes, subresource="*", name="*")))[0]:
                return
        for key, values in wanted.extra:
            for value in values:
                await self._check(replace(attributes, subresource=key, name=value))


def _without_node(user: UserInfo) -> UserInfo:
    """The requestor, the same whichever node it runs on."""
    return replace(user, extra=((_ASSOCIATED_KEYS, tuple(sorted(key for key, _ in user.extra))),))


def _with_everybody(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups, with the one that everybody known (or nobody known) is in."""
    if name == ANONYMOUS.name:
        return groups if ALL_UNAUTHENTICATED in groups else (*groups, ALL_UNAUTHENTICATED)
    if ALL_UNAUTHENTICATED in groups or ALL_AUTHENTICATED in groups:
        return groups
    return (*groups, ALL_AUTHENTICATED)


def _extra_problem(wanted: UserInfo) -> str:
    """What is wrong with the extra values; empty when nothing is."""
    from apiserver.api.validation.networking import check_domain_prefixed_path  # a start need not wait for it

    for key, values in wanted.extra:
        if not key:
            return "impersonating the empty string key in extra is not allowed"
        errors: list[FieldError] = []
        check_domain_prefixed_path(errors, "extra.key", key)
        if errors:
            return f"impersonating an invalid key in extra is not allowed: {errors[0]}"
        if key != key.lower():
            return f"impersonating a non-lowercase key in extra is not allowed: {json.dumps(key)}"
        if "" in values:
            return "impersonating the empty string value in extra is not allowed"
    return ""
