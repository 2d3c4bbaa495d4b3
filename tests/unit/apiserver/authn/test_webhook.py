"""Tokens that a service knows: what it is asked, what is kept of its answers, and what it may not do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apiserver.authn import InvalidCredentialError
from apiserver.authn.webhook import WebhookTokenAuthenticator
from apiserver.request import UserInfo
from apiserver.webhooks import WebhookError
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.unit.apiserver.authn.authn_world import FixedClock

AUDIENCES = ("api",)
USER = {"username": "jane", "uid": "7", "groups": ["dev"], "extra": {"a": ["b"]}}


class Service:
    """Answers as told, and counts."""

    def __init__(self) -> None:
        self.status: Any = {"authenticated": True, "user": USER}
        self.kind = "TokenReview"
        self.error: WebhookError | None = None
        self.bodies: list[dict[str, Any]] = []
        self.gate: asyncio.Event | None = None

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"apiVersion": "authentication.k8s.io/v1", "kind": self.kind, "status": self.status}


class World:
    def __init__(self, version: str = "v1", cache_seconds: float = 120.0) -> None:
        self.clock = FixedClock()
        self.service = Service()
        environment = Environment(self.clock, SeededRandomness(7), RealFileSystem())
        self.tokens = WebhookTokenAuthenticator(self.service, environment, version, AUDIENCES, cache_seconds)

    async def user(self, token: str = "t", audiences: tuple[str, ...] = AUDIENCES) -> UserInfo | None:
        identity = await self.tokens.authenticate_token(token, audiences)
        return identity.user if identity is not None else None


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_what_is_asked_and_answered(version: str) -> None:
    world = World(version)
    assert await world.user() == UserInfo("jane", "7", ("dev",), (("a", ("b",)),))
    assert world.service.bodies == [
        {
            "apiVersion": f"authentication.k8s.io/{version}",
            "kind": "TokenReview",
            "spec": {"token": "t", "audiences": ["api"]},
        }
    ]


async def test_answers_are_kept_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for _ in range(3):
        assert await world.user() is not None
    assert len(world.service.bodies) == 1
    await world.user("other")
    await world.user(audiences=("api", "vault"))
    assert len(world.service.bodies) == 3
    world.clock.seconds += 121
    await world.user()
    assert len(world.service.bodies) == 4


async def test_that_a_token_is_nobodys_is_kept_too() -> None:
    world = World()
    world.service.status = {"authenticated": False}
    assert await world.user() is None
    world.service.status = {"authenticated": True, "user": USER}
    assert await world.user() is None
    assert len(world.service.bodies) == 1


async def test_nothing_is_kept_when_told_so() -> None:
    world = World(cache_seconds=0)
    await world.user()
    await world.user()
    assert len(world.service.bodies) == 2


async def test_a_service_that_fails_lets_nobody_in_and_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.service.error = WebhookError("boom")
    with pytest.raises(InvalidCredentialError, match="boom"):
        await world.user("a-secret-token")
    assert "boom" in caplog.text
    assert "a-secret-token" not in caplog.text
    world.service.error = None
    assert await world.user("a-secret-token") is not None


async def test_many_who_wait_for_the_same_answer_ask_once() -> None:
    world = World()
    world.service.gate = asyncio.Event()
    waiting = [asyncio.create_task(world.user()) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    world.service.gate.set()
    users = await asyncio.gather(*waiting[1:])
    assert {user.name for user in users if user is not None} == {"jane"}
    assert len(world.service.bodies) == 1


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"error": "expired"}, "expired"),
        ({"authenticated": "true", "error": "odd"}, "odd"),
        ({"authenticated": True, "user": {"username": ["a"]}}, "malformed"),
        ({"authenticated": True, "user": {"username": "a", "groups": "system:masters"}}, "malformed"),
        ({"authenticated": True, "user": {"username": "a", "extra": {"k": "v"}}}, "malformed"),
        ([], "not a TokenReview with a status"),
    ],
)
async def test_answers_that_let_nobody_in(status: Any, text: str) -> None:
    world = World()
    world.service.status = status
    with pytest.raises(InvalidCredentialError, match=text):
        await world.user()


async def test_audiences() -> None:
    world = World()
    world.service.status = {"authenticated": True, "user": USER, "audiences": ["vault"]}
    assert await world.user() is None
    identity = await world.tokens.authenticate_token("t", ("vault", "x"))
    assert identity is not None
    assert identity.audiences == ("vault",)
    world.service.status = {"authenticated": True, "user": USER}  # a service that knows none speaks for the server's
    assert await world.user("t2") is not None
    assert await world.user("t2", ("vault",)) is None


async def test_another_kind_of_answer_is_none() -> None:
    world = World()
    world.service.kind = "SubjectAccessReview"
    with pytest.raises(InvalidCredentialError, match="not a TokenReview"):
        await world.user()
