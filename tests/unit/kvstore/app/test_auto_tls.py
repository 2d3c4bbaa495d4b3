from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from kvstore.app.auto_tls import self_signed, with_generated_certificates
from kvstore.app.flags import parse_flags
from kvstore.app.settings import settings_of
from kvstore.environment import Environment, real_environment
from kvstore.front import server_context

URLS = ("https://127.0.0.1:1", "https://localhost:2", "http://[::1]:3", "unixs:///tmp/s")


class LaterClock:
    """Real, but for the wall clock."""

    def __init__(self, seconds: float) -> None:
        self._real = real_environment().clock
        self._seconds = seconds

    def now(self) -> float:
        return self._real.now() + self._seconds

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def test_a_certificate_for_what_is_listened_on(tmp_path: Path) -> None:
    made = self_signed(str(tmp_path / "data/fixtures/client"), URLS, 2, real_environment())
    certificate = load(made.cert)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    assert set(names.get_values_for_type(x509.IPAddress)) == addresses
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=730)
    assert certificate.issuer.rfc4514_string() == certificate.subject.rfc4514_string() == "O=etcd"
    assert b"BEGIN EC PRIVATE KEY" in Path(made.key).read_bytes()
    ssl.create_default_context(cafile=made.cert)
    for path, mode in ((made.key, 0o600), (made.cert, 0o600), (str(tmp_path / "data/fixtures"), 0o700)):
        assert Path(path).stat().st_mode & 0o777 == mode


def test_it_is_found_again_until_it_has_run_out(tmp_path: Path) -> None:
    environment = real_environment()
    first = load(self_signed(str(tmp_path / "c"), URLS, 1, environment).cert)
    assert load(self_signed(str(tmp_path / "c"), URLS, 1, environment).cert) == first
    later = Environment(LaterClock(366 * 86_400), environment.randomness, environment.files)
    assert load(self_signed(str(tmp_path / "c"), URLS, 1, later).cert) != first
    (tmp_path / "c" / "key.pem").unlink()
    assert load(self_signed(str(tmp_path / "c"), URLS, 1, environment).cert) != first


@pytest.mark.parametrize("who", ["client", "peer"])
def test_settings_with_generated_certificates(who: str, tmp_path: Path) -> None:
    arguments = [
        f"--data-dir={tmp_path}",
        "--listen-client-urls=https://127.0.0.1:1",
        "--advertise-client-urls=https://127.0.0.1:1",
        "--listen-peer-urls=https://127.0.0.1:2",
        "--auto-tls",
        "--peer-auto-tls",
        "--tls-min-version=TLS1.3",
    ]
    settings = with_generated_certificates(settings_of(parse_flags(arguments, {})), real_environment())
    folder = tmp_path / "fixtures" / who
    if who == "client":
        assert settings.tls is not None
        assert settings.tls.cert == str(folder / "cert.pem")
        assert server_context(settings.tls).minimum_version is ssl.TLSVersion.TLSv1_3
        assert with_generated_certificates(replace(settings), real_environment()).tls == settings.tls
    else:
        tls = settings.options.peer_tls
        assert tls is not None
        assert (tls.cert, tls.key, tls.self_signed) == (str(folder / "cert.pem"), str(folder / "key.pem"), True)
        assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600


def test_nothing_is_made_unasked(tmp_path: Path) -> None:
    settings = settings_of(parse_flags([f"--data-dir={tmp_path / 'none'}"], {}))
    assert with_generated_certificates(settings, real_environment()) == settings
    assert not (tmp_path / "none").exists()
