"""The union of authorizers as a server has it: numbers, and a configuration that changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver.app.authorization import Authorization, AuthorizationFilesError
from apiserver.app.authorization_config import AuthorizationConfigError
from apiserver.app.options import Options
from apiserver.authz import Decision
from apiserver.request import UserInfo
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock
from tests.unit.apiserver.authz.https_service import HTTPSService
from tests.unit.apiserver.authz.worlds import question

ASKED = question(UserInfo("jane"), "get pods team/p")


class NoObjects:
    """A reader of an empty cluster."""

    async def follow(self, group: str, resource: str) -> AsyncIterator[Any]:
        yield []


def authorization(**options: Any) -> Authorization:
    environment = Environment(FakeClock(), SeededRandomness(1), RealFileSystem())
    return Authorization(Options(**options), environment, NoObjects())  # type: ignore[arg-type]


def samples(made: Authorization) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in made.counts.families()
        for sample in family.samples
    }


async def test_decisions_are_counted() -> None:
    made = authorization(authorization_mode=("AlwaysDeny", "AlwaysAllow"))
    for user in (UserInfo("jane"), UserInfo("x", groups=("system:masters",))):
        decision, _ = await made.authorizer.authorize(question(user, "get pods team/p"))
        assert decision is Decision.ALLOW
    made.counts.attempt("allowed")
    made.counts.attempt("no-opinion")
    assert samples(made) == {
        # masters are let through before anybody is asked, and no opinion is no decision
        "apiserver_authorization_decisions_total[('decision', 'allowed'), ('name', 'alwaysallow'), "
        "('type', 'AlwaysAllow')]": 1.0,
        "authorization_attempts_total[('result', 'allowed')]": 1.0,
        "authorization_attempts_total[('result', 'no-opinion')]": 1.0,
    }


def write(path: Path, *authorizers: dict[str, Any]) -> None:
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": list(authorizers),
    }
    path.write_text(yaml.safe_dump(config))


async def test_a_changed_configuration_takes_its_place_when_it_is_right(tmp_path: Path) -> None:
    answers = {"allowed": True}

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"kind": "SubjectAccessReview", "status": dict(answers)}

    config = tmp_path / "authorization.yaml"
    deny, rbac = {"type": "AlwaysDeny", "name": "deny"}, {"type": "RBAC", "name": "rbac"}
    async with HTTPSService(tmp_path, answer) as service:
        webhook = {
            "timeout": "3s",
            "subjectAccessReviewVersion": "v1",
            "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(service.kubeconfig())},
        }
        service_spec = {"type": "Webhook", "name": "service", "webhook": webhook}
        write(config, deny)
        made = authorization(authorization_config=str(config), authorization_mode=())

        async def decision() -> Decision:
            return (await made.authorizer.authorize(ASKED))[0]

        assert await decision() is Decision.NO_OPINION
        write(config, service_spec, deny)
        assert await decision() is Decision.NO_OPINION
        await made.reload()
        assert await decision() is Decision.ALLOW
        for wrong in ([service_spec, {"type": "Magic", "name": "m"}], [rbac], []):
            write(config, *wrong)
            await made.reload()
            assert await decision() is Decision.ALLOW
        config.unlink()
        await made.reload()
        assert await decision() is Decision.ALLOW
        write(config, deny)
        await made.reload()
        assert await decision() is Decision.NO_OPINION
        await made.close()


def test_what_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(AuthorizationFilesError, match="No such file"):
        authorization(authorization_mode=("ABAC",), authorization_policy_file=missing)
    policies = tmp_path / "policies"
    policies.write_text("nonsense")
    with pytest.raises(AuthorizationFilesError, match=r"error reading policy file .*, line 1: "):
        authorization(authorization_mode=("ABAC",), authorization_policy_file=str(policies))
    with pytest.raises(AuthorizationFilesError, match="authorization webhook default: cannot read"):
        authorization(authorization_mode=("Webhook",), authorization_webhook_config_file=missing)
    with pytest.raises(AuthorizationConfigError, match="cannot read"):
        authorization(authorization_config=missing)
