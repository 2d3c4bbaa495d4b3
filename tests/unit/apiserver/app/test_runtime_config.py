"""`--runtime-config`: the broad words first, the narrow ones win."""

import pytest

from apiserver.api.scheme import load_scheme
from apiserver.app.runtime_config import RuntimeConfigError, enabled_resources

SCHEME = load_scheme()


def served(config: dict[str, str]) -> set[str]:
    enabled = enabled_resources(SCHEME, config)
    return {f"{r.api_version}/{r.plural}" for r in SCHEME.resources() if enabled(r)}


def test_default_serves_ga_only() -> None:
    names = served({})
    assert "apps/v1/deployments" in names
    assert "autoscaling/v1/horizontalpodautoscalers" in names
    assert not [name for name in names if "alpha" in name or "beta" in name]


@pytest.mark.parametrize(
    ("config", "present", "absent"),
    [
        ({"api/all": "true"}, "scheduling.k8s.io/v1alpha3/podgroups", ""),
        (
            {"api/beta": "true"},
            "certificates.k8s.io/v1beta1/clustertrustbundles",
            "scheduling.k8s.io/v1alpha3/podgroups",
        ),
        ({"api/all": "false", "api/v1": "true"}, "v1/pods", "apps/v1/deployments"),
        ({"batch/v1": "false"}, "apps/v1/deployments", "batch/v1/jobs"),
        ({"batch/v1/jobs": "false"}, "batch/v1/cronjobs", "batch/v1/jobs"),
        ({"batch/v1": "false", "batch/v1/jobs": "true"}, "batch/v1/jobs", "batch/v1/cronjobs"),
        ({"metrics.example.com/v1": "true"}, "apps/v1/deployments", ""),
    ],
)
def test_narrow_entries_win(config: dict[str, str], present: str, absent: str) -> None:
    names = served(config)
    assert present in names
    assert absent not in names


@pytest.mark.parametrize(
    "config",
    [{"apps/v7": "true"}, {"api/all": "maybe"}, {"apps": "true"}, {"apps/v1/Deployments": "true"}, {"a/b/c/d": "true"}],
)
def test_entries_that_mean_nothing_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(RuntimeConfigError, match="--runtime-config"):
        enabled_resources(SCHEME, config)
