"""``bucketlens model`` as a person types it: data on stdout, messages on stderr, one line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bucketlens.cli.main import main
from classifier.bundle import Scaling
from classifier.model import top_k
from model_build.evaluation.opening import open_bundle
from model_build.tflite.inspecting import metadata_scaling
from tests.conftest import BUCKET, Aws
from tests.unit.model_build.photos import COLOURS, FIXTURES, photo, write_photos

URI = f"s3://{BUCKET}/models/"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> Done:
        monkeypatch.setattr("sys.argv", ["bucketlens", "model", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def bundle(model: Command, tmp_path: Path) -> Path:
    golden = tmp_path / "golden"
    golden.mkdir()
    for label, colour in COLOURS.items():
        (golden / f"{label}.png").write_bytes(photo(colour))
    model_file, labels = FIXTURES / "uint8_quantized.tflite", FIXTURES / "labels.txt"
    out = tmp_path / "bundle"
    done = model("import", "--tflite", model_file, "--labels", labels, "--golden", golden, "--out", out)
    assert done.code == 0, done.err
    return out


COMMANDS = (
    "sample-data",
    "train",
    "convert",
    "evaluate",
    "diff",
    "package",
    "import",
    "publish",
    "promote",
    "rollback",
    "versions",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(model: Command, command: str) -> None:
    done = model(command, "--help")
    assert done.code == 0
    assert f"Example: bucketlens model {command} " in " ".join(done.out.split())


def test_the_story_of_an_imported_model(
    model: Command, bundle: Path, aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    data = write_photos(tmp_path / "data", {"red": 4, "green": 4, "blue": 4})
    evaluated = model("evaluate", bundle, data)
    assert "1.0000 (12 of 12" in evaluated.out

    would = model("publish", bundle, "--to", URI, "--dry-run")
    assert (would.code, aws.keys("models/")) == (0, [])
    assert "would upload 7 files" in would.err
    published = model("publish", bundle, "--to", URI, "--no-promote")
    version = published.out.strip()
    assert version == would.out.strip()
    promoted = model("promote", version, "--at", URI)
    assert (promoted.code, promoted.out.strip()) == (0, version)

    listed = json.loads(model("versions", "--at", URI, "--format", "json").out)
    assert [(one["version"], one["live"]) for one in listed] == [(version, True)]
    assert version in model("versions", "--at", URI).out
    back = model("rollback", "--at", URI)
    assert (back.code, back.out) == (1, "")
    assert "no earlier version to roll back to" in back.err


def mistakes(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Commands that cannot be carried out, and what the message must say."""
    out = folder / "out"
    write_photos(folder / "one class", {"red": 5})
    write_photos(folder / "rare", {"red": 5, "blue": 1})
    (folder / "empty").mkdir()
    for name in ("a", "b"):
        (folder / "texts" / name).mkdir(parents=True)
        (folder / "texts" / name / "notes.txt").write_text("no photo")
    train: list[object] = ["train", "--out", out]
    files = ["import", "--labels", FIXTURES / "labels.txt", "--out", out, "--tflite"]
    return {
        "missing folder": ([*train, folder / "nowhere"], "does not exist"),
        "empty folder": ([*train, folder / "empty"], "has no class folders"),
        "one class": ([*train, folder / "one class"], "only the class 'red'"),
        "a class with one image": ([*train, folder / "rare"], "class 'blue'"),
        "no images": ([*train, folder / "texts"], "no readable photo"),
        "unknown backbone": ([*train, folder / "rare", "--backbone", "resnet51"], "choose one of small_cnn"),
        "bad option": ([*train, folder / "rare", "--epochs", "0"], "epochs is 0"),
        "missing config": ([*train, folder / "rare", "--config", folder / "no.toml"], "no.toml cannot be read"),
        "taken out": (["train", folder / "rare", "--out", folder / "rare"], "already there"),
        "sample data over files": (["sample-data", folder / "rare"], "already there"),
        "missing run": (["convert", folder / "nowhere"], "the run"),
        "no run": (["package", folder / "rare", "--out", out], "is not a run"),
        "missing bundle": (["publish", folder / "nowhere", "--to", URI], "does not exist"),
        "no bundle": (["publish", folder / "rare", "--to", URI], "is not a bundle"),
        "missing model": ([*files, folder / "no.tflite"], "no.tflite cannot be read"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing folder",
        "empty folder",
        "one class",
        "a class with one image",
        "no images",
        "unknown backbone",
        "bad option",
        "missing config",
        "taken out",
        "sample data over files",
        "missing run",
        "no run",
        "missing bundle",
        "no bundle",
        "missing model",
    ],
)
def test_a_mistake_is_one_clear_line_and_writes_nothing(model: Command, case: str, tmp_path: Path) -> None:
    arguments, told = mistakes(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    done = model(*arguments)
    assert done.code == 1
    assert done.out == ""
    last = done.err.rstrip("\n").split("\n")[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "mobilenet_v1_0.25_224_float"])
def test_imagenet_models_answer_as_expected(model: Command, real_data: Path, tmp_path: Path, name: str) -> None:
    folder = real_data / "models"
    out = tmp_path / "bundle"
    done = model(
        *("import", "--tflite", folder / f"{name}.tflite", "--labels", folder / "imagenet_labels.txt"),
        *("--golden", real_data / "photos", "--out", out),
    )
    assert done.code == 0, done.err
    opened = open_bundle(out)
    manifest, served = opened.manifest, opened.model
    expected = json.loads((real_data / "photos_expected_top5.json").read_text())
    assert len(expected) == 5
    for file, answers in expected.items():
        tensor = manifest.decode((real_data / file).read_bytes()).tensor
        best = top_k(served.predict(tensor), manifest.labels, 1)[0]
        _, label, confidence = answers[f"{name}.tflite"][0]
        assert best.label == label
        assert best.confidence == pytest.approx(confidence, abs=0.05)


def test_one_label_short_of_imagenet_hints_at_background(model: Command, real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "models"
    lines = (folder / "imagenet_labels.txt").read_text().splitlines()
    (tmp_path / "labels.txt").write_text("\n".join(lines[1:]))
    tflite = folder / "mobilenet_v1_0.25_224_float.tflite"
    done = model("import", "--tflite", tflite, "--labels", tmp_path / "labels.txt", "--out", tmp_path / "out")
    assert done.code == 1
    assert "has 1000 labels" in done.err
    assert "1001 outputs" in done.err
    assert "background" in done.err


def test_normalization_is_read_from_real_metadata(real_data: Path) -> None:
    models = real_data / "models"
    described = metadata_scaling((models / "mobilenet_v2_1.0_224_quant.tflite").read_bytes())
    assert described == Scaling((127.5,) * 3, (127.5,) * 3)
    assert metadata_scaling((models / "mobilenet_v1_0.25_224_float.tflite").read_bytes()) is None
