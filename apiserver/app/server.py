"""The composition root: from options to a running API server, read from top to bottom in the order things start."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from apiserver.admission import AdmissionChain
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.api.scheme import Resource, Scheme, load_scheme
from apiserver.api.status import StatusError
from apiserver.app.authentication import Authentication
from apiserver.app.authorization import Authorization, AuthorizationFilesError
from apiserver.app.authorization_config import AuthorizationConfigError
from apiserver.app.bootstrap import Bootstrap
from apiserver.app.bootstrap_rbac import RBACBootstrap
from apiserver.app.certificates import PKI, default_hosts, ensure_pki
from apiserver.app.client_certificates import ClientCertificates
from apiserver.app.controllers import Controllers
from apiserver.app.internal_writes import LOOPBACK_USER, InternalWriter
from apiserver.app.kubeconfig import write_admin_kubeconfig
from apiserver.app.options import Options
from apiserver.app.runtime_config import RuntimeConfigError, enabled_resources
from apiserver.app.server_endpoints import ServerEndpoints
from apiserver.authn.service_accounts.tokens import TokenIssuer
from apiserver.codec import Codec
from apiserver.endpoints.discovery import Discovery
from apiserver.endpoints.documents import document_handler
from apiserver.endpoints.health import HealthCheck, health_handlers
from apiserver.endpoints.metrics import Metrics
from apiserver.endpoints.openid import KEYS_PATH, openid_handlers
from apiserver.endpoints.resource import resource_handler
from apiserver.endpoints.responses import Responder
from apiserver.endpoints.router import Router
from apiserver.endpoints.scope import Server
from apiserver.endpoints.token_requests import TokenRequests
from apiserver.endpoints.token_reviews import TokenReviewer
from apiserver.endpoints.version import version_handler
from apiserver.endpoints.version_info import GIT_VERSION, version_info
from apiserver.filters import AuthenticationAttempts, ChainOptions, build_handler_chain
from apiserver.http import HTTPServer
from apiserver.registry.interface import OperationContext
from apiserver.registry.kinds import KindOptions, Strategies
from apiserver.registry.store import Store
from apiserver.registry.stores import StoreReader, Stores
from apiserver.request import Handler, Request, Response
from apiserver.storage.cacher import Cacher
from apiserver.storage.compactor import Compactor
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from kvstore.client import Client
from kvstore.environment import Environment
from kvstore.errors import EtcdError

if TYPE_CHECKING:
    from apiserver.endpoints.openapi import OpenAPI

__all__ = ["APIServer", "StartError"]

STOP_GRACE_SECONDS = 3.0
ETCD_HEALTH_SECONDS_MAX = 2.0


class StartError(Exception):
    """The server cannot start; the message is one line for whoever started it, and says what to do."""


class APIServer:
    """A running server. `start` leaves nothing behind when it fails; `stop` ends everything cleanly.

    Attributes:
        first_start: whether `start` found an empty data directory.
        failed: gets a reason when the server can be of no more use and should be stopped.
    """

    def __init__(self, options: Options, environment: Environment) -> None:
        self.options = options
        self.environment = environment
        self.data_dir = os.path.abspath(options.data_dir)
        self.cert_dir = os.path.abspath(options.cert_dir or os.path.join(self.data_dir, "pki"))
        self.first_start = False
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._undo = contextlib.AsyncExitStack()
        self._http: HTTPServer | None = None

    @property
    def url(self) -> str:
        """Where the server answers."""
        assert self._http is not None, "not started"
        host = self.options.external_hostname or self.options.bind_address
        if host in ("0.0.0.0", "::"):  # noqa: S104  a comparison, not a bind
            host = "127.0.0.1"
        return f"https://[{host}]:{self._http.port}" if ":" in host else f"https://{host}:{self._http.port}"

    @property
    def kubeconfig(self) -> str:
        """Path of the admin kubeconfig."""
        return os.path.join(self.data_dir, "admin.kubeconfig")

    async def start(self) -> None:
        """Start; returns when requests are answered.

        Raises:
            StartError: a file, the port, a flag or the store is not usable.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, let requests finish, then close the storage and the store. Idempotent."""
        await self._undo.aclose()

    async def _start(self) -> None:
        scheme = load_scheme()
        try:
            enabled = enabled_resources(scheme, self.options.runtime_config)
        except RuntimeConfigError as error:
            raise StartError(str(error)) from error
        pki = await self._prepare_files()
        client = await self._open_store()
        codec = Codec(scheme)
        metrics = Metrics()
        storage = Etcd3Storage(client, SchemeCodec(codec), self.environment, observe=metrics.observe_etcd_request)
        cacher = Cacher(storage)
        self._undo.push_async_callback(cacher.close)
        interval = self.options.etcd_compaction_interval
        self._run(Compactor(client, self.environment.clock, interval).run(), "compactor")

        stores = self._stores(scheme, cacher, enabled)
        metrics.add_source(self._authorization.counts.families)
        bootstrap = Bootstrap(stores, self._writer, self.environment.clock, self.options)
        await _taken(bootstrap.before_serving())
        await _taken(RBACBootstrap(stores, self._writer, self._context).run())
        await _taken(self._authorization.start(self._run))
        authentication, certificates = self._authentication(pki)
        for close in authentication.closing:
            self._undo.push_async_callback(close)
        handler = self._handler(codec, enabled, stores, client, metrics, authentication)
        self._http = await self._listen(handler, certificates.context())
        await _taken(bootstrap.service(self._http.port))
        await self._publish(stores, cacher, client, self._http.port)
        write_admin_kubeconfig(self.kubeconfig, self.url, pki, self.environment.files)
        self._start_controllers(stores, authentication.issuer, pki)
        if authentication.issuers is not None:
            self._run(authentication.issuers.run(), "issuers")
        if certificates.changing:
            self._run(certificates.run(), "certificates")

    # Files and the store

    async def _prepare_files(self) -> PKI:
        service_ip = str(next(ipaddress.ip_network(self.options.service_cluster_ip_range).hosts()))
        hosts = default_hosts(self.options.bind_address, service_ip)
        hosts += [host for host in (self.options.advertise_address, self.options.external_hostname) if host]
        try:
            self.first_start = not self.environment.files.exists(self.kubeconfig)
            self.environment.files.makedirs(self.data_dir)
        except OSError as error:
            raise StartError(f"cannot use the data directory {self.data_dir}: {_reason(error)}") from error
        try:
            return await ensure_pki(self.cert_dir, list(dict.fromkeys(hosts)), self.environment)
        except OSError as error:
            raise StartError(f"cannot use the certificates in {self.cert_dir}: {_reason(error)}") from error

    async def _open_store(self) -> Client:
        if self.options.etcd_servers:
            return await self._connect_etcd()
        from apiserver.app.embedded_store import EmbeddedStore, StoreStartError

        store = EmbeddedStore(self.data_dir, self.options.store_flags, self.environment)
        self._undo.push_async_callback(store.close)
        try:
            return await store.open(self._fail)
        except StoreStartError as error:
            raise StartError(str(error)) from error

    def _fail(self, reason: str) -> None:
        """Nothing can be promised any more, so nothing is served."""
        if not self.failed.done():
            self.failed.set_result(reason)

    async def _connect_etcd(self) -> Client:
        from kvstore.client.grpc import ClientTLS, GrpcClient

        chosen = self.options
        tls = None
        if any(server.startswith("https://") for server in chosen.etcd_servers):
            tls = ClientTLS(chosen.etcd_cafile or None, chosen.etcd_certfile or None, chosen.etcd_keyfile or None)
        client = GrpcClient(chosen.etcd_servers, tls=tls)
        self._undo.push_async_callback(client.close)
        try:
            await client.status()
        except EtcdError as error:
            servers = ", ".join(chosen.etcd_servers)
            raise StartError(f"etcd at {servers} does not answer: {error.message}; see --etcd-servers") from error
        return client

    # The registry

    def _stores(self, scheme: Scheme, cacher: Cacher, enabled: Callable[[Resource], bool]) -> Stores:
        kinds = KindOptions(
            service_cidrs=(self.options.service_cluster_ip_range,),
            node_ports=self.options.service_node_port_range,
            event_ttl_seconds=int(self.options.event_ttl),
        )
        strategies = Strategies(scheme, kinds)
        stores = Stores(scheme, lambda resource: cacher, strategies.of, enabled)
        self._reader = StoreReader(stores)
        self._authorization = self._authorize()
        kinds.guard = self._authorization.guard
        kinds.writer = self._writer = InternalWriter(stores, self._context)
        return stores

    def _authorize(self) -> Authorization:
        try:
            authorization = Authorization(self.options, self.environment, self._reader)
        except (AuthorizationConfigError, AuthorizationFilesError) as error:
            raise StartError(str(error)) from error
        self._undo.push_async_callback(authorization.close)
        return authorization

    def _context(self, store: Store, namespace: str) -> OperationContext:
        """The context of a write of the server itself."""
        return OperationContext(
            resource=store.resource,
            namespace=namespace,
            user=LOOPBACK_USER,
            clock=self.environment.clock,
            randomness=self.environment.randomness,
            reader=self._reader,
            warn=lambda text: None,
        )

    async def _publish(self, stores: Stores, cacher: Cacher, client: Client, port: int) -> None:
        """Be an endpoint of the `kubernetes` Service for as long as we run."""
        shared = self.options.etcd_servers or self.options.store_flags
        endpoints = ServerEndpoints(
            stores,
            cacher,
            client if shared else None,
            self._context,
            self.environment.clock,
            advertise_address(self.options),
            port,
        )
        await _taken(endpoints.publish())
        self._undo.push_async_callback(endpoints.withdraw)
        if shared:
            self._run(endpoints.run(), "server-endpoints")

    def _start_controllers(self, stores: Stores, issuer: TokenIssuer, pki: PKI) -> None:
        with self.environment.files.open(pki.ca_cert, "rb") as file:
            ca_bundle = file.read()
        controllers = Controllers(
            self.options, stores, self._writer, self._context, self.environment.clock, issuer, ca_bundle, self._reader
        )
        for name, work in controllers.running():
            self._run(work, name)

    def _run(self, work: Awaitable[None], name: str) -> None:
        """Run something beside the requests until the server stops."""
        task = asyncio.ensure_future(work)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        if isinstance(task, asyncio.Task):
            task.set_name(name)
        self._undo.push_async_callback(end)

    # Serving

    def _handler(
        self,
        codec: Codec,
        enabled: Callable[[Resource], bool],
        stores: Stores,
        client: Client,
        metrics: Metrics,
        authentication: Authentication,
    ) -> Handler:
        options, environment, scheme = self.options, self.environment, codec.scheme
        authorizer = self._authorization.authorizer
        responder = Responder(codec, environment.clock)
        etcd = HealthCheck("etcd", partial(_etcd_check, client, environment))
        api = Server(
            codec=codec,
            responder=responder,
            admission=AdmissionChain(self._plugins(stores)),
            authorizer=authorizer,
            environment=environment,
            stores=stores,
            reader=self._reader,
            metrics=metrics,
            rules=authorizer,
            component_checks=(HealthCheck("etcd-0", etcd.check),),
            min_request_timeout_seconds=options.min_request_timeout,
            token_requests=TokenRequests(
                authentication.issuer,
                options.audiences,
                int(options.service_account_max_token_expiration),
                options.service_account_extend_token_expiration,
            ),
            token_reviewer=TokenReviewer(authentication.tokens, options.audiences),
        )
        discovery = Discovery(scheme, enabled)
        router = Router(partial(_find_resource, api, stores), discovery.serves)
        _add_documents(router, scheme, enabled, discovery)
        for path, checks in _health_checks(etcd).items():
            router.add_paths(health_handlers(path, checks, metrics.observe_health))
        router.add_paths(openid_handlers(options.service_account_issuer[0], self._keys_url, authentication.key_set))
        router.add_path("/metrics", metrics.handler)
        router.add_path("/metrics/slis", metrics.slis_handler)
        attempts = AuthenticationAttempts()
        metrics.add_source(attempts.metrics)
        return build_handler_chain(
            router,
            environment=environment,
            authenticator=authentication.authenticator,
            authorizer=authorizer,
            write_error=responder.error,
            observe_in_flight=metrics.observe_in_flight,
            authentication_attempts=attempts,
            observe_authorization=self._authorization.counts.attempt,
            options=ChainOptions(
                options.max_requests_inflight, options.max_mutating_requests_inflight, options.request_timeout
            ),
        )

    def _authentication(self, pki: PKI) -> tuple[Authentication, ClientCertificates]:
        environment = self.environment
        try:
            certificates = ClientCertificates(self.options, pki, environment.files, environment.clock)
            key = pki.service_account_key
            authentication = Authentication(
                self.options,
                environment,
                certificates,
                key,
                self._reader,
                everybody_may_everything="AlwaysAllow" in self._authorization.types,
            )
        except OSError as error:
            raise StartError(f"cannot read what authentication needs: {_reason(error)}") from error
        except ValueError as error:
            raise StartError(str(error)) from error
        return authentication, certificates

    def _keys_url(self) -> str:
        """Where the keys of service-account tokens can be fetched."""
        options = self.options
        host = options.external_hostname or advertise_address(options)
        assert self._http is not None, "not started"
        host = f"[{host}]" if ":" in host else host
        return options.service_account_jwks_uri or f"https://{host}:{self._http.port}{KEYS_PATH}"

    def _plugins(self, stores: Stores) -> list[NamespaceLifecycle]:
        namespaces = stores.find("", "v1", "namespaces")
        if namespaces is None or "NamespaceLifecycle" not in self.options.admission_plugins:
            return []
        cached, live = (partial(read, "", "namespaces", "") for read in (self._reader.get, self._reader.get_live))
        return [NamespaceLifecycle(cached, live)]

    async def _listen(self, handler: Handler, tls: ssl.SSLContext) -> HTTPServer:
        options = self.options
        server = HTTPServer(
            handler,
            clock=self.environment.clock,
            ssl_context=tls,
            host=options.bind_address,
            port=options.secure_port,
        )
        try:
            await server.start()
        except OSError as error:
            address = f"{options.bind_address}:{options.secure_port}"
            hint = " (--secure-port=0 picks a free one)" if options.secure_port else ""
            raise StartError(f"cannot listen on {address}: {_reason(error)}{hint}") from error
        self._undo.push_async_callback(server.stop, STOP_GRACE_SECONDS)
        return server


async def _taken(writes: Awaitable[None]) -> None:
    try:
        await writes
    except StatusError as error:
        raise StartError(f"the store does not take what every cluster begins with: {error.message}") from error


def advertise_address(options: Options) -> str:
    """The address that the `kubernetes` Service leads to: as told, else that of the default route's interface."""
    if options.advertise_address:
        return options.advertise_address
    bound = ipaddress.ip_address(options.bind_address)
    if not bound.is_loopback and not bound.is_unspecified:
        return options.bind_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1; connecting a datagram socket sends nothing
        except OSError:  # no route: a machine of its own
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _find_resource(api: Server, stores: Stores, group: str, version: str, plural: str) -> Handler | None:
    resource = stores.resource(group, version, plural)
    return resource_handler(api, resource) if resource is not None else None


def _add_documents(router: Router, scheme: Scheme, enabled: Callable[[Resource], bool], discovery: Discovery) -> None:
    handler = document_handler(discovery.respond)
    for path in ("/api", "/apis"):
        router.add_path(path, handler)
        router.add_prefix(f"{path}/", handler)
    router.list_paths(discovery.paths())
    openapi = document_handler(_openapi(scheme, enabled))
    router.add_path("/openapi/v2", openapi)
    router.add_path("/openapi/v3", openapi)
    router.add_prefix("/openapi/v3/", openapi)
    router.add_path("/version", version_handler(version_info()))


def _openapi(scheme: Scheme, enabled: Callable[[Resource], bool]) -> Callable[[Request], Response | None]:
    """The OpenAPI documents, loaded when they are first asked for: not every client does."""
    documents: OpenAPI | None = None

    def respond(request: Request) -> Response | None:
        nonlocal documents
        if documents is None:
            from apiserver.endpoints.openapi import OpenAPI

            documents = OpenAPI(scheme, enabled, GIT_VERSION)
        return documents.respond(request)

    return respond


async def _etcd_check(client: Client, environment: Environment) -> str | None:
    try:
        async with asyncio.timeout(ETCD_HEALTH_SECONDS_MAX):
            await client.current_revision()
    except TimeoutError:
        return f"the store did not answer within {ETCD_HEALTH_SECONDS_MAX:g} s"
    except EtcdError as error:
        return error.message
    return None


async def _healthy() -> str | None:
    return None


def _health_checks(etcd: HealthCheck) -> dict[str, list[HealthCheck]]:
    """What `/healthz`, `/livez` and `/readyz` look at, under kube-apiserver's names."""
    alive = [
        HealthCheck("ping", _healthy),
        HealthCheck("log", _healthy),
        etcd,
        HealthCheck("poststarthook/rbac/bootstrap-roles", _healthy),
        HealthCheck("poststarthook/start-system-namespaces-controller", _healthy),
        HealthCheck("poststarthook/scheduling/bootstrap-system-priority-classes", _healthy),
    ]
    ready = [*alive, HealthCheck("etcd-readiness", etcd.check), HealthCheck("shutdown", _healthy)]
    return {"/healthz": alive, "/livez": alive, "/readyz": ready}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        text = error.strerror.split(": ")[-1]
        return f"{text[0].lower()}{text[1:]}{where}"
    return str(error)
