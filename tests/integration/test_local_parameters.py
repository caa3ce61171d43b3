"""Stacks with other parameters, and stacks that fail to start."""

from __future__ import annotations

from pathlib import Path

import pytest

from bucketlens.local.emulator import free_ports
from bucketlens.local.server import AwsServer
from bucketlens.local.stack import LocalStack
from classifier.errors import UserError
from tests.integration.local_helpers import TEMPLATE, needs_emulator


def test_parameters_reach_names_settings_and_filter() -> None:
    parameters = {
        "BucketName": "my-photos",
        "InputPrefix": "in/",
        "ModelVersion": "20261120T101500Z-5d313724",
        "TopK": "3",
        "Timeout": "30",
    }
    with LocalStack(TEMPLATE, port=0, event_source=False, parameters=parameters) as stack:
        assert stack.bucket == "my-photos"
        assert stack.settings["MODEL_URI"] == "s3://my-photos/models/20261120T101500Z-5d313724/"
        assert stack.settings["TOP_K"] == "3"
        assert stack.deployment.function.timeout_seconds == 30
        configured = stack.aws.s3.get_bucket_notification_configuration(Bucket="my-photos")["QueueConfigurations"]
        assert configured[0]["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": "in/"}]


def port_is_free(port: int) -> bool:
    server = AwsServer("127.0.0.1", port)
    server.start()
    server.stop()
    return True


def test_a_wrong_parameter_leaves_nothing_running() -> None:
    (port,) = free_ports(1)
    stack = LocalStack(TEMPLATE, port=port, event_source=False, parameters={"TopK": "0"})
    with pytest.raises(UserError, match="TopK=0"):
        stack.start()
    assert port_is_free(port)
    with pytest.raises(RuntimeError, match="not running"):
        _ = stack.bucket


@needs_emulator
@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"function_dir": Path("nowhere")}, "nowhere does not exist"),
        ({"python": Path("no-python")}, "no-python is not an executable Python"),
        ({"template": Path("no-template.yaml")}, "no-template.yaml"),
    ],
)
def test_a_failed_start_stops_what_it_started(options: dict[str, Path], problem: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    template = options.pop("template", TEMPLATE)
    with pytest.raises(UserError, match=problem):
        LocalStack(template, port=port, log_folder=tmp_path, **options).start()  # type: ignore[arg-type]
    assert port_is_free(port)


def test_without_the_emulator_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BUCKETLENS_RIE", str(tmp_path / "no-rie"))
    (port,) = free_ports(1)
    with pytest.raises(UserError, match="no-rie is missing"):
        LocalStack(TEMPLATE, port=port).start()
    assert port_is_free(port)
