"""Where a webhook is and how to get in, from a kubeconfig file (client-go `clientcmd`)."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from kvstore.environment import FileSystem

__all__ = ["Connection", "ConnectionConfigError", "load_connection"]


class ConnectionConfigError(Exception):
    """The kubeconfig file cannot be used; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A service and the credentials for it.

    Attributes:
        path: with the query, as it is asked for.
        tls: None for plain HTTP.
        headers: those that say who we are.
    """

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    server_name: str
    headers: tuple[tuple[str, str], ...] = ()


def load_connection(path: str, files: FileSystem) -> Connection:
    """The connection of a kubeconfig's current context.

    Raises:
        ConnectionConfigError: the file or something it names cannot be read or is not right.
    """
    try:
        with files.open(path, "rb") as file:
            config = yaml.safe_load(file.read())
    except OSError as error:
        raise ConnectionConfigError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConnectionConfigError(f"{path} is not YAML") from error
    if not isinstance(config, dict):
        raise ConnectionConfigError(f"{path} is not a kubeconfig")
    context = _named(config, "contexts", "context", config.get("current-context", ""), path)
    cluster = _named(config, "clusters", "cluster", context.get("cluster", ""), path)
    user = _named(config, "users", "user", context["user"], path) if context.get("user") else {}
    read = _Reader(os.path.dirname(os.path.abspath(path)), files)
    url = urlsplit(str(cluster.get("server", "")))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConnectionConfigError(f"{path}: the cluster's server {cluster.get('server', '')!r} is not a URL")
    where = url.path or "/"
    return Connection(
        url.hostname,
        url.port or (443 if url.scheme == "https" else 80),
        f"{where}?{url.query}" if url.query else where,
        _tls(cluster, user, read, path) if url.scheme == "https" else None,
        cluster.get("tls-server-name") or url.hostname,
        tuple(_credentials(user, read)),
    )


def _named(config: dict[str, Any], group: str, member: str, name: str, path: str) -> dict[str, Any]:
    """An entry of one of a kubeconfig's lists. Without a current context, the only one there is."""
    entries = [entry for entry in config.get(group) or () if isinstance(entry, dict)]
    if not name and len(entries) == 1:
        name = entries[0].get("name", "")
    for entry in entries:
        if entry.get("name") == name and isinstance(entry.get(member), dict):
            found: dict[str, Any] = entry[member]
            return found
    raise ConnectionConfigError(f"{path}: there is no {member} named {name!r}")


class _Reader:
    """Files that a kubeconfig names, relative to itself, or has inside."""

    def __init__(self, directory: str, files: FileSystem) -> None:
        self._directory = directory
        self._files = files

    def bytes_of(self, holder: dict[str, Any], name: str) -> bytes | None:
        data = holder.get(f"{name}-data")
        if data:
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError, TypeError) as error:
                raise ConnectionConfigError(f"{name}-data is not base64") from error
        if not holder.get(name):
            return None
        return self.file(str(holder[name]))

    def file(self, name: str) -> bytes:
        path = os.path.join(self._directory, name)
        try:
            with self._files.open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise ConnectionConfigError(f"cannot read {path}: {error.strerror}") from error


def _tls(cluster: dict[str, Any], user: dict[str, Any], read: _Reader, path: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        bundle = read.bytes_of(cluster, "certificate-authority")
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif bundle is not None:
            context = ssl.create_default_context(cadata=bundle.decode())
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate = read.bytes_of(user, "client-certificate")
        key = read.bytes_of(user, "client-key")
        if certificate is not None and key is not None:
            _load_client_certificate(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise ConnectionConfigError(f"{path}: a certificate or key in it cannot be used") from error
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module takes files alone: a private one, for a moment."""
    descriptor, name = tempfile.mkstemp(prefix="webhook-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)


def _credentials(user: dict[str, Any], read: _Reader) -> list[tuple[str, str]]:
    token = user.get("token") or (read.file(user["tokenFile"]).decode().strip() if user.get("tokenFile") else "")
    if token:
        return [("Authorization", f"Bearer {token}")]
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return [("Authorization", f"Basic {base64.b64encode(pair).decode()}")]
    return []
