"""Defaults of workloads that need code (kubernetes `pkg/apis/apps/v1`, `batch/v1`, `autoscaling/v1` and `v2`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["SPECIAL"]

Obj = dict[str, Any]

_EMPTY: Final[Obj] = {}
_INT32_MAX: Final = 2**31 - 1


def _deployment(obj: Obj) -> None:
    _rolling_update(obj.setdefault("spec", {}).setdefault("strategy", {}), "25%", "25%")


def _daemon_set(obj: Obj) -> None:
    _rolling_update(obj.setdefault("spec", {}).setdefault("updateStrategy", {}), 1, 0)


def _rolling_update(strategy: Obj, max_unavailable: int | str, max_surge: int | str) -> None:
    """The strategy when none is named, and its bounds."""
    if (strategy.get("type") or "RollingUpdate") != "RollingUpdate":
        return
    strategy["type"] = "RollingUpdate"
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        rolling = strategy["rollingUpdate"] = {}
    _fill(rolling, "maxUnavailable", max_unavailable)
    _fill(rolling, "maxSurge", max_surge)


def _stateful_set(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        if strategy.get("rollingUpdate") is None:
            strategy["rollingUpdate"] = {}
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "RollingUpdate" and rolling is not None:
        _fill(rolling, "partition", 0)
        _fill(rolling, "maxUnavailable", 1)
    if spec.get("persistentVolumeClaimRetentionPolicy") is None:
        spec["persistentVolumeClaimRetentionPolicy"] = {}


def _job(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _INT32_MAX
    labels = ((spec.get("template") or _EMPTY).get("metadata") or _EMPTY).get("labels")
    metadata = obj.setdefault("metadata", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"


def _autoscaler_v1(obj: Obj) -> None:
    """Without any metric the target is 80 % of CPU, as the conversion from v2 would say."""
    spec = obj.setdefault("spec", {})
    annotations = obj.get("metadata", _EMPTY).get("annotations") or _EMPTY
    if (
        spec.get("targetCPUUtilizationPercentage") is None
        and "autoscaling.alpha.kubernetes.io/metrics" not in annotations
    ):
        spec["targetCPUUtilizationPercentage"] = 80


def _autoscaler_v2(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    every_15_seconds = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up = behavior["scaleUp"] = behavior.get("scaleUp") or {}
    _fill(up, "stabilizationWindowSeconds", 0)
    _fill(up, "selectPolicy", "Max")
    _fill(up, "policies", [{"type": "Pods", "value": 4, "periodSeconds": 15}, every_15_seconds])
    down = behavior["scaleDown"] = behavior.get("scaleDown") or {}
    _fill(down, "selectPolicy", "Max")
    _fill(down, "policies", [dict(every_15_seconds)])


def _fill(obj: Obj, name: str, value: Any) -> None:
    if obj.get(name) is None:
        obj[name] = value


_APPS: Final = "k8s.io.api.apps.v1."
SPECIAL: Final[dict[str, Callable[[Obj], None]]] = {
    _APPS + "DaemonSet": _daemon_set,
    _APPS + "Deployment": _deployment,
    _APPS + "StatefulSet": _stateful_set,
    "k8s.io.api.autoscaling.v1.HorizontalPodAutoscaler": _autoscaler_v1,
    "k8s.io.api.autoscaling.v2.HorizontalPodAutoscaler": _autoscaler_v2,
    "k8s.io.api.batch.v1.Job": _job,
}
