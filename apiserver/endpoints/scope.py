"""What the handlers of one resource have to work with (k8s.io/apiserver `handlers/rest.go: RequestScope`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apiserver.admission import AdmissionChain, Attributes, Operation
from apiserver.api.scheme import Resource
from apiserver.authz import Attributes as AuthorizationAttributes
from apiserver.authz import Authorizer, Decision, RuleResolver, forbidden_error
from apiserver.codec import Codec, Kind
from apiserver.endpoints.health import HealthCheck
from apiserver.endpoints.metrics import Metrics
from apiserver.endpoints.responses import Responder
from apiserver.endpoints.token_reviews import TokenReviewer
from apiserver.registry.interface import Object, OperationContext, Reader
from apiserver.registry.store import Store, Validation
from apiserver.registry.stores import Stores
from apiserver.request import Request
from kvstore.environment import Environment

if TYPE_CHECKING:
    from apiserver.endpoints.token_requests import TokenRequests

__all__ = ["MAX_BODY_BYTES", "Scope", "Server"]

MAX_BODY_BYTES = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """What the handlers of all resources share.

    Attributes:
        stores: of all resources that are served.
        reader: other objects, for strategies and subresources.
        rules: lists what somebody may do, for SelfSubjectRulesReview; None when no authorizer can.
        token_requests: how tokens of service accounts are made; None when they are not.
        token_reviewer: answers TokenReviews; None when nothing here knows tokens.
        component_checks: what `componentstatuses` shows, e.g. `etcd-0`.
        min_request_timeout_seconds: `--min-request-timeout`: watches without a timeout of their own end after one to
            two times this.
    """

    codec: Codec
    responder: Responder
    admission: AdmissionChain
    authorizer: Authorizer
    environment: Environment
    stores: Stores
    reader: Reader
    metrics: Metrics
    rules: RuleResolver | None = None
    component_checks: tuple[HealthCheck, ...] = ()
    token_requests: TokenRequests | None = None
    token_reviewer: TokenReviewer | None = None
    min_request_timeout_seconds: float = 1800.0


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource (or subresource) in one version."""

    server: Server
    resource: Resource
    store: Store
    subresource: str = ""

    @property
    def kind(self) -> Kind:
        """(group, version, kind) of the resource."""
        return self.resource.group, self.resource.version, self.resource.kind

    def context(self, request: Request, namespace: str, dry_run: bool) -> OperationContext:
        """For the strategy."""
        environment = self.server.environment
        return OperationContext(
            resource=self.resource,
            namespace=namespace,
            user=request.user,
            clock=environment.clock,
            randomness=environment.randomness,
            reader=self.server.reader,
            warn=request.warnings.append,
            dry_run=dry_run,
            subresource=self.subresource,
        )

    def attributes(
        self,
        request: Request,
        operation: Operation,
        obj: Object | None,
        old: Object | None,
        options: dict[str, Any],
        *,
        namespace: str,
        name: str,
        dry_run: bool,
        kind: Kind | None = None,
    ) -> Attributes:
        """For admission; `kind` is that of the object where a subresource has one of its own."""
        return Attributes(
            operation=operation,
            resource=self.resource,
            kind=kind or self.kind,
            namespace=namespace,
            name=name,
            obj=obj,
            old=old,
            user=request.user,
            subresource=self.subresource,
            options=options,
            dry_run=dry_run,
            warn=request.warnings.append,
            annotations=request.annotations,
        )

    def authorized_create(self, request: Request, validate: Validation) -> Validation:
        """Validation of a create that an update or patch turns out to be: the user must be allowed to create."""
        info = request.info
        attributes = AuthorizationAttributes(
            request.user,
            "create",
            api_group=info.api_group,
            api_version=info.api_version,
            namespace=info.namespace,
            resource=info.resource,
            subresource=info.subresource,
            name=info.name,
        )

        async def checked(new: Object | None, old: Object | None) -> None:
            decision, reason = await self.server.authorizer.authorize(attributes)
            if decision is not Decision.ALLOW:
                raise forbidden_error(attributes, reason)
            await validate(new, old)

        return checked
