"""TLS of the API's port: our certificate, and the authorities that client certificates come from.

What the flags name may be replaced while the server runs: a new context is made of the files, and every handshake from
then on uses it. Connections that are open stay; on them the new authorities decide with the next request.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any

from apiserver.app.certificates import PKI
from apiserver.app.options import Options
from apiserver.app.reloading import follow_files, read_file
from apiserver.authn import X509Authenticator
from kvstore.environment import Clock, FileSystem

if TYPE_CHECKING:
    from apiserver.authn.request_header import RequestHeaderAuthenticator

__all__ = ["ClientCertificates"]

_LOG = logging.getLogger("apiserver.tls")


class ClientCertificates:
    """Authenticators by certificate, and the TLS context that goes with them.

    Attributes:
        x509: users by their own certificates.
        proxy: users named by proxies; None unless `--requestheader-client-ca-file` is given.

    Raises:
        OSError: a file cannot be read (`ssl.SSLError` is one, too).
        ValueError: what it holds cannot be used.
    """

    def __init__(self, options: Options, pki: PKI, files: FileSystem, clock: Clock) -> None:
        self._options = options
        self._pki = pki
        self._files = files
        self._clock = clock
        self.x509 = X509Authenticator()
        self.proxy = self._make_proxy()
        self._current = self._make_context()
        if self.proxy is not None:
            self._trust_apart()

    @property
    def changing(self) -> bool:
        """Whether there are files to follow."""
        return bool(self._paths())

    def _paths(self) -> list[str]:
        options = self._options
        named = (
            options.client_ca_file,
            options.requestheader_client_ca_file,
            options.tls_cert_file,
            options.tls_private_key_file,
        )
        return [path for path in named if path]

    def context(self) -> ssl.SSLContext:
        """For the server's socket."""
        if self.changing:
            self._current.sni_callback = self._begin_handshake
        return self._current

    def _begin_handshake(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        """Called with every ClientHello, whether it names a server or not."""
        connection.context = self._current

    async def run(self) -> None:
        """Follow the files until cancelled."""
        await follow_files(self._paths(), self._reload, self._files, self._clock)

    async def _reload(self) -> None:
        try:
            context = self._make_context()
            self._trust_apart()
        except (OSError, ValueError) as error:
            _LOG.error("certificates have changed and cannot be used: %s", error)
            return
        self._current = context
        _LOG.warning("certificates have been read anew")

    def _make_context(self) -> ssl.SSLContext:
        options, pki = self._options, self._pki
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        if self.changing:
            # A resumed session would bring along a certificate that another bundle has once verified.
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        cert, key = options.tls_cert_file or pki.server_cert, options.tls_private_key_file or pki.server_key
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"cannot use {cert} with {key}: {_reason(error)}") from error
        for bundle in filter(None, (pki.ca_cert, options.client_ca_file, options.requestheader_client_ca_file)):
            try:
                context.load_verify_locations(bundle)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"cannot use the CA bundle {bundle}: {_reason(error)}") from error
        return context

    def _trust_apart(self) -> None:
        """From now on it counts which bundle a certificate comes from."""
        from apiserver.authn.trust import CertificateTrust

        bundles = [path for path in (self._pki.ca_cert, self._options.client_ca_file) if path]
        users = CertificateTrust(b"\n".join(read_file(self._files, path) for path in bundles))
        if self.proxy is not None:
            path = self._options.requestheader_client_ca_file
            self.proxy.replace(CertificateTrust(read_file(self._files, path)))
        self.x509.trust_only(users)

    def _make_proxy(self) -> RequestHeaderAuthenticator | None:
        options = self._options
        if not options.requestheader_client_ca_file:
            return None
        from apiserver.authn.request_header import HeaderNames, RequestHeaderAuthenticator
        from apiserver.authn.trust import CertificateTrust

        path = options.requestheader_client_ca_file
        try:
            trust = CertificateTrust(read_file(self._files, path))
        except ValueError as error:
            raise ValueError(f"cannot use the CA bundle {path}: {error}") from None
        headers = HeaderNames.of(
            options.requestheader_username_headers,
            options.requestheader_uid_headers,
            options.requestheader_group_headers,
            options.requestheader_extra_headers_prefix,
        )
        return RequestHeaderAuthenticator(trust, options.requestheader_allowed_names, headers)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).split(": ")[-1]
