"""pods/eviction: a delete that asks the disruption budget first.

As in kubernetes `registry/core/pod/storage/eviction.go`.
"""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.api.metatime import format_time
from apiserver.api.selectors import SelectorError, label_selector_from_object
from apiserver.api.status import Cause, StatusError, bad_request, forbidden, success, too_many_requests
from apiserver.codec import Kind
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import validate_delete_options
from apiserver.endpoints.pods import decode_named
from apiserver.endpoints.scope import Scope
from apiserver.registry.interface import Object
from apiserver.registry.objects import copy_object
from apiserver.registry.store import Store
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import ListOptions

__all__ = ["eviction_handler"]

EVICTION_KIND: Kind = ("policy", "v1", "Eviction")
DISRUPTED_PODS_MAX = 2000
"""So many evictions may be approved that the disruption controller has not noticed yet."""
_ATTEMPTS = 20
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."


def eviction_handler(pods: Scope, budgets: Store | None) -> Handler:
    """POST of an Eviction.

    Args:
        budgets: the store of pod disruption budgets; None when policy/v1 is not served.
    """

    async def evict(request: Request) -> Response:
        media = negotiate(request)
        eviction, options, attributes = await decode_named(request, pods, EVICTION_KIND, pods.resource)
        name = request.info.name
        if eviction["metadata"].get("name") != name:
            raise bad_request("name in URL does not match name in Eviction object")
        delete_options = eviction.get("deleteOptions") or {}
        if options.dry_run:
            delete_options["dryRun"] = ["All"]
        validate_delete_options(delete_options)
        if pods.server.admission.handles(Operation.CREATE):
            await pods.server.admission.validate(attributes)
        await _evict(pods, budgets, request, delete_options)
        return pods.server.responder.object(request, media, pods.resource, 201, success(code=201))

    return evict


async def _evict(pods: Scope, budgets: Store | None, request: Request, options: dict[str, Any]) -> None:
    """Delete the pod, unless a budget forbids it; races with others are tried again."""
    fixed = (options.get("preconditions") or {}).get("resourceVersion") is not None
    for attempt in range(_ATTEMPTS):
        stored = await pods.store.get(request.info.namespace, request.info.name)
        pod = stored.view(pods.resource)
        try:
            guarded, budget = await _claim(pods, budgets, pod, bool(options.get("dryRun")))
        except StatusError as error:
            if error.reason == "Conflict" and attempt + 1 < _ATTEMPTS:
                continue
            raise
        own = copy_object(options)
        if guarded and not fixed:
            own.setdefault("preconditions", {})["resourceVersion"] = pod["metadata"]["resourceVersion"]
        context = pods.context(request, request.info.namespace, bool(options.get("dryRun")))
        try:
            await pods.store.delete(context, request.info.name, own)
            return
        except StatusError as error:
            if error.reason != "Conflict" or fixed or not guarded:
                raise
            if budget:
                raise _still_processed(budget) from None
            if attempt + 1 == _ATTEMPTS:
                raise


async def _claim(pods: Scope, budgets: Store | None, pod: Object, dry_run: bool) -> tuple[bool, str]:
    """Take one disruption from the pod's budget.

    Returns:
        Whether the pod must not change until it is deleted, and the budget that this is for, if any.
    """
    status, metadata = pod.get("status") or {}, pod["metadata"]
    phase = status.get("phase")
    if phase in ("Succeeded", "Failed") or metadata.get("deletionTimestamp"):
        return False, ""
    if phase == "Pending":
        return True, ""
    found = await _budgets_of(budgets, pod) if budgets is not None else []
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "", text)
    if not found:
        return False, ""
    assert budgets is not None
    budget = found[0]
    name = budget["metadata"]["name"]
    if not _is_ready(status) and _unready_may_go(budget):
        return True, name
    await _take_disruption(pods, budgets, metadata, budget, dry_run)
    return False, name


def _is_ready(status: dict[str, Any]) -> bool:
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def _unready_may_go(budget: Object) -> bool:
    """A pod that is not ready does not count as healthy (KEP-3017)."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy >= desired > 0)


async def _budgets_of(budgets: Store, pod: Object) -> list[Object]:
    result = await budgets.list(ListOptions(namespace=pod["metadata"]["namespace"]))
    labels = pod["metadata"].get("labels") or {}
    found = []
    for item in result.items:
        budget = item.view(budgets.resource)
        try:
            selector = label_selector_from_object((budget.get("spec") or {}).get("selector"))
        except SelectorError:
            continue
        if not selector.empty and selector.matches(labels):
            found.append(budget)
    return found


async def _take_disruption(pods: Scope, budgets: Store, pod: dict[str, Any], budget: Object, dry_run: bool) -> None:
    resource, name = budgets.resource, budget["metadata"]["name"]
    now = format_time(int(pods.server.environment.clock.now()))

    def change(current: Object, revision: int) -> Object:
        status = current.setdefault("status", {})
        _check_budget(current, status, name)
        status["disruptionsAllowed"] -= 1
        if status["disruptionsAllowed"] == 0:
            _set_insufficient(current, status, now)
        status.setdefault("disruptedPods", {})[pod["name"]] = now
        return current

    if dry_run:
        change(copy_object(budget), 0)
        return
    await budgets.storage.update(resource, budgets.key(pod["namespace"], name), change)


def _check_budget(budget: Object, status: dict[str, Any], name: str) -> None:
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _still_processed(name)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > DISRUPTED_PODS_MAX:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudget", name, text)
    if allowed == 0:
        desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        text = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        error = too_many_requests(_VIOLATES, 0)
        error.causes = (Cause("DisruptionBudget", text),)
        raise error


def _set_insufficient(budget: Object, status: dict[str, Any], now: str) -> None:
    """No disruption is left: the condition says so."""
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": now,
        "reason": "InsufficientPods",
        "message": "",
    }
    conditions = status.setdefault("conditions", [])
    for index, present in enumerate(conditions):
        if present.get("type") == "DisruptionAllowed":
            if present.get("status") == "False":
                condition["lastTransitionTime"] = present.get("lastTransitionTime", now)
            conditions[index] = condition
            return
    conditions.append(condition)


def _still_processed(name: str) -> StatusError:
    error = too_many_requests(_VIOLATES, 10)
    error.causes = (Cause("DisruptionBudget", f"The disruption budget {name} is still being processed by the server."),)
    return error
