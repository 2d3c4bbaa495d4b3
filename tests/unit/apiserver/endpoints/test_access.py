"""Who gets in, and what those who do not are told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from apiserver.api.status import StatusError
from apiserver.authn import AnonymousAuthenticator, InvalidCredentialError, UnionAuthenticator
from apiserver.authz import AlwaysAllow, AlwaysDeny, Attributes, Decision, PrivilegedGroups, UnionAuthorizer
from apiserver.filters import AuthenticationAttempts, ChainOptions
from apiserver.filters.authentication import with_authentication
from apiserver.request import Request, UserInfo
from tests.unit.apiserver.authn.authn_world import request_of

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


class ByHeader:
    """The user is in a header; the user `bad` has a bad credential."""

    async def authenticate(self, request: Request) -> UserInfo | None:
        name = request.headers.get("x-user")
        if name == "bad":
            raise InvalidCredentialError("no")
        groups = tuple(filter(None, request.headers.get("x-groups", "").split(",")))
        return UserInfo(name, groups=groups) if name else None


@pytest.fixture
def closed(api: Any) -> Any:
    """A server that lets only system:masters do anything."""
    api._handler = None
    api.authenticator = UnionAuthenticator([ByHeader()], AnonymousAuthenticator())
    api.authorizer = UnionAuthorizer([PrivilegedGroups(), AlwaysDeny()])
    return api


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        (
            "GET",
            "/api/v1/namespaces/default/pods",
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"',
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/p/log",
            'pods "p" is forbidden: User "jane" cannot get resource "pods/log" in API group "" '
            'in the namespace "default"',
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/x/deployments/d",
            'deployments.apps "d" is forbidden: User "jane" cannot delete resource "deployments" in API group "apps" '
            'in the namespace "x"',
        ),
        (
            "GET",
            "/api/v1/nodes?watch=true",
            'nodes is forbidden: User "jane" cannot watch resource "nodes" in API group "" at the cluster scope',
        ),
        ("GET", "/metrics", 'forbidden: User "jane" cannot get path "/metrics"'),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods",
            'pods is forbidden: User "jane" cannot deletecollection resource "pods" in API group "" in the namespace '
            '"default"',
        ),
    ],
)
async def test_texts_of_403(closed: Any, method: str, path: str, message: str) -> None:
    answer = await closed(method, path, expect=403, x_user="jane")
    status = answer.json
    assert status["message"] == message + ": Everything is forbidden."
    assert status["reason"] == "Forbidden"
    assert answer.header("x-content-type-options") == "nosniff"


async def test_markup_in_names_is_defused(closed: Any) -> None:
    answer = await closed("GET", "/x", expect=403, x_user="<b>")
    assert 'User "&lt;b&gt;"' in answer.json["message"]


async def test_masters_may(closed: Any) -> None:
    await closed("GET", CONFIG_MAPS, expect=200, x_user="admin", x_groups="system:masters")


async def test_bad_credentials_are_401_and_never_anonymous(closed: Any) -> None:
    answer = await closed("GET", CONFIG_MAPS, expect=401, x_user="bad")
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


async def test_without_credentials_one_is_anonymous_or_nobody(closed: Any) -> None:
    answer = await closed("GET", CONFIG_MAPS, expect=403)
    assert 'User "system:anonymous" cannot list' in answer.json["message"]
    closed._handler = None
    closed.authenticator = UnionAuthenticator([ByHeader()], AnonymousAuthenticator(paths=["/livez"]))
    await closed("GET", CONFIG_MAPS, expect=401)


async def test_nothing_is_decoded_before_authorization(closed: Any) -> None:
    await closed("POST", CONFIG_MAPS, b"{nonsense", expect=403, x_user="jane")


async def test_everybody_known_is_authenticated(closed: Any) -> None:
    closed.authorizer = AlwaysAllow()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await closed("POST", path, review, expect=201, x_user="jane", x_groups="dev")
    assert answer.json["status"]["userInfo"] == {"username": "jane", "groups": ["dev", "system:authenticated"]}


async def test_self_subject_review_in_protobuf(closed: Any) -> None:
    closed.authorizer = AlwaysAllow()
    protobuf = "application/vnd.kubernetes.protobuf"
    body = closed.codec.to_storage(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    )
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await closed("POST", path, body, expect=201, x_user="jane", content_type=protobuf, accept=protobuf)
    review = closed.codec.from_wire(answer.body)
    assert review["status"]["userInfo"]["username"] == "jane"


async def test_access_reviews(closed: Any) -> None:
    class Only:
        async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
            if attributes.user.name == "admin":
                return Decision.ALLOW, ""
            if attributes.resource == "secrets":
                return Decision.DENY, "never"
            return (Decision.ALLOW, "ok") if attributes.resource == "pods" else (Decision.NO_OPINION, "")

    closed.authorizer = Only()
    base = "/apis/authorization.k8s.io/v1/"

    def review(kind: str, **spec: Any) -> dict[str, Any]:
        return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}

    async def ask(resource: str) -> Any:
        spec = {"resourceAttributes": {"verb": "get", "resource": resource}, "user": "jane"}
        path = base + "subjectaccessreviews"
        return (await closed("POST", path, review("SubjectAccessReview", **spec), expect=201, x_user="admin")).json

    assert (await ask("pods"))["status"] == {"allowed": True, "reason": "ok"}
    assert (await ask("secrets"))["status"] == {"allowed": False, "denied": True, "reason": "never"}
    assert (await ask("nodes"))["status"] == {"allowed": False}
    own = review("SelfSubjectAccessReview", nonResourceAttributes={"path": "/x", "verb": "get"})
    answer = await closed("POST", base + "selfsubjectaccessreviews", own, expect=201, x_user="admin")
    assert answer.json["status"] == {"allowed": True}
    bad = await closed("POST", base + "subjectaccessreviews", review("SubjectAccessReview"), expect=422, x_user="admin")
    assert "exactly one of nonResourceAttributes or resourceAttributes must be specified" in bad.json["message"]
    assert "at least one of user or group must be specified" in bad.json["message"]
    local = review("LocalSubjectAccessReview", user="j", resourceAttributes={"namespace": "other", "verb": "get"})
    path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    bad = await closed("POST", path, local, expect=400, x_user="admin")
    assert bad.json["message"] == "spec.resourceAttributes.namespace must match namespace: default"
    await closed("GET", base + "subjectaccessreviews", expect=405, x_user="admin")


async def test_rules_review(api: Any) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
    status = (await api("POST", path, body, expect=201)).json["status"]
    assert status["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    assert status["nonResourceRules"] == [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    assert status["incomplete"] is False
    body["spec"] = {}
    answer = await api("POST", path, body, expect=400)
    assert answer.json["message"] == "no namespace on request"


async def test_a_patch_may_only_create_what_one_may_create(closed: Any) -> None:
    class NoCreate:
        async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
            return (Decision.NO_OPINION if attributes.verb == "create" else Decision.ALLOW), ""

    closed.authorizer = NoCreate()
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    answer = await closed("PUT", path, lease, expect=403, x_user="jane")
    assert answer.json["message"] == (
        'leases.coordination.k8s.io "l" is forbidden: User "jane" cannot create resource "leases" in API group '
        '"coordination.k8s.io" in the namespace "default"'
    )


async def test_requests_in_flight_are_bounded(api: Any) -> None:
    api._handler = None
    api.options = ChainOptions(reads_in_flight_max=1, mutating_in_flight_max=1)
    entered, leave = asyncio.Event(), asyncio.Event()
    real = api.storage.get

    async def slow(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        await leave.wait()
        return await real(*args, **kwargs)

    api.storage.get = slow
    first = asyncio.create_task(api("GET", CONFIG_MAPS + "/a"))
    await entered.wait()
    second = await api("GET", CONFIG_MAPS, expect=429)
    assert second.body == b"Too many requests, please try again later.\n"
    assert second.header("retry-after") == "1"
    watch = await api("GET", CONFIG_MAPS + "?watch=true&resourceVersion=1", expect=200)
    await watch.stream.aclose()
    leave.set()
    assert (await first).status == 404
    await api("GET", CONFIG_MAPS, expect=200)


async def test_requests_have_a_deadline(api: Any) -> None:
    entered = asyncio.Event()

    async def never(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    api.storage.get = never
    running = asyncio.create_task(api("GET", CONFIG_MAPS + "/a"))
    await entered.wait()
    api.clock.advance(59)
    await asyncio.sleep(0)
    assert not running.done()
    entered.clear()
    short = asyncio.create_task(api("GET", CONFIG_MAPS + "/a?timeout=500ms"))
    await entered.wait()
    api.clock.advance(0.6)
    answer = await short
    assert answer.status == 504
    assert answer.json["message"] == "Timeout: request did not complete within the allotted timeout"
    assert answer.json["reason"] == "Timeout"
    assert not running.done()
    api.clock.advance(2)
    assert (await running).status == 504
    bad = await api("GET", CONFIG_MAPS + "/a?timeout=soon", expect=400)
    assert bad.json["message"] == 'invalid timeout specified in the request URL - time: invalid duration "soon"'


async def test_cancelled_requests_stay_cancelled(api: Any) -> None:
    entered = asyncio.Event()

    async def never(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    api.storage.get = never
    running = asyncio.create_task(api("GET", CONFIG_MAPS + "/a"))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_broken_handler_is_500(api: Any, caplog: Any) -> None:
    async def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    api.storage.get = broken
    answer = await api("GET", CONFIG_MAPS + "/a", expect=500)
    assert answer.body == b"This request caused apiserver to panic. Look in the logs for details.\n"
    assert "panicked" in caplog.text


async def test_the_audit_id_of_the_client_is_kept(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS, expect=200, audit_id="my-own")
    assert answer.header("audit-id") == "my-own"
    first = (await api("GET", CONFIG_MAPS)).header("audit-id")
    second = (await api("GET", CONFIG_MAPS)).header("audit-id")
    assert first != second


async def test_warnings_are_shown_once_and_cut(api: Any) -> None:
    from apiserver.filters.warnings import warning_headers

    assert warning_headers(["a", "a", 'say "b"\\', "", "no\x07bell"]) == ['299 - "a"', '299 - "say \\"b\\"\\\\"']
    long = [f"{number}" + "x" * 1000 for number in range(30)]
    cut = warning_headers(long)
    assert all(len(value) == 256 + 8 for value in cut)
    assert len(cut) == 16


async def test_attempts_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    attempts = AuthenticationAttempts()

    async def handler(request: Request) -> Any:
        return None

    filtered = with_authentication(handler, UnionAuthenticator([ByHeader()]), attempts)
    for name in ("alice", "alice", "bad", ""):
        request = request_of([("x-user", name)] if name else [])
        with contextlib.suppress(StatusError):
            await filtered(request)
    (family,) = attempts.metrics()
    assert {sample.labels["result"]: sample.value for sample in family.samples} == {
        "success": 2.0,
        "failure": 1.0,
        "error": 1.0,
    }
    assert [record.getMessage() for record in caplog.records] == [
        "unable to authenticate a request from 127.0.0.1: no"
    ]
