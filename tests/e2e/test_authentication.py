"""Who gets in, with real kubectl: certificates, tokens of every kind, acting as others."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.e2e.server_process import Kubectl, ServerProcess
from tests.unit.apiserver.authn.authorities import Authority
from tests.unit.apiserver.authn.oidc_issuer import OIDCIssuer

pytestmark = pytest.mark.e2e


class Users:
    """kubectl as whoever has a credential."""

    def __init__(self, server: ServerProcess, admin: Kubectl) -> None:
        self.server = server
        self.admin = admin
        ca = server.data_dir / "pki" / "ca.crt"
        self._flags = (f"--server={server.url}", f"--certificate-authority={ca}", "--kubeconfig=/dev/null")

    def flags(self, token: str) -> tuple[str, ...]:
        return (f"--token={token}", *self._flags)

    def who(self, token: str) -> dict[str, Any]:
        answer = json.loads(self.admin("auth", "whoami", "-o", "json", *self.flags(token)))
        user: dict[str, Any] = answer["status"]["userInfo"]
        return user

    def refused(self, token: str) -> None:
        assert "Unauthorized" in self.admin.fails("auth", "whoami", *self.flags(token))


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    home = tmp_path_factory.mktemp("authentication")
    tokens = home / "tokens.csv"
    tokens.write_text('secret-of-alice,alice,1001,"dev,ops"\n')
    server = ServerProcess(
        home / "data", f"--token-auth-file={tokens}", "--enable-bootstrap-token-auth", "-v=2"
    ).start()
    yield Users(server, Kubectl(server.kubeconfig, home))
    assert server.stop() == 0
    log = server.log.read_text()
    assert "secret-of-alice" not in log
    assert "eyJ" not in log, "no token in the log"


def eventually(found: Any, what: str) -> Any:
    """What a controller does a moment later."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def test_who_am_i(users: Users) -> None:
    shown = users.admin("auth", "whoami")
    assert "kubernetes-admin" in shown
    assert "X509SHA256=" in shown
    assert users.who("secret-of-alice") == {
        "username": "alice",
        "uid": "1001",
        "groups": ["dev", "ops", "system:authenticated"],
    }
    users.refused("secret-of-bob")


def test_attempts_are_counted(users: Users) -> None:
    users.refused("secret-of-nobody")
    shown = users.admin("get", "--raw", "/metrics")
    counts = dict(re.findall(r'^authentication_attempts{result="(\w+)"} (\S+)$', shown, re.MULTILINE))
    assert float(counts["error"]) >= 1
    assert float(counts["success"]) >= 1


def test_acting_as_others(users: Users) -> None:
    arguments = ("--as=bob", "--as-group=dev", "--as-group=ops", "--as-uid=7", "--as-user-extra=example.com/k=v")
    answer = users.admin.json("auth", "whoami", *arguments)
    assert answer["status"]["userInfo"] == {
        "username": "bob",
        "uid": "7",
        "groups": ["dev", "ops", "system:authenticated"],
        "extra": {"example.com/k": ["v"]},
    }


def test_tokens_of_service_accounts(users: Users) -> None:
    kubectl = users.admin
    eventually(lambda: kubectl.run("get", "sa", "default", check=False).returncode == 0, "the default account")
    kubectl("create", "serviceaccount", "builder")
    token = kubectl("create", "token", "builder", "--duration=10m").strip()
    user = users.who(token)
    assert user["username"] == "system:serviceaccount:default:builder"
    assert user["groups"][:2] == ["system:serviceaccounts", "system:serviceaccounts:default"]
    assert "authentication.kubernetes.io/credential-id" in user["extra"]
    users.refused(kubectl("create", "token", "builder", "--audience=vault").strip())
    assert "may not specify a duration less than 10 minutes" in kubectl.fails(
        "create", "token", "builder", "--duration=1m"
    )
    kubectl("delete", "serviceaccount", "builder")
    users.refused(token)


def test_a_stolen_token_of_a_pod_that_is_gone(users: Users) -> None:
    kubectl = users.admin
    kubectl("create", "serviceaccount", "worker")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker"},
        "spec": {"serviceAccountName": "worker", "containers": [{"name": "c", "image": "i"}]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    bound = ("--bound-object-kind=Pod", "--bound-object-name=worker")
    token = kubectl("create", "token", "worker", *bound).strip()
    assert users.who(token)["extra"]["authentication.kubernetes.io/pod-name"] == ["worker"]
    kubectl("delete", "pod", "worker", "--now")
    users.refused(token)


def test_a_token_in_a_secret(users: Users) -> None:
    kubectl = users.admin
    kubectl("create", "serviceaccount", "old")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "old", "annotations": {"kubernetes.io/service-account.name": "old"}},
        "type": "kubernetes.io/service-account-token",
    }
    kubectl("create", "-f", "-", stdin=json.dumps(secret))
    read = ("get", "secret", "old", "-o", "jsonpath={.data.token}")
    token = base64.b64decode(eventually(lambda: kubectl(*read), "the token")).decode()
    assert users.who(token)["username"] == "system:serviceaccount:default:old"
    kubectl("delete", "secret", "old")
    users.refused(token)


def test_a_bootstrap_token(users: Users) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
        },
    }
    users.admin("create", "-f", "-", stdin=json.dumps(secret))
    user = users.who("abcdef.0123456789abcdef")
    assert user["username"] == "system:bootstrap:abcdef"
    assert user["groups"] == ["system:bootstrappers", "system:authenticated"]
    users.refused("abcdef.0123456789abcdee")
    users.admin("delete", "secret", "-n", "kube-system", "bootstrap-token-abcdef")
    users.refused("abcdef.0123456789abcdef")


def test_others_can_check_tokens_by_the_published_keys(users: Users) -> None:
    kubectl = users.admin
    configuration = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))
    assert configuration["jwks_uri"].endswith("/openid/v1/jwks")
    keys = json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))
    token = kubectl("create", "token", "default", "--audience=vault").strip()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256"], audience="vault", issuer=configuration["issuer"])
    assert claims["sub"] == "system:serviceaccount:default:default"
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["vault"]},
    }
    answer = kubectl.json("create", "-f", "-", stdin=json.dumps(review))
    assert answer["status"]["authenticated"] is True


def test_every_namespace_has_an_account_and_the_ca(users: Users) -> None:
    kubectl = users.admin
    kubectl("create", "namespace", "fresh")
    read = ("get", "configmap", "-n", "fresh", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    bundle = eventually(lambda: kubectl.run(*read, check=False).stdout, "the CA")
    assert bundle == (users.server.data_dir / "pki" / "ca.crt").read_text()
    get = ("get", "sa", "-n", "fresh", "default")
    eventually(lambda: kubectl.run(*get, check=False).returncode == 0, "the account")
    kubectl("delete", "namespace", "fresh")


def test_key_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    server = ServerProcess(tmp_path / "data", f"--service-account-key-file={bad}")
    with pytest.raises(AssertionError, match=f"cannot use the keys {bad}"):
        server.start()
    assert server.process is not None
    assert server.process.wait(timeout=20) == 1
    server.kill()


ROLES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: Group, name: "oidc:dev", apiGroup: rbac.authorization.k8s.io}]
"""


class Guarded:
    """A server with RBAC, an OIDC issuer, proxies, and anonymous requests for one path."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.issuer = OIDCIssuer(directory)
        self.proxies, self.clients = Authority("proxies"), Authority("clients")
        self.configuration = directory / "authentication.yaml"
        self.configure("true")
        self.server = ServerProcess(
            directory / "data",
            f"--authentication-config={self.configuration}",
            "--authorization-mode=RBAC",
            f"--client-ca-file={self.clients.write(directory / 'clients.crt')}",
            f"--requestheader-client-ca-file={self.proxies.write(directory / 'proxies.crt')}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-allowed-names=front",
        ).start()
        self.admin = Kubectl(self.server.kubeconfig, directory)
        self.users = Users(self.server, self.admin)
        self.admin("apply", "-f", "-", stdin=ROLES)

    def configure(self, rule: str) -> None:
        mappings = {
            "username": {"expression": "'oidc:' + claims.sub"},
            "groups": {"claim": "groups", "prefix": "oidc:"},
        }
        entry = {
            "issuer": {
                "url": self.issuer.url,
                "audiences": ["cluster"],
                "certificateAuthority": self.issuer.certificate,
            },
            "claimMappings": mappings,
            "claimValidationRules": [{"expression": rule, "message": "not now"}],
        }
        document = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [entry],
            "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}]},
        }
        self.configuration.write_text(json.dumps(document))

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        return self.issuer.token({"sub": "jane", "groups": ["dev"], "aud": "cluster", "exp": now + 600, **claims})

    def get(self, path: str, *headers: tuple[str, str], pair: bytes = b"") -> tuple[int, str]:
        """Status and body, over TLS with a client certificate when one is given."""
        context = ssl.create_default_context(cafile=str(self.server.data_dir / "pki" / "ca.crt"))
        if pair:
            file = self.directory / "client.pem"
            file.write_bytes(pair)
            context.load_cert_chain(file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=context, timeout=10)
        connection.putrequest("GET", path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def stop(self) -> None:
        self.issuer.stop()
        assert self.server.stop() == 0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    yield made
    made.stop()


LIST = "/api/v1/namespaces/default/configmaps"


def ready_token(guarded: Guarded) -> str:
    """A token of the issuer, once its keys are known."""
    token = guarded.token()
    flags = guarded.users.flags(token)
    eventually(lambda: guarded.admin.run("auth", "whoami", *flags, check=False).returncode == 0, "the issuer")
    return token


def test_a_token_of_an_issuer(guarded: Guarded) -> None:
    token = ready_token(guarded)
    user = guarded.users.who(token)
    assert (user["username"], user["groups"]) == ("oidc:jane", ["oidc:dev", "system:authenticated"])
    flags = guarded.users.flags(token)
    assert "kube-root-ca.crt" in guarded.admin("get", "configmaps", *flags)
    assert 'User "oidc:jane" cannot list resource "secrets"' in guarded.admin.fails("get", "secrets", *flags)
    for claims in ({"aud": "other"}, {"exp": int(time.time()) - 60}, {"sub": 1}):
        guarded.users.refused(guarded.token(**claims))


def test_acting_as_others_without_the_right(guarded: Guarded) -> None:
    flags = guarded.users.flags(ready_token(guarded))
    for arguments in (["--as=kubernetes-admin"], ["--as=x", "--as-group=system:masters"], ["--as=x", "--as-uid=1"]):
        text = guarded.admin.fails("get", "configmaps", *arguments, *flags)
        assert 'User "oidc:jane" cannot impersonate' in text
    text = guarded.admin.fails("get", "secrets", "--as=bob")
    assert 'User "bob" cannot list resource "secrets"' in text
    assert "kube-root-ca.crt" in guarded.admin("get", "configmaps", "--as=bob", "--as-group=oidc:dev")


def test_rules_are_read_anew(guarded: Guarded) -> None:
    token = ready_token(guarded)
    flags = guarded.users.flags(token)
    guarded.configure("claims.sub != 'jane'")
    eventually(lambda: guarded.admin.run("auth", "whoami", *flags, check=False).returncode != 0, "the new rule")
    guarded.configure("claims.sub == 'jane'")
    eventually(lambda: guarded.admin.run("auth", "whoami", *flags, check=False).returncode == 0, "the newer rule")


def test_anonymous_requests_for_one_path(guarded: Guarded) -> None:
    assert guarded.get("/livez")[0] == 200
    for path in ("/readyz", "/api", LIST, "/livez/", "//livez", "/livez/..", "/%6civez/../api", "/livez%2f"):
        assert guarded.get(path)[0] in (401, 404), path
    status, body = guarded.get(LIST)
    assert status == 401
    assert json.loads(body) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


def test_users_named_in_headers(guarded: Guarded) -> None:
    jane = [("X-Remote-User", "jane"), ("X-Remote-Group", "oidc:dev")]
    admin = [("X-Remote-User", "root"), ("X-Remote-Group", "system:masters")]
    _, front = guarded.proxies.issue("front")
    assert guarded.get(LIST, *jane, pair=front)[0] == 200
    assert guarded.get("/api/v1/secrets", *jane, pair=front)[0] == 403
    assert guarded.get("/api/v1/secrets", *admin, pair=front)[0] == 200
    assert guarded.get("/api/v1/secrets", *admin)[0] == 401
    _, client = guarded.clients.issue("eve")
    status, body = guarded.get("/api/v1/secrets", *admin, pair=client)
    assert status == 403
    assert 'User \\"eve\\" cannot list' in body
    _, other = guarded.proxies.issue("other")
    assert guarded.get("/api/v1/secrets", *admin, pair=other)[0] == 401
    assert guarded.get("/api/v1/secrets", pair=front)[0] == 401
