"""Authentication on mini-etcd as a process: restarts, files, certificates, the gateway, bad flags."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kvstore.client.grpc import ClientTLS, GrpcClient
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess
from tests.unit.raft.authority import Authority

pytestmark = pytest.mark.e2e

PASSWORD = "a password nobody else has"
SECONDS_MAX = 20.0


class Gateway:
    """The JSON gateway of one server."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __call__(self, path: str, authorization: str | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        request = urllib.request.Request(f"{self._endpoint}/v3/{path}", json.dumps(fields).encode(), method="POST")
        if authorization is not None:
            request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_MAX) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def enable(self) -> None:
        for path, fields in (
            ("auth/user/add", {"name": "root", "password": PASSWORD}),
            ("auth/user/grant", {"user": "root", "role": "root"}),
            ("auth/user/add", {"name": "alice", "password": PASSWORD}),
            ("auth/role/add", {"name": "reader"}),
            ("auth/role/grant", {"name": "reader", "perm": {"permType": "READ", "key": encoded("a")}}),
            ("auth/user/grant", {"user": "alice", "role": "reader"}),
            ("auth/enable", {}),
        ):
            status, body = self(path, **fields)
            assert status == 200, (path, body)

    def token(self, name: str) -> str:
        status, body = self("auth/authenticate", name=name, password=PASSWORD)
        assert status == 200, body
        return str(body["token"])


def encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def start(directory: Path, *flags: str, **options: Any) -> EtcdProcess:
    return EtcdProcess.start(directory, flags=("--bcrypt-cost=4", *flags), program=MINI_ETCD, **options)


def test_users_survive_a_restart_and_passwords_stand_nowhere(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        Gateway(server.endpoint).enable()
        token = Gateway(server.endpoint).token("root")
        log = b"".join(server.log)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (PASSWORD, token):
                assert secret.encode() not in content, path
    hashed = base64.b64encode(b"$2a$04")  # so that the search above would have found what it looked for
    assert any(hashed in path.read_bytes() for path in tmp_path.rglob("*.wal"))
    with start(tmp_path) as server:
        gateway = Gateway(server.endpoint)
        assert gateway("kv/range", key=encoded("a"))[0] == 400
        assert gateway("kv/range", token, key=encoded("a"))[0] == 401
        assert gateway("kv/range", gateway.token("alice"), key=encoded("a"))[0] == 200
        log += b"".join(server.log)
    assert PASSWORD.encode() not in log
    assert token.encode() not in log


def test_the_gateway(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        gateway = Gateway(server.endpoint)
        assert gateway("auth/status")[1] == {
            "header": gateway("auth/status")[1]["header"],
            "authRevision": "1",
        }
        gateway.enable()
        assert gateway("auth/status")[1]["enabled"] is True
        alice, root = gateway.token("alice"), gateway.token("root")
        for authorization in (alice, f"Bearer {alice}"):
            assert gateway("kv/range", authorization, key=encoded("a"))[0] == 200
        denied = {"code": 7, "message": "etcdserver: permission denied", "details": []}
        assert gateway("kv/put", alice, key=encoded("a")) == (403, denied)
        assert gateway("kv/put", f"Bearer {root}", key=encoded("a"))[0] == 200
        assert gateway("kv/put", "Bearer x.1", key=encoded("a")) == (
            401,
            {"code": 16, "message": "etcdserver: invalid auth token", "details": []},
        )
        assert gateway("kv/put", key=encoded("a")) == (
            400,
            {"code": 3, "message": "etcdserver: user name is empty", "details": []},
        )
        assert gateway("auth/user/list", root)[1]["users"] == ["alice", "root"]
        assert gateway("auth/role/get", alice, role="reader")[1]["perm"] == [{"key": encoded("a")}]
        for path in ("health", "livez", "readyz", "version", "metrics"):  # whoever looks after a server has no name
            with urllib.request.urlopen(f"{server.endpoint}/{path}", timeout=SECONDS_MAX) as response:
                assert response.status == 200
        assert gateway("auth/disable", root)[0] == 200
        assert gateway("kv/put", key=encoded("a"))[0] == 200


async def test_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "clients")
    server_pair = authority.issue("server", "server")
    alice, root = authority.issue("alice", "alice"), authority.issue("root", "root")
    flags = (
        f"--cert-file={server_pair.cert}",
        f"--key-file={server_pair.key}",
        f"--trusted-ca-file={authority.path}",
        "--client-cert-auth",
        "--auth-token=",
    )
    (tmp_path / "server-data").mkdir()
    with start(tmp_path / "server-data", *flags, scheme="https") as server:
        as_root = GrpcClient([server.endpoint], tls=ClientTLS(authority.path, root.cert, root.key))
        as_alice = GrpcClient([server.endpoint], tls=ClientTLS(authority.path, alice.cert, alice.key))
        for path, request, response in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORD), pb.AuthUserAddResponse),
            ("UserAdd", pb.AuthUserAddRequest(name="alice", password=PASSWORD), pb.AuthUserAddResponse),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root"), pb.AuthUserGrantRoleResponse),
            ("AuthEnable", pb.AuthEnableRequest(), pb.AuthEnableResponse),
        ):
            await as_alice._unary(f"/etcdserverpb.Auth/{path}", request, response)
        await as_root.put(pb.PutRequest(key=b"a"))
        with pytest.raises(EtcdError) as refused:
            await as_alice.range(pb.RangeRequest(key=b"a"))
        assert refused.value.code is StatusCode.PERMISSION_DENIED
        request = pb.AuthenticateRequest(name="root", password=PASSWORD)
        with pytest.raises(EtcdError) as refused:  # there are no tokens here
            await as_alice._unary("/etcdserverpb.Auth/Authenticate", request, pb.AuthenticateResponse)
        assert refused.value.code is StatusCode.INVALID_ARGUMENT
        await as_root.close()
        await as_alice.close()


@pytest.mark.parametrize("token", ["bogus", "jwt,sign-method=RS256,priv-key=/no/such/file", "simple,x"])
def test_bad_tokens_are_refused_at_the_start(tmp_path: Path, token: str) -> None:
    command = [*MINI_ETCD, f"--data-dir={tmp_path / 'data'}", f"--auth-token={token}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=Path(__file__).parents[3])
    assert done.returncode == 1
    assert json.loads(done.stderr.splitlines()[-1])["msg"] == "auth: invalid auth options"
