"""The path of a request, in the order in which it is walked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apiserver.authn import Authenticator
from apiserver.authz import Authorizer
from apiserver.endpoints.metrics import InFlightObserver
from apiserver.endpoints.responses import ErrorWriter
from apiserver.filters.authentication import AuthenticationAttempts, with_authentication
from apiserver.filters.authorization import with_authorization
from apiserver.filters.deadline import REQUEST_TIMEOUT_SECONDS, with_deadline
from apiserver.filters.impersonation import with_impersonation
from apiserver.filters.max_in_flight import MAX_MUTATING_IN_FLIGHT, MAX_READS_IN_FLIGHT, with_max_in_flight
from apiserver.filters.panic_recovery import with_panic_recovery
from apiserver.filters.request_info import RequestInfoFactory, with_request_info
from apiserver.filters.response_headers import AuditIDs, with_response_headers
from apiserver.filters.warnings import with_warnings
from apiserver.request import Handler
from kvstore.environment import Environment

__all__ = ["ChainOptions", "build_handler_chain"]


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """`--max-requests-inflight`, `--max-mutating-requests-inflight`, `--request-timeout`."""

    reads_in_flight_max: int = MAX_READS_IN_FLIGHT
    mutating_in_flight_max: int = MAX_MUTATING_IN_FLIGHT
    request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS


def build_handler_chain(
    handler: Handler,
    *,
    environment: Environment,
    authenticator: Authenticator,
    authorizer: Authorizer,
    write_error: ErrorWriter,
    observe_in_flight: InFlightObserver | None = None,
    authentication_attempts: AuthenticationAttempts | None = None,
    observe_authorization: Callable[[str], None] | None = None,
    options: ChainOptions | None = None,
) -> Handler:
    """Wrap the API in its filters (k8s.io/apiserver `server/config.go: DefaultBuildHandlerChain`).

    Read it from the bottom: the last line is what a request meets first. A filter answers, refuses by raising a
    `StatusError`, or passes on. Nothing of a body is read before the request is authorized. Auditing
    belongs between authentication and impersonation.
    """
    options = options or ChainOptions()
    chain = with_authorization(handler, authorizer, observe_authorization)
    chain = with_max_in_flight(chain, options.reads_in_flight_max, options.mutating_in_flight_max, observe_in_flight)
    chain = with_impersonation(chain, authorizer)
    chain = with_authentication(chain, authenticator, authentication_attempts)
    chain = with_warnings(chain, write_error)
    chain = with_deadline(chain, environment.clock, options.request_timeout_seconds)
    chain = with_request_info(chain, RequestInfoFactory())
    chain = with_panic_recovery(chain, write_error)
    return with_response_headers(chain, AuditIDs(environment.randomness))
