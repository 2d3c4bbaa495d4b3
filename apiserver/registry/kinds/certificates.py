"""Certificate signing requests: the server says who asks, `/approval` and `/status` divide the rest."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import FieldError
from apiserver.api.metatime import format_time
from apiserver.api.validation.certificates import (
    check_signing_request,
    check_signing_request_change,
    check_trust_bundle,
)
from apiserver.api.validation.names import NameRule
from apiserver.api.validation.signers import trust_bundle_name_problems
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks
from apiserver.registry.strategy import Strategy, SubresourceStrategy

__all__ = ["SigningRequestStrategy", "TrustBundleStrategy"]

_DECISIONS: Final = ("Approved", "Denied")


class TrustBundleStrategy(CheckedStrategy):
    """The strategy of trust bundles, whose names begin with the name of their signer."""

    checks = Checks(check_trust_bundle)

    def name_rule(self, obj: Object) -> str | NameRule:
        """The name says whose bundle it is."""
        return trust_bundle_name_problems((obj.get("spec") or {}).get("signerName", ""))


class SigningRequestStrategy(Strategy):
    """The strategy of certificate signing requests."""

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Nobody asks in the name of another, and nothing is approved yet."""
        super().prepare_for_create(context, obj)
        spec, user = obj["spec"], context.user
        for member in ("username", "uid", "groups", "extra"):
            spec.pop(member, None)
        if user.name:
            spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra}

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Only metadata may change this way."""
        super().prepare_for_update(context, obj, old)
        self.keep(obj, old, "spec")

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The rules of a request."""
        errors: list[FieldError] = []
        if old is None:
            check_signing_request(errors, obj, None)
        else:
            check_signing_request_change(errors, obj, old, may_approve=False, may_issue=False)
        return errors

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Decisions are not made here: they stay, unless some were added or taken away, which validation refuses."""
        now, before = (_conditions(of) for of in (obj, old))
        for kind in _DECISIONS:
            places = [index for index, condition in enumerate(now) if condition.get("type") == kind]
            decided = [condition for condition in before if condition.get("type") == kind]
            if len(places) == len(decided):
                for index, condition in zip(places, decided, strict=True):
                    now[index] = dict(condition)
        _set_times(context, now, before)

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """A signer issues the certificate or fails."""
        errors: list[FieldError] = []
        check_signing_request_change(errors, obj, old, may_approve=False, may_issue=True)
        return errors

    def subresource(self, name: str) -> Strategy | None:
        """`/approval` besides `/status`."""
        return _ApprovalStrategy(self) if name == "approval" else super().subresource(name)


class _ApprovalStrategy(SubresourceStrategy):
    """Writes of `/approval`: conditions, and metadata."""

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        conditions = _conditions(obj)
        self.keep(obj, old, "spec")
        status = {name: value for name, value in (old.get("status") or {}).items() if name != "conditions"}
        if conditions:
            status["conditions"] = conditions
        obj["status"] = status
        _set_times(context, conditions, _conditions(old))

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        assert old is not None, "a subresource does not create"
        errors: list[FieldError] = []
        check_signing_request_change(errors, obj, old, may_approve=True, may_issue=False)
        return errors


def _conditions(obj: Object) -> list[Object]:
    conditions: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return conditions


def _set_times(context: OperationContext, conditions: list[Object], before: list[Object]) -> None:
    now = format_time(int(context.clock.now()))
    for condition in conditions:
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            state = condition.get("type"), condition.get("status")
            known = (old.get("lastTransitionTime") for old in before if (old.get("type"), old.get("status")) == state)
            condition["lastTransitionTime"] = next(filter(None, known), now)
