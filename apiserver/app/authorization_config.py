"""Which authorizers a server has, from flags or from an AuthorizationConfiguration file.

The flags' rules are kube-apiserver's (`pkg/kubeapiserver/options/authorization.go`), the file's those of
k8s.io/apiserver `apis/apiserver/validation`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from apiserver.api.metatime import parse_duration
from apiserver.authz import Decision
from apiserver.authz.webhook import WebhookSettings
from kvstore.environment import FileSystem

if TYPE_CHECKING:
    from apiserver.authz.match_conditions import MatchConditions

__all__ = [
    "MODES",
    "AuthorizationConfigError",
    "AuthorizerSpec",
    "WebhookSpec",
    "check_flags",
    "load_configuration",
    "specs_from_flags",
]

MODES: Final = ("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")
API_VERSIONS: Final = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
TIMEOUT_SECONDS: Final = 30.0
"""Of a webhook that is configured by flags; the longest a file may ask for."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WEBHOOK_FIELDS: Final = frozenset(
    {
        "authorizedTTL",
        "cacheAuthorizedRequests",
        "unauthorizedTTL",
        "cacheUnauthorizedRequests",
        "timeout",
        "subjectAccessReviewVersion",
        "matchConditionSubjectAccessReviewVersion",
        "failurePolicy",
        "connectionInfo",
        "matchConditions",
    }
)


class AuthorizationConfigError(Exception):
    """The authorizers cannot be made so; the text says where and why."""


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """One service to ask.

    Attributes:
        kubeconfig: path of the file that says where it is.
        conditions: which requests it is asked about; None for all.
    """

    settings: WebhookSettings
    timeout_seconds: float
    kubeconfig: str
    conditions: MatchConditions | None = None


@dataclass(frozen=True, slots=True)
class AuthorizerSpec:
    """One authorizer of the union."""

    type: str
    name: str
    webhook: WebhookSpec | None = None


def check_flags(
    modes: Sequence[str], policy_file: str, webhook_config_file: str, webhook_version: str, config_given: bool
) -> str | None:
    """What is wrong with the authorization flags together, or None.

    Args:
        config_given: whether `--authorization-config` stands in for them.
    """
    if config_given:
        return None
    if not modes:
        return "--authorization-mode: at least one mode must be passed"
    for mode in modes:
        if mode not in MODES:
            return f'--authorization-mode: "{mode}" is not a valid mode; there are: {", ".join(MODES)}'
        if modes.count(mode) > 1:
            return f'--authorization-mode: "{mode}" has been specified more than once'
    if "ABAC" in modes and not policy_file:
        return "--authorization-mode ABAC needs --authorization-policy-file"
    if "Webhook" in modes and not webhook_config_file:
        return "--authorization-mode Webhook needs --authorization-webhook-config-file"
    if policy_file and "ABAC" not in modes:
        return "cannot specify --authorization-policy-file without mode ABAC"
    if webhook_config_file and "Webhook" not in modes:
        return "cannot specify --authorization-webhook-config-file without mode Webhook"
    if webhook_version not in ("v1", "v1beta1"):
        return f'--authorization-webhook-version "{webhook_version}" is neither v1 nor v1beta1'
    return None


def specs_from_flags(
    modes: Sequence[str], webhook_config_file: str, version: str, authorized_seconds: float, unauthorized_seconds: float
) -> list[AuthorizerSpec]:
    """The authorizers that `--authorization-mode` and its kin ask for."""
    settings = WebhookSettings("default", version, authorized_seconds, unauthorized_seconds)
    webhook = WebhookSpec(settings, TIMEOUT_SECONDS, webhook_config_file)
    return [
        AuthorizerSpec(mode, settings.name, webhook) if mode == "Webhook" else AuthorizerSpec(mode, mode.lower())
        for mode in modes
    ]


def load_configuration(path: str, files: FileSystem) -> list[AuthorizerSpec]:
    """The authorizers of an AuthorizationConfiguration (`--authorization-config`).

    Raises:
        AuthorizationConfigError: every problem of the file, in one text.
    """
    try:
        with files.open(path, "rb") as file:
            config = yaml.safe_load(file.read())
    except OSError as error:
        raise AuthorizationConfigError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise AuthorizationConfigError(f"{path} is not YAML") from error
    problems: list[str] = []
    specs = _Configuration(problems, files).specs(config)
    if problems:
        raise AuthorizationConfigError(f"{path}: {'; '.join(problems)}")
    return specs


class _Configuration:
    """Reads a configuration and gathers what is wrong with it."""

    def __init__(self, problems: list[str], files: FileSystem) -> None:
        self._problems = problems
        self._files = files

    def specs(self, config: Any) -> list[AuthorizerSpec]:
        if not isinstance(config, dict) or config.get("kind") != "AuthorizationConfiguration":
            self._problems.append("it is not an AuthorizationConfiguration")
            return []
        if config.get("apiVersion") not in API_VERSIONS:
            self._problems.append(f"apiVersion {config.get('apiVersion')!r} is none of {', '.join(API_VERSIONS)}")
        self._unknown("", config, {"apiVersion", "kind", "authorizers"})
        authorizers = config.get("authorizers") or []
        if not authorizers:
            self._required("authorizers", "at least one authorization mode must be defined")
        types: set[str] = set()
        names: set[str] = set()
        specs = [self._spec(f"authorizers[{at}]", each, types, names) for at, each in enumerate(authorizers)]
        return [spec for spec in specs if spec is not None]

    def _spec(self, path: str, given: Any, types: set[str], names: set[str]) -> AuthorizerSpec | None:
        if not isinstance(given, dict):
            self._problems.append(f"{path}: it is not an object")
            return None
        self._unknown(f"{path}.", given, {"type", "name", "webhook"})
        kind, name = given.get("type", ""), given.get("name", "")
        if not kind:
            self._required(f"{path}.type")
            return None
        if kind not in MODES:
            supported = ", ".join(f'"{mode}"' for mode in sorted(MODES))
            self._problems.append(f'{path}.type: Unsupported value: "{kind}": supported values: {supported}')
            return None
        if kind in types and kind != "Webhook":
            self._problems.append(f'{path}.type: Duplicate value: "{kind}"')
            return None
        types.add(kind)
        if not name:
            self._required(f"{path}.name")
        elif name in names:
            self._problems.append(f'{path}.name: Duplicate value: "{name}"')
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            self._invalid(f"{path}.name", name, "authorizer name is invalid: it must be a lowercase RFC 1123 subdomain")
        names.add(name)
        webhook = given.get("webhook")
        if kind != "Webhook":
            if webhook is not None:
                self._invalid(f"{path}.webhook", "non-null", "may only be specified when type=Webhook")
            return AuthorizerSpec(kind, str(name))
        if not isinstance(webhook, dict):
            self._required(f"{path}.webhook", "required when type=Webhook")
            return None
        return AuthorizerSpec(kind, str(name), self._webhook(f"{path}.webhook", str(name), webhook))

    def _webhook(self, path: str, name: str, given: dict[str, Any]) -> WebhookSpec:
        self._unknown(f"{path}.", given, _WEBHOOK_FIELDS)
        timeout = self._duration(f"{path}.timeout", given.get("timeout"), None)
        if timeout > TIMEOUT_SECONDS or timeout < 0:
            self._invalid(f"{path}.timeout", given.get("timeout"), "must be > 0s and <= 30s")
        authorized = self._ttl(f"{path}.authorizedTTL", given.get("authorizedTTL"), 300.0)
        unauthorized = self._ttl(f"{path}.unauthorizedTTL", given.get("unauthorizedTTL"), 30.0)
        version = self._choice(f"{path}.subjectAccessReviewVersion", given, ("v1", "v1beta1"))
        policy = self._choice(f"{path}.failurePolicy", given, ("NoOpinion", "Deny"))
        conditions = self._conditions(path, given)
        settings = WebhookSettings(
            name,
            version or "v1",
            authorized if given.get("cacheAuthorizedRequests", True) else 0.0,
            unauthorized if given.get("cacheUnauthorizedRequests", True) else 0.0,
            Decision.DENY if policy == "Deny" else Decision.NO_OPINION,
        )
        kubeconfig = self._kubeconfig(f"{path}.connectionInfo", given.get("connectionInfo"))
        return WebhookSpec(settings, timeout, kubeconfig, conditions)

    def _conditions(self, path: str, given: dict[str, Any]) -> MatchConditions | None:
        conditions = given.get("matchConditions") or []
        version = given.get("matchConditionSubjectAccessReviewVersion") or ""
        if conditions and not version:
            text = "required if match conditions are specified"
            self._required(f"{path}.matchConditionSubjectAccessReviewVersion", text)
        elif version not in ("", "v1"):
            where = f"{path}.matchConditionSubjectAccessReviewVersion"
            self._problems.append(f'{where}: Unsupported value: "{version}": supported values: "v1"')
        if not conditions:
            return None
        from apiserver.authz.match_conditions import CONDITIONS_MAX, ConditionError, MatchConditions

        if len(conditions) > CONDITIONS_MAX:
            text = f"Too many: {len(conditions)}: must have at most {CONDITIONS_MAX} items"
            self._problems.append(f"{path}.matchConditions: {text}")
            return None
        expressions: list[str] = []
        for at, each in enumerate(conditions):
            where = f"{path}.matchConditions[{at}].expression"
            text = str(each.get("expression") or "").strip() if isinstance(each, dict) else ""
            if not text:
                self._required(where)
            elif text in expressions:
                self._problems.append(f'{where}: Duplicate value: "{text}"')
            else:
                try:
                    MatchConditions([text])
                except ConditionError as error:
                    self._invalid(where, text, str(error))
                else:
                    expressions.append(text)
        return MatchConditions(expressions)

    def _kubeconfig(self, path: str, given: Any) -> str:
        given = given if isinstance(given, dict) else {}
        self._unknown(f"{path}.", given, {"type", "kubeConfigFile"})
        kind, file = given.get("type", ""), given.get("kubeConfigFile") or ""
        if not kind:
            self._required(f"{path}.type")
        elif kind != "KubeConfigFile":  # InClusterConfig is for others than kube-apiserver
            self._problems.append(f'{path}.type: Unsupported value: "{kind}": supported values: "KubeConfigFile"')
        elif not file:
            self._required(f"{path}.kubeConfigFile")
        elif not os.path.isabs(file):
            self._invalid(f"{path}.kubeConfigFile", file, "must be an absolute path")
        elif not self._files.exists(file):
            self._invalid(f"{path}.kubeConfigFile", file, "error loading file: no such file or directory")
        return str(file)

    def _ttl(self, path: str, given: Any, default: float) -> float:
        seconds = self._duration(path, given, default)
        if seconds < 0:
            self._invalid(path, given, "must be > 0s")
        return seconds

    def _duration(self, path: str, given: Any, default: float | None) -> float:
        if given is None and default is not None:
            return default
        if given in (None, "", 0, "0", "0s"):
            self._required(path)
            return 0.0
        try:
            return parse_duration(str(given)) / 1e9
        except ValueError as error:
            self._invalid(path, given, str(error))
            return 0.0

    def _choice(self, path: str, given: dict[str, Any], choices: Sequence[str]) -> str:
        value = given.get(path.rsplit(".", 1)[1], "")
        if not value:
            self._required(path)
        elif value not in choices:
            supported = ", ".join(f'"{choice}"' for choice in choices)
            self._problems.append(f'{path}: Unsupported value: "{value}": supported values: {supported}')
        return str(value)

    def _unknown(self, path: str, given: dict[str, Any], known: set[str] | frozenset[str]) -> None:
        self._problems += [f'unknown field "{path}{name}"' for name in sorted(map(str, given)) if name not in known]

    def _required(self, path: str, detail: str = "") -> None:
        self._problems.append(f"{path}: Required value" + (f": {detail}" if detail else ""))

    def _invalid(self, path: str, value: Any, detail: str) -> None:
        self._problems.append(f'{path}: Invalid value: "{value}": {detail}')
