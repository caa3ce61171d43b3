"""What images cost, term by term; the size of an item; and the command that shows both."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bucketlens.cli.main import app
from bucketlens.cost import WRITE_UNIT_BYTES, item_bytes, terms, typical_item, write_units
from bucketlens.measured import Usage
from bucketlens.throughput import Forecast, Job
from classifier.errors import UserError
from tests.conftest import ROOT

MILLION = 1_000_000
USAGE = Usage(cpu_ms=10, worker_ms=7, invocation_cpu_ms=2, log_bytes=50, invocation_log_bytes=1000)


def dollars(job: Job, **options: Any) -> dict[str, float]:
    return {one.name: one.dollars for one in terms(Forecast(job, USAGE, 1.0), key_bytes=60, **options)}


def test_a_million_images_at_list_prices() -> None:
    forecast = Forecast(Job(MILLION), USAGE, 1.0)
    found = dollars(forecast.job)
    gigabytes = 1769 / 1024
    milliseconds = int(forecast.invocation_seconds * 1000) + 1
    assert found["Lambda: duration"] == pytest.approx(50_000 * milliseconds / 1000 * gigabytes * 0.0000166667)
    assert found["Lambda: INIT"] == pytest.approx(50 * gigabytes * 0.0000166667)
    assert found["Lambda: requests"] == pytest.approx(0.01)
    assert found["S3: GET"] == pytest.approx(0.4)
    assert found["S3: PUT"] == pytest.approx(5)
    assert found["SQS: send, receive, delete"] == pytest.approx(1.2 * 0.4)
    assert found["DynamoDB: table"] == found["DynamoDB: index by-label"] == pytest.approx(0.625)
    assert found["DynamoDB: index attention"] == pytest.approx(0.0625)
    logged = MILLION * 50 + 50_000 * (1000 + 380)
    assert found["CloudWatch: logs"] == pytest.approx(logged / 2**30 / 2)


def test_lines_cost_a_put_a_batch() -> None:
    assert dollars(Job(MILLION, mode="jsonl", batch=100))["S3: PUT"] == pytest.approx(0.05)


def test_an_item_of_two_units_costs_twice_in_the_table_and_in_each_index() -> None:
    one, two = dollars(Job(MILLION, concurrency=2)), dollars(Job(MILLION, concurrency=2, write_units=2))
    for name, price in one.items():
        assert two[name] == pytest.approx(price * (2 if name.startswith("DynamoDB") else 1))


def test_events_are_charged_by_64_kilobytes() -> None:
    assert dollars(Job(MILLION), publish_events=True)["EventBridge: events"] == pytest.approx(0.05)
    # 500 images of 210 bytes are two.
    assert dollars(Job(MILLION, batch=500), publish_events=True)["EventBridge: events"] == pytest.approx(0.004)


@given(st.integers(1, 10**7), st.integers(1, 1000), st.sampled_from(["image", "jsonl"]))
def test_every_term_is_paid_for_and_none_shrinks_with_more_images(images: int, batch: int, mode: str) -> None:
    less, more = dollars(Job(images, batch=batch, mode=mode)), dollars(Job(images + 1, batch=batch, mode=mode))
    assert all(0 < less[name] <= more[name] for name in less)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        # The examples of the rule: a string, numbers of 1, 2, 3 and 4 significant digits, a boolean, an empty list.
        ({"S": "añb"}, 4),
        ({"N": "7"}, 2),
        ({"N": "0.82"}, 2),
        ({"N": "100"}, 2),
        ({"N": "-0.803"}, 3),
        ({"N": "0.8203"}, 3),
        ({"N": "0"}, 1),
        ({"BOOL": True}, 1),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"N": "1"}]}, 3 + 1 + 2 + 1 + 2),
        ({"M": {"label": {"S": "ab"}}}, 3 + 1 + 5 + 2),
    ],
)
def test_the_documented_rule_for_the_size_of_an_item(value: dict[str, Any], size: int) -> None:
    assert item_bytes({"name": value}) == len("name") + size


def test_a_type_that_our_items_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="type SS"):
        item_bytes({"name": {"SS": ["a"]}})


@given(st.integers(10, 200), st.integers(1, 17))
def test_an_item_of_json_lines_takes_one_write_unit(key_bytes: int, label_bytes: int) -> None:
    """Keys of up to 200 bytes, five labels of up to 17 bytes each, and a prediction that is to be reviewed."""
    assert item_bytes(typical_item(key_bytes, "jsonl", label_bytes)) <= WRITE_UNIT_BYTES
    assert write_units(key_bytes, "jsonl", label_bytes) == 1


@given(st.integers(10, 1000), st.integers(1, 60))
def test_an_item_takes_one_write_unit_as_far_as_the_documentation_says(key_bytes: int, label_bytes: int) -> None:
    """docs/scaling.md: twice the key and six times a label, and 648 bytes beside them; a key only once in jsonl."""
    item = typical_item(key_bytes, "image", label_bytes)
    assert item_bytes(item) == 648 + 2 * key_bytes + 6 * label_bytes
    assert write_units(key_bytes, "image", label_bytes) == -(-item_bytes(item) // 1024)
    lines = typical_item(key_bytes, "jsonl", label_bytes)
    assert item_bytes(lines) == 721 + key_bytes + 6 * label_bytes


def invoke(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["cost", *arguments])


def test_the_table_shows_each_term_each_limit_and_the_times() -> None:
    shown = invoke("--images", "2000000", "--size", "640x480", "--mode", "jsonl", "--publish-events")
    assert shown.exit_code == 0, shown.output
    for text in ("Lambda: INIT", "S3: PUT", "EventBridge", "total", "DynamoDB: table", "2,000,000 images:"):
        assert text in shown.stdout
    assert "100,000,000 images:" in shown.stdout
    assert "us-east-1, November 2025" in shown.stderr


def test_the_document_adds_up() -> None:
    shown = invoke("--images", "500000", "--size", "640x480", "--format", "json", "--concurrency", "1000")
    document = json.loads(shown.stdout)
    assert document["dollars"] == pytest.approx(sum(one["dollars"] for one in document["terms"]))
    assert document["dollars_per_million"] == pytest.approx(2 * document["dollars"])
    assert [one["images"] for one in document["times"]] == [500_000, 1_000_000, 100_000_000]
    assert document["times"][-1]["bound_by"] == document["limits"][0]["name"]
    assert document["useful_concurrency"] < 1000
    assert document["prices"] == {"region": "us-east-1", "architecture": "x86_64", "as_of": "November 2025"}
    assert document["measured"]["commit"]


def test_processor_time_of_ones_own_model_takes_the_place_of_the_measured() -> None:
    def usage(*arguments: str) -> Any:
        return json.loads(invoke("--size", "640x480", "--format", "json", *arguments).stdout)["usage"]

    measured, own = usage(), usage("--cpu-ms", "80")
    assert own["cpu_ms"] == 80
    assert own["cpu_ms"] - own["worker_ms"] == pytest.approx(measured["cpu_ms"] - measured["worker_ms"])


def test_the_sweep_shows_what_memory_buys() -> None:
    rows = json.loads(invoke("--size", "640x480", "--sweep", "--format", "json").stdout)
    assert [row["memory"] for row in rows] == [512, 768, 1024, 1280, 1536, 1769, 2048, 2654, 3538]
    rates = [row["images_per_second"] for row in rows]
    assert rates == sorted(rates)
    assert "1,769" in invoke("--sweep").stdout


@pytest.mark.parametrize("size", ["640", "640x", "x480", "0x10", "-1x5", "640x480x3", "12345678x1"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    refused = invoke("--size", size)
    assert isinstance(refused.exception, UserError)
    assert "such as 1920x1440" in str(refused.exception)


def test_the_page_shows_what_the_command_prints() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    made = subprocess.run(
        [sys.executable, "-c", "import sys, sessions; sys.stdout.write(sessions.renewed(sys.stdin.read()))"],
        cwd=ROOT / "docs",
        input=page,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.count("$ bucketlens cost") == 5
    assert made.stdout == page, "run `make docs`"
