"""Objects, keys, a clock and requests for tests of authenticators, without a server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.authn import AudienceAgnostic, BearerAuthenticator, TokenUnion, UnionAuthenticator, X509Authenticator
from apiserver.authn.anonymous import AnonymousAuthenticator
from apiserver.authn.bootstrap_tokens import BootstrapTokenAuthenticator
from apiserver.authn.keys import load_public_keys, load_signing_key
from apiserver.authn.service_accounts.tokens import KeyRing, ServiceAccountTokens, TokenIssuer
from apiserver.authn.token_file import TokenFileAuthenticator, parse_token_file
from apiserver.request import Request, UserInfo
from kvstore.environment import SeededRandomness

NOW = 1_800_000_000
ISSUER = "https://kubernetes.default.svc"
AUDIENCES = (ISSUER,)
STATIC = 'static-token,alice,1001,"dev,ops"\n'


def private_pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = float(NOW)

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Any:
        raise AssertionError("nothing here sets timers")

    async def sleep(self, delay_seconds: float) -> None:
        self.seconds += delay_seconds
        await asyncio.sleep(0)


def encoded(**values: str) -> dict[str, str]:
    return {name.replace("_", "-"): base64.b64encode(value.encode()).decode() for name, value in values.items()}


def request_with(**headers: str) -> Request:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return request_of(list(named.items()))


def request_of(headers: list[tuple[str, str]], certificate: bytes | None = None, path: str = "/api") -> Request:
    """A request as the HTTP layer hands it on: the last of several equal headers is in the map, all are in the list."""

    async def nothing(limit: int) -> bytes:
        return b""

    async def never() -> None:
        await asyncio.Event().wait()

    return Request(
        method="GET",
        path=path,
        raw_path=path,
        query={},
        headers=dict(headers),
        remote_address="127.0.0.1",
        peer_certificate=certificate,
        read_body=nothing,
        disconnected=never,
        received_seconds=float(NOW),
        header_list=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    )


class World:
    """A cluster with one account, one pod, one node, one Secret, one bootstrap token and one static token."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.put("serviceaccounts", "apps", "builder", "sa-uid")
        self.put("pods", "apps", "web", "pod-uid")
        self.put("secrets", "apps", "bound", "secret-uid")
        self.put("nodes", "", "n1", "node-uid")
        self.put(
            "secrets",
            "kube-system",
            "bootstrap-token-abcdef",
            "b",
            type="bootstrap.kubernetes.io/token",
            data=encoded(
                token_id="abcdef",
                token_secret="0123456789abcdef",
                usage_bootstrap_authentication="true",
                auth_extra_groups="system:bootstrappers:kubeadm:default-node-token",
            ),
        )
        signing = load_signing_key(private_pem(self.key))
        self.keys = KeyRing(lambda: (signing, load_public_keys(public_pem(self.key))))
        self.issuer = TokenIssuer(self.keys, ISSUER, self.clock, SeededRandomness(7))
        self.checker = ServiceAccountTokens(self.keys, (ISSUER,), AUDIENCES, self.get, self.clock)
        self.tokens = TokenUnion(
            [
                AudienceAgnostic(TokenFileAuthenticator(parse_token_file(STATIC, "f")), AUDIENCES),
                self.checker,
                AudienceAgnostic(BootstrapTokenAuthenticator(self.get, self.clock), AUDIENCES),
            ]
        )
        self.union = UnionAuthenticator(
            [X509Authenticator(), BearerAuthenticator(self.tokens, AUDIENCES)], AnonymousAuthenticator()
        )

    def put(self, resource: str, namespace: str, name: str, uid: str, **fields: Any) -> dict[str, Any]:
        obj = {"metadata": {"name": name, "namespace": namespace, "uid": uid}, **fields}
        self.objects[resource, namespace, name] = obj
        return obj

    async def get(self, group: str, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert group == ""
        return self.objects.get((resource, namespace, name))

    @property
    def account(self) -> dict[str, Any]:
        return self.objects["serviceaccounts", "apps", "builder"]

    def token(self, **more: Any) -> str:
        return self.issuer.issue(self.account, more.pop("audiences", AUDIENCES), more.pop("seconds", 3600), **more)[0]

    def claims(self) -> dict[str, Any]:
        """Claims of a good token, to be spoiled."""
        return {
            "aud": list(AUDIENCES),
            "exp": NOW + 3600,
            "iat": NOW,
            "iss": ISSUER,
            "nbf": NOW,
            "sub": "system:serviceaccount:apps:builder",
            "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "builder", "uid": "sa-uid"}},
        }

    def signed(self, claims: dict[str, Any], key: Any = None, algorithm: str = "ES256", **headers: Any) -> str:
        return jwt.api_jws.encode(json.dumps(claims).encode(), key or self.key, algorithm, headers=headers or None)

    async def who(self, request: Request) -> UserInfo | None:
        request.received_seconds = self.clock.now()
        return await self.union.authenticate(request)

    async def bearer(self, token: str) -> UserInfo | None:
        return await self.who(request_with(authorization=f"Bearer {token}"))


def certificate(
    names: list[tuple[Any, str]],
    *,
    usage: Any = ExtendedKeyUsageOID.CLIENT_AUTH,
    from_seconds: int = NOW - 60,
    until_seconds: int = NOW + 3600,
) -> bytes:
    """A certificate in DER; its chain is the TLS layer's business."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(from_seconds, UTC))
        .not_valid_after(datetime.fromtimestamp(until_seconds, UTC) + timedelta())
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
