"""``bucketlens results review`` against a stack: the queue, decisions, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bucketlens.cli.main import app
from bucketlens.local.stack import LocalStack
from bucketlens.reviews import Conflict, ReviewTable
from bucketlens.stack import Stack
from classifier.errors import UserError
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection
from classifier.records import Result as Classified
from model_build.data.dataset import scan
from tests.conftest import ROOT
from tests.support.images import png

pytestmark = pytest.mark.slow

OLD = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)
NEW = ModelIdentity("m", "20261121T101500Z-a1b2c3d4", "1" * 64)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("log")
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=folder) as running:
        yield running


@pytest.fixture(autouse=True)
def images(stack: LocalStack) -> None:
    """Three classified images and a rejected one, without any decision."""
    for table in (stack.table, stack.review_table):
        for row in stack.aws.dynamodb.scan(TableName=table)["Items"]:
            stack.aws.dynamodb.delete_item(TableName=table, Key={"image_uri": row["image_uri"]})
    for colour, confidence in (("red", 0.9), ("green", 0.5), ("blue", 0.6)):
        drop(stack, colour, top=(Prediction(colour, confidence), Prediction("grey", 1 - confidence)))
    drop(stack, "bad", error=Rejection("image.corrupt", "PNG cannot be decoded"))


def drop(stack: LocalStack, name: str, model: ModelIdentity = OLD, content: bytes | None = None, **outcome: Any) -> str:
    """Put an image and its result; its key."""
    key = f"incoming/{name}.png"
    body = png(name if name != "bad" else "red", seed=1) if content is None else content
    etag = stack.aws.s3.put_object(Bucket=stack.bucket, Key=key, Body=body)["ETag"].strip('"')
    made = Classified(ImageFacts(stack.bucket, key, etag=etag), model, "2026-11-20T12:00:00.000Z", "r", **outcome)
    stack.aws.dynamodb.put_item(TableName=stack.table, Item=made.to_item(sequencer="0A", output_uri=None))
    return key


@pytest.fixture
def run(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, ["results", "review", *words, "--reviewer", "ann"])

    return invoke


def rows(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def queued(run: Any, *words: str) -> list[str]:
    return [row["image"]["key"].rpartition("/")[2] for row in rows(run("--format", "json", *words))]


def test_what_is_decided_about_leaves_the_queue_and_comes_back_when_the_image_changes(
    run: Any, stack: LocalStack
) -> None:
    assert queued(run) == ["green.png", "blue.png", "red.png"]
    assert queued(run, "--limit", "1") == ["green.png"]
    assert run("--image", "green.png", "--right").exit_code == 0
    assert queued(run) == ["blue.png", "red.png"]
    # Another model, same content: the decision stands.
    drop(stack, "green", NEW, top=(Prediction("grey", 0.5), Prediction("green", 0.4)))
    assert queued(run) == ["blue.png", "red.png"]
    drop(stack, "green", NEW, content=png("green", seed=2), top=(Prediction("grey", 0.5), Prediction("green", 0.5)))
    assert queued(run) == ["green.png", "blue.png", "red.png"]


def test_a_decision_is_kept_with_who_when_and_which_answer(run: Any, stack: LocalStack) -> None:
    made = json.loads(run("--image", "blue.png", "--label", "navy").stdout)
    drop(stack, "blue", NEW, top=(Prediction("grey", 0.7),))
    (kept,) = rows(run("--decided", "--format", "json"))
    assert kept == made
    assert kept.pop("decided_at") > "2026"
    assert kept.pop("etag")
    assert kept == {
        "image_uri": f"s3://{stack.bucket}/incoming/blue.png",
        "decision": "corrected",
        "label": "navy",
        "reviewer": "ann",
        "model_name": "m",
        "model_version": OLD.version,
        "predicted_label": "blue",
        "predicted_confidence": 0.6,
    }
    table = run("--decided").stdout
    assert "incoming/blue.png" in table
    assert "navy" in table
    assert run("--decided", "--format", "csv").stdout.splitlines()[1].startswith(f"{kept['image_uri']},corrected,navy")


def test_a_decision_can_be_changed_and_withdrawn(run: Any) -> None:
    run("--image", "red.png", "--wrong")
    run("--image", "red.png", "--right")
    assert [row["decision"] for row in rows(run("--decided", "--format", "json"))] == ["right"]
    assert json.loads(run("--image", "red.png", "--withdraw", "--dry-run").stdout)["decision"] == "right"
    assert len(rows(run("--decided", "--format", "json"))) == 1
    run("--image", "red.png", "--withdraw")
    nothing = run("--decided", "--format", "json")
    assert (nothing.stdout, nothing.exit_code) == ("", 0)
    assert "nothing is decided yet" in nothing.stderr
    assert "nothing is decided about" in str(run("--image", "red.png", "--withdraw").exception)


def test_dry_run_decides_nothing(run: Any) -> None:
    assert json.loads(run("--image", "red.png", "--wrong", "--dry-run").stdout)["decision"] == "wrong"
    assert queued(run) == ["green.png", "blue.png", "red.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--image", "red.png"], "say one of --right"),
        (["--image", "red.png", "--right", "--label", "navy"], "say one of --right"),
        (["--right"], "--image IMAGE"),
        (["--image", "red.png", "--decided"], "give one of them"),
        (["--image", "bad.png", "--right"], "was rejected"),
        (["--image", "nowhere.png", "--wrong"], "there is no result for"),
    ],
)
def test_what_cannot_be_decided_is_refused(run: Any, words: list[str], says: str) -> None:
    done = run(*words)
    assert isinstance(done.exception, UserError)
    assert says in str(done.exception)


def test_decisions_are_copied_by_file_and_exported_to_train_on(run: Any, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label,decision\nred.png,red,\nincoming/blue.png,navy,\ngreen.png,,wrong\n")
    told = run("--import", str(labels), "--dry-run")
    assert "would record 3 decisions: " in told.stderr
    assert queued(run) == ["green.png", "blue.png", "red.png"]
    assert "1 right, 1 corrected, 1 wrong" in run("--import", str(labels)).stderr
    copied = run("--decided", "--format", "json", "--limit", "1").stdout
    assert len(copied.splitlines()) == 3
    run("--image", "red.png", "--withdraw")
    (tmp_path / "copy").write_text(copied)
    assert run("--import", str(tmp_path / "copy")).exit_code == 0
    assert queued(run) == []
    exported = CliRunner().invoke(app, ["results", "export", "--corrected", "--out", str(tmp_path / "out")])
    assert exported.exit_code == 0, exported.output
    assert exported.stdout == f"{tmp_path / 'out'}\n"
    assert "2 images" in exported.stderr
    assert scan(tmp_path / "out").labels == ("navy", "red")


def test_what_comes_first_is_exported_as_tasks(run: Any, tmp_path: Path) -> None:
    run("--image", "green.png", "--right")
    words = ["results", "export", "--format", "label-studio", "--limit", "1", "--out", str(tmp_path / "tasks")]
    assert CliRunner().invoke(app, words).exit_code == 0
    (task,) = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
    assert task["data"]["image"].endswith("/incoming/blue.png")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "new"], "add --corrected"),
        (["--format", "coco", "--out", "new"], "add --corrected"),
        (["--corrected", "--out", "new"], "no label that a person has decided about"),
        (["--corrected", "--prefix", "s3://another/b", "--out", "new"], "not in the stack's bucket"),
    ],
)
def test_an_export_of_nothing_is_refused(run: Any, words: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["results", "export", *words])
    assert isinstance(done.exception, UserError)
    assert says in str(done.exception)


def test_nobody_withdraws_what_somebody_else_has_decided_since(run: Any, stack: LocalStack) -> None:
    table = ReviewTable(stack.aws.dynamodb, stack.review_table)
    uri = f"s3://{stack.bucket}/incoming/red.png"
    run("--image", "red.png", "--wrong")
    seen = table.get(uri)
    assert seen is not None
    run("--image", "red.png", "--right")
    with pytest.raises(Conflict, match="changed or withdrawn"):
        table.withdraw(uri, seen.decided_at)
    assert [one.decision for one in table.read()] == ["right"]


def test_an_older_stack_is_told_what_it_lacks(run: Any, stack: LocalStack) -> None:
    deployed = Stack.find("bucketlens")
    old = Stack(**{**vars(deployed), "review_table": None})
    with pytest.raises(UserError, match="deploy it again"):
        old.reviews(stack.aws.dynamodb)
