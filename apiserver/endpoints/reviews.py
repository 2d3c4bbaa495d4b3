"""Kinds that are questions: who am I, may somebody do this, what may I do. Nothing of them is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.admission import Attributes as AdmissionAttributes
from apiserver.admission import Operation
from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.metatime import format_time
from apiserver.api.scheme import Resource
from apiserver.api.status import bad_request, invalid
from apiserver.authz import Attributes, Authorizer, Decision, EvaluationError, RuleResolver
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import write_options
from apiserver.endpoints.scope import MAX_BODY_BYTES, Server
from apiserver.endpoints.users import user_dict
from apiserver.registry.interface import Object
from apiserver.request import Handler, Request, Response, UserInfo

__all__ = ["review_handler"]

_Answer = Callable[[Request, Object], Awaitable[Object]]


def review_handler(server: Server, resource: Resource, rules: RuleResolver | None) -> Handler | None:
    """The create handler of a review kind, or None for kinds that are no review.

    Args:
        rules: lists what somebody may do, for SelfSubjectRulesReview.
    """
    authorizer = server.authorizer
    answers: dict[tuple[str, str], _Answer] = {
        ("authentication.k8s.io", "selfsubjectreviews"): _who_am_i(server),
        ("authorization.k8s.io", "selfsubjectaccessreviews"): _may_i(authorizer),
        ("authorization.k8s.io", "subjectaccessreviews"): _may_somebody(authorizer, "SubjectAccessReview"),
        ("authorization.k8s.io", "localsubjectaccessreviews"): _may_somebody(authorizer, "LocalSubjectAccessReview"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"): _what_may_i(rules),
    }
    if server.token_reviewer is not None:
        answers["authentication.k8s.io", "tokenreviews"] = server.token_reviewer.answer
    answer = answers.get((resource.group, resource.plural))
    return _handler(server, resource, answer) if answer is not None else None


def _handler(server: Server, resource: Resource, answer: _Answer) -> Handler:
    kind = (resource.group, resource.version, resource.kind)

    async def create(request: Request) -> Response:
        media = negotiate(request)
        options = write_options(request, "CreateOptions")
        body = await request.read_body(MAX_BODY_BYTES)
        obj = decode_object(request, body, server.codec, kind, options)
        metadata = obj.setdefault("metadata", {})
        match_namespace(metadata, request.info.namespace, resource.namespaced)
        if server.admission.handles(Operation.CREATE):
            attributes = AdmissionAttributes(
                operation=Operation.CREATE,
                resource=resource,
                kind=kind,
                namespace=request.info.namespace,
                name=metadata.get("name", ""),
                obj=obj,
                old=None,
                user=request.user,
                options=options.to_dict(),
                dry_run=options.dry_run,
                warn=request.warnings.append,
                annotations=request.annotations,
            )
            await server.admission.admit(attributes)
            await server.admission.validate(attributes)
        result = await answer(request, obj)
        result = server.codec.normalize(result, kind, strict=False).obj
        return server.responder.object(request, media, resource, 201, result)

    return create


def _who_am_i(server: Server) -> _Answer:
    async def answer(request: Request, obj: Object) -> Object:
        now = format_time(int(server.environment.clock.now()))
        return {**obj, "metadata": {"creationTimestamp": now}, "status": {"userInfo": user_dict(request.user)}}

    return answer


def _may_i(authorizer: Authorizer) -> _Answer:
    async def answer(request: Request, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        errors = _attributes_errors(spec)
        _raise_invalid("SelfSubjectAccessReview", errors)
        return await _decide(authorizer, request.user, obj)

    return answer


def _may_somebody(authorizer: Authorizer, kind: str) -> _Answer:
    async def answer(request: Request, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        errors = _attributes_errors(spec)
        if not spec.get("user") and not spec.get("groups"):
            errors.append(field_invalid("spec.user", "", "at least one of user or group must be specified"))
        if kind == "LocalSubjectAccessReview":
            _check_local(request, spec, errors)
        _raise_invalid(kind, errors)
        extra = tuple((key.lower(), tuple(values or ())) for key, values in (spec.get("extra") or {}).items())
        user = UserInfo(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)
        return await _decide(authorizer, user, obj)

    return answer


def _check_local(request: Request, spec: dict[str, Any], errors: list[FieldError]) -> None:
    """A local review is about the namespace it is made in."""
    namespace = request.info.namespace
    if spec.get("nonResourceAttributes") is not None:
        text = "disallowed on this kind of request"
        errors.append(field_invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], text))
    attributes = spec.get("resourceAttributes")
    if attributes is not None and attributes.get("namespace", "") != namespace:
        raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {namespace}")


def _attributes_errors(spec: dict[str, Any]) -> list[FieldError]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        text = "cannot be specified in combination with resourceAttributes"
        return [field_invalid("spec.nonResourceAttributes", other, text)]
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [field_invalid("spec.resourceAttributes", None, text)]
    return []


def _raise_invalid(kind: str, errors: list[FieldError]) -> None:
    if errors:
        raise invalid("authorization.k8s.io", kind, "", errors)


async def _decide(authorizer: Authorizer, user: UserInfo, obj: Object) -> Object:
    spec = obj["spec"]
    failure = ""
    try:
        decision, reason = await authorizer.authorize(_attributes(user, spec))
    except EvaluationError as error:
        decision, reason, failure = error.decision, "", str(error)
    status: dict[str, Any] = {"allowed": decision is Decision.ALLOW}
    if decision is Decision.DENY:
        status["denied"] = True
    if reason:
        status["reason"] = reason
    if failure:
        status["evaluationError"] = failure
    return {**obj, "status": status}


def _attributes(user: UserInfo, spec: dict[str, Any]) -> Attributes:
    asked = spec.get("resourceAttributes")
    if asked is None:
        other = spec["nonResourceAttributes"]
        return Attributes(user, other.get("verb", ""), False, path=other.get("path", ""))
    return Attributes(
        user,
        asked.get("verb", ""),
        True,
        asked.get("group", ""),
        asked.get("version", "") or "*",
        asked.get("namespace", ""),
        asked.get("resource", ""),
        asked.get("subresource", ""),
        asked.get("name", ""),
        "",
        _selector_text(asked.get("fieldSelector"), several=False),
        _selector_text(asked.get("labelSelector"), several=True),
    )


def _selector_text(selector: dict[str, Any] | None, *, several: bool) -> str:
    """A selector as a request has it. Terms that cannot be said are left out: the question becomes a wider one.

    Args:
        several: whether a term may have more than one value, as those about labels may.
    """
    if not selector:
        return ""
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    terms = []
    for each in selector.get("requirements") or ():
        key, operator = each.get("key", ""), each.get("operator", "")
        values: list[str] = each.get("values") or []
        if operator in ("Exists", "DoesNotExist") and several:
            terms.append(key if operator == "Exists" else f"!{key}")
        elif operator in ("In", "NotIn") and len(values) == 1:
            terms.append(f"{key}{'=' if operator == 'In' else '!='}{values[0]}")
        elif operator in ("In", "NotIn") and several:
            terms.append(f"{key} {operator.lower()} ({','.join(values)})")
    return ",".join(terms)


def _what_may_i(rules: RuleResolver | None) -> _Answer:
    async def answer(request: Request, obj: Object) -> Object:
        namespace = (obj.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        if rules is None:
            status: dict[str, Any] = {"resourceRules": [], "nonResourceRules": [], "incomplete": True}
            return {**obj, "status": status}
        resource_rules, other_rules, incomplete, error = await rules.rules_for(request.user, namespace)
        status = {
            "resourceRules": [
                {
                    "verbs": list(rule.verbs),
                    "apiGroups": list(rule.api_groups),
                    "resources": list(rule.resources),
                    "resourceNames": list(rule.resource_names),
                }
                for rule in resource_rules
            ],
            "nonResourceRules": [
                {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.paths)} for rule in other_rules
            ],
            "incomplete": incomplete,
        }
        if error:
            status["evaluationError"] = error
        return {**obj, "status": status}

    return answer
