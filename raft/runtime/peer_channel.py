"""What both ends of a connection between members agree on, and how one is opened."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
import grpc.aio

from raft.environment import FileSystem
from raft.runtime.peer_tls import CredentialFiles, PeerTLS
from raft.runtime.peer_url import PeerURL

__all__ = [
    "MESSAGES_METHOD",
    "MESSAGE_BYTES_MAX",
    "PING_METHOD",
    "REMOVED_REASON",
    "SNAPSHOT_METHOD",
    "Connector",
    "call_metadata",
]

MESSAGES_METHOD: Final = "/raftpeer.Peer/Messages"
SNAPSHOT_METHOD: Final = "/raftpeer.Peer/Snapshot"
PING_METHOD: Final = "/raftpeer.Peer/Ping"

CLUSTER_KEY: Final = "raft-cluster-id"
SENDER_KEY: Final = "raft-member-id"
TO_KEY: Final = "raft-to-id"
LANE_KEY: Final = "raft-lane"
URLS_KEY: Final = "raft-peer-urls"
"""Metadata: the first two with every call, the others with streams of messages. Ids are hexadecimal, as etcd's are; the
URLs are the sender's, joined by commas, for a receiver that has not heard of it yet.
"""
ACCEPTED: Final = (("raft-accepted", "1"),)
"""Metadata that tells an answer from a refusal: of every call at its end, of a stream of messages before the first."""

REMOVED_REASON: Final = "the member has been permanently removed from the cluster"
"""What a removed member is told, in etcd's words."""

MESSAGE_BYTES_MAX: Final = 64 << 20
"""The largest message over a connection, unless set otherwise: a batch of forwarded proposals is one."""

Metadata = tuple[tuple[str, str], ...]

_CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every lane
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)


def call_metadata(cluster_id: int | None, member_id: int | None) -> Metadata:
    """Who calls; None for what a member that joins does not know yet."""
    known = ((CLUSTER_KEY, cluster_id), (SENDER_KEY, member_id))
    return tuple((key, f"{number:x}") for key, number in known if number is not None)


def is_being_cancelled() -> bool:
    """Whether a CancelledError is meant for the running task; gRPC raises it, too, when a call of its own is ended."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Connector:
    """Opens channels, each with the certificate files as they are then."""

    def __init__(self, files: FileSystem, tls: PeerTLS | None) -> None:
        self._credentials = None if tls is None else CredentialFiles(files, tls)

    async def open(self, url: PeerURL) -> grpc.aio.Channel:
        """A channel that connects when it is used; raises OSError or ValueError (`CredentialFiles.channel_to`)."""
        if not url.is_secure:
            return grpc.aio.insecure_channel(url.target, options=_CHANNEL_OPTIONS)
        credentials, name = grpc.ssl_channel_credentials(), url.socket_host
        if self._credentials is not None:
            credentials, name = await self._credentials.channel_to(url)
        options: tuple[tuple[str, int | str], ...] = _CHANNEL_OPTIONS
        if name is not None:
            options = (*options, ("grpc.ssl_target_name_override", name))
        return grpc.aio.secure_channel(url.target, credentials, options=options)
