"""Authorizers from flags and from an AuthorizationConfiguration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver.app.authorization_config import AuthorizationConfigError, load_configuration, specs_from_flags
from apiserver.app.options import OptionsError, parse_options
from apiserver.authz import Decision
from kvstore.environment import RealFileSystem


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--authorization-mode="], "at least one mode must be passed"),
        (["--authorization-mode=Magic"], '--authorization-mode: "Magic" is not a valid mode'),
        (["--authorization-mode=RBAC,RBAC"], '--authorization-mode: "RBAC" has been specified more than once'),
        (["--authorization-mode=ABAC"], "ABAC needs --authorization-policy-file"),
        (["--authorization-mode=Webhook"], "Webhook needs --authorization-webhook-config-file"),
        (["--authorization-policy-file=x"], "cannot specify --authorization-policy-file without mode ABAC"),
        (
            ["--authorization-webhook-config-file=x"],
            "cannot specify --authorization-webhook-config-file without mode Webhook",
        ),
        (["--authorization-config=x", "--authorization-mode=RBAC"], "--authorization-config can not be specified when"),
        (
            [
                "--authorization-mode=Webhook",
                "--authorization-webhook-config-file=x",
                "--authorization-webhook-version=v2",
            ],
            '--authorization-webhook-version "v2" is neither v1 nor v1beta1',
        ),
    ],
)
def test_flags_that_contradict_each_other(flags: list[str], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        parse_options(flags)


def test_flags() -> None:
    specs = specs_from_flags(("Node", "RBAC", "Webhook"), "/w", "v1beta1", 300.0, 30.0)
    assert [spec.type for spec in specs] == ["Node", "RBAC", "Webhook"]
    assert specs[0].webhook is None
    webhook = specs[2].webhook
    assert webhook is not None
    assert (webhook.kubeconfig, webhook.timeout_seconds, webhook.settings.version) == ("/w", 30.0, "v1beta1")


def webhook(kubeconfig: Path, **more: Any) -> dict[str, Any]:
    return {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(kubeconfig)},
        **more,
    }


def conditions(*expressions: str, version: str = "v1") -> dict[str, Any]:
    return {
        "matchConditionSubjectAccessReviewVersion": version,
        "matchConditions": [{"expression": text} for text in expressions],
    }


class Files:
    def __init__(self, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text("")
        self.path = directory / "config.yaml"

    def load(self, *authorizers: Any, **more: Any) -> Any:
        config = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthorizationConfiguration",
            "authorizers": list(authorizers),
            **more,
        }
        self.path.write_text(yaml.safe_dump(config))
        return load_configuration(str(self.path), RealFileSystem())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_file(files: Files) -> None:
    first = webhook(files.kubeconfig, authorizedTTL="1m", cacheUnauthorizedRequests=False)
    specs = files.load(
        {"type": "Webhook", "name": "one", "webhook": first},
        {"type": "Node", "name": "node"},
        {"type": "RBAC", "name": "rbac"},
        {"type": "Webhook", "name": "two", "webhook": webhook(files.kubeconfig, failurePolicy="NoOpinion")},
    )
    assert [spec.type for spec in specs] == ["Webhook", "Node", "RBAC", "Webhook"]
    assert specs[0].webhook.timeout_seconds == 3.0
    settings = specs[0].webhook.settings
    assert (settings.name, settings.authorized_seconds, settings.unauthorized_seconds) == ("one", 60.0, 0.0)
    assert settings.on_failure is Decision.DENY
    settings = specs[3].webhook.settings
    assert (settings.authorized_seconds, settings.unauthorized_seconds) == (300.0, 30.0)
    assert settings.on_failure is Decision.NO_OPINION


def test_what_is_wrong_with_files(files: Files) -> None:
    good = webhook(files.kubeconfig)
    rows: list[tuple[list[Any], str]] = [
        ([], "authorizers: Required value: at least one authorization mode must be defined"),
        ([{"name": "x"}], r"authorizers\[0\].type: Required value"),
        (
            [{"type": "Magic", "name": "x"}],
            r'authorizers\[0\].type: Unsupported value: "Magic": supported values: "ABAC"',
        ),
        (
            [{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}],
            r'authorizers\[1\].type: Duplicate value: "RBAC"',
        ),
        (
            [{"type": "RBAC", "name": "a"}, {"type": "Node", "name": "a"}],
            r'authorizers\[1\].name: Duplicate value: "a"',
        ),
        ([{"type": "RBAC"}], r"authorizers\[0\].name: Required value"),
        ([{"type": "RBAC", "name": "A_b"}], r'authorizers\[0\].name: Invalid value: "A_b"'),
        ([{"type": "RBAC", "name": "a", "webhook": good}], "may only be specified when type=Webhook"),
        ([{"type": "Webhook", "name": "a"}], r"authorizers\[0\].webhook: Required value: required when type=Webhook"),
        ([{"type": "RBAC", "name": "a", "extra": 1}], r'unknown field "authorizers\[0\].extra"'),
    ]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"timeout": None}, "webhook.timeout: Required value"),
        ({"timeout": "31s"}, "webhook.timeout: Invalid value: .*must be > 0s and <= 30s"),
        ({"timeout": "soon"}, "webhook.timeout: Invalid value"),
        ({"authorizedTTL": "-1s"}, "webhook.authorizedTTL: Invalid value: .*must be > 0s"),
        ({"failurePolicy": None}, "webhook.failurePolicy: Required value"),
        ({"failurePolicy": "Maybe"}, 'Unsupported value: "Maybe": supported values: "NoOpinion", "Deny"'),
        ({"subjectAccessReviewVersion": "v2"}, 'Unsupported value: "v2": supported values: "v1", "v1beta1"'),
        ({"matchConditions": [{"expression": "true"}]}, "Version: Required value: required if match conditions are"),
        (
            conditions("true", version="v2"),
            'SubjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1"',
        ),
        (
            conditions("request.user =="),
            r"matchConditions\[0\].expression: Invalid value: .*compilation failed: .*Syntax",
        ),
        (conditions("true", "request.nosuch == 'x'"), r"matchConditions\[1\].expression: .*undefined field 'nosuch'"),
        (conditions("request.resourceAttributes.verb == 1"), "no matching overload"),
        (conditions("request.user"), "must evaluate to bool but got string"),
        (conditions(""), r"matchConditions\[0\].expression: Required value"),
        (conditions("true", "true"), r'matchConditions\[1\].expression: Duplicate value: "true"'),
        (conditions(*(f"{at} > 0" for at in range(65))), "Too many: 65: must have at most 64 items"),
        ({"connectionInfo": {"type": "InClusterConfig"}}, 'Unsupported value: "InClusterConfig"'),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "rel"}}, "must be an absolute path"),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/no/such"}}, "no such file or directory"),
        ({"typo": 1}, 'unknown field "authorizers.0..webhook.typo"'),
    ]
    rows += [([{"type": "Webhook", "name": "a", "webhook": {**good, **more}}], text) for more, text in bad]
    for authorizers, message in rows:
        with pytest.raises(AuthorizationConfigError, match=message):
            files.load(*authorizers)
    with pytest.raises(AuthorizationConfigError, match="apiVersion 'v9' is none of"):
        files.load({"type": "RBAC", "name": "a"}, apiVersion="v9")
    with pytest.raises(AuthorizationConfigError, match="is not an AuthorizationConfiguration"):
        files.load({"type": "RBAC", "name": "a"}, kind="Pod")
