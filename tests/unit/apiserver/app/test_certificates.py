"""The PKI: made once, private, found again, renewed in time."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from apiserver.app.certificates import LEAF_DAYS, PKI, default_hosts, ensure_pki, write_atomically
from apiserver.app.kubeconfig import write_admin_kubeconfig
from kvstore.environment import Environment, RealClock, real_environment

HOSTS = default_hosts("127.0.0.1", "10.0.0.1")


class LaterClock(RealClock):
    """The real clock, some days ahead."""

    def __init__(self, days: float) -> None:
        self._ahead = days * 86400

    def now(self) -> float:
        return super().now() + self._ahead


def later(days: float) -> Environment:
    return replace(real_environment(), clock=LaterClock(days))


def certificate(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


@pytest.fixture
async def pki(tmp_path: Path) -> PKI:
    return await ensure_pki(str(tmp_path / "pki"), HOSTS, real_environment())


def test_private_files_are_private_and_keys_are_p256(pki: PKI, tmp_path: Path) -> None:
    for path in (tmp_path / "pki").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (pki.server_key, pki.admin_key, pki.service_account_key):
        key = load_pem_private_key(Path(path).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"


def test_admin_is_in_system_masters_and_signed_by_the_ca(pki: PKI) -> None:
    admin, ca = certificate(pki.admin_cert), certificate(pki.ca_cert)
    admin.verify_directly_issued_by(ca)
    assert [a.value for a in admin.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["kubernetes-admin"]
    assert [a.value for a in admin.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters"]


def test_the_serving_certificate_names_every_host(pki: PKI) -> None:
    names = certificate(pki.server_cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert dns | addresses == set(HOSTS)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pki.server_cert, pki.server_key)


def contents(pki: PKI) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(pki.ca_cert).parent.iterdir()}


async def test_a_second_start_finds_everything_again(pki: PKI, tmp_path: Path) -> None:
    before = contents(pki)
    assert contents(await ensure_pki(str(tmp_path / "pki"), HOSTS, later(30))) == before


@pytest.mark.parametrize(("days", "hosts"), [(LEAF_DAYS - 10, HOSTS), (0, [*HOSTS, "new.example.com"])])
async def test_certificates_are_made_anew_and_the_rest_kept(
    pki: PKI, tmp_path: Path, days: float, hosts: list[str]
) -> None:
    before = contents(pki)
    after = contents(await ensure_pki(str(tmp_path / "pki"), hosts, later(days)))
    assert {name for name in after if after[name] != before[name]} == {"apiserver.crt", "admin.crt", "stamp"}


async def test_servers_that_start_at_once_on_one_directory_have_one_authority(tmp_path: Path) -> None:
    directory = str(tmp_path / "pki")
    found = await asyncio.gather(*(ensure_pki(directory, HOSTS, real_environment()) for _ in range(5)))
    before = contents(found[0])
    certificate(found[0].server_cert).verify_directly_issued_by(certificate(found[0].ca_cert))
    assert contents(await ensure_pki(directory, HOSTS, real_environment())) == before


async def test_whoever_comes_while_another_makes_the_files_waits_and_finds_them(tmp_path: Path) -> None:
    directory, environment = str(tmp_path / "pki"), real_environment()
    environment.files.makedirs(directory)
    with environment.files.open(f"{directory}/lock", "wb") as other:
        environment.files.lock(other)
        waiting = asyncio.create_task(ensure_pki(directory, HOSTS, environment))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        assert not (tmp_path / "pki" / "ca.crt").exists()
    certificate((await waiting).server_cert).verify_directly_issued_by(certificate(f"{directory}/ca.crt"))


async def test_hosts_of_servers_that_share_a_directory_add_up(pki: PKI, tmp_path: Path) -> None:
    await ensure_pki(str(tmp_path / "pki"), ["other.example.com"], real_environment())
    before = contents(pki)
    names = certificate(pki.server_cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"other.example.com", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    await ensure_pki(str(tmp_path / "pki"), HOSTS, real_environment())
    assert contents(pki) == before
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pki.server_cert, pki.server_key)


async def test_a_crash_between_files_is_mended(pki: PKI, tmp_path: Path) -> None:
    (tmp_path / "pki" / "admin.crt").unlink()
    await ensure_pki(str(tmp_path / "pki"), HOSTS, real_environment())
    certificate(pki.admin_cert).verify_directly_issued_by(certificate(pki.ca_cert))


def test_an_atomic_write_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(str(path), b"whole", real_environment().files)
    assert path.read_bytes() == b"whole"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_the_kubeconfig_is_complete_and_private(pki: PKI, tmp_path: Path) -> None:
    path = tmp_path / "admin.kubeconfig"
    write_admin_kubeconfig(str(path), "https://127.0.0.1:1234", pki, real_environment().files)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = json.loads(path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1234"
    embedded = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    assert embedded == Path(pki.admin_cert).read_bytes()
    stamp = path.stat().st_mtime_ns
    write_admin_kubeconfig(str(path), "https://127.0.0.1:1234", pki, real_environment().files)
    assert path.stat().st_mtime_ns == stamp
