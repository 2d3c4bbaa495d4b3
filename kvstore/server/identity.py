"""Who is who: member and cluster ids, as etcd derives them, and the record of them at the head of the log.

A member's id is the first 8 bytes of the SHA-1 of its sorted peer URLs and the cluster token, and the cluster's id
that of its sorted member ids (etcd `server/etcdserver/api/membership/member.go`, `cluster.go`); so every member works
out the same ids from the same flags.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kvstore.mvcc import encode_varint

__all__ = [
    "Identity",
    "check_founding",
    "cluster_id_of",
    "derive_identity",
    "is_peer_url",
    "member_id_of",
    "parse_initial_cluster",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """The two ids a member answers with."""

    member_id: int
    cluster_id: int

    def encode(self) -> bytes:
        """The log's metadata: etcd's `etcdserverpb.Metadata`, NodeID = 1 and ClusterID = 2."""
        return b"\x08" + encode_varint(self.member_id) + b"\x10" + encode_varint(self.cluster_id)

    @classmethod
    def decode(cls, metadata: bytes) -> Identity:
        """Read the log's metadata.

        Raises:
            ValueError: it is none.
        """
        ids: dict[int, int] = {}
        offset = 0
        while offset < len(metadata):
            tag, offset = _decode_varint(metadata, offset)
            ids[tag], offset = _decode_varint(metadata, offset)
        if set(ids) != {0x08, 0x10}:
            raise ValueError("the log's metadata names no member and cluster")
        return cls(ids[0x08], ids[0x10])


def _decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while offset < len(data):
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
    raise ValueError("unfinished number in the log's metadata")


def member_id_of(peer_urls: Iterable[str], cluster_token: str, added_at_seconds: int | None = None) -> int:
    """The id of a member with these peer URLs; one added to a running cluster also has the time of that in it."""
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update("".join(sorted(peer_urls)).encode())
    digest.update(cluster_token.encode())
    if added_at_seconds is not None:
        digest.update(str(added_at_seconds).encode())
    return int.from_bytes(digest.digest()[:8], "big")


def cluster_id_of(member_ids: Iterable[int]) -> int:
    """The id of the cluster these members start."""
    packed = b"".join(struct.pack(">Q", member_id) for member_id in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(packed, usedforsecurity=False).digest()[:8], "big")


def derive_identity(members: Mapping[str, Sequence[str]], name: str, cluster_token: str) -> Identity:
    """The ids of the member called `name` in an initial cluster of peer URLs by name.

    Raises:
        ValueError: no member has this name.
    """
    if name not in members:
        raise ValueError(f"couldn't find local name {name!r} in the initial cluster configuration")
    ids = {other: member_id_of(urls, cluster_token) for other, urls in members.items()}
    return Identity(ids[name], cluster_id_of(ids.values()))


def parse_initial_cluster(text: str) -> dict[str, list[str]]:
    """`name=url,name=url`, where a name may come several times, as peer URLs by name.

    Raises:
        ValueError: a part is not of that form.
    """
    members: dict[str, list[str]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, url = part.partition("=")
        if not separator or not name or not url:
            raise ValueError(f"error parsing initial cluster: {part!r} is not of the form <name>=<peer URL>")
        if not is_peer_url(url):
            raise ValueError(
                f"error parsing initial cluster: {url!r} is no peer URL: a scheme (http, https, unix, unixs), a host "
                "and a port, and no path"
            )
        members.setdefault(name, []).append(url)
    return members


def is_peer_url(url: str) -> bool:
    """Whether etcd takes it for one: a scheme, a host and a port, and no path (client/pkg/types/urls.go)."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("unix", "unixs"):
            return True
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None and not parts.path
    except ValueError:
        return False


def check_founding(members: Mapping[str, Sequence[str]], name: str, peer_urls: Sequence[str]) -> None:
    """Check that the member called `name` can found a cluster with the others (etcd `ServerConfig.VerifyBootstrap`).

    Raises:
        ValueError: it advertises other peer URLs than the cluster knows, or two members have one.
    """
    every = [url for urls in members.values() for url in urls]
    if len(set(every)) < len(every):
        named = ",".join(f"{other}={url}" for other, urls in members.items() for url in urls)
        raise ValueError(f"initial cluster {named} has duplicate url")
    known, advertised = sorted(members[name]), sorted(peer_urls)
    missing = [f"{name}={url}" for url in known if url not in advertised]
    if missing:
        raise ValueError(
            f"--initial-cluster has {','.join(missing)} but missing from "
            f"--initial-advertise-peer-urls={','.join(advertised)}"
        )
    unknown = [url for url in advertised if url not in known]
    if unknown:
        raise ValueError(
            f"--initial-advertise-peer-urls has {','.join(unknown)} but missing from "
            f"--initial-cluster={','.join(f'{name}={url}' for url in known)}"
        )
