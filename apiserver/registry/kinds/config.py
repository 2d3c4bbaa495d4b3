"""Secrets and service accounts."""

from __future__ import annotations

from typing import Final

from apiserver.api.validation.config import check_secret
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks

__all__ = ["SecretStrategy", "ServiceAccountStrategy"]

MOUNTABLE_SECRETS: Final = "kubernetes.io/enforce-mountable-secrets"
_MOUNTABLE_TEXT: Final = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"


class SecretStrategy(CheckedStrategy):
    """The strategy of secrets."""

    checks = Checks(check_secret)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """A type that is left out stays."""
        super().prepare_for_update(context, obj, old)
        if not obj.get("type"):
            self.keep(obj, old, "type")


def _account_warnings(obj: Object, old: Object | None) -> list[str]:
    now, before = ((of or {}).get("metadata", {}).get("annotations") or {} for of in (obj, old))
    if MOUNTABLE_SECRETS not in now or MOUNTABLE_SECRETS in before:
        return []
    return [f"metadata.annotations[{MOUNTABLE_SECRETS}]: {_MOUNTABLE_TEXT}"]


class ServiceAccountStrategy(CheckedStrategy):
    """The strategy of service accounts."""

    checks = Checks(warnings=_account_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Secrets are referred to by name alone."""
        super().prepare_for_create(context, obj)
        _shorten_references(obj)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Likewise."""
        super().prepare_for_update(context, obj, old)
        _shorten_references(obj)


def _shorten_references(account: Object) -> None:
    secrets = account.get("secrets")
    if secrets:
        account["secrets"] = [{"name": secret["name"]} if secret.get("name") else {} for secret in secrets]
