"""HorizontalPodAutoscalers: autoscaling/v1 and v2, the form in which they are stored.

v1 knows one metric, the average CPU utilization. Everything else of v2 travels in annotations, each a JSON text: the
other metrics and all metric states in v1's own types, the conditions, and the behavior with its Go field names (it is
the internal type that kube-apiserver marshals there).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

__all__ = ["hpa_v1_to_v2", "hpa_v2_to_v1"]

Object = dict[str, Any]

METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS: Final = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR: Final = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS: Final = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)

# What v1 means when it names no target at all.
_DEFAULT_CPU_UTILIZATION: Final = 80


def hpa_v2_to_v1(hpa: Object) -> Object:
    """v2 to v1: the CPU target to its field, the rest to annotations."""
    spec, status = dict(hpa.get("spec") or {}), dict(hpa.get("status") or {})
    metrics, behavior = spec.pop("metrics", None) or [], spec.pop("behavior", None)
    current, conditions = status.pop("currentMetrics", None) or [], status.pop("conditions", None)
    target: Object = next((m["resource"]["target"] for m in metrics if _is_cpu(m)), {})
    if target.get("averageUtilization") is not None:
        spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
    for metric in current:
        if _is_cpu(metric) and metric["resource"]["current"].get("averageUtilization") is not None:
            status["currentCPUUtilizationPercentage"] = metric["resource"]["current"]["averageUtilization"]
    others = [m for m in metrics if not (_is_cpu(m) and m["resource"]["target"].get("averageUtilization") is not None)]
    annotations: dict[str, Any] = {
        METRICS: [_metric_to_v1(metric) for metric in others],
        CURRENT_METRICS: [_status_to_v1(metric) for metric in current],
        CONDITIONS: conditions,
        BEHAVIOR: _behavior_to_internal(behavior) if behavior is not None else None,
    }
    added = {name: orjson.dumps(value).decode() for name, value in annotations.items() if value}
    return {**hpa, "metadata": _annotated(hpa, added), "spec": spec, "status": status}


def hpa_v1_to_v2(hpa: Object) -> Object:
    """v1 to v2: annotations back to fields; texts that are no JSON are dropped, as kube-apiserver does."""
    spec, status = dict(hpa.get("spec") or {}), dict(hpa.get("status") or {})
    annotations = (hpa.get("metadata") or {}).get("annotations") or {}
    target = spec.pop("targetCPUUtilizationPercentage", None)
    utilization = status.pop("currentCPUUtilizationPercentage", None)
    metrics = [_metric_to_v2(metric) for metric in _list_in(annotations, METRICS)]
    if target is None and not metrics:
        target = _DEFAULT_CPU_UTILIZATION
    if target is not None:
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
        metrics.append({"type": "Resource", "resource": cpu})
    spec["metrics"] = metrics
    current = [_status_to_v2(metric) for metric in _list_in(annotations, CURRENT_METRICS)]
    if not current and utilization is not None:
        cpu = {"name": "cpu", "current": {"averageUtilization": utilization}}
        current = [{"type": "Resource", "resource": cpu}]
    if current:
        status["currentMetrics"] = current
    conditions = _list_in(annotations, CONDITIONS)
    if conditions:
        status["conditions"] = conditions
    behavior = _json_in(annotations, BEHAVIOR)
    if isinstance(behavior, dict):
        spec["behavior"] = _behavior_from_internal(behavior)
    return {**hpa, "metadata": _annotated(hpa, {}), "spec": spec, "status": status}


def _is_cpu(metric: Object) -> bool:
    return metric.get("type") == "Resource" and (metric.get("resource") or {}).get("name") == "cpu"


def _annotated(hpa: Object, added: dict[str, str]) -> Object:
    """The metadata with these conversion annotations and no other ones."""
    metadata = dict(hpa.get("metadata") or {})
    kept = {name: text for name, text in (metadata.pop("annotations", None) or {}).items() if name not in _ANNOTATIONS}
    annotations = kept | added
    return {**metadata, "annotations": annotations} if annotations else metadata


def _json_in(annotations: dict[str, str], name: str) -> Any:
    try:
        return orjson.loads(annotations.get(name, "null"))
    except orjson.JSONDecodeError:
        return None


def _list_in(annotations: dict[str, str], name: str) -> list[Object]:
    value = _json_in(annotations, name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _present(**values: Any) -> Object:
    return {name: value for name, value in values.items() if value is not None}


def _metric_to_v1(metric: Object) -> Object:
    """A v2 MetricSpec as v1's."""
    result: Object = {"type": metric["type"]}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if source is None:
            continue
        target, ident = source.get("target") or {}, source.get("metric") or {}
        average, value = target.get("averageValue"), target.get("value")
        name, selector = ident.get("name", ""), ident.get("selector")
        if kind == "object":
            result[kind] = {"target": source["describedObject"], "metricName": name, "targetValue": value or "0"}
            result[kind] |= _present(selector=selector, averageValue=average)
        elif kind == "pods":
            result[kind] = {"metricName": name, "targetAverageValue": average or "0"} | _present(selector=selector)
        elif kind == "external":
            result[kind] = {"metricName": name} | _present(
                metricSelector=selector, targetValue=value, targetAverageValue=average
            )
        else:
            utilization = target.get("averageUtilization")
            result[kind] = {"name": source["name"]} | _present(
                targetAverageUtilization=utilization, targetAverageValue=average, container=source.get("container")
            )
    return result


def _metric_to_v2(metric: Object) -> Object:
    """A v1 MetricSpec as v2's."""
    result: Object = {"type": metric.get("type", "")}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if not isinstance(source, dict):
            continue
        average = source.get("averageValue") if kind == "object" else source.get("targetAverageValue")
        value, utilization = source.get("targetValue"), source.get("targetAverageUtilization")
        selector = source.get("metricSelector") if kind == "external" else source.get("selector")
        ident = {"name": source.get("metricName", "")} | _present(selector=selector)
        if kind == "object":
            target = {"type": "Value" if average is None else "AverageValue"} | _present(
                value=value, averageValue=average
            )
            result[kind] = {"describedObject": source.get("target") or {}, "target": target, "metric": ident}
        elif kind == "pods":
            result[kind] = {"metric": ident, "target": {"type": "AverageValue"} | _present(averageValue=average)}
        elif kind == "external":
            target = {"type": "AverageValue" if value is None else "Value"} | _present(
                value=value, averageValue=average
            )
            result[kind] = {"metric": ident, "target": target}
        else:
            target = {"type": "AverageValue" if utilization is None else "Utilization"}
            target |= _present(averageValue=average, averageUtilization=utilization)
            result[kind] = {"name": source.get("name", ""), "target": target}
            result[kind] |= _present(container=source.get("container"))
    return result


def _status_to_v1(metric: Object) -> Object:
    """A v2 MetricStatus as v1's."""
    result: Object = {"type": metric["type"]}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if source is None:
            continue
        current, ident = source.get("current") or {}, source.get("metric") or {}
        average, value = current.get("averageValue"), current.get("value")
        name, selector = ident.get("name", ""), ident.get("selector")
        if kind == "object":
            result[kind] = {"target": source["describedObject"], "metricName": name, "currentValue": value or "0"}
            result[kind] |= _present(selector=selector, averageValue=average)
        elif kind == "pods":
            result[kind] = {"metricName": name, "currentAverageValue": average or "0"} | _present(selector=selector)
        elif kind == "external":
            result[kind] = {"metricName": name, "currentValue": value or "0"}
            result[kind] |= _present(metricSelector=selector, currentAverageValue=average)
        else:
            result[kind] = {"name": source["name"], "currentAverageValue": average or "0"}
            utilization = current.get("averageUtilization")
            result[kind] |= _present(currentAverageUtilization=utilization, container=source.get("container"))
    return result


def _status_to_v2(metric: Object) -> Object:
    """A v1 MetricStatus as v2's."""
    result: Object = {"type": metric.get("type", "")}
    for kind in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(kind)
        if not isinstance(source, dict):
            continue
        average = source.get("averageValue") if kind == "object" else source.get("currentAverageValue")
        selector = source.get("metricSelector") if kind == "external" else source.get("selector")
        ident = {"name": source.get("metricName", "")} | _present(selector=selector)
        current = _present(value=source.get("currentValue"), averageValue=average)
        if kind == "object":
            result[kind] = {"metric": ident, "current": current, "describedObject": source.get("target") or {}}
        elif kind in ("pods", "external"):
            result[kind] = {"metric": ident, "current": current}
        else:
            current |= _present(averageUtilization=source.get("currentAverageUtilization"))
            result[kind] = {"name": source.get("name", ""), "current": current}
            result[kind] |= _present(container=source.get("container"))
    return result


_RULE_NAMES: Final = {
    "StabilizationWindowSeconds": "stabilizationWindowSeconds",
    "SelectPolicy": "selectPolicy",
    "Policies": "policies",
    "Tolerance": "tolerance",
}
_POLICY_NAMES: Final = {"Type": "type", "Value": "value", "PeriodSeconds": "periodSeconds"}


def _behavior_to_internal(behavior: Object) -> Object:
    """With Go's names and every field, as encoding/json writes a struct without tags."""

    def rules(given: Object | None) -> Object | None:
        if given is None:
            return None
        found: Object = {go: given.get(name) for go, name in _RULE_NAMES.items()}
        policies = given.get("policies")
        if policies is not None:
            found["Policies"] = [{go: policy.get(name) for go, name in _POLICY_NAMES.items()} for policy in policies]
        return found

    return {"ScaleUp": rules(behavior.get("scaleUp")), "ScaleDown": rules(behavior.get("scaleDown"))}


def _behavior_from_internal(behavior: Object) -> Object:
    def rules(given: Any) -> Object | None:
        if not isinstance(given, dict):
            return None
        found = _present(**{name: given.get(go) for go, name in _RULE_NAMES.items()})
        if "policies" in found:
            policies = [policy for policy in found["policies"] if isinstance(policy, dict)]
            found["policies"] = [{name: policy.get(go) for go, name in _POLICY_NAMES.items()} for policy in policies]
        return found

    return _present(scaleUp=rules(behavior.get("ScaleUp")), scaleDown=rules(behavior.get("ScaleDown")))
