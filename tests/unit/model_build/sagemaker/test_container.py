"""The container's folders, the flags, and the code that is sent there."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from classifier.errors import UserError
from model_build.data.dataset import scan
from model_build.sagemaker.container import Container
from model_build.sagemaker.entry_point import Checkpoints, Flags, main, parse
from model_build.sagemaker.submitting import build, requirements
from tests.unit.model_build.photos import write_photos

pytestmark = pytest.mark.slow


def _container(base: Path, **variables: str) -> Container:
    return Container.of({"SAGEMAKER_BASE_DIR": str(base), **variables})


def test_without_variables_the_usual_places_count() -> None:
    container = Container.of({})
    assert container.model == Path("/opt/ml/model")
    assert container.failure == Path("/opt/ml/output/failure")
    assert container.data == Path("/opt/ml/output/data")
    assert (dict(container.channels), container.gpus) == ({}, 0)


def test_the_toolkits_variables_win(tmp_path: Path) -> None:
    container = _container(
        tmp_path,
        SM_MODEL_DIR="/m",
        SM_OUTPUT_DATA_DIR="/o",
        SM_OUTPUT_DIR="/out",
        SM_NUM_GPUS="4",
        SM_CHANNEL_TRAIN="/t",
    )
    assert (container.model, container.data, container.failure) == (Path("/m"), Path("/o"), Path("/out/failure"))
    assert (container.gpus, container.channels["train"]) == (4, Path("/t"))


def test_each_job_has_checkpoints_of_its_own_where_there_are_any(tmp_path: Path) -> None:
    assert _container(tmp_path).checkpoints is None
    (tmp_path / "checkpoints").mkdir()
    assert _container(tmp_path, TRAINING_JOB_NAME="job-7").checkpoints == tmp_path / "checkpoints" / "job-7"


@pytest.mark.parametrize("channel", ["TRAIN", "TRAINING"])
def test_one_channel_is_the_data_set(tmp_path: Path, channel: str) -> None:
    data = write_photos(tmp_path / "data", {"red": 1, "blue": 1})
    with _container(tmp_path, **{f"SM_CHANNEL_{channel}": str(data)}).photos() as photos:
        assert photos == data


def test_several_channels_are_the_splits_of_one_data_set(tmp_path: Path) -> None:
    channels = {}
    for name, photos in (("TRAINING", 3), ("VALIDATION", 2), ("TEST", 1)):
        channels[f"SM_CHANNEL_{name}"] = str(write_photos(tmp_path / name, {"red": photos, "blue": photos}))
    with _container(tmp_path, **channels).photos() as together:
        found = scan(together)
        splits = [photo.split for photo in found.photos]
        assert found.labels == ("blue", "red")
        assert {name: splits.count(name) for name in ("train", "validation", "test")} == {
            "train": 6,
            "validation": 4,
            "test": 2,
        }
        assert all(photo.path.is_file() for photo in found.photos)
    assert not together.exists()


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ({}, "no channel 'train' with the photos .*; there is none"),
        ({"SM_CHANNEL_PHOTOS": "/p"}, "there are photos"),
        ({"SM_CHANNEL_TRAIN": "/a", "SM_CHANNEL_TRAINING": "/b"}, "two channels hold the train photos"),
    ],
)
def test_channels_that_make_no_data_set_are_told(tmp_path: Path, channels: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told), _container(tmp_path, **channels).photos():
        pass


def test_weights_are_found_by_backbone(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    container = _container(tmp_path, SM_CHANNEL_WEIGHTS=str(folder))
    with pytest.raises(UserError, match=r"has no file resnet50\*\.weights\.h5"):
        container.weights("resnet50")
    one, two = folder / "mobilenet_v2_1.0.weights.h5", folder / "resnet50.weights.h5"
    one.touch()
    assert container.weights("resnet50") == one  # the only one; loading tells if it does not fit
    two.touch()
    assert container.weights("resnet50") == two
    assert container.weights("mobilenet_v2") == one
    with pytest.raises(UserError, match="has 2 files; say which --backbone"):
        container.weights(None)
    assert _container(tmp_path).weights("resnet50") is None


def test_flags_are_the_settings_with_underscores_or_hyphens() -> None:
    flags = parse(
        [
            "--learning_rate",
            "0.002",
            "--batch-size",
            "16",
            "--flip",
            "False",
            "--optimizer",
            "sgd",
            "--package",
            "false",
            "--minutes",
            "90",
        ]
    )
    assert flags == Flags({"learning_rate": 0.002, "batch_size": 16, "flip": False, "optimizer": "sgd"}, False, 90.0)
    # What the toolkit and tuning jobs add.
    assert parse(["--model_dir", "None/job/model", "--_tuning_objective_metric", "validation:accuracy"]) == Flags(
        {}, True, None
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--epochs", "many"], "epochs: invalid int value: 'many'"),
        (["--flip", "perhaps"], "flip"),
        (["--epoch", "3"], "unknown --epoch 3"),
        (["--epochs"], "expected one argument"),
    ],
)
def test_wrong_flags_are_told_and_left_where_sagemaker_shows_them(flags: list[str], told: str, tmp_path: Path) -> None:
    said: list[str] = []
    assert main(flags, {"SAGEMAKER_BASE_DIR": str(tmp_path)}, said.append) == 1
    reason = (tmp_path / "output" / "failure").read_text()
    assert reason.startswith("the hyperparameters: ")
    assert told in reason
    assert said == [f"error: {reason}"]


def test_what_nobody_foresaw_is_left_there_too(tmp_path: Path) -> None:
    def say(line: str) -> None:
        raise RuntimeError("no ears")

    data = write_photos(tmp_path / "data", {"red": 2, "blue": 2})
    environ = {"SAGEMAKER_BASE_DIR": str(tmp_path), "SM_CHANNEL_TRAIN": str(data)}
    with pytest.raises(RuntimeError):
        main([], environ, say)
    assert (tmp_path / "output" / "failure").read_text() == "RuntimeError: no ears"


def test_checkpoints_hold_the_state_and_nothing_that_can_be_had_again(tmp_path: Path) -> None:
    kept, work = tmp_path / "kept", tmp_path / "run.partial"
    (work / "scratch").mkdir(parents=True)
    (work / "scratch" / "photos.npy").write_bytes(b"x" * 1000)
    (work / "state.npz").write_bytes(b"state")
    (work / "training.json").write_bytes(b"{}")
    checkpoints = Checkpoints(kept, work)
    checkpoints.save()
    assert sorted(path.name for path in kept.iterdir()) == ["state.npz", "training.json"]
    checkpoints.clear_work()
    checkpoints.restore()
    assert (work / "state.npz").read_bytes() == b"state"
    checkpoints.remove()
    assert not kept.exists()
    nowhere = Checkpoints(None, work)
    nowhere.save()
    nowhere.restore()
    nowhere.remove()


def test_the_archive_is_the_same_for_the_same_code() -> None:
    one, two = build(), build()
    assert one.data == two.data
    assert one.key == two.key
    with tarfile.open(fileobj=io.BytesIO(one.data)) as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        program = archive.extractfile("train.py")
        assert program is not None
        assert b"model_build.sagemaker.entry_point" in program.read()
    assert names == sorted(names)
    assert {"train.py", "requirements.txt", "classifier/imaging.py", "model_build/training/train.py"} <= set(names)
    assert not [name for name in names if not name.endswith((".py", ".txt"))]
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}


def test_the_container_keeps_its_own_tensorflow() -> None:
    assert "tensorflow" not in requirements()
    assert "numpy" not in requirements()
    assert all("==" in line for line in requirements().splitlines())
