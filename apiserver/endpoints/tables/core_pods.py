"""Rows of pods, and of what makes pods in the core group.

A pod's STATUS sums up phase, conditions and container states; its rules stand here in the order in which they apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import (
    NONE,
    Object,
    Printer,
    PrinterTable,
    age,
    container_names_and_images,
    is_true,
    label_text,
)
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]

_EMPTY: Mapping[str, Any] = {}

_SUCCEEDED = [
    {"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}
]
_FAILED = [{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}]


class _Restarts:
    """How often containers were restarted, and when last."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = ""

    def add(self, container: Mapping[str, Any]) -> None:
        self.count += container.get("restartCount", 0)
        terminated = (container.get("lastState") or _EMPTY).get("terminated")
        if terminated:
            # All timestamps have the same form, so their texts compare as the times do.
            self.last = max(self.last, terminated.get("finishedAt") or "")

    def text(self, now: Now) -> str:
        if self.count and self.last:
            return f"{self.count} ({now.age(self.last)} ago)"
        return str(self.count)


class _Summary:
    """Readiness, status and restarts of a pod."""

    __slots__ = ("ready", "reason", "restarts", "total")

    def __init__(self, obj: Object) -> None:
        spec, status = obj.get("spec") or _EMPTY, obj.get("status") or _EMPTY
        phase = status.get("phase", "")
        self.reason: str = status.get("reason") or phase
        self.ready = 0
        self.total = len(spec.get("containers") or ())
        conditions = status.get("conditions") or ()
        for condition in conditions:
            if condition.get("reason") == "SchedulingGated" and condition.get("type") == "PodScheduled":
                self.reason = "SchedulingGated"
        self.restarts = _Restarts()
        initialized = True
        if "initContainers" in spec or "initContainerStatuses" in status:
            initialized = self._add_init_containers(spec.get("initContainers") or [], status)
        if initialized:
            self._add_containers(status, conditions)
        if obj["metadata"].get("deletionTimestamp"):
            if status.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif phase not in ("Succeeded", "Failed"):
                self.reason = "Terminating"

    def _add_init_containers(self, containers: list[Any], status: Mapping[str, Any]) -> bool:
        """Look at the init containers up to the first that is not done.

        Returns whether initialization is over; then only the restarts of sidecars are left.
        """
        sidecars = {item.get("name") for item in containers if item.get("restartPolicy") == "Always"}
        self.total += len(sidecars)
        sidecar_restarts = _Restarts()
        initialized = True
        for index, container in enumerate(status.get("initContainerStatuses") or ()):
            self.restarts.add(container)
            is_sidecar = container.get("name") in sidecars
            if is_sidecar:
                sidecar_restarts.add(container)
            state = container.get("state") or _EMPTY
            terminated = state.get("terminated")
            if terminated is not None and not terminated.get("exitCode", 0):
                continue
            if is_sidecar and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            waiting_reason = (state.get("waiting") or _EMPTY).get("reason")
            if terminated is not None:
                self.reason = f"Init:{terminated.get('reason') or _exit_text(terminated)}"
            elif waiting_reason and waiting_reason != "PodInitializing":
                self.reason = f"Init:{waiting_reason}"
            else:
                self.reason = f"Init:{index}/{len(containers)}"
            initialized = is_true(status.get("conditions"), "Initialized")
            break
        if initialized:
            self.restarts = sidecar_restarts
        return initialized

    def _add_containers(self, status: Mapping[str, Any], conditions: Any) -> None:
        running = False
        error_reason = ""
        for container in reversed(status.get("containerStatuses") or ()):
            self.restarts.add(container)
            state = container.get("state") or _EMPTY
            waiting, terminated = state.get("waiting"), state.get("terminated")
            if waiting and waiting.get("reason"):
                self.reason = waiting["reason"]
            elif terminated is not None:
                self.reason = terminated.get("reason") or _exit_text(terminated)
                if terminated.get("exitCode", 0):
                    error_reason = self.reason
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            if running and is_true(conditions, "Ready"):
                self.reason = "Running"
            elif error_reason:
                self.reason = error_reason
            elif running:
                self.reason = "NotReady"


def _exit_text(terminated: Mapping[str, Any]) -> str:
    if terminated.get("signal", 0):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _readiness_gates(spec: Mapping[str, Any], conditions: Any) -> str:
    gates = spec.get("readinessGates")
    if not gates:
        return NONE
    open_gates = sum(is_true(conditions, gate.get("conditionType", "")) for gate in gates)
    return f"{open_gates}/{len(gates)}"


def _pod(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or _EMPTY, obj.get("status") or _EMPTY
    summary = _Summary(obj)
    addresses = status.get("podIPs")
    return [
        obj["metadata"].get("name", ""),
        f"{summary.ready}/{summary.total}",
        summary.reason,
        summary.restarts.text(now),
        age(obj, now),
        (addresses and addresses[0].get("ip")) or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status.get("conditions")),
    ]


def _pod_conditions(obj: Object) -> list[dict[str, str]]:
    phase = (obj.get("status") or _EMPTY).get("phase")
    if phase == "Succeeded":
        return _SUCCEEDED
    return _FAILED if phase == "Failed" else []


def _pod_template(obj: Object, now: Now) -> list[Any]:
    template = obj.get("template") or _EMPTY
    labels = (template.get("metadata") or _EMPTY).get("labels")
    return [obj["metadata"].get("name", ""), *container_names_and_images(template), label_text(labels)]


def _replication_controller(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or _EMPTY, obj.get("status") or _EMPTY
    return [
        obj["metadata"].get("name", ""),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *container_names_and_images(spec.get("template")),
        label_text(spec.get("selector")),
    ]


PRINTERS: PrinterTable = {
    ("", "Pod"): Printer(_pod, conditions=_pod_conditions),
    ("", "PodTemplate"): Printer(_pod_template),
    ("", "ReplicationController"): Printer(_replication_controller),
}
