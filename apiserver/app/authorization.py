"""The authorizers of a server, put together from its flags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from apiserver.app.authorization_config import AuthorizerSpec, WebhookSpec, load_configuration, specs_from_flags
from apiserver.app.options import Options
from apiserver.authz import AlwaysAllow, AlwaysDeny, Authorizer, PrivilegedGroups, RuleResolver, UnionAuthorizer
from apiserver.authz.following import Follower
from apiserver.authz.rbac import GROUP, EscalationGuard, RBACAuthorizer, RoleIndex
from apiserver.registry.stores import StoreReader
from kvstore.environment import Environment

__all__ = ["Authorization", "AuthorizationFilesError"]

_RBAC_RESOURCES: Final = tuple(
    (GROUP, plural) for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)


class AuthorizationFilesError(Exception):
    """A file that authorization needs cannot be used; the text says which and why."""


class _Mode(Authorizer, RuleResolver, Protocol):
    """Every mode decides, and lists rules as well as it can."""


class Authorization:
    """What decides, and what keeps it informed.

    Attributes:
        authorizer: the union of all modes, in their order, behind the privileged groups.
        guard: keeps people from giving away rights they do not have.
        types: of the authorizers, in order.

    Raises:
        AuthorizationFilesError: the policy file or a webhook's kubeconfig is not usable.
        AuthorizationConfigError: the AuthorizationConfiguration is not.
    """

    def __init__(self, options: Options, environment: Environment, reader: StoreReader) -> None:
        self._options = options
        self._environment = environment
        self._reader = reader
        self._followers: list[Follower] = []
        self._closing: list[Callable[[], Awaitable[None]]] = []
        specs = _specs(options, environment)
        self.types = [spec.type for spec in specs]
        index = RoleIndex()
        if "RBAC" in self.types or "AlwaysAllow" not in self.types:
            # Else everybody may escalate, and nobody's rights matter.
            self._followers.append(Follower(reader.follow, environment.clock, _RBAC_RESOURCES, index))
        modes = [self._make(spec, index) for spec in specs]
        self.authorizer = UnionAuthorizer([PrivilegedGroups(), *modes], modes)

        async def role(plural: str, namespace: str, name: str) -> dict[str, object] | None:
            return await reader.get_live(GROUP, plural, namespace, name)

        self.guard = EscalationGuard(index, self.authorizer, role)

    async def start(self, run: Callable[[Awaitable[None], str], None]) -> None:
        """Begin to follow what decisions depend on; returns when all that is there is known.

        Args:
            run: runs something beside the requests until the server stops.
        """
        for follower in self._followers:
            run(follower.run(), "authorization-follower")
        for follower in self._followers:
            await follower.ready()

    async def close(self) -> None:
        """End the connections to webhooks."""
        for close in self._closing:
            await close()

    def _make(self, spec: AuthorizerSpec, index: RoleIndex) -> _Mode:
        match spec.type:
            case "AlwaysAllow":
                return AlwaysAllow()
            case "AlwaysDeny":
                return AlwaysDeny()
            case "RBAC":
                return RBACAuthorizer(index)
            case "Node":
                return self._node()
            case "ABAC":
                return self._abac()
            case _:
                assert spec.webhook is not None, f"{spec.type} is a known mode"
                return self._webhook(spec.webhook)

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

    def _webhook(self, spec: WebhookSpec) -> _Mode:
        from apiserver.authz.webhook import WebhookAuthorizer
        from apiserver.webhooks import ConnectionConfigError, WebhookClient, load_connection

        try:
            connection = load_connection(spec.kubeconfig, self._environment.files)
        except ConnectionConfigError as error:
            raise AuthorizationFilesError(f"authorization webhook {spec.settings.name}: {error}") from error
        client = WebhookClient(connection, spec.timeout_seconds)
        self._closing.append(client.close)
        return WebhookAuthorizer(client, self._environment, spec.settings, spec.conditions)


def _specs(options: Options, environment: Environment) -> list[AuthorizerSpec]:
    if options.authorization_config:
        return load_configuration(options.authorization_config, environment.files)
    return specs_from_flags(
        options.authorization_mode,
        options.authorization_webhook_config_file,
        options.authorization_webhook_version,
        options.authorization_webhook_cache_authorized_ttl,
        options.authorization_webhook_cache_unauthorized_ttl,
    )
