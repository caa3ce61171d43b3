"""Files of this machine get what the function would give them, in their order."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bucketlens.cli.main import app
from bucketlens.predict import Unclassified, find_files, predict, started_workers
from classifier.bundle import Manifest
from classifier.errors import ModelUnavailable, UserError
from classifier.model import Classified
from classifier.pool import WorkerPool
from classifier.records import Result as Outcome
from tests.support.bundles import FIXTURES, manifest_for

IMAGES = FIXTURES / "images"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EXPECTED = {
    "blue.webp": "blue",
    "green.jpg": "green",
    "grüne wiese + himmel.jpg": "green",
    "notes.txt": "image.unsupported_format",
    "red.png": "red",
    "truncated.jpg": "image.corrupt",
}


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    with started_workers(str(FIXTURES / "bundle"), 2) as started:
        yield started


def outcomes(names: list[str], model: Any, stdin: bytes = b"") -> list[Outcome | Unclassified]:
    return list(predict(names, model, at_once=4, stdin=io.BytesIO(stdin), clock=lambda: NOW))


def short(one: Outcome | Unclassified) -> str:
    assert isinstance(one, Outcome)
    return one.top[0].label if one.error is None else one.error.code


def command(*words: object, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, words)], input=stdin)


def test_results_come_in_the_order_of_the_files(workers: WorkerPool) -> None:
    names = [str(IMAGES / name) for name in EXPECTED] * 8
    found = outcomes(names, workers)
    assert [short(one) for one in found] == list(EXPECTED.values()) * 8
    assert [one.image.key for one in found if isinstance(one, Outcome)] == names


def test_the_document_is_the_functions(workers: WorkerPool) -> None:
    (one,) = outcomes([str(IMAGES / "red.png")], workers)
    assert isinstance(one, Outcome)
    document = one.to_document()
    manifest = Manifest.from_bytes((FIXTURES / "bundle" / "manifest.json").read_bytes())
    assert document["image"] == {
        "bucket": None,
        "key": str(IMAGES / "red.png"),
        "version_id": None,
        "etag": None,
        "size_bytes": (IMAGES / "red.png").stat().st_size,
        "format": "PNG",
        "width": 64,
        "height": 48,
    }
    assert document["prediction"]["label"] == "red"
    assert document["model"] == {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": manifest.model.sha256,
    }
    assert set(document["timing_ms"]) == {"fetch", "decode", "predict"}
    assert document["classified_at"] == "2026-11-20T12:00:00.000Z"


def test_a_file_too_large_is_not_read(workers: WorkerPool, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "empty.jpg").touch()
    found = outcomes([str(large), str(tmp_path / "empty.jpg")], workers)
    assert [short(one) for one in found] == ["image.too_large", "image.empty"]


def test_standard_input_is_one_image(workers: WorkerPool) -> None:
    (one,) = outcomes(["-"], workers, stdin=(IMAGES / "red.png").read_bytes())
    assert short(one) == "red"


def test_what_cannot_be_read_is_told_and_takes_nobody_with_it(workers: WorkerPool, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jpg")
    lost, found = outcomes([gone, str(IMAGES / "red.png")], workers)
    assert lost == Unclassified(gone, "cannot be read: No such file or directory")
    assert short(found) == "red"


def test_a_model_that_fails_on_an_image_says_nothing_of_the_image() -> None:
    class Failing:
        manifest = manifest_for()

        def classify(self, data: bytes, top_k: int, time_left: float) -> Classified:
            raise ModelUnavailable("the interpreter ended")

    name = str(IMAGES / "red.png")
    assert outcomes([name], Failing()) == [Unclassified(name, "the interpreter ended")]


def test_files_are_read_as_they_are_asked_for(workers: WorkerPool) -> None:
    asked: list[str] = []

    def endless() -> Iterator[str]:
        while True:
            asked.append(str(IMAGES / "red.png"))
            yield asked[-1]

    results = predict(endless(), workers, at_once=2, stdin=io.BytesIO(), clock=lambda: NOW)
    assert [short(next(results)) for _ in range(3)] == ["red"] * 3
    assert len(asked) < 10


def test_folders_are_read_with_everything_below_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/2.jpg", "a/1.jpg", ".hidden.jpg", ".git/x.jpg", "c/d/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    hidden = str(tmp_path / ".hidden.jpg")
    found = [name.removeprefix(f"{tmp_path}/") for name in find_files([str(tmp_path), "-", hidden])]
    assert found == ["b.jpg", "a/1.jpg", "a/2.jpg", "c/d/e.png", "-", ".hidden.jpg"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [(["nowhere.jpg"], "nowhere.jpg does not exist"), (["."], "no files in the folder ."), (["-", "-"], "twice|once")],
)
def test_what_holds_no_image_is_refused(
    paths: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        find_files(paths)


def test_rejected_images_are_results_and_no_failure() -> None:
    done = command(IMAGES, "--bundle", FIXTURES / "bundle", "--format", "jsonl")
    assert done.exit_code == 0, done.output
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    found = [one["prediction"]["label"] if one["status"] == "classified" else one["error"]["code"] for one in documents]
    assert found == list(EXPECTED.values())
    assert done.stderr == "6 images: 4 classified, 2 rejected\n"


def test_the_bundle_comes_from_the_environment_and_csv_has_the_columns_of_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BUCKETLENS_BUNDLE", str(FIXTURES / "bundle"))
    done = command("-", "--format", "csv", stdin=(IMAGES / "red.png").read_bytes())
    assert done.exit_code == 0, done.output
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["image_uri"], row["label"], row["needs_review"]) == ("'-", "red", "false")


def test_a_piped_table_holds_whole_names(tmp_path: Path) -> None:
    name = tmp_path / ("x" * 200 + ".png")
    shutil.copy(IMAGES / "red.png", name)
    done = command(name, "--bundle", FIXTURES / "bundle")
    assert done.exit_code == 0, done.output
    assert f"│ {name} │ red " in done.stdout


def test_without_a_bundle_it_says_where_one_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUCKETLENS_BUNDLE", raising=False)
    done = command(IMAGES / "red.png")
    assert isinstance(done.exception, UserError)
    assert "--bundle or BUCKETLENS_BUNDLE" in str(done.exception)


def test_a_damaged_bundle_is_not_told_to_be_published(tmp_path: Path) -> None:
    bundle = shutil.copytree(FIXTURES / "bundle", tmp_path / "bundle")
    with (bundle / "model.tflite").open("ab") as model:
        model.write(b"x")
    done = command(IMAGES / "red.png", "--bundle", bundle)
    assert f"{bundle}/model.tflite is not what the manifest lists" in str(done.exception)
    assert str(done.exception).endswith("copy the bundle anew, or make it again ('model package', 'model import')")
