from __future__ import annotations

import pytest

from raft.runtime.peer_url import PeerURL


@pytest.mark.parametrize(
    ("text", "target", "is_secure", "socket_host"),
    [
        ("http://10.0.0.1:2380", "10.0.0.1:2380", False, None),
        (" https://a.example:2380 ", "a.example:2380", True, None),
        ("http://[::1]:2380", "[::1]:2380", False, None),
        ("http://:2380", "[::]:2380", False, None),
        ("unix://localhost:2380", "unix:localhost:2380", False, "localhost"),
        ("unix:///run/peer", "unix:/run/peer", False, "localhost"),
        ("unix:/run/peer", "unix:/run/peer", False, "localhost"),
        ("unixs://m1:23800", "unix:m1:23800", True, "m1"),
    ],
)
def test_peer_urls(text: str, target: str, is_secure: bool, socket_host: str | None) -> None:
    url = PeerURL.parse(text)
    assert (url.text, url.target, url.is_secure, url.socket_host) == (text.strip(), target, is_secure, socket_host)
    assert url.with_port(9) == (url.text if socket_host else url.text.replace("2380", "9"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1:2380", "URL scheme must be http, https, unix, or unixs"),
        ("ftp://10.0.0.1:2380", "URL scheme must be http, https, unix, or unixs"),
        ("", "URL scheme must be"),
        ("http://10.0.0.1", 'does not have the form "host:port"'),
        ("http://10.0.0.1:x", 'does not have the form "host:port"'),
        ("http://10.0.0.1:70000", 'does not have the form "host:port"'),
        ("http://user@10.0.0.1:2380", 'does not have the form "host:port"'),
        ("http://10.0.0.1:2380/path", "must not contain a path"),
        ("http://10.0.0.1:2380?a=b", "must not contain a path"),
        ("http://[::1:2380", "not a URL"),
        ("unix://", "no socket path"),
    ],
)
def test_what_is_no_peer_url(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PeerURL.parse(text)
