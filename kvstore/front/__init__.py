"""The client port: gRPC over HTTP/2, and HTTP/1.1 for the JSON gateway, health and metrics, on one port.

    bytes -> port (which language?) -> http2: connection (frames, flow control; pure) -> calls -> service function
                                    -> http1: httptools                               -> router -> handler

The services are plain async functions over etcd's messages, named after their RPCs in snake case:

    class KV:
        async def range(self, request: pb.RangeRequest, context: CallContext) -> pb.RangeResponse: ...
    class Watch:
        async def watch(self, requests: AsyncIterator[pb.WatchRequest], context: CallContext
        ) -> AsyncIterator[pb.WatchResponse]:
            yield ...

    front = build_front({"etcdserverpb.KV": KV(), "etcdserverpb.Watch": Watch()})
    urls = await front.listen(["http://127.0.0.1:2379"])

A unary RPC returns its response, a server stream is an async generator of them, and a bidirectional one takes an async
iterator of requests instead of one; that iterator ends when the client half-closes, which by itself ends nothing. To
refuse, raise `EtcdError`. When the client gives up, or its deadline passes, the function is cancelled. A response of a
stream may be given as `bytes` when it is already serialized. An RPC without a function is answered UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.descriptor import ServiceDescriptor

from kvstore.environment import Clock, RealClock
from kvstore.etcdpb import election_pb2, lock_pb2, rpc_pb2
from kvstore.front.access import AccessControl
from kvstore.front.addresses import SocketOptions
from kvstore.front.gateway import add_gateway
from kvstore.front.health import HealthService
from kvstore.front.http_endpoints import MemberStatus, add_endpoints
from kvstore.front.limits import FrontLimits
from kvstore.front.routes import HttpRequest, HttpResponse, Router
from kvstore.front.server import Front
from kvstore.front.service import CallContext, CallObserver, FinishedCall, Kind, Method, MethodTable, methods_of
from kvstore.front.tls import ServerTLS, report_rejected, server_context

__all__ = [
    "AccessControl",
    "CallContext",
    "CallObserver",
    "FinishedCall",
    "Front",
    "FrontLimits",
    "HealthService",
    "HttpRequest",
    "HttpResponse",
    "Kind",
    "MemberStatus",
    "Method",
    "MethodTable",
    "Router",
    "ServerTLS",
    "SocketOptions",
    "build_front",
    "report_rejected",
    "server_context",
    "service_descriptors",
]


def service_descriptors() -> dict[str, ServiceDescriptor]:
    """Every service of etcd's client port, by full name."""
    files = (rpc_pb2.DESCRIPTOR, lock_pb2.DESCRIPTOR, election_pb2.DESCRIPTOR)
    return {service.full_name: service for file in files for service in file.services_by_name.values()}


def build_front(
    services: Mapping[str, object],
    *,
    grpc: bool = True,
    member: MemberStatus | None = None,
    health: HealthService | None = None,
    gateway: bool = True,
    limits: FrontLimits | None = None,
    clock: Clock | None = None,
    observer: CallObserver | None = None,
    access: AccessControl | None = None,
) -> Front:
    """A front for service objects by full name ("etcdserverpb.KV": …).

    Args:
        services: objects with a method for each RPC they implement.
        grpc: whether gRPC calls are answered; without it only HTTP is, for `--listen-client-http-urls`.
        member: answers health, version and metrics requests; without it those paths are not there.
        health: `grpc.health.v1.Health`; one that always serves unless given.
        gateway: whether the JSON gateway is served under `/v3/` (`--enable-grpc-gateway`).
        limits, clock, observer: see `Front`.
        access: which browsers and host names may ask over HTTP (`--cors`, `--host-whitelist`); all, unless given.

    Raises KeyError for a service etcd does not have.
    """
    descriptors = service_descriptors()
    health = health or HealthService()
    methods = [method for name, service in services.items() for method in methods_of(descriptors[name], service)]
    methods += methods_of(health.descriptor, health)
    table = MethodTable(methods)
    limits = limits or FrontLimits()
    clock = clock or RealClock()
    router = Router(clock, access or AccessControl())
    if member is not None:
        add_endpoints(router, member)
    if gateway:
        add_gateway(router, table, clock)
    return Front(table if grpc else MethodTable(()), router, limits, clock, observer)
