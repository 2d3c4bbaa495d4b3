"""The store in the server's own process: a member by itself, or one of a cluster that several API servers share.

Only here does the API server look at the store's composition root (`kvstore.app`), and only when there is an embedded
store. The flags are etcd's: `apiserver.app.options` has their names, the store has their kinds, meanings and refusals.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from apiserver.app.options import OptionsError
from kvstore.client import Client
from kvstore.environment import Environment

if TYPE_CHECKING:
    from kvstore.app import Member
    from kvstore.app.serve import Ports
    from kvstore.app.settings import Settings

__all__ = ["EmbeddedStore", "StoreStartError", "check_store_flags", "store_flag_help"]

PATIENCE_SECONDS: Final = 2.0
"""How long a member looks for the others before it says so."""

_LOG = logging.getLogger(__name__)


class StoreStartError(Exception):
    """The embedded store cannot start; one line for whoever started it."""


def store_flag_help() -> Mapping[str, str]:
    """What the store says of each of its flags, by name."""
    from kvstore.app.flags import FLAGS

    return {flag.name: flag.help for flag in FLAGS}


def check_store_flags(flags: Mapping[str, str]) -> None:
    """Raises `OptionsError` for values that cannot be, alone or together."""
    if flags:
        _settings(flags, "", [])


def _settings(flags: Mapping[str, str], data_dir: str, notices: list[str]) -> Settings:
    """The flags as `mini-etcd` understands them, but no port is open that was not asked for.

    Args:
        notices: gets what there is to say about them.

    Raises:
        OptionsError: they make no sense; the text names the flag.
    """
    from kvstore.app.flags import FlagError, UsageError, parse_flags
    from kvstore.app.settings import settings_of

    for flag in ("initial-cluster", "initial-advertise-peer-urls"):
        if flag in flags and "listen-peer-urls" not in flags:
            raise OptionsError(f"--{flag} needs --listen-peer-urls: where do the other members reach this one?")
    if flags.get("initial-cluster-state") == "existing" and "initial-cluster" not in flags:
        raise OptionsError("--initial-cluster-state=existing needs --initial-cluster: all members, and this one")
    if "advertise-client-urls" in flags and "listen-client-urls" not in flags:
        raise OptionsError("--advertise-client-urls needs --listen-client-urls: nobody listens there otherwise")
    arguments = [f"--{name}={text}" for name, text in {"listen-peer-urls": "", **flags}.items()]
    try:
        parsed = parse_flags([*arguments, f"--data-dir={data_dir}"], {})
        if "listen-client-urls" not in flags:
            parsed.values["listen-client-urls"] = ()
        settings = settings_of(parsed)
    except (FlagError, UsageError) as error:
        raise OptionsError(f"embedded store: {error}") from None
    notices += [notice.message for notice in parsed.notices]
    return settings


class EmbeddedStore:
    """A member that runs from `open` to `close`, and its ports if it has any.

    Args:
        data_dir: where the member keeps its data; absolute.
        flags: etcd's flags that were given: text by name. None of them: one member that nobody else can reach.
    """

    def __init__(self, data_dir: str, flags: Mapping[str, str], environment: Environment) -> None:
        self._data_dir = data_dir
        self._flags = flags
        self._environment = environment
        self._member: Member | None = None
        self._ports: Ports | None = None

    async def open(self, on_failed: Callable[[str], None]) -> Client:
        """Start; returns when the member has a leader, however long the others take to come.

        Args:
            on_failed: told why the member has become useless afterwards.

        Raises:
            StoreStartError: it cannot start.
        """
        from kvstore.app import Options, RemovedError, StartError, start_member

        try:
            notices: list[str] = []
            settings = _settings(self._flags, self._data_dir, notices) if self._flags else None
            for notice in notices:
                _LOG.warning("embedded store: %s", notice)
            if settings is not None and (settings.auto_tls.client or settings.auto_tls.peer):
                from kvstore.app.auto_tls import with_generated_certificates

                settings = with_generated_certificates(settings, self._environment)
            options = settings.options if settings is not None else Options(data_dir=self._data_dir)
            member = self._member = await start_member(options, self._environment)
            await self._join(member)
            if settings is not None and settings.listen_client_urls:
                from kvstore.app.serve import Ports

                self._ports = Ports(member, self._environment)
                await self._ports.open(settings)
        except (StartError, OptionsError, RemovedError) as error:
            raise StoreStartError(str(error)) from error
        except (OSError, ValueError) as error:
            raise StoreStartError(f"cannot make a certificate for the embedded store: {error}") from error
        member.failed.add_done_callback(lambda failed: self._tell(failed, on_failed))
        return member.client()

    async def close(self) -> None:
        """Stop. Harmless when nothing was started."""
        if self._member is not None:
            await self._member.hand_over()  # while the ports are open: what waits there goes to the next leader
        if self._ports is not None:
            await self._ports.close()
        if self._member is not None:
            await self._member.stop()

    async def _join(self, member: Member) -> None:
        """Wait until the cluster has come together."""
        if len(member.core.membership.members()) == 1:  # it was ready when it had started
            return
        joining = asyncio.get_running_loop().create_task(member.join())
        try:
            done, _ = await asyncio.wait(
                [joining, member.failed], timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                _LOG.warning("the embedded store waits for the other members of its cluster")
                await asyncio.wait([joining, member.failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            joining.cancel()
            await asyncio.wait([joining])
        if member.failed.done():
            raise StoreStartError(self._reason(member.failed))

    def _tell(self, failed: asyncio.Future[None], on_failed: Callable[[str], None]) -> None:
        """The log cannot be written any more, or the member was removed: nothing can be promised."""
        if not failed.cancelled():
            on_failed(self._reason(failed))

    def _reason(self, failed: asyncio.Future[None]) -> str:
        return f"the embedded store in {self._data_dir} has failed: {failed.exception()}"
