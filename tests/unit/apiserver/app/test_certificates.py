"""The PKI: made once, private, found again, renewed in time."""

from __future__ import annotations

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
def pki(tmp_path: Path) -> PKI:
    return ensure_pki(str(tmp_path), HOSTS, real_environment())


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


def test_a_second_start_finds_everything_again(pki: PKI, tmp_path: Path) -> None:
    before = contents(pki)
    assert contents(ensure_pki(str(tmp_path), HOSTS, later(30))) == before


@pytest.mark.parametrize(("days", "hosts"), [(LEAF_DAYS - 10, HOSTS), (0, [*HOSTS, "new.example.com"])])
def test_leaves_are_made_anew_and_the_rest_kept(pki: PKI, tmp_path: Path, days: float, hosts: list[str]) -> None:
    before = contents(pki)
    after = contents(ensure_pki(str(tmp_path), hosts, later(days)))
    assert {name for name in after if after[name] == before[name]} == {"ca.crt", "ca.key", "sa.key", "sa.pub"}


def test_a_crash_between_files_is_mended(pki: PKI, tmp_path: Path) -> None:
    (tmp_path / "pki" / "admin.crt").unlink()
    ensure_pki(str(tmp_path), HOSTS, real_environment())
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
