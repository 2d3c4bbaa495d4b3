"""Who calls, and whether they may: what every service asks before it answers, while authentication is on.

A caller is known by a token, or by its certificate when clients must have one; calls from inside the process are
trusted (`CallContext.trusted`). Services look at `AuthStore.enabled` first, so that nothing of this is paid for while
it is off. Writes only learn here who calls; whether they may is decided later (`kvstore.apply.permissions`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from kvstore.apply import TxnPlan, check_lease_keys, check_txn
from kvstore.auth import ANONYMOUS, TRUSTED, AuthInfo, AuthStore
from kvstore.mvcc import Lessor, StoreError
from kvstore.server import catalogue
from kvstore.server.context import CallContext
from kvstore.server.tokens import TokenProvider

__all__ = ["Access", "unnamed"]


def unnamed(context: CallContext) -> AuthInfo:
    """The caller of a write while authentication is off; it may be on when the write is applied."""
    return TRUSTED if context.trusted else ANONYMOUS


class Access:
    """The member's door.

    Args:
        client_cert_auth: whether a client certificate's common name is a user's name.
    """

    def __init__(self, auth: AuthStore, tokens: TokenProvider, lessor: Lessor, client_cert_auth: bool) -> None:
        self._auth = auth
        self._tokens = tokens
        self._lessor = lessor
        self._client_cert_auth = client_cert_auth

    async def caller(self, context: CallContext) -> AuthInfo:
        """Who calls; ANONYMOUS if they do not say.

        Raises:
            EtcdError: the token is not valid.
        """
        if context.trusted:
            return TRUSTED
        if not self._auth.enabled:
            return ANONYMOUS
        token = _token_in(context.metadata)
        if token is not None:
            bearer = await self._tokens.find(token)
            if bearer is None:
                raise catalogue.INVALID_AUTH_TOKEN.error()
            return AuthInfo(bearer.username, self._auth.revision if bearer.revision is None else bearer.revision)
        if self._client_cert_auth:
            name = _common_name(context)
            if name is not None:
                return AuthInfo(name, self._auth.revision)
        return ANONYMOUS

    async def require_user(self, context: CallContext) -> AuthInfo:
        """The caller, who must be somebody.

        Raises:
            EtcdError: nobody is named, or the token is not valid.
        """
        caller = await self.caller(context)
        if caller is ANONYMOUS and self._auth.enabled:
            raise catalogue.USER_EMPTY.error()
        return caller

    async def require_admin(self, context: CallContext) -> None:
        """Refuse whoever does not have the role root, once authentication is on.

        Raises:
            EtcdError: not permitted.
        """
        caller = await self.caller(context)
        with _as_etcd_error():
            self._auth.check_admin(caller)

    async def require_read(self, context: CallContext, key: bytes, range_end: bytes) -> AuthInfo:
        """The caller, who may read a range. What is read in the same turn of the loop was permitted when it was read.

        Raises:
            EtcdError: not permitted.
        """
        caller = await self.caller(context)
        with _as_etcd_error():
            self._auth.check_read(caller, key, range_end)
        self.refuse_if_changed(caller)
        return caller

    async def require_txn(self, context: CallContext, plan: TxnPlan) -> None:
        """The same for a transaction that only reads.

        Raises:
            EtcdError: not permitted.
        """
        caller = await self.caller(context)
        with _as_etcd_error():
            check_txn(self._auth, self._lessor, caller, plan)
        self.refuse_if_changed(caller)

    async def require_lease(self, context: CallContext, lease_id: int, *, read: bool) -> None:
        """Refuse whoever may not read, or write, every key of a lease.

        Raises:
            EtcdError: not permitted.
        """
        caller = await self.require_user(context)
        with _as_etcd_error():
            check_lease_keys(self._auth, self._lessor, caller, lease_id, read=read)

    async def require_all_leases(self, context: CallContext) -> None:
        """Refuse whoever may not read every key that has a lease.

        Raises:
            EtcdError: not permitted.
        """
        caller = await self.require_user(context)
        with _as_etcd_error():
            for lease in self._lessor.leases():
                check_lease_keys(self._auth, self._lessor, caller, lease.lease_id, read=True)

    def refuse_if_changed(self, caller: AuthInfo) -> None:
        """Refuse what was permitted by users and roles that are not as they were.

        Raises:
            EtcdError: they have changed.
        """
        if caller is not TRUSTED and caller.revision not in (0, self._auth.revision):
            raise catalogue.AUTH_OLD_REVISION.error()


@contextlib.contextmanager
def _as_etcd_error() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise catalogue.to_etcd_error(error) from None


def _token_in(metadata: Mapping[str, str]) -> str | None:
    """The token a call carries; the first, if there are several."""
    token = metadata.get("token")
    if token is None:
        token = metadata.get("authorization")
        if token is None:
            return None
    return token.partition(",")[0].removeprefix("Bearer ")


def _common_name(context: CallContext) -> str | None:
    """The common name in the client's certificate; None if there is no certificate, or it is a gateway's."""
    certificate: Mapping[str, Any] | None = context.peer_certificate
    if not certificate or "grpcgateway-accept" in context.metadata:
        return None
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[-1] if names else ""
