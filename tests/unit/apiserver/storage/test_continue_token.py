"""Continue tokens: there and back, and what is no token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from apiserver.api.status import StatusError
from apiserver.storage.continue_token import MOST_RECENT, decode_continue, encode_continue

PREFIX = "/registry/pods/"


def token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("start", ["default/a\0", "a<b>&c", "ü/\u2028"])
@pytest.mark.parametrize("revision", [1, MOST_RECENT])
def test_a_token_leads_back_to_its_key(start: str, revision: int) -> None:
    assert decode_continue(encode_continue(PREFIX + start, PREFIX, revision), PREFIX) == (PREFIX + start, revision)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!", "illegal base64 data"),
        ("ü", "illegal base64 data"),
        ("nonsense", "the token holds no JSON"),  # base64, but of bytes that are no text
        (token([]), "continue key is not valid"),
        (token({"v": "v2", "rv": 1, "start": "a"}), "server does not recognize this encoded version v2"),
        (token({"v": "meta.k8s.io/v1", "rv": 0, "start": "a"}), "incorrect encoded start resourceVersion"),
        (token({"v": "meta.k8s.io/v1", "rv": 1, "start": ""}), "encoded start key empty"),
        (token({"v": "meta.k8s.io/v1", "rv": 1, "start": "../secrets/a"}), "continue key is not valid: ../secrets/a"),
        (token({"v": "meta.k8s.io/v1", "rv": "1", "start": "a"}), "continue key is not valid"),
    ],
)
def test_what_is_no_token(text: str, reason: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_continue(text, PREFIX)
    assert caught.value.code == 400
    assert caught.value.message.startswith("invalid continue token: continue key is not valid")
    assert reason in caught.value.message
