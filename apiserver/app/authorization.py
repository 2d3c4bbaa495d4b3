"""The authorizers of a server, put together from its flags or its AuthorizationConfiguration."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from apiserver.app.authorization_config import (
    AuthorizationConfigError,
    AuthorizerSpec,
    WebhookSpec,
    load_configuration,
    specs_from_flags,
)
from apiserver.app.options import Options
from apiserver.authz import (
    AlwaysAllow,
    AlwaysDeny,
    Attributes,
    Authorizer,
    Decision,
    NonResourceRule,
    PrivilegedGroups,
    ResourceRule,
    RuleResolver,
    UnionAuthorizer,
)
from apiserver.authz.counting import AuthorizationCounts, CountedAuthorizer
from apiserver.authz.following import Follower
from apiserver.authz.rbac import GROUP, EscalationGuard, RBACAuthorizer, RoleIndex
from apiserver.registry.stores import StoreReader
from apiserver.request import UserInfo
from kvstore.environment import Environment

__all__ = ["Authorization", "AuthorizationFilesError"]

_LOG = logging.getLogger("apiserver.authorization")
RELOAD_SECONDS: Final = 5.0
_RBAC_RESOURCES: Final = tuple(
    (GROUP, plural) for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)


class AuthorizationFilesError(Exception):
    """A file that authorization needs cannot be used; the text says which and why."""


class _Mode(Authorizer, RuleResolver, Protocol):
    """Every mode decides, and lists rules as well as it can."""


class _Current:
    """The union that counts now; everybody else holds on to this."""

    def __init__(self) -> None:
        self.union = UnionAuthorizer([])

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        return await self.union.authorize(attributes)

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        return await self.union.rules_for(user, namespace)


class Authorization:
    """What decides, and what keeps it informed.

    Attributes:
        authorizer: the union of all modes, in their order, behind the privileged groups.
        guard: keeps people from giving away rights they do not have.
        counts: what was decided.
        types: of the authorizers at the start, in order.

    Raises:
        AuthorizationFilesError: the policy file or a webhook's kubeconfig is not usable.
        AuthorizationConfigError: the AuthorizationConfiguration is not.
    """

    def __init__(self, options: Options, environment: Environment, reader: StoreReader) -> None:
        self._options = options
        self._environment = environment
        self._reader = reader
        self._followers: list[Follower] = []
        self._started = False
        self._closing: list[Callable[[], Awaitable[None]]] = []
        # Those that are made once, and only at the start: they follow objects, or have a file of their own.
        self._lasting: dict[str, _Mode] = {}
        self._index = RoleIndex()
        self.counts = AuthorizationCounts()
        self.authorizer = _Current()
        self._config = self._read_config()
        specs = self._specs()
        self.authorizer.union, self._closing = self._union(specs)
        self.types = [spec.type for spec in specs]
        # With AlwaysAllow alone everybody may escalate, and nobody's rights matter.
        if "RBAC" in self.types or "AlwaysAllow" not in self.types:
            self._followers.append(Follower(reader.follow, environment.clock, _RBAC_RESOURCES, self._index))
        self._started = True

        async def role(plural: str, namespace: str, name: str) -> dict[str, object] | None:
            return await reader.get_live(GROUP, plural, namespace, name)

        self.guard = EscalationGuard(self._index, self.authorizer, role)

    async def start(self, run: Callable[[Awaitable[None], str], None]) -> None:
        """Begin to follow what decisions depend on; returns when all that is there is known.

        Args:
            run: runs something beside the requests until the server stops.
        """
        for follower in self._followers:
            run(follower.run(), "authorization-follower")
        for follower in self._followers:
            await follower.ready()
        if self._options.authorization_config:
            run(self._keep_reloading(), "authorization-config")

    async def close(self) -> None:
        """End the connections to webhooks."""
        for close in self._closing:
            await close()

    # Making authorizers

    def _specs(self) -> list[AuthorizerSpec]:
        options = self._options
        if options.authorization_config:
            return load_configuration(options.authorization_config, self._environment.files)
        return specs_from_flags(
            options.authorization_mode,
            options.authorization_webhook_config_file,
            options.authorization_webhook_version,
            options.authorization_webhook_cache_authorized_ttl,
            options.authorization_webhook_cache_unauthorized_ttl,
        )

    def _union(self, specs: Sequence[AuthorizerSpec]) -> tuple[UnionAuthorizer, list[Callable[[], Awaitable[None]]]]:
        closing: list[Callable[[], Awaitable[None]]] = []
        modes = [self._mode(spec, closing) for spec in specs]
        counted = [
            CountedAuthorizer(mode, spec.type, spec.name, self.counts) for spec, mode in zip(specs, modes, strict=True)
        ]
        return UnionAuthorizer([PrivilegedGroups(), *counted], modes), closing

    def _mode(self, spec: AuthorizerSpec, closing: list[Callable[[], Awaitable[None]]]) -> _Mode:
        if spec.type == "AlwaysAllow":
            return AlwaysAllow()
        if spec.type == "AlwaysDeny":
            return AlwaysDeny()
        if spec.type == "Webhook":
            assert spec.webhook is not None, "a webhook has settings"
            return self._webhook(spec.webhook, closing)
        if spec.type not in self._lasting:
            if self._started:
                text = f"authorizer type {spec.type} is not allowed if it was not enabled at initial server startup"
                raise AuthorizationConfigError(text)
            made = {"RBAC": lambda: RBACAuthorizer(self._index), "Node": self._node, "ABAC": self._abac}[spec.type]
            self._lasting[spec.type] = made()
        return self._lasting[spec.type]

    def _node(self) -> _Mode:
        from apiserver.app.bootstrap_rbac import node_rules
        from apiserver.authz.node import NODE_RESOURCES, NodeAuthorizer, NodeGraph

        graph = NodeGraph()
        self._followers.append(Follower(self._reader.follow, self._environment.clock, NODE_RESOURCES, graph))
        return NodeAuthorizer(graph, node_rules())

    def _abac(self) -> _Mode:
        from apiserver.authz.abac import ABACAuthorizer, PolicyFileError, parse_policies

        path = self._options.authorization_policy_file
        if not path:
            raise AuthorizationFilesError("the authorizer ABAC needs --authorization-policy-file")
        try:
            with self._environment.files.open(path, "rb") as file:
                return ABACAuthorizer(parse_policies(file.read().decode()))
        except OSError as error:
            raise AuthorizationFilesError(f"--authorization-policy-file {path}: {error.strerror}") from error
        except (PolicyFileError, UnicodeDecodeError) as error:
            raise AuthorizationFilesError(f"error reading policy file {path}, {error}") from error

    def _webhook(self, spec: WebhookSpec, closing: list[Callable[[], Awaitable[None]]]) -> _Mode:
        from apiserver.authz.webhook import WebhookAuthorizer
        from apiserver.webhooks import ConnectionConfigError, WebhookClient, load_connection

        try:
            connection = load_connection(spec.kubeconfig, self._environment.files)
        except ConnectionConfigError as error:
            raise AuthorizationFilesError(f"authorization webhook {spec.settings.name}: {error}") from error
        client = WebhookClient(connection, spec.timeout_seconds)
        closing.append(client.close)
        return WebhookAuthorizer(client, self._environment, spec.settings, spec.conditions, self.counts)

    # Following the file

    def _read_config(self) -> bytes:
        if not self._options.authorization_config:
            return b""
        try:
            with self._environment.files.open(self._options.authorization_config, "rb") as file:
                return file.read()
        except OSError:  # whoever parses it will say so
            return b""

    async def _keep_reloading(self) -> None:
        while True:
            await self._environment.clock.sleep(RELOAD_SECONDS)
            await self.reload()

    async def reload(self) -> None:
        """Look at the file; a new one that is wrong is logged and changes nothing."""
        config = self._read_config()
        if not config or config == self._config:
            return
        self._config = config
        try:
            union, closing = self._union(self._specs())
        except (AuthorizationConfigError, AuthorizationFilesError) as error:
            _LOG.error("the authorization configuration stays as it was: %s", error)
            return
        before, self._closing = self._closing, closing
        self.authorizer.union = union
        _LOG.info("the authorization configuration was reloaded")
        for close in before:
            await close()
