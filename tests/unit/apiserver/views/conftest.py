from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from apiserver.api.scheme import Scheme, load_scheme
from apiserver.request import Request


@pytest.fixture(scope="session")
def scheme() -> Scheme:
    return load_scheme()


async def _no_body(limit: int) -> bytes:
    return b""


async def _stays() -> None:
    return None


@pytest.fixture
def get() -> Callable[..., Request]:
    """A GET of a URL; keyword arguments are headers, with underscores for dashes."""

    def request(url: str, **headers: str) -> Request:
        split = urlsplit(url)
        return Request(
            method="GET",
            path=split.path,
            raw_path=split.path,
            query=parse_qs(split.query, keep_blank_values=True),
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            remote_address="127.0.0.1:1",
            peer_certificate=None,
            read_body=_no_body,
            disconnected=_stays,
        )

    return request
