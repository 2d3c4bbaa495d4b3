"""URLs to sockets, as Go would."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kvstore.front.addresses import Address, SocketOptions, bind, parse_url

NO_OPTIONS = SocketOptions()


def can_bind_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "secure", "address"),
    [
        ("http://127.0.0.1:1", False, Address("127.0.0.1", 1)),
        ("https://[::1]:2/", True, Address("::1", 2)),
        ("unix:///tmp/s", False, Address(path="/tmp/s")),
        ("unix:/tmp/s", False, Address(path="/tmp/s")),
        ("unixs://localhost:2379", True, Address(path="localhost:2379")),
        ("unix://sub/dir", False, Address(path="sub/dir")),
    ],
)
def test_urls(url: str, secure: bool, address: Address) -> None:
    assert parse_url(url) == (secure, address)


def test_addresses_as_urls() -> None:
    assert Address("::1", 2).url(secure=True) == "https://[::1]:2"
    assert Address("localhost", 2).url(secure=False) == "http://localhost:2"
    assert Address(path="/a").url(secure=True) == "unixs:///a"


async def test_a_name_is_one_address_and_rather_of_ipv4() -> None:
    listening, address = await bind(Address("localhost", 0), NO_OPTIONS)
    with listening:
        assert listening.family == socket.AF_INET
        assert address.host == "127.0.0.1"
        assert address.port == listening.getsockname()[1] != 0


@pytest.mark.skipif(not can_bind_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_wildcard_is_both_families(host: str) -> None:
    listening, address = await bind(Address(host, 0), NO_OPTIONS)
    with listening:
        assert address.host == host
        for reached in ("127.0.0.1", "::1"):
            socket.create_connection((reached, address.port)).close()


@pytest.mark.skipif(not can_bind_ipv6(), reason="this machine has no IPv6")
async def test_ipv6_alone() -> None:
    listening, address = await bind(Address("::1", 0), NO_OPTIONS)
    with listening:
        assert str(address) == f"[::1]:{address.port}"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", address.port))


async def test_a_port_in_use_can_be_shared_by_those_who_agree() -> None:
    first, address = await bind(Address("127.0.0.1", 0), SocketOptions(reuse_port=True))
    with first:
        second, _ = await bind(address, SocketOptions(reuse_port=True))
        second.close()
        with pytest.raises(OSError, match=f"listen tcp 127.0.0.1:{address.port}: bind: address already in use"):
            await bind(address, NO_OPTIONS)


async def test_socket_files(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "s"))
    listening, _ = await bind(address, NO_OPTIONS)
    with pytest.raises(OSError, match="bind: address already in use"):
        await bind(address, NO_OPTIONS)
    listening.close()
    again, _ = await bind(address, NO_OPTIONS)  # nobody answers there any more
    again.close()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="bind: address already in use"):
        await bind(Address(path=str(tmp_path / "file")), NO_OPTIONS)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(OSError, match="no such file or directory"):
        await bind(Address(path=str(tmp_path / "none" / "s")), NO_OPTIONS)
    with pytest.raises(OSError, match="path too long"):
        await bind(Address(path=str(tmp_path / ("x" * 120))), NO_OPTIONS)
