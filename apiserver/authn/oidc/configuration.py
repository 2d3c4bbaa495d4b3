"""`AuthenticationConfiguration` of apiserver.config.k8s.io (k8s.io/apiserver `apis/apiserver/v1`, `…/validation`)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from apiserver.api.field_errors import FieldError, duplicate, field_invalid, required
from apiserver.api.validation.networking import check_domain_prefixed_path

__all__ = [
    "AuthenticationConfiguration",
    "ClaimMapping",
    "ClaimRule",
    "ConfigurationError",
    "Evaluable",
    "ExpressionRule",
    "IssuerSettings",
    "parse_configuration",
]

_GROUP = "apiserver.config.k8s.io"
_VERSIONS = ("v1", "v1beta1", "v1alpha1")
_KIND = "AuthenticationConfiguration"
JWT_MAX = 64
_RESERVED = re.compile(r"(.*\.)?(k8s|kubernetes)\.io")


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text names every field that is wrong."""


class Evaluable(Protocol):
    """A compiled CEL expression; see `authn.oidc.expressions.Expression`."""

    text: str

    def value(self, of: Mapping[str, Any]) -> Any:
        """The value."""

    def strings(self, of: Mapping[str, Any]) -> tuple[str, ...]:
        """The value as strings."""


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Where a part of a user comes from: a claim with a prefix, or an expression; neither when it is not mapped."""

    claim: str = ""
    prefix: str = ""
    expression: Evaluable | None = None


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A claim that must have this value."""

    claim: str
    value: str


@dataclass(frozen=True, slots=True)
class ExpressionRule:
    """An expression that must be true, and what is said when it is not."""

    expression: Evaluable
    message: str = ""


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One issuer whose tokens are taken.

    Attributes:
        discovery_url: where its discovery document is, when that is not below `url`.
        certificate_authority: CA bundle (PEM) for fetching; the host's own when empty.
        algorithms: with which it may sign.
        extra: keys of the user's extra values, and what they are made of.
    """

    url: str
    audiences: tuple[str, ...]
    username: ClaimMapping
    groups: ClaimMapping = field(default_factory=ClaimMapping)
    uid: ClaimMapping = field(default_factory=ClaimMapping)
    extra: tuple[tuple[str, Evaluable], ...] = ()
    claim_rules: tuple[ClaimRule, ...] = ()
    expression_rules: tuple[ExpressionRule, ...] = ()
    user_rules: tuple[ExpressionRule, ...] = ()
    discovery_url: str = ""
    certificate_authority: str = ""
    algorithms: tuple[str, ...] = ("RS256",)


@dataclass(frozen=True, slots=True)
class AuthenticationConfiguration:
    """The whole file.

    Attributes:
        anonymous: whether requests without a credential get in; None when the file does not say.
        anonymous_paths: when given, only for these paths.
    """

    issuers: tuple[IssuerSettings, ...]
    anonymous: bool | None = None
    anonymous_paths: tuple[str, ...] | None = None


def parse_configuration(
    document: Any, algorithms: Sequence[str], disallowed_issuers: Collection[str] = ()
) -> AuthenticationConfiguration:
    """Read a parsed YAML or JSON document.

    Args:
        algorithms: what issuers may sign with.
        disallowed_issuers: URLs that are somebody else's, i.e. of service-account tokens.

    Raises:
        ConfigurationError: something in it is wrong.
    """
    reader = _Reader(tuple(algorithms), frozenset(disallowed_issuers))
    try:
        configuration = reader.read(document)
    except (AttributeError, TypeError, KeyError) as error:  # a value of another type than the schema's
        raise ConfigurationError(f"strict decoding error: a value has the wrong type ({error})") from None
    if reader.errors:
        texts = [str(error) for error in reader.errors]
        raise ConfigurationError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    assert configuration is not None, "an empty configuration comes with errors"
    return configuration


class _Reader:
    """Collects what is wrong while it reads."""

    def __init__(self, algorithms: tuple[str, ...], disallowed: frozenset[str]) -> None:
        self.errors: list[FieldError] = []
        self._algorithms = algorithms
        self._disallowed = disallowed

    def read(self, document: Any) -> AuthenticationConfiguration | None:
        if not isinstance(document, dict):
            raise ConfigurationError("the document is no object")
        group, _, version = str(document.get("apiVersion", "")).partition("/")
        if group != _GROUP or version not in _VERSIONS or document.get("kind") != _KIND:
            raise ConfigurationError(
                f'no kind "{document.get("kind", "")}" is registered for version "{document.get("apiVersion", "")}"'
            )
        self._known("", document, ("apiVersion", "kind", "jwt", "anonymous"))
        entries = document.get("jwt") or []
        if len(entries) > JWT_MAX:
            self.errors.append(field_invalid("jwt", len(entries), f"must have at most {JWT_MAX} items"))
            return None
        issuers = [self._issuer(f"jwt[{number}]", entry) for number, entry in enumerate(entries)]
        self._unique("issuer.url", [entry.get("issuer", {}).get("url", "") for entry in entries])
        self._unique("issuer.discoveryURL", [entry.get("issuer", {}).get("discoveryURL") or "" for entry in entries])
        anonymous = document.get("anonymous")
        if anonymous is None:
            enabled, paths = None, None
        else:
            self._known("anonymous", anonymous, ("enabled", "conditions"))
            enabled = bool(anonymous.get("enabled", False))
            conditions = anonymous.get("conditions") or []
            paths = tuple(str(condition["path"]) for condition in conditions) or None
            if paths and not enabled:
                text = "enabled should be set to true when conditions are defined"
                self.errors.append(field_invalid("anonymous.conditions", conditions, text))
        made = tuple(issuer for issuer in issuers if issuer is not None)
        return AuthenticationConfiguration(made, enabled, paths)

    def _known(self, path: str, obj: Mapping[str, Any], names: Collection[str]) -> None:
        if not isinstance(obj, dict):
            raise ConfigurationError(f'strict decoding error: "{path}" has the wrong type')
        for name in obj:
            if name not in names:
                at = f"{path}.{name}" if path else name
                raise ConfigurationError(f'strict decoding error: unknown field "{at}"')

    def _unique(self, path: str, values: Sequence[str]) -> None:
        for number, value in enumerate(values):
            if value and value in values[:number]:
                self.errors.append(duplicate(f"jwt[{number}].{path}", value))

    def _issuer(self, at: str, entry: Mapping[str, Any]) -> IssuerSettings | None:
        self._known(at, entry, ("issuer", "claimValidationRules", "claimMappings", "userValidationRules"))
        issuer = entry.get("issuer") or {}
        names = (
            "url",
            "discoveryURL",
            "certificateAuthority",
            "audiences",
            "audienceMatchPolicy",
            "egressSelectorType",
        )
        self._known(f"{at}.issuer", issuer, names)
        self._check_issuer(f"{at}.issuer", issuer)
        claims, expressions = self._rules(f"{at}.claimValidationRules", entry.get("claimValidationRules") or [])
        mappings = entry.get("claimMappings") or {}
        self._known(f"{at}.claimMappings", mappings, ("username", "groups", "uid", "extra"))
        path = f"{at}.claimMappings"
        username = self._mapping(f"{path}.username", mappings.get("username") or {}, needed=True, prefixed=True)
        groups = self._mapping(f"{path}.groups", mappings.get("groups") or {}, prefixed=True)
        uid = self._mapping(f"{path}.uid", mappings.get("uid") or {})
        extra = self._extra(f"{path}.extra", mappings.get("extra") or [])
        users = self._user_rules(f"{at}.userValidationRules", entry.get("userValidationRules") or [])
        self._check_email(path, username, [*(rule.expression for rule in expressions), *(value for _, value in extra)])
        if self.errors:
            return None
        return IssuerSettings(
            url=issuer["url"],
            audiences=tuple(issuer["audiences"]),
            username=username,
            groups=groups,
            uid=uid,
            extra=tuple(extra),
            claim_rules=tuple(claims),
            expression_rules=tuple(expressions),
            user_rules=tuple(users),
            discovery_url=issuer.get("discoveryURL") or "",
            certificate_authority=issuer.get("certificateAuthority") or "",
            algorithms=self._algorithms,
        )

    def _check_issuer(self, at: str, issuer: Mapping[str, Any]) -> None:
        url, discovery = issuer.get("url", ""), issuer.get("discoveryURL") or ""
        if not url:
            self.errors.append(required(f"{at}.url"))
        else:
            self._check_url(f"{at}.url", url, self._disallowed)
        if discovery:
            if url and url.rstrip("/") == discovery.rstrip("/"):
                text = "discoveryURL must be different from URL"
                self.errors.append(field_invalid(f"{at}.discoveryURL", discovery, text))
            self._check_url(f"{at}.discoveryURL", discovery, frozenset())
        self._check_audiences(at, issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or "")
        if issuer.get("egressSelectorType"):
            text = "egress selector is not supported"
            self.errors.append(field_invalid(f"{at}.egressSelectorType", issuer["egressSelectorType"], text))
        bundle = issuer.get("certificateAuthority")
        if bundle:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle)
            except (ssl.SSLError, ValueError) as error:
                self.errors.append(field_invalid(f"{at}.certificateAuthority", "<omitted>", str(error)))

    def _check_url(self, at: str, url: str, disallowed: frozenset[str]) -> None:
        if url in disallowed:
            text = f"URL must not overlap with disallowed issuers: [{' '.join(sorted(disallowed))}]"
            self.errors.append(field_invalid(at, url, text))
        parts = urlsplit(url)
        for wrong, text in (
            (parts.scheme != "https", "URL scheme must be https"),
            ("@" in parts.netloc, "URL must not contain a username or password"),
            (parts.query, "URL must not contain a query"),
            (parts.fragment, "URL must not contain a fragment"),
        ):
            if wrong:
                self.errors.append(field_invalid(at, url, text))

    def _check_audiences(self, at: str, audiences: Sequence[str], policy: str) -> None:
        if not audiences:
            self.errors.append(required(f"{at}.audiences", f"at least one {at}.audiences is required"))
            return
        for number, audience in enumerate(audiences):
            if not audience:
                self.errors.append(required(f"{at}.audiences[{number}]"))
            elif audience in audiences[:number]:
                self.errors.append(duplicate(f"{at}.audiences[{number}]", audience))
        if len(audiences) > 1 and policy != "MatchAny":
            text = "audienceMatchPolicy must be MatchAny for multiple audiences"
            self.errors.append(field_invalid(f"{at}.audienceMatchPolicy", policy, text))
        if len(audiences) == 1 and policy not in ("", "MatchAny"):
            text = "audienceMatchPolicy must be empty or MatchAny for single audience"
            self.errors.append(field_invalid(f"{at}.audienceMatchPolicy", policy, text))

    def _rules(self, at: str, rules: Sequence[Mapping[str, Any]]) -> tuple[list[ClaimRule], list[ExpressionRule]]:
        claims: dict[str, ClaimRule] = {}
        expressions: dict[str, ExpressionRule] = {}
        for number, rule in enumerate(rules):
            path = f"{at}[{number}]"
            self._known(path, rule, ("claim", "requiredValue", "expression", "message"))
            claim, text = rule.get("claim") or "", rule.get("expression") or ""
            if claim and text:
                self.errors.append(field_invalid(path, claim, "claim and expression can't both be set"))
            elif claim:
                if rule.get("message"):
                    problem = "may not be specified when claim is set"
                    self.errors.append(field_invalid(f"{path}.message", rule["message"], problem))
                if claim in claims:
                    self.errors.append(duplicate(f"{path}.claim", claim))
                claims[claim] = ClaimRule(claim, rule.get("requiredValue") or "")
            elif text:
                if rule.get("requiredValue"):
                    problem = "may not be specified when expression is set"
                    self.errors.append(field_invalid(f"{path}.requiredValue", rule["requiredValue"], problem))
                self._rule(path, rule, "claims", expressions)
            else:
                self.errors.append(required(path, "claim or expression is required"))
        return list(claims.values()), list(expressions.values())

    def _rule(self, path: str, rule: Mapping[str, Any], variable: str, found: dict[str, ExpressionRule]) -> None:
        text = rule["expression"]
        if text in found:
            self.errors.append(duplicate(f"{path}.expression", text))
            return
        expression = self._expression(f"{path}.expression", text, variable, boolean=True)
        if expression is not None:
            found[text] = ExpressionRule(expression, rule.get("message") or "")

    def _user_rules(self, at: str, rules: Sequence[Mapping[str, Any]]) -> list[ExpressionRule]:
        found: dict[str, ExpressionRule] = {}
        for number, rule in enumerate(rules):
            path = f"{at}[{number}]"
            self._known(path, rule, ("expression", "message"))
            if not rule.get("expression"):
                self.errors.append(required(f"{path}.expression"))
            else:
                self._rule(path, rule, "user", found)
        return list(found.values())

    def _expression(self, at: str, text: str, variable: str, *, boolean: bool = False) -> Evaluable | None:
        from apiserver.authn.oidc.expressions import Expression, ExpressionError  # not before there is one

        try:
            return Expression(text, variable, boolean=boolean)
        except ExpressionError as error:
            self.errors.append(field_invalid(at, text, str(error)))
            return None

    def _mapping(
        self, at: str, value: Mapping[str, Any], *, needed: bool = False, prefixed: bool = False
    ) -> ClaimMapping:
        self._known(at, value, ("claim", "prefix", "expression") if prefixed else ("claim", "expression"))
        claim, text, prefix = value.get("claim") or "", value.get("expression") or "", value.get("prefix")
        if claim and text:
            self.errors.append(field_invalid(at, "", "claim and expression can't both be set"))
        elif text:
            if prefix is not None:
                self.errors.append(field_invalid(f"{at}.prefix", prefix, "may not be specified when expression is set"))
            return ClaimMapping(expression=self._expression(f"{at}.expression", text, "claims"))
        elif claim and prefixed and prefix is None:
            problem = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            self.errors.append(required(f"{at}.prefix", problem))
        elif not claim and needed:
            self.errors.append(required(at, "claim or expression is required"))
        return ClaimMapping(claim, prefix or "")

    def _extra(self, at: str, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, Evaluable]]:
        found: dict[str, Evaluable] = {}
        for number, entry in enumerate(entries):
            path = f"{at}[{number}]"
            self._known(path, entry, ("key", "valueExpression"))
            key, text = entry.get("key") or "", entry.get("valueExpression") or ""
            check_domain_prefixed_path(self.errors, f"{path}.key", key)
            if key != key.lower():
                self.errors.append(field_invalid(f"{path}.key", key, "must be lowercase"))
            domain, slash, _ = key.partition("/")
            if slash and _RESERVED.fullmatch(domain):
                problem = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
                self.errors.append(field_invalid(f"{path}.key", key, problem))
            if key in found:
                self.errors.append(duplicate(f"{path}.key", key))
            elif not text:
                self.errors.append(required(f"{path}.valueExpression"))
            else:
                expression = self._expression(f"{path}.valueExpression", text, "claims")
                if expression is not None:
                    found[key] = expression
        return list(found.items())

    def _check_email(self, at: str, username: ClaimMapping, others: Sequence[Evaluable]) -> None:
        """Whoever goes by an e-mail address must be asked whether it is theirs."""
        if username.expression is None:
            return
        from apiserver.authn.oidc.expressions import selects

        name = username.expression
        if selects(name.text, "claims", "email") and not any(
            selects(expression.text, "claims", "email_verified") for expression in (name, *others)
        ):
            text = (
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                "used in claimMappings.username.expression"
            )
            self.errors.append(field_invalid(f"{at}.username.expression", name.text, text))
