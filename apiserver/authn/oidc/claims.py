"""From the claims of a token to a user, by one issuer's settings (k8s.io/apiserver `plugin/…/oidc/oidc.go`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apiserver.authn.interface import InvalidCredentialError
from apiserver.request import UserInfo

if TYPE_CHECKING:
    from apiserver.authn.oidc.configuration import ClaimMapping, Evaluable, ExpressionRule, IssuerSettings

__all__ = ["user_of"]

_CREDENTIAL_ID_KEY = "authentication.kubernetes.io/credential-id"


def user_of(settings: IssuerSettings, claims: dict[str, Any]) -> UserInfo:
    """The user, once all rules hold.

    Raises:
        InvalidCredentialError: a claim is missing or of the wrong type, or a rule does not hold.
    """
    user = UserInfo(
        _username(settings.username, claims),
        groups=_groups(settings.groups, claims),
        uid=_uid(settings.uid, claims),
        extra=_extra(settings.extra, claims),
    )
    for required in settings.claim_rules:
        if required.claim not in claims:
            raise InvalidCredentialError(f"oidc: required claim {required.claim} not present in ID token")
        value = _text(claims, required.claim, f"parse claim {required.claim}")
        if value != required.value:
            raise InvalidCredentialError(f"oidc: required claim {required.claim} value does not match")
    _check(settings.expression_rules, claims, "claim validation expression")
    if settings.user_rules:
        shown = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
        }
        _check(settings.user_rules, shown, "user info validation rule")
    return user


def _check(rules: Sequence[ExpressionRule], values: dict[str, Any], what: str) -> None:
    for rule in rules:
        if _evaluate(rule.expression, values, what) is not True:
            text = f"validation expression '{rule.expression.text}' failed"
            message = f": {rule.message}" if rule.message else ""
            raise InvalidCredentialError(f"oidc: error evaluating {what}: {text}{message}")


def _evaluate(expression: Evaluable, values: dict[str, Any], what: str) -> Any:
    from apiserver.authn.oidc.expressions import EvaluationError

    try:
        return expression.value(values)
    except EvaluationError as error:
        raise InvalidCredentialError(f"oidc: error evaluating {what}: {error}") from None


def _strings(expression: Evaluable, claims: dict[str, Any], what: str) -> tuple[str, ...]:
    from apiserver.authn.oidc.expressions import EvaluationError

    try:
        return expression.strings(claims)
    except EvaluationError as error:
        raise InvalidCredentialError(f"oidc: error evaluating {what}: {error}") from None


def _text(claims: dict[str, Any], name: str, what: str) -> str:
    if name not in claims:
        raise InvalidCredentialError(f"oidc: {what}: claim not present")
    value = claims[name]
    if not isinstance(value, str):
        raise InvalidCredentialError(f"oidc: {what}: the claim is not a string")
    return value


def _username(mapping: ClaimMapping, claims: dict[str, Any]) -> str:
    if mapping.expression is not None:
        what = "username claim expression"
        value = _evaluate(mapping.expression, claims, what)
        if not isinstance(value, str):
            raise InvalidCredentialError(f"oidc: error evaluating {what}: {what} must return a string")
        if not value:
            raise InvalidCredentialError("oidc: empty username via CEL expression is not allowed")
        return value
    name = _text(claims, mapping.claim, f'parse username claims "{mapping.claim}"')
    if mapping.claim == "email" and "email_verified" in claims:
        verified = claims["email_verified"]
        if not isinstance(verified, bool):
            raise InvalidCredentialError("oidc: parse 'email_verified' claim: it is neither true nor false")
        if not verified:
            raise InvalidCredentialError("oidc: email not verified")
    return mapping.prefix + name


def _groups(mapping: ClaimMapping, claims: dict[str, Any]) -> tuple[str, ...]:
    if mapping.expression is not None:
        return _strings(mapping.expression, claims, "group claim expression")
    if not mapping.claim or mapping.claim not in claims:
        return ()
    value = claims[mapping.claim]
    groups = [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise InvalidCredentialError(f'oidc: parse groups claim "{mapping.claim}": it is not a list of strings')
    return tuple(mapping.prefix + group for group in groups)


def _uid(mapping: ClaimMapping, claims: dict[str, Any]) -> str:
    if mapping.expression is not None:
        what = "uid claim expression"
        value = _evaluate(mapping.expression, claims, what)
        if not isinstance(value, str):
            raise InvalidCredentialError(f"oidc: error evaluating {what}: {what} must return a string")
        return value
    return _text(claims, mapping.claim, f'parse uid claim "{mapping.claim}"') if mapping.claim else ""


def _extra(
    mappings: Sequence[tuple[str, Evaluable]], claims: dict[str, Any]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    token_id = claims.get("jti")
    if isinstance(token_id, str) and token_id:
        found.append((_CREDENTIAL_ID_KEY, (f"JTI={token_id}",)))
    for key, expression in mappings:
        values = _strings(expression, claims, f"extra claim expression: {expression.text}")
        if values:
            found.append((key, values))
    return tuple(found)
