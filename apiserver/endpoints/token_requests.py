"""`serviceaccounts/<name>/token`: a TokenRequest goes in, and comes back with a token
(kubernetes `pkg/registry/core/serviceaccount/storage/token.go`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from apiserver.admission import Attributes, Operation
from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.metatime import format_time
from apiserver.api.status import StatusError, bad_request, conflict, invalid, not_found
from apiserver.authn.service_accounts.tokens import Bound
from apiserver.codec import Kind
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import write_options
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.registry.interface import Object
from apiserver.request import Handler, Request, Response

__all__ = ["Issuer", "TokenRequests", "token_handler"]

TOKEN_REQUEST: Kind = ("authentication.k8s.io", "v1", "TokenRequest")
_INVALID = (TOKEN_REQUEST[0], TOKEN_REQUEST[2])
DEFAULT_SECONDS = 3600
SECONDS_MIN = 600
SECONDS_MAX = 1 << 32
WARN_ONLY_SECONDS = 3607
"""What projected volumes ask for; tokens for this long are those that old clients may not know to read anew."""
EXTENDED_SECONDS = 365 * 24 * 3600
_ISSUED_ANNOTATION = "authentication.kubernetes.io/issued-credential-id"


class Issuer(Protocol):
    """Makes tokens; see `authn.service_accounts.tokens.TokenIssuer`."""

    def issue(
        self,
        account: Object,
        audiences: list[str],
        seconds: int,
        bound: Bound | None = None,
        warn_after_seconds: int = 0,
    ) -> tuple[str, str]:
        """A token and its id."""


@dataclass(frozen=True, slots=True)
class TokenRequests:
    """How tokens are made.

    Attributes:
        audiences: of tokens that are asked for without any (`--api-audiences`).
        seconds_max: `--service-account-max-token-expiration`; 0 for no limit.
        extend: `--service-account-extend-token-expiration`.
    """

    issuer: Issuer
    audiences: tuple[str, ...]
    seconds_max: int = 0
    extend: bool = True


def token_handler(scope: Scope, tokens: TokenRequests) -> Handler:
    """The create handler of `serviceaccounts/token`."""
    server = scope.server

    async def create(request: Request) -> Response:
        media = negotiate(request)
        options = write_options(request, "CreateOptions")
        body = await request.read_body(MAX_BODY_BYTES)
        obj = decode_object(request, body, server.codec, TOKEN_REQUEST, options)
        metadata = obj.setdefault("metadata", {})
        info = request.info
        _check_name(metadata, "name", info.name, info.name)
        match_namespace(metadata, info.namespace, True)
        spec = obj.setdefault("spec", {})
        if spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = DEFAULT_SECONDS
        attributes = scope.attributes(
            request,
            Operation.CREATE,
            obj,
            None,
            options.to_dict(),
            namespace=info.namespace,
            name=info.name,
            dry_run=options.dry_run,
            kind=TOKEN_REQUEST,
        )
        if server.admission.handles(Operation.CREATE):
            await server.admission.admit(attributes)
        account = (await scope.store.get(info.namespace, info.name)).view(scope.resource)
        _check_uid(metadata, account, info.name)
        if not spec.get("audiences"):
            spec["audiences"] = list(tokens.audiences)
        _complete(obj, account, int(server.environment.clock.now()))
        await _validate(scope, obj, attributes)
        answer = await _issue(scope, request, obj, account, tokens)
        answer = server.codec.normalize(answer, TOKEN_REQUEST, strict=False).obj
        return server.responder.object(request, media, scope.resource, 201, answer)

    return create


def _check_name(metadata: dict[str, Any], field: str, wanted: str, name: str) -> None:
    if metadata.get(field) and metadata[field] != wanted:
        text = f"must match the service account {field} if specified"
        raise invalid(*_INVALID, name, [field_invalid(f"metadata.{field}", metadata[field], text)])


def _check_uid(metadata: dict[str, Any], account: Object, name: str) -> None:
    wanted, have = metadata.get("uid"), account["metadata"].get("uid", "")
    if wanted and wanted != have:
        text = f"the UID in the token request ({wanted}) does not match the UID of the service account ({have})"
        raise conflict(*_INVALID, name, text)


def _complete(obj: Object, account: Object, now: int) -> None:
    """The request as it is validated and answered: named after the account, without a status of its own."""
    own = account["metadata"]
    metadata = obj["metadata"]
    metadata["name"] = own["name"]
    metadata["namespace"] = own["namespace"]
    metadata["creationTimestamp"] = format_time(now)
    obj.pop("status", None)


async def _validate(scope: Scope, obj: Object, attributes: Attributes) -> None:
    spec = obj["spec"]
    seconds = spec["expirationSeconds"]
    errors: list[FieldError] = []
    field = "spec.expirationSeconds"
    if seconds < SECONDS_MIN:
        errors.append(field_invalid(field, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > SECONDS_MAX:
        errors.append(field_invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
    if spec.get("attestations"):
        text = "attestations may only be specified with a webhook bound object reference"
        errors = [field_invalid("spec.attestations", spec["attestations"], text)]
    if errors:
        raise invalid(*_INVALID, "", errors)
    if scope.server.admission.handles(Operation.CREATE):
        await scope.server.admission.validate(attributes)


async def _issue(scope: Scope, request: Request, obj: Object, account: Object, tokens: TokenRequests) -> Object:
    spec = obj["spec"]
    reference = spec.get("boundObjectRef")
    bound = await _bound(scope, request, reference) if reference is not None else None
    if 0 < tokens.seconds_max < spec["expirationSeconds"]:
        asked = spec["expirationSeconds"]
        request.warnings.append(f"requested expiration of {asked} seconds shortened to {tokens.seconds_max} seconds")
        spec["expirationSeconds"] = tokens.seconds_max
    seconds, warn_after = spec["expirationSeconds"], 0
    for_server = set(spec["audiences"]) <= set(tokens.audiences)
    if tokens.extend and bound is not None and bound.kind == "pod" and seconds == WARN_ONLY_SECONDS and for_server:
        seconds, warn_after = EXTENDED_SECONDS, seconds
    token, token_id = tokens.issuer.issue(account, spec["audiences"], seconds, bound, warn_after)
    request.annotations[_ISSUED_ANNOTATION] = f"JTI={token_id}"
    expires = int(scope.server.environment.clock.now()) + spec["expirationSeconds"]
    return {**obj, "status": {"token": token, "expirationTimestamp": format_time(expires)}}


async def _bound(scope: Scope, request: Request, reference: dict[str, Any]) -> Bound:
    """What the token shall end with; raises 404, 400 or 409."""
    version, kind, name = (reference.get(field, "") for field in ("apiVersion", "kind", "name"))
    resources = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
    if version != "v1" or kind not in resources:
        raise bad_request(f"cannot bind token to object of type {_type_text(version, kind)}")
    namespace = "" if kind == "Node" else request.info.namespace
    found = await _get(scope, resources[kind], namespace, name)
    node = None
    if kind == "Pod":
        spec = found.get("spec") or {}
        if spec.get("serviceAccountName", "") != request.info.name:
            raise bad_request(
                f'cannot bind token for serviceaccount "{request.info.name}" to pod running with different '
                "serviceaccount name."
            )
        node = await _node_of(scope, spec.get("nodeName", ""))
    uid = found["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        text = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The object "
            "might have been deleted and then recreated"
        )
        raise conflict("", kind, name, text)
    return Bound(kind.lower(), name, uid, node)


def _type_text(version: str, kind: str) -> str:
    group, _, tail = version.rpartition("/")
    return f"{group}/{tail}, Kind={kind}"


async def _get(scope: Scope, resource: str, namespace: str, name: str) -> Object:
    found = scope.server.stores.find("", "v1", resource)
    if found is None or not name:
        raise not_found("", resource, name)
    return (await found.get(namespace, name)).view(found.resource)


async def _node_of(scope: Scope, name: str) -> tuple[str, str] | None:
    """Name and uid of the node a pod is on; a node that is not there is named all the same."""
    if not name:
        return None
    try:
        node = await _get(scope, "nodes", "", name)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return name, ""
    return name, node["metadata"]["uid"]
