from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from apiserver.endpoints.documents import Document, document_handler
from apiserver.endpoints.version_info import version_info
from apiserver.request import Request, Response

Get = Callable[..., Request]


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)])
async def test_documents_are_only_read(get: Get, method: str, status: int) -> None:
    request = get("/x")
    request.method = method
    response = await document_handler(lambda _: Response(200, b"{}"))(request)
    assert response.status == status


async def test_no_document_is_not_found(get: Get) -> None:
    response = await document_handler(lambda _: None)(get("/x"))
    assert (response.status, response.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize("header", ['"{tag}"', 'W/"{tag}"', '"0", "{tag}"'])
def test_a_document_the_client_has_is_not_sent_again(get: Get, header: str) -> None:
    document = Document.of({"a": 1})
    request = get("/x", if_none_match=header.format(tag=document.tag))
    assert document.respond(request, tagged=True).status == 304
    assert document.respond(request).status == 200


def test_the_tag_changes_with_the_content() -> None:
    assert Document.of({"a": 1}) == Document.of({"a": 1})
    assert Document.of({"a": 1}).tag != Document.of({"a": 2}).tag


def test_version_info_is_what_clients_parse() -> None:
    info = version_info()
    assert (info["major"], info["minor"]) == ("1", "37")
    assert re.fullmatch(r"v1\.37\.\d+(\+[0-9a-z.]+)?", info["gitVersion"])
    assert re.fullmatch(r"[a-z]+/\w+", info["platform"])
