"""Peer URLs, in etcd's forms (client/pkg/types/urls.go), and what gRPC calls the same places.

    http://host:port  https://host:port    in the clear, with TLS; IPv6 addresses in brackets
    unix://path  unixs://path              a socket file, likewise; `unix://localhost:2380` is a file of that name

Nothing else may stand in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["PeerURL"]

_SECURE = {"http": False, "https": True, "unix": False, "unixs": True}


@dataclass(frozen=True, slots=True)
class PeerURL:
    """One place where a member listens.

    Attributes:
        text: the URL as it was given.
        target: the same for gRPC.
        is_secure: by TLS.
        socket_host: for a socket file, the name that its certificate must be good for; None for a port.
    """

    text: str
    target: str
    is_secure: bool
    socket_host: str | None

    @classmethod
    def parse(cls, text: str) -> PeerURL:
        """Read a URL; raises ValueError, saying what is wrong with it."""
        text = text.strip()
        try:
            parts = urlsplit(text)
            is_secure = _SECURE[parts.scheme]
        except KeyError:
            raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}") from None
        except ValueError as error:
            raise ValueError(f"not a URL: {text}: {error}") from error
        if parts.scheme in ("unix", "unixs"):
            path = parts.netloc + parts.path
            if not path:
                raise ValueError(f"URL has no socket path: {text}")
            return cls(text, f"unix:{path}", is_secure, parts.netloc.partition(":")[0] or "localhost")
        try:
            port = parts.port
        except ValueError:
            port = None
        if port is None or "@" in parts.netloc:
            raise ValueError(f'URL address does not have the form "host:port": {text}')
        if parts.path or parts.query or parts.fragment:
            raise ValueError(f"URL must not contain a path: {text}")
        host = parts.hostname or "::"  # as in Go, no host means every address
        return cls(text, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", is_secure, None)

    def with_port(self, port: int) -> str:
        """The URL with the port that the system has chosen, where 0 asked for any."""
        return self.text if self.socket_host is not None else f"{self.text.rpartition(':')[0]}:{port}"
