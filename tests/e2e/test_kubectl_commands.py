"""kubectl's commands beyond the everyday ones: generators, `set`, rollouts, nodes; and the examples that come along."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.e2e.server_process import Kubectl

pytestmark = pytest.mark.e2e

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))
GENERATED = {
    "deployment web --image=nginx:1.27 --replicas=3 --port=80": "deployment.apps/web",
    "job once --image=busybox -- date": "job.batch/once",
    "cronjob often --image=busybox --schedule='*/1 * * * *' -- date": "cronjob.batch/often",
    "job by-hand --from=cronjob/often": "job.batch/by-hand",
    "ingress web --rule='example.com/shop*=web:80,tls=cert'": "ingress.networking.k8s.io/web",
    "role reader --verb=get,list --resource=pods,deployments.apps": "role.rbac.authorization.k8s.io/reader",
    "rolebinding reader --role=reader --user=jane": "rolebinding.rbac.authorization.k8s.io/reader",
    "quota small --hard=cpu=1,memory=1G,pods=2": "resourcequota/small",
    "poddisruptionbudget web --selector=app=web --min-available=1": "poddisruptionbudget.policy/web",
    "service clusterip inside --tcp=5678:8080": "service/inside",
    "service externalname outside --external-name=example.com": "service/outside",
    "service loadbalancer balanced --tcp=80:80": "service/balanced",
    "service nodeport noded --tcp=80:80": "service/noded",
    "secret generic plain --from-literal=a=b": "secret/plain",
    "secret docker-registry registry --docker-server=x --docker-username=u --docker-password=p": "secret/registry",
    "serviceaccount robot": "serviceaccount/robot",
}


def test_what_kubectl_makes_up_itself(kubectl: Kubectl, namespace: str) -> None:
    for command, name in GENERATED.items():
        arguments = shlex.split(command)
        position = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[position:position] = ["-n", namespace]
        created = kubectl("create", *arguments)
        assert created == f"{name} created\n"
    found = set(kubectl("get", "-n", namespace, "-o", "name", *sorted(GENERATED.values())).split())
    assert found == set(GENERATED.values())
    service = kubectl.json("get", "service", "balanced", "-n", namespace)["spec"]
    assert (service["type"], service["allocateLoadBalancerNodePorts"]) == ("LoadBalancer", True)
    assert 30000 <= service["ports"][0]["nodePort"] <= 32767
    everything = kubectl("get", "all", "-n", namespace)
    assert all(f"\n{name} " in f"\n{everything}" for name in ("service/noded", "deployment.apps/web", "job.batch/once"))
    described = kubectl("describe", "-n", namespace, *sorted(GENERATED.values()))
    assert "Error" not in described


def test_set_autoscale_and_rollouts(kubectl: Kubectl, namespace: str) -> None:
    here = ("-n", namespace)
    kubectl("create", "deployment", "web", "--image=nginx:1.27", *here)
    kubectl("set", "env", "deployment/web", "COLOR=blue", *here)
    kubectl("set", "resources", "deployment/web", "--limits=memory=64Mi", *here)
    kubectl("set", "serviceaccount", "deployment/web", "robot", *here)
    kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu=80%", *here)
    kubectl("rollout", "restart", "deployment/web", *here)
    kubectl("rollout", "pause", "deployment/web", *here)
    deployment = kubectl.json("get", "deployment", "web", *here)
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["env"] == [{"name": "COLOR", "value": "blue"}]
    assert pod["containers"][0]["resources"] == {"limits": {"memory": "64Mi"}}
    assert pod["serviceAccountName"] == pod["serviceAccount"] == "robot"
    assert "kubectl.kubernetes.io/restartedAt" in deployment["spec"]["template"]["metadata"]["annotations"]
    assert deployment["spec"]["paused"] is True
    assert deployment["metadata"]["generation"] == 6
    scaler = kubectl.json("get", "hpa", "web", *here)
    assert scaler["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    replaced = kubectl("replace", "--force", "-f", "-", *here, stdin=json.dumps(deployment))
    assert replaced.endswith("deployment.apps/web replaced\n")
    assert kubectl.json("get", "deployment", "web", *here)["metadata"]["uid"] != deployment["metadata"]["uid"]


def test_nodes_are_tainted_cordoned_and_drained(kubectl: Kubectl, namespace: str) -> None:
    node = f"{namespace}-node"
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "nginx:1.27"}]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    kubectl("taint", "node", node, "dedicated=test:NoSchedule")
    kubectl("cordon", node)
    assert "Unknown,SchedulingDisabled" in kubectl("get", "node", node)
    assert kubectl.json("get", "node", node)["spec"]["taints"][0]["key"] == "dedicated"
    described = kubectl("describe", "node", node)
    assert f"  {namespace} " in described  # its pods, found by the field spec.nodeName
    drained = kubectl("drain", node, "--force", "--grace-period=0")
    assert "pod/p evicted" in drained or "pod/p deleted" in drained
    assert "NotFound" in kubectl.fails("get", "pod", "p", "-n", namespace)
    kubectl("uncordon", node)
    kubectl("delete", "node", node)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_can_be_applied_twice_and_deleted(kubectl: Kubectl, namespace: str, example: Path) -> None:
    here = () if "namespace: " in example.read_text() else ("-n", namespace)
    created = kubectl("apply", "-f", str(example), *here).splitlines()
    assert created
    assert all(line.endswith(" created") for line in created), created
    again = kubectl("apply", "-f", str(example), *here).splitlines()
    assert len(again) == len(created)
    assert not any(line.endswith(" created") for line in again), again
    # The namespace, where there is one, takes the others along at its own pace.
    kubectl("delete", "-f", str(example), *here, "--wait=false", "--ignore-not-found")
