"""`grpc.health.v1.Health`, as far as etcd serves it: one service, named "", which is serving or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from kvstore.errors import EtcdError, StatusCode
from kvstore.front.service import CallContext

__all__ = ["HealthService", "health_descriptor"]

SERVING, NOT_SERVING = 1, 2


def health_descriptor() -> ServiceDescriptor:
    """The service in a pool of its own: programs that bring grpcio-health-checking register the same names."""
    file = FileDescriptorProto(name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3")
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(
        name="service", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        status.value.add(name=name, number=number)
    response.field.add(
        name="status",
        number=1,
        type=FieldDescriptorProto.TYPE_ENUM,
        type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    service = file.service.add(name="Health")
    types = {"input_type": ".grpc.health.v1.HealthCheckRequest", "output_type": ".grpc.health.v1.HealthCheckResponse"}
    service.method.add(name="Check", **types)
    service.method.add(name="Watch", server_streaming=True, **types)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("grpc.health.v1.Health")


class HealthService:
    """Whether the whole server serves; it does until told otherwise."""

    def __init__(self) -> None:
        self.descriptor = health_descriptor()
        self._response_type = GetMessageClass(self.descriptor.methods_by_name["Check"].output_type)
        self._status = SERVING
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Change the answer, and tell those who watch it."""
        self._status = SERVING if serving else NOT_SERVING
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def check(self, request: Any, context: CallContext) -> Any:
        """Health.Check. Raises `EtcdError` (NOT_FOUND) for a named service."""
        if request.service:
            raise EtcdError(StatusCode.NOT_FOUND, "unknown service")
        return self._response_type(status=self._status)

    async def watch(self, request: Any, context: CallContext) -> AsyncIterator[Any]:
        """Health.Watch: the status now and after each change."""
        while True:
            changed = self._changed
            yield self._response_type(status=3 if request.service else self._status)
            await changed.wait()
