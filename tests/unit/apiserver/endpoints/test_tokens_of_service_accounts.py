"""TokenRequest, TokenReview and the documents that tell others how to check tokens."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver.authn import TokenUnion
from apiserver.authn.keys import key_set, load_public_keys, load_signing_key
from apiserver.authn.service_accounts.tokens import KeyRing, ServiceAccountTokens, TokenIssuer
from apiserver.authn.web_tokens import read_unverified
from apiserver.endpoints.openid import openid_handlers
from apiserver.endpoints.token_requests import TokenRequests
from apiserver.endpoints.token_reviews import TokenReviewer

AUDIENCES = ("https://kubernetes.default.svc",)
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
TOKEN = f"{ACCOUNTS}/builder/token"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


class Cluster:
    """The API with an account, a pod on a node, and tokens."""

    def __init__(self, api: Any, seconds_max: int = 0) -> None:
        self.api = api
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.keys = KeyRing(lambda: (load_signing_key(pem), load_public_keys(pem)))
        issuer = TokenIssuer(self.keys, AUDIENCES[0], api.clock, api.environment.randomness)
        checker = ServiceAccountTokens(self.keys, AUDIENCES, AUDIENCES, api.reader.get, api.clock)
        tokens = TokenUnion([checker])
        api.token_requests = TokenRequests(issuer, AUDIENCES, seconds_max)
        api.token_reviewer = TokenReviewer(tokens, AUDIENCES)
        api.rebuild()

    async def fill(self) -> Cluster:
        api = self.api
        await api("POST", ACCOUNTS, {"metadata": {"name": "builder"}}, expect=201)
        await api("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}}, expect=201)
        spec = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "builder", "nodeName": "n1"}
        pod = {"metadata": {"name": "web"}, "spec": spec}
        await api("POST", "/api/v1/namespaces/default/pods", pod, expect=201)
        secret = {"metadata": {"name": "bound"}}
        await api("POST", "/api/v1/namespaces/default/secrets", secret, expect=201)
        return self

    async def request(self, spec: dict[str, Any], expect: int = 201, **metadata: Any) -> Any:
        body = {"metadata": metadata, "spec": spec}
        return await self.api("POST", TOKEN, body, expect=expect)

    async def claims(self, spec: dict[str, Any]) -> dict[str, Any]:
        read = read_unverified((await self.request(spec)).json["status"]["token"])
        assert read is not None
        return read.claims


@pytest.fixture
async def cluster(api: Any) -> Cluster:
    return await Cluster(api).fill()


def reference(kind: str, name: str, **more: str) -> dict[str, Any]:
    return {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, **more}}


async def test_a_token_for_an_hour_when_nothing_is_said(cluster: Cluster) -> None:
    answer = (await cluster.request({})).json
    assert answer["kind"] == "TokenRequest"
    assert answer["metadata"]["name"] == "builder"
    assert answer["metadata"]["namespace"] == "default"
    assert answer["spec"] == {"audiences": list(AUDIENCES), "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:00Z"
    read = read_unverified(answer["status"]["token"])
    assert read is not None
    assert read.claims["sub"] == "system:serviceaccount:default:builder"
    assert read.claims["exp"] - read.claims["iat"] == 3600


async def test_what_a_token_is_bound_to(cluster: Cluster) -> None:
    pod = await cluster.claims(reference("Pod", "web"))
    assert set(pod["kubernetes.io"]) == {"namespace", "serviceaccount", "pod", "node"}
    assert pod["kubernetes.io"]["node"]["name"] == "n1"
    assert set((await cluster.claims(reference("Node", "n1")))["kubernetes.io"]) == {
        "namespace",
        "serviceaccount",
        "node",
    }
    secret = await cluster.claims(reference("Secret", "bound"))
    assert secret["kubernetes.io"]["secret"]["name"] == "bound"


async def test_a_projected_token_lives_on_and_is_noted(cluster: Cluster) -> None:
    claims = await cluster.claims({**reference("Pod", "web"), "expirationSeconds": 3607})
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    for spec in (
        {"expirationSeconds": 3607},
        {**reference("Pod", "web"), "expirationSeconds": 3608},
        {**reference("Pod", "web"), "expirationSeconds": 3607, "audiences": ["vault"]},
    ):
        claims = await cluster.claims(spec)
        assert claims["exp"] - claims["iat"] == spec["expirationSeconds"]
        assert "warnafter" not in claims["kubernetes.io"]


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "too short": (
        {"expirationSeconds": 599},
        {},
        422,
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: '
        "may not specify a duration less than 10 minutes",
    ),
    "too long": (
        {"expirationSeconds": (1 << 32) + 1},
        {},
        422,
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: '
        "may not specify a duration larger than 2^32 seconds",
    ),
    "other name": (
        {},
        {"name": "other"},
        422,
        'TokenRequest.authentication.k8s.io "builder" is invalid: metadata.name: Invalid value: "other": '
        "must match the service account name if specified",
    ),
    "other uid": (
        {},
        {"uid": "other"},
        409,
        'Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "builder": the UID in the token request '
        "(other) does not match the UID of the service account (",
    ),
    "pod that is not there": (reference("Pod", "no"), {}, 404, 'pods "no" not found'),
    "pod of another account": (
        reference("Pod", "foreign"),
        {},
        400,
        'cannot bind token for serviceaccount "builder" to pod running with different serviceaccount name.',
    ),
    "secret that is not there": (reference("Secret", "no"), {}, 404, 'secrets "no" not found'),
    "kind that cannot be": (reference("ConfigMap", "x"), {}, 400, "cannot bind token to object of type /v1, Kind=Conf"),
    "uid of another pod": (
        reference("Pod", "web", uid="other"),
        {},
        409,
        'Operation cannot be fulfilled on Pod "web": the UID in the bound object reference (other) does not match the '
        "UID in record. The object might have been deleted and then recreated",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_requests_that_are_refused(cluster: Cluster, name: str) -> None:
    spec, metadata, code, text = REFUSALS[name]
    pod = {"metadata": {"name": "foreign"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await cluster.api("POST", "/api/v1/namespaces/default/pods", pod, expect=201)
    answer = await cluster.request(spec, code, **metadata)
    assert answer.json["message"].startswith(text)


async def test_an_account_that_is_not_there(cluster: Cluster) -> None:
    answer = await cluster.api("POST", f"{ACCOUNTS}/nobody/token", {"spec": {}}, expect=404)
    assert answer.json["message"] == 'serviceaccounts "nobody" not found'


async def test_a_longest_life_is_kept_and_said(api: Any) -> None:
    cluster = await Cluster(api, seconds_max=7200).fill()
    answer = await cluster.request({"expirationSeconds": 10_000})
    assert answer.warnings == ['299 - "requested expiration of 10000 seconds shortened to 7200 seconds"']
    assert answer.json["spec"]["expirationSeconds"] == 7200
    assert (await cluster.request({"expirationSeconds": 7200})).warnings == []


async def test_reviews(cluster: Cluster) -> None:
    token = (await cluster.request({"audiences": ["vault", *AUDIENCES]})).json["status"]["token"]
    review = await cluster.api("POST", REVIEWS, {"spec": {"token": token, "audiences": ["vault", "x"]}}, expect=201)
    status = review.json["status"]
    assert status["authenticated"] is True
    assert status["audiences"] == ["vault"]
    assert status["user"]["username"] == "system:serviceaccount:default:builder"
    assert status["user"]["groups"][-1] == "system:authenticated"
    own = await cluster.api("POST", REVIEWS, {"spec": {"token": token}}, expect=201)
    assert own.json["status"]["audiences"] == list(AUDIENCES)
    other = await cluster.api("POST", REVIEWS, {"spec": {"token": token, "audiences": ["x"]}}, expect=201)
    assert "authenticated" not in other.json["status"]
    assert "is invalid for the target audiences" in other.json["status"]["error"]
    unknown = await cluster.api("POST", REVIEWS, {"spec": {"token": "abc"}}, expect=201)
    assert unknown.json["status"] == {"user": {}, "error": "invalid bearer token"}
    empty = await cluster.api("POST", REVIEWS, {"spec": {}}, expect=400)
    assert empty.json["message"] == "token is required for TokenReview in authentication"


async def test_reviews_in_protobuf(cluster: Cluster) -> None:
    token = (await cluster.request({})).json["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    body = cluster.api.codec.to_storage(review)
    protobuf = "application/vnd.kubernetes.protobuf"
    answer = await cluster.api("POST", REVIEWS, body, expect=201, content_type=protobuf, accept=protobuf)
    review = cluster.api.codec.from_wire(answer.body)
    assert review["status"]["user"]["username"] == "system:serviceaccount:default:builder"


async def test_a_token_ends_with_its_pod(cluster: Cluster) -> None:
    token = (await cluster.request(reference("Pod", "web"))).json["status"]["token"]
    review = {"spec": {"token": token}}
    assert (await cluster.api("POST", REVIEWS, review)).json["status"]["authenticated"] is True
    options = {"gracePeriodSeconds": 0}
    await cluster.api("DELETE", "/api/v1/namespaces/default/pods/web", options, expect=200)
    answer = await cluster.api("POST", REVIEWS, review)
    assert answer.json["status"] == {"user": {}, "error": "service account token has been invalidated"}


async def test_documents_for_others(cluster: Cluster) -> None:
    handlers = openid_handlers(
        AUDIENCES[0], lambda: "https://k:6443/openid/v1/jwks", lambda: key_set(cluster.keys.verifying_keys)
    )
    assert list(handlers) == ["/.well-known/openid-configuration", "/openid/v1/jwks"]
    cluster.api.handler  # noqa: B018  makes the router
    cluster.api.router.add_paths(handlers)
    configuration = await cluster.api("GET", "/.well-known/openid-configuration", expect=200)
    assert configuration.json == {
        "issuer": AUDIENCES[0],
        "jwks_uri": "https://k:6443/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    assert configuration.header("cache-control") == "public, max-age=3600"
    keys = await cluster.api("GET", "/openid/v1/jwks", expect=200)
    assert keys.content_type == "application/jwk-set+json"
    assert keys.json["keys"][0]["kid"] == cluster.keys.signing_key.public.key_id
    assert openid_handlers("http://plain", str, dict) == {}
    assert openid_handlers("kubernetes/serviceaccount", str, dict) == {}
