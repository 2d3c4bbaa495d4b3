"""TLS between members, and clusters that are crossed by mistake."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from tests.integration.kvstore_cli.authority import Authority, Pair
from tests.integration.kvstore_cluster.processes import MakeCluster

pytestmark = [pytest.mark.e2e]


def tls_flags(authority: Authority, pair: Pair) -> list[str]:
    return [
        f"--peer-cert-file={pair.cert}",
        f"--peer-key-file={pair.key}",
        f"--peer-trusted-ca-file={authority.ca}",
        "--peer-client-cert-auth",
    ]


def made(folder: Path) -> Authority:
    folder.mkdir()
    return Authority(folder)


async def test_certificates_between_members(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(scheme="https")
    ours, theirs = made(tmp_path / "ours"), made(tmp_path / "theirs")
    pairs = {name: ours.sign(name) for name in ("m1", "m2", "m3")}
    for name, pair in pairs.items():
        cluster.add(name, *tls_flags(ours, pair), "--peer-cert-allowed-cn=m1,m2,m3")
    for name in pairs:
        cluster.start(name)
    for name in pairs:
        await cluster.members[name].ready()
    await cluster.put("m1", b"a", b"1")
    await cluster.agree()

    # Another authority's certificate, and one of ours with another name, in place of m3's.
    m3, flags = cluster.members["m3"], list(cluster.members["m3"].flags)
    m3.stop()
    for authority, pair, reason in (
        (theirs, theirs.sign("m3"), None),
        (ours, ours.sign("m4"), "client certificate authentication failed: its common name is not allowed"),
    ):
        marks = {name: cluster.members[name].mark() for name in ("m1", "m2")}
        m3.flags = [*flags, *tls_flags(authority, pair)]
        mark = cluster.start("m3")
        if reason is None:
            await m3.logged("no connection to member", mark)
        else:
            for name, since in marks.items():
                line = await cluster.members[name].logged("a call from member", since, reason)
                assert line["level"] == "warn"
        m3.kill()
        assert not any(line["msg"] == "ready to serve client requests" for line in m3.log[mark:])
    await cluster.put("m2", b"a", b"2")

    # New certificates, without a restart: those who connect from now on see them.
    for name in pairs:
        ours.sign(name)
    assert await shown(cluster.members["m1"].peer_url, ours, pairs["m2"]) == Path(pairs["m1"].cert).read_text()
    m3.flags = flags
    await cluster.restart("m3")
    assert (await cluster.get("m3", b"a")).kvs[0].value == b"2"
    await cluster.agree()


async def shown(url: str, authority: Authority, pair: Pair) -> str:
    """The certificate that a peer port shows."""
    context = authority.context(pair)
    context.set_alpn_protocols(["h2"])
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(certificate)


async def test_certificates_that_members_make(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(scheme="https")
    await cluster.found("--peer-auto-tls")
    await cluster.put("m1", b"a", b"1")
    await cluster.agree()
    assert (cluster.members["m2"].directory / "fixtures" / "peer" / "cert.pem").exists()


async def test_clusters_crossed_by_mistake(make_cluster: MakeCluster) -> None:
    """A member of one cluster is started at an address where the other cluster expects one of its own."""
    one = make_cluster()
    await one.found(names=("m1", "m2"))
    other = make_cluster()
    stranger = other.add("n1")
    other.start("n1")
    await stranger.ready()
    one.members["m2"].kill()
    stranger.stop()
    shutil.copytree(stranger.directory, one.directory / "stray")
    stranger.directory = one.directory / "stray"
    stranger.peer_url = one.members["m2"].peer_url
    mark, own_mark = one.members["m1"].mark(), stranger.mark()
    stranger.start(other.initial())
    await stranger.ready(own_mark)
    await stranger.logged("a call from member", own_mark, "cluster ID mismatch")
    await one.members["m1"].logged("no connection to member", mark, "cluster ID mismatch")
    await other.put("n1", b"a", b"1")  # it goes on by itself
