"""Tokens: what a client shows instead of a password, and who makes them (etcd `server/auth/simple_token.go`).

`--auth-token` says which kind: `simple`, or `jwt,` and options (`kvstore.server.jwt_tokens`), or "" for none at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kvstore.auth import AuthFailedError, Tokens
from kvstore.environment import Clock, Environment, Randomness

__all__ = [
    "DEFAULT_TOKEN_TTL_SECONDS",
    "NoTokens",
    "SimpleTokens",
    "TokenBearer",
    "TokenOptionsError",
    "TokenProvider",
    "parse_token_options",
]

DEFAULT_TOKEN_TTL_SECONDS = 300
PREFIX_LETTERS = 16
TOKEN_BYTES_MAX = 64 << 10
"""Longer ones are not even looked at."""
WAITING_MAX = 10_000
"""Requests that may wait at once for tokens this member has not heard of."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TokenOptionsError(ValueError):
    """`--auth-token` makes no sense; the message is etcd's."""

    def __init__(self, message: str = "auth: invalid auth options") -> None:
        super().__init__(message)


class TokenBearer(NamedTuple):
    """Whose token it is, and at which revision of the auth store it was made; None stands for the present one."""

    username: str
    revision: int | None


class TokenProvider(Tokens, Protocol):
    """Makes tokens and knows them again."""

    def new_prefix(self) -> str:
        """What the log is to hold of the next token, the same for every member."""

    async def find(self, token: str) -> TokenBearer | None:
        """Whose token this is; None if it is none, or no longer."""


MakeTokens = Callable[[Callable[[], int]], TokenProvider]
"""Makes the provider, given what tells the index of the entry being applied, or applied last."""


def parse_token_options(text: str, ttl_seconds: int, environment: Environment, wait_seconds: float) -> MakeTokens:
    """Make sense of `--auth-token`.

    Args:
        ttl_seconds: how long simple tokens live unused; 0 means the default.
        wait_seconds: how long a request may wait for its token to arrive here.

    Raises:
        TokenOptionsError: it makes none.
    """
    kind, *pairs = text.split(",")
    options: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or "=" in value or name in options:
            raise TokenOptionsError
        options[name] = value
    if kind == "simple":
        ttl = ttl_seconds or DEFAULT_TOKEN_TTL_SECONDS
        clock, chance = environment.clock, environment.randomness
        return lambda applied_index: SimpleTokens(clock, chance, applied_index, ttl, wait_seconds)
    if kind == "jwt":
        from kvstore.server.jwt_tokens import JWTTokens  # costs a tenth of a second that most members need not spend

        provider = JWTTokens.from_options(options, environment.clock, environment.files)
        return lambda applied_index: provider
    if kind == "":
        return lambda applied_index: NoTokens()
    raise TokenOptionsError


class NoTokens:
    """Nobody gets a token: clients have certificates."""

    def enable(self) -> None:
        """See `Tokens.enable`."""

    def disable(self) -> None:
        """See `Tokens.disable`."""

    def invalidate_user(self, username: str) -> None:
        """See `Tokens.invalidate_user`."""

    def new_prefix(self) -> str:
        """See `TokenProvider.new_prefix`."""
        return ""

    def assign(self, prefix: str, username: str, revision: int) -> str:
        """See `Tokens.assign`."""
        raise AuthFailedError

    async def find(self, token: str) -> TokenBearer | None:
        """See `TokenProvider.find`."""
        return None


class SimpleTokens:
    """Sixteen random letters, a dot and the index of the log entry that made the token.

    Every member learns of a token by applying that entry, so any of them knows it, sooner or later: a member that is
    shown one from the future waits for it. Tokens are kept in memory alone, and live as long as they are used.

    Args:
        applied_index: of the entry being applied, or applied last.
        ttl_seconds: how long a token lives unused.
        wait_seconds: how long to wait for one from the future.
    """

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        applied_index: Callable[[], int],
        ttl_seconds: float = DEFAULT_TOKEN_TTL_SECONDS,
        wait_seconds: float = 7.0,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._applied_index = applied_index
        self._ttl_seconds = ttl_seconds
        self._wait_seconds = wait_seconds
        self._bearers: dict[str, tuple[str, float]] = {}  # user and end by token, those that end soonest first
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._waiting_count = 0
        self._enabled = False

    def __len__(self) -> int:
        return len(self._bearers)

    def enable(self) -> None:
        """See `Tokens.enable`."""
        self._enabled = True

    def disable(self) -> None:
        """See `Tokens.disable`."""
        self._enabled = False
        self._bearers.clear()

    def invalidate_user(self, username: str) -> None:
        """See `Tokens.invalidate_user`."""
        for token in [token for token, bearer in self._bearers.items() if bearer[0] == username]:
            del self._bearers[token]

    def new_prefix(self) -> str:
        """See `TokenProvider.new_prefix`."""
        letters: list[str] = []
        usable = 256 - 256 % len(_LETTERS)  # above it some letters would come more often than others
        while len(letters) < PREFIX_LETTERS:
            chance = self._randomness.token_bytes(2 * PREFIX_LETTERS)
            letters += [_LETTERS[byte % len(_LETTERS)] for byte in chance if byte < usable]
        return "".join(letters[:PREFIX_LETTERS])

    def assign(self, prefix: str, username: str, revision: int) -> str:
        """See `Tokens.assign`."""
        token = f"{prefix}.{self._applied_index()}"
        if self._enabled:
            self._drop_expired()
            self._keep(token, username)
            for waiter in self._waiting.pop(token, ()):
                _wake(waiter)
        return token

    async def find(self, token: str) -> TokenBearer | None:
        """See `TokenProvider.find`. Finding a token lengthens its life."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        if token not in self._bearers and self._index_of(token) > self._applied_index():
            await self._assigned(token)
        bearer = self._bearers.pop(token, None)
        if bearer is None or bearer[1] < self._clock.monotonic():
            return None
        self._keep(token, bearer[0])
        return TokenBearer(bearer[0], None)

    def _keep(self, token: str, username: str) -> None:
        self._bearers[token] = (username, self._clock.monotonic() + self._ttl_seconds)

    def _drop_expired(self) -> None:
        now = self._clock.monotonic()
        for token in list(self._bearers):
            if self._bearers[token][1] >= now:
                return
            del self._bearers[token]

    async def _assigned(self, token: str) -> None:
        """Return when the token is made here, or after a while."""
        if self._waiting_count >= WAITING_MAX:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(token, [])
        waiters.append(waiter)
        self._waiting_count += 1
        timer = self._clock.call_later(self._wait_seconds, lambda: _wake(waiter))
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting_count -= 1
            waiters.remove(waiter)
            if not waiters and self._waiting.get(token) is waiters:
                del self._waiting[token]

    @staticmethod
    def _index_of(token: str) -> int:
        """The index in a token; 0, which is always applied, if there is none."""
        prefix, _, digits = token.partition(".")
        if not prefix or not digits.isascii() or not digits.isdigit() or len(digits) > 20:
            return 0
        return int(digits)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
