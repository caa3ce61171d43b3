"""The training job's program, unpacked and run as the SageMaker toolkit does, on the folders of its container."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bucketlens.cli.main import main
from model_build.evaluation.opening import open_bundle
from model_build.sagemaker.requests import METRICS, OBJECTIVE, check_request
from model_build.sagemaker.submitting import TRAIN, TUNE, build
from model_build.training.run import Run
from tests.unit.model_build.photos import write_photos

_FLAGS = ["--backbone", "small_cnn", "--image_size", "16", "--batch_size", "8", "--seed", "5"]


@pytest.fixture
def container(tmp_path: Path) -> dict[str, str]:
    """Folders and variables of a training container, with the code unpacked and photos in two channels."""
    base = tmp_path / "ml"
    for name in ("code", "model", "output/data", "checkpoints", "input/data"):
        (base / name).mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(build().data)) as archive:
        archive.extractall(base / "code", filter="data")
    write_photos(base / "input/data/train", {"red": 10, "green": 10, "blue": 10})
    write_photos(base / "input/data/test", {"red": 4, "green": 4, "blue": 4})
    return {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DATA_DIR": str(base / "output/data"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_CHANNEL_TRAIN": str(base / "input/data/train"),
        "SM_CHANNEL_TEST": str(base / "input/data/test"),
        "SM_NUM_GPUS": "0",
        "TRAINING_JOB_NAME": "job-1",
    }


def _run(container: dict[str, str], *flags: str, program: str = "train.py") -> subprocess.CompletedProcess[str]:
    code = Path(container["SAGEMAKER_BASE_DIR"]) / "code"
    command = [sys.executable, program, *_FLAGS, *flags]
    return subprocess.run(command, cwd=code, env=container, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_training_job_leaves_a_run_and_a_proven_bundle(container: dict[str, str]) -> None:
    done = _run(container, "--epochs", "1", "--model_dir", "s3://elsewhere")
    assert done.returncode == 0, done.stdout + done.stderr
    base = Path(container["SAGEMAKER_BASE_DIR"])
    run = Run.open(base / "model/run")
    assert (run.config.epochs, run.config.seed, run.record.images["test"]) == (1, 5, 12)
    manifest = open_bundle(base / "model/bundle").manifest
    assert manifest.labels == ("blue", "green", "red")
    assert json.loads((run.folder / "inspection.json").read_text())["photos"] == 42
    accuracies = re.findall(METRICS[OBJECTIVE], done.stdout)
    assert len(accuracies) == 2  # of the epoch, and of the weights that were kept
    assert float(accuracies[-1]) == pytest.approx(run.record.validation["accuracy"], abs=1e-6)
    assert json.loads((base / "output/data/run.json").read_text())["fingerprint"] == run.record.fingerprint
    assert sorted(path.name for path in (base / "model").iterdir()) == ["bundle", "run"]
    assert not (base / "output/failure").exists()
    assert not list((base / "checkpoints").iterdir())


@pytest.mark.slow
def test_an_interrupted_job_goes_on_from_its_checkpoint(container: dict[str, str]) -> None:
    """Spot capacity is taken away after two epochs: another machine gets the checkpoints and nothing else."""
    base = Path(container["SAGEMAKER_BASE_DIR"])
    (base / "code/interrupted.py").write_text(
        "import os, signal, sys\n"
        "from model_build.sagemaker.entry_point import main\n"
        "def say(line):\n"
        "    print(line, flush=True)\n"
        "    if line.startswith('epoch 3'):\n"
        f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "main(say=say)\n"
    )
    killed = _run(container, "--epochs", "4", "--package", "false", program="interrupted.py")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (base / "checkpoints/job-1").is_dir()
    for path in (base / "model").iterdir():
        path.rename(base / f"lost-{path.name}")
    done = _run(container, "--epochs", "4", "--package", "false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed after 2 epochs" in done.stdout
    resumed = json.loads((base / "model/run/history.json").read_text())
    assert [epoch["number"] for epoch in resumed] == [1, 2, 3, 4]
    before = re.search(r"epoch 3 of 4: (metrics: .*)", killed.stdout)
    after = re.search(r"epoch 3 of 4: (metrics: .*)", done.stdout)
    assert before
    assert after
    assert before[1] == after[1]


def test_a_job_that_cannot_train_says_why(container: dict[str, str]) -> None:
    done = _run(container, "--fine_tune", "completely")
    assert done.returncode == 1
    base = Path(container["SAGEMAKER_BASE_DIR"])
    reason = (base / "output/failure").read_text()
    assert "fine_tune is 'completely'; it must be one of" in reason
    assert "Traceback" not in done.stderr
    assert list((base / "model").iterdir()) == []


def test_the_dry_run_prints_the_exact_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("colour = 0.25\n")
    arguments = ["tune", "s3://photos/flowers/", "--study", "flowers", "--on", "sagemaker", "--dry-run"]
    arguments += ["--role", "arn:aws:iam::123456789012:role/Trainer", "--image", "tensorflow-training:2.19-gpu"]
    arguments += ["--output", "s3://models/jobs", "--backbone", "resnet50", "--backbone", "xception"]
    arguments += ["--config", str(settings), "--max-jobs", "8", "--max-parallel", "4"]
    monkeypatch.setattr("sys.argv", ["bucketlens", "model", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert not stop.value.code, printed.err
    request = json.loads(printed.out)
    check_request(TUNE, request)
    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 8
    categories = request["HyperParameterTuningJobConfig"]["ParameterRanges"]["CategoricalParameterRanges"]
    assert {"Name": "backbone", "Values": ['"resnet50"', '"xception"']} in categories
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static["colour"] == "0.25"
    assert json.loads(static["sagemaker_submit_directory"]) == f"s3://models/jobs/{build().key}"


def test_sagemaker_needs_to_be_told_where_and_as_whom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bucketlens", "model", "tune", "s3://p/", "--study", "a", "--on", "sagemaker"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "--on sagemaker needs --role, --image, --output too" in capsys.readouterr().err


def test_a_training_job_can_be_looked_at_before_it_is_submitted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("epochs = 5\n")
    arguments = ["train-job", "s3://photos/flowers/", "--name", "flowers-1", "--image", "training:2.19"]
    arguments += ["--role", "arn:aws:iam::123456789012:role/Trainer", "--output", "s3://models", "--dry-run"]
    arguments += ["--config", str(settings), "--backbone", "resnet50"]
    monkeypatch.setattr("sys.argv", ["bucketlens", "model", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert not stop.value.code, printed.err
    request = json.loads(printed.out)
    check_request(TRAIN, request)
    parameters = {name: json.loads(value) for name, value in request["HyperParameters"].items()}
    assert (parameters["epochs"], parameters["backbone"], parameters["package"]) == (5, "resnet50", True)
