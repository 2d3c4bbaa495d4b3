"""Attempts to get in without right. Each is refused, and no log line or error shows the credential."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.authn import InvalidCredentialError
from apiserver.authn.service_accounts.tokens import Bound
from tests.unit.apiserver.authn.authn_world import NOW, World, certificate, encoded, public_pem, request_of

Attempt = Callable[[World], str]


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def spoiled(**changes: Any) -> Attempt:
    """A token that our key has signed, with claims changed; None takes one away."""

    def make(world: World) -> str:
        claims = {name: value for name, value in {**world.claims(), **changes}.items() if value is not None}
        return world.signed(claims)

    return make


def own_claims(**changes: Any) -> Attempt:
    def make(world: World) -> str:
        claims = world.claims()
        claims["kubernetes.io"] = {**claims["kubernetes.io"], **changes}
        return world.signed(claims)

    return make


def after(change: Callable[[World], object], **issue: Any) -> Attempt:
    """A token that was good when it was made."""

    def make(world: World) -> str:
        token = world.token(**issue)
        change(world)
        return token

    return make


def without(resource: str, namespace: str, name: str) -> Callable[[World], object]:
    return lambda world: world.objects.pop((resource, namespace, name))


def again(resource: str, namespace: str, name: str) -> Callable[[World], object]:
    """Deleted and made again: the same name, another uid."""
    return lambda world: world.put(resource, namespace, name, "another-uid")


def deleted(resource: str, namespace: str, name: str) -> Callable[[World], object]:
    def change(world: World) -> None:
        metadata = world.objects[resource, namespace, name]["metadata"]
        metadata["deletionTimestamp"] = "2027-01-15T07:58:59Z"  # 61 seconds ago

    return change


def later(seconds: float) -> Callable[[World], object]:
    def change(world: World) -> None:
        world.clock.seconds += seconds

    return change


def unsigned(world: World) -> str:
    return f"{part({'alg': 'none'})}.{part(world.claims())}."


def with_public_key_as_secret(world: World) -> str:
    """The classic confusion: HMAC, with the public key that everybody has as the secret."""
    import hashlib
    import hmac

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(world.claims())}"
    mac = hmac.new(public_pem(world.key), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def resigned(key: Any, algorithm: str, **headers: Any) -> Attempt:
    return lambda world: world.signed(world.claims(), key, algorithm, **headers)


def own_key_in_header(world: World) -> str:
    """A key that the token brings along must not be believed."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    web_key = {"kty": "EC", "crv": "P-256", "x": str(numbers.x), "y": str(numbers.y)}
    return world.signed(world.claims(), key, "ES256", jwk=web_key, kid=world.keys.signing_key.public.key_id)


def swapped_claims(world: World) -> str:
    head, _, signature = world.token().split(".")
    return f"{head}.{part({**world.claims(), 'sub': 'system:admin'})}.{signature}"


def legacy(**changes: Any) -> Attempt:
    """A token of the older form in its Secret, with something not as it should be."""

    def make(world: World) -> str:
        name = changes.get("secret", "old")
        token = world.issuer.issue_legacy(world.account, name)
        kept = changes.get("kept", token)
        if kept is not None:
            secret = world.put("secrets", "apps", "old", "s", data=encoded(token=kept))
            secret["metadata"].update(changes.get("metadata", {}))
        change = changes.get("change")
        if change is not None:
            change(world)
        return token

    return make


def legacy_claims(**changes: Any) -> Attempt:
    def make(world: World) -> str:
        prefix = "kubernetes.io/serviceaccount/"
        claims = {
            "iss": "kubernetes/serviceaccount",
            "sub": "system:serviceaccount:apps:builder",
            f"{prefix}namespace": "apps",
            f"{prefix}secret.name": "old",
            f"{prefix}service-account.name": "builder",
            f"{prefix}service-account.uid": "sa-uid",
        }
        claims.update({f"{prefix}{name}" if name != "sub" else name: value for name, value in changes.items()})
        token = world.signed({name: value for name, value in claims.items() if value is not None})
        world.put("secrets", "apps", "old", "s", data=encoded(token=token))
        return token

    return make


def bootstrap(token: str = "abcdef.0123456789abcdef", *, change: Any = None, **data: str) -> Attempt:
    def make(world: World) -> str:
        secret = world.objects["secrets", "kube-system", "bootstrap-token-abcdef"]
        secret["data"].update(encoded(**data))
        if change is not None:
            change(secret)
        return token

    return make


POD = Bound("pod", "web", "pod-uid", ("n1", "node-uid"))
SECRET = Bound("secret", "bound", "secret-uid")
NODE = Bound("node", "n1", "node-uid")
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)

ATTEMPTS: dict[str, tuple[Attempt, str]] = {
    "unknown static token": (lambda world: "static-token2", "invalid bearer token"),
    "beginning of a static token": (lambda world: "static-toke", "invalid bearer token"),
    "static token in other case": (lambda world: "STATIC-TOKEN", "invalid bearer token"),
    "oversized token": (lambda world: "a" * 70_000, "too long"),
    "token that is not ASCII": (lambda world: "stätic-token", "invalid bearer token"),
    "nothing but dots": (lambda world: "..", "invalid bearer token"),
    "JSON form of a JWS": (lambda world: json.dumps({"payload": part(world.claims())}), "invalid bearer token"),
    "four parts": (lambda world: world.token() + ".x", "invalid bearer token"),
    "claims nested without end": (
        lambda world: f"{part({'alg': 'ES256'})}.{part(json.loads('[' * 900 + ']' * 900))}.x",
        "invalid bearer token",
    ),
    "alg none": (unsigned, "invalid signature"),
    "alg none with a signature": (lambda world: unsigned(world) + "c2ln", "invalid signature"),
    "HMAC with the public key": (with_public_key_as_secret, "invalid signature"),
    "signed by another key": (resigned(OTHER_KEY, "ES256"), "invalid signature"),
    "signed by another key under our key's id": (
        lambda world: world.signed(world.claims(), OTHER_KEY, "ES256", kid=world.keys.signing_key.public.key_id),
        "invalid signature",
    ),
    "signed by an RSA key": (resigned(RSA_KEY, "RS256"), "invalid signature"),
    "unknown key id": (resigned(None, "ES256", kid="../../etc/passwd"), "no keys found"),
    "key in the header": (own_key_in_header, "invalid signature"),
    "claims of another token": (swapped_claims, "invalid signature"),
    "signature cut off": (lambda world: world.token().rpartition(".")[0] + ".", "invalid signature"),
    "signature changed": (lambda world: world.token()[:-8] + "AAAAAAAA", "invalid signature"),
    "critical extension": (resigned(None, "ES256", crit=["exp2"], exp2=1), "invalid signature"),
    "another issuer": (spoiled(iss="https://evil.example"), "invalid bearer token"),
    "no issuer": (spoiled(iss=None), "invalid bearer token"),
    "issuer in a list": (spoiled(iss=["https://kubernetes.default.svc"]), "invalid bearer token"),
    "another audience": (spoiled(aud=["vault"]), "is invalid for the target audiences"),
    "audience as a prefix": (spoiled(aud="https://kubernetes.default"), "is invalid for the target audiences"),
    "audience of another type": (spoiled(aud={"a": 1}), "aud is not a list"),
    "expired": (after(later(3661)), "service account token has expired"),
    "expired long ago": (spoiled(exp=1), "service account token has expired"),
    "expiry as text": (spoiled(exp="never"), "exp is not a time"),
    "not valid yet": (spoiled(nbf=NOW + 61), "service account token is not valid yet"),
    "issued in the future": (spoiled(iat=NOW + 61), "issued in the future"),
    "no claims of Kubernetes": (spoiled(**{"kubernetes.io": None}), "could not be validated"),
    "claims of Kubernetes as text": (spoiled(**{"kubernetes.io": "x"}), "could not be validated"),
    "account as text": (own_claims(serviceaccount="builder"), "could not be validated"),
    "account in another namespace": (own_claims(namespace="kube-system"), 'serviceaccounts "builder" not found'),
    "another account's uid": (own_claims(serviceaccount={"name": "builder", "uid": "x"}), "does not match claim"),
    "account without uid": (own_claims(serviceaccount={"name": "builder"}), "does not match claim"),
    "account deleted": (after(without("serviceaccounts", "apps", "builder")), "not found"),
    "account made again": (after(again("serviceaccounts", "apps", "builder")), "does not match claim (sa-uid)"),
    "account being deleted": (after(deleted("serviceaccounts", "apps", "builder")), "has been deleted"),
    "pod deleted": (after(without("pods", "apps", "web"), bound=POD), "has been invalidated"),
    "pod made again": (after(again("pods", "apps", "web"), bound=POD), "pod UID (another-uid) does not match"),
    "pod being deleted": (after(deleted("pods", "apps", "web"), bound=POD), "has been invalidated"),
    "secret deleted": (after(without("secrets", "apps", "bound"), bound=SECRET), "has been invalidated"),
    "secret made again": (after(again("secrets", "apps", "bound"), bound=SECRET), "secret UID (another-uid)"),
    "node deleted": (after(without("nodes", "", "n1"), bound=NODE), "has been invalidated"),
    "node made again": (after(again("nodes", "", "n1"), bound=NODE), "node UID (another-uid)"),
    "secret of a token gone": (legacy(kept=None), "has been invalidated"),
    "secret holds another token": (legacy(kept="other"), "does not match server's copy"),
    "secret being deleted": (legacy(metadata={"deletionTimestamp": "2027-01-15T08:00:00Z"}), "invalidated"),
    "secret marked invalid": (
        legacy(metadata={"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}),
        "has been marked invalid",
    ),
    "account of a secret's token gone": (legacy(change=without("serviceaccounts", "apps", "builder")), "not found"),
    "account of a secret's token made again": (
        legacy(change=again("serviceaccounts", "apps", "builder")),
        "does not match claim",
    ),
    "older token, other subject": (legacy_claims(sub="system:admin"), "sub claim is invalid"),
    "older token, no subject": (legacy_claims(sub=None), "sub claim is missing"),
    "older token, no secret": (legacy_claims(**{"secret.name": None}), "secretName claim is missing"),
    "older token, other namespace": (legacy_claims(namespace="kube-system"), "sub claim is invalid"),
    "bootstrap, wrong secret": (bootstrap("abcdef.0123456789abcdee"), "invalid bearer token"),
    "bootstrap, unknown id": (bootstrap("abcdee.0123456789abcdef"), "invalid bearer token"),
    "bootstrap, expired": (bootstrap(expiration="2027-01-15T07:59:59Z"), "invalid bearer token"),
    "bootstrap, expiry not readable": (bootstrap(expiration="tomorrow"), "invalid bearer token"),
    "bootstrap, not for authentication": (bootstrap(usage_bootstrap_authentication="false"), "invalid bearer token"),
    "bootstrap, group of administrators": (bootstrap(auth_extra_groups="system:masters"), "invalid bearer token"),
    "bootstrap, other id inside": (bootstrap(token_id="fedcba"), "invalid bearer token"),
    "bootstrap, other type": (bootstrap(change=lambda secret: secret.update(type="Opaque")), "invalid bearer token"),
    "bootstrap, being deleted": (
        bootstrap(change=lambda secret: secret["metadata"].update(deletionTimestamp="2027-01-15T08:00:00Z")),
        "invalid bearer token",
    ),
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_a_token_that_does_not_hold(name: str, caplog: pytest.LogCaptureFixture) -> None:
    attempt, text = ATTEMPTS[name]
    world = World()
    token = attempt(world)
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidCredentialError) as refused:
        await world.who(request_of([("authorization", f"Bearer {token}".encode().decode("latin-1"))]))
    assert text in str(refused.value)
    shown = str(refused.value) + caplog.text
    assert len(token) < 12 or token not in shown


async def test_the_first_of_two_authorization_headers_counts() -> None:
    """A proxy that looks at one and a server that looks at the other would be a way around the proxy."""
    world = World()
    headers = [("authorization", "Bearer wrong"), ("authorization", "Bearer static-token")]
    with pytest.raises(InvalidCredentialError):
        await world.who(request_of(headers))


COMMON = [(NameOID.COMMON_NAME, "jane")]
CERTIFICATES: dict[str, tuple[bytes, str]] = {
    "expired": (certificate(COMMON, until_seconds=NOW - 1), "expired or is not yet valid"),
    "not valid yet": (certificate(COMMON, from_seconds=NOW + 1), "expired or is not yet valid"),
    "of a server": (certificate(COMMON, usage=ExtendedKeyUsageOID.SERVER_AUTH), "incompatible key usage"),
    "for signing code": (certificate(COMMON, usage=ExtendedKeyUsageOID.CODE_SIGNING), "incompatible key usage"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
async def test_a_certificate_that_does_not_hold(name: str) -> None:
    der, text = CERTIFICATES[name]
    with pytest.raises(InvalidCredentialError, match=text):
        await World().who(request_of([], der))


async def test_a_certificate_without_a_name_is_nobody() -> None:
    user = await World().who(request_of([], certificate([(NameOID.ORGANIZATION_NAME, "system:masters")])))
    assert user is not None
    assert user.groups == ("system:unauthenticated",)


async def test_a_certificate_runs_out_on_an_open_connection() -> None:
    world = World()
    der = certificate(COMMON)
    user = await world.who(request_of([], der))
    assert user is not None
    world.clock.seconds = NOW + 3601
    with pytest.raises(InvalidCredentialError):
        await world.who(request_of([], der))


async def test_what_was_verified_once_still_ends_with_its_object() -> None:
    """The memory of checked signatures must not outlive the account."""
    world = World()
    token = world.token(bound=POD)
    assert await world.bearer(token) is not None
    world.objects.pop(("pods", "apps", "web"))
    with pytest.raises(InvalidCredentialError, match="has been invalidated"):
        await world.bearer(token)


def test_the_table_is_long_enough() -> None:
    assert len(ATTEMPTS) + len(CERTIFICATES) >= 60
