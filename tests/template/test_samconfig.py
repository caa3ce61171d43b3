"""samconfig.toml holds nothing of one machine or one account, and overrides only what the template has."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.template.document import ROOT, Template


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


@pytest.mark.parametrize("environment", ["default", "dev", "prod"])
def test_deploying_needs_no_bucket_of_ones_own(config: dict[str, Any], environment: str) -> None:
    deploy = config[environment]["deploy"]["parameters"]
    assert deploy["resolve_s3"] is True
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert not deploy.keys() & {"s3_bucket", "s3_prefix", "profile", "region"}


def test_nothing_happens_to_production_unasked(config: dict[str, Any]) -> None:
    assert config["prod"]["deploy"]["parameters"]["confirm_changeset"] is True
    assert "DeletionProtection=true" in config["prod"]["deploy"]["parameters"]["parameter_overrides"].split()


def test_environments_are_stacks_of_their_own(config: dict[str, Any]) -> None:
    names = [config[environment]["global"]["parameters"]["stack_name"] for environment in ("default", "dev", "prod")]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_overrides_are_parameters_with_allowed_values(
    config: dict[str, Any], template: Template, environment: str
) -> None:
    overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    for name, value in (override.split("=") for override in overrides.split()):
        assert template.allows(name, value), name


@pytest.mark.parametrize("environment", ["default", "local"])
def test_sam_local_reaches_the_local_stack(config: dict[str, Any], environment: str) -> None:
    invoke = config[environment]["local_invoke"]["parameters"]
    assert (ROOT / invoke["env_vars"]).is_file()
    assert invoke["add_host"] == "host.docker.internal:host-gateway"
