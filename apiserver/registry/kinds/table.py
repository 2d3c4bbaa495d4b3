"""Which class is the strategy of which resource; every other resource has the base class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apiserver.registry.kinds import jobs, workloads
from apiserver.registry.kinds.namespaces import NamespaceStrategy
from apiserver.registry.kinds.pods import PodStrategy
from apiserver.registry.kinds.services import ServiceStrategy
from apiserver.registry.strategy import Strategy

__all__ = ["STRATEGIES"]

STRATEGIES: Final[Mapping[tuple[str, str], type[Strategy]]] = {
    ("", "namespaces"): NamespaceStrategy,
    ("", "pods"): PodStrategy,
    ("", "podtemplates"): workloads.PodTemplateStrategy,
    ("", "replicationcontrollers"): workloads.ReplicationControllerStrategy,
    ("", "services"): ServiceStrategy,
    ("apps", "controllerrevisions"): workloads.ControllerRevisionStrategy,
    ("apps", "daemonsets"): workloads.DaemonSetStrategy,
    ("apps", "deployments"): workloads.DeploymentStrategy,
    ("apps", "replicasets"): workloads.ReplicaSetStrategy,
    ("apps", "statefulsets"): workloads.StatefulSetStrategy,
    ("batch", "cronjobs"): jobs.CronJobStrategy,
    ("batch", "jobs"): jobs.JobStrategy,
}
