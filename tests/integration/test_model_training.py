"""The digits from photos to a proven bundle: what was trained, converted and packaged is what serves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from classifier.bundle import NOVELTY_NAME, REPORT_NAME, NoveltySpec
from classifier.errors import ModelIncompatibleError, UserError
from classifier.golden import GOLDEN_NAME, GoldenSet
from classifier.imaging import DRAFT_MARGIN
from classifier.model import Model, inspect
from model_build.bundles.packaging import package
from model_build.choices import QuantizationChoice
from model_build.conversion.convert import Conversion, convert
from model_build.data.sample_data import write_sample_data
from model_build.evaluation.evaluating import evaluate
from model_build.evaluation.opening import open_bundle
from model_build.tflite.labels_metadata import read_labels
from model_build.training.config import TrainingConfig
from model_build.training.fitting import Epoch
from model_build.training.observers import Watcher
from model_build.training.run import (
    BACKBONE_NAME,
    CONFIG_NAME,
    CONFUSION_NAME,
    RECORD_NAME,
    SPLIT_NAME,
    Run,
)
from model_build.training.train import train
from tests.unit.model_build.photos import photo, write_photos

# Keras 3.15 with NumPy 2: its own business, and Python shows it to nobody.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "digits"
    counts = write_sample_data(out)
    assert sum(counts.values()) == 1797
    return out


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the defaults, converted. Tests only read it."""
    trained, _ = train(TrainingConfig(), digits, tmp_path_factory.mktemp("runs") / "digits")
    convert(trained)
    return trained


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "digits"
    package(run, out)
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three colours, a dozen photos each: enough to train on in a second."""
    root = tmp_path_factory.mktemp("small") / "colours"
    return write_photos(root, {"red": 12, "green": 12, "blue": 12})


def test_digits_reach_the_promised_accuracy_in_both_formats(run: Run) -> None:
    conversion = Conversion.read(run)
    assert run.record.test["accuracy"] >= 0.97
    assert conversion.of("float32").accuracy >= 0.97
    assert conversion.of("int8").accuracy >= 0.97
    assert abs(conversion.of("float32").accuracy - conversion.of("int8").accuracy) <= 0.005
    assert [model.failure for model in conversion.models] == [None] * 4
    # Which is cheapest depends on the machine; float32, twice as slow and four times as large, never is.
    assert conversion.chosen in ("dynamic", "int8")
    assert conversion.of("int8").images == run.record.images["test"] == 359


def test_the_models_take_plain_pixels_and_have_fixed_shapes(run: Run) -> None:
    int8 = inspect((run.folder / "model.int8.tflite").read_bytes())
    # The stored value is the pixel; what the network's first layer makes of it, scale and zero point say.
    assert int8.input_dtype == "uint8"
    assert int8.input_quantization is not None
    assert int8.input_quantization.zero_point == 128
    assert int8.input_quantization.scale == pytest.approx(1 / 127.5)
    assert int8.output_dtype == "float32"
    float32 = inspect((run.folder / "model.float32.tflite").read_bytes())
    assert (float32.height, float32.width, float32.input_dtype, float32.outputs) == (32, 32, "float32", 10)
    for model in Conversion.read(run).models:
        assert read_labels((run.folder / model.file).read_bytes()) == list(run.labels)


def test_formats_shrink_as_their_names_say(run: Run) -> None:
    sizes = {model.quantization: model.size_bytes for model in Conversion.read(run).models}
    assert sizes["float16"] < 0.6 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.35 * sizes["float32"]


def test_confidences_are_calibrated(run: Run, bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert manifest.output.temperature == Conversion.read(run).of(manifest.metrics["quantization"]).temperature
    assert manifest.metrics["test"]["ece"] <= 0.05
    assert manifest.metrics["review"]["reached"] is True
    assert manifest.review_threshold == manifest.metrics["review"]["value"]


def test_it_marks_what_it_does_not_know_and_passes_what_it_does(bundle: Path) -> None:
    opened = open_bundle(bundle)
    manifest, model = opened.manifest, opened.model
    assert manifest.novelty == NoveltySpec(0.95)
    assert manifest.files[NOVELTY_NAME].size_bytes <= 300_000
    assert 0.9 <= 1 - manifest.metrics["novelty"]["test"] <= 0.99
    chance = np.random.default_rng(5)
    noise = chance.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, 32).astype(np.uint8)[np.newaxis, :, np.newaxis]
    ramps = [np.broadcast_to(ramp // part, (32, 32, 3)) for part in range(1, 11)]
    novelties = np.array([model.answer(np.ascontiguousarray(image)).novelty for image in (*noise, *ramps)])
    assert (novelties > 0.95).mean() >= 0.95
    page = (bundle / REPORT_NAME).read_text()
    assert "95% of 269 validation photos are within the limit" in page
    assert "marked for review" in page


def test_the_run_folder_tells_everything(run: Run, digits: Path) -> None:
    split = json.loads((run.folder / SPLIT_NAME).read_text())
    assert {name: len(split[name]) for name in ("train", "validation", "test")} == run.record.images
    assert all((digits / one["path"]).is_file() for one in split["test"])
    assert {one["label"] for one in split["test"]} == set(run.labels)
    confusion = json.loads((run.folder / CONFUSION_NAME).read_text())
    assert np.array(confusion["confusion"]).sum() == 359
    assert TrainingConfig.from_file(run.folder / CONFIG_NAME) == run.config
    assert not list(run.folder.glob(".*"))


def test_tensors_are_the_same_bytes_on_every_path(run: Run, bundle: Path) -> None:
    """Evaluation, int8 calibration, golden test and function: one photo, one tensor."""
    photos = run.split().photos["test"][:20]
    calibration = run.tensors(photos).images
    manifest = open_bundle(bundle).manifest
    assert manifest.draft_margin == run.record.draft_margin == DRAFT_MARGIN
    served = [manifest.decode(one.path.read_bytes()) for one in photos]
    assert [tensor.tobytes() for tensor in calibration] == [image.tensor.tobytes() for image in served]
    golden = GoldenSet.from_bytes((bundle / GOLDEN_NAME).read_bytes())
    originals = {one.path.read_bytes(): one for one in run.split().photos["test"]}
    model = Model.load(bundle / "model.tflite", manifest, (bundle / NOVELTY_NAME).read_bytes())
    for one in golden.photos:
        original = originals[(bundle / one.file).read_bytes()]
        tensor = run.tensors((original,)).images[0]
        answer = model.answer(tensor)
        assert answer.probabilities == pytest.approx(np.array(one.probabilities), abs=1e-5)
        assert answer.novelty == one.novelty


def _losses(run: Run) -> list[tuple[float, float]]:
    return [(epoch.loss, epoch.validation_loss) for epoch in run.history()]


def test_training_gives_the_same_model_again(small: Path, tmp_path: Path) -> None:
    config = TrainingConfig(epochs=2, batch_size=8, seed=3)
    one, _ = train(config, small, tmp_path / "one")
    two, _ = train(config, small, tmp_path / "two")
    assert _losses(one) == _losses(two)
    other, _ = train(TrainingConfig(epochs=2, batch_size=8, seed=4), small, tmp_path / "other")
    assert _losses(one) != _losses(other)


def test_the_best_epoch_wins_and_patience_ends_training(small: Path, tmp_path: Path) -> None:
    seen: list[Epoch] = []

    class Seen(Watcher):
        def epoch(self, epoch: Epoch, of: int) -> None:
            assert of == 200
            seen.append(epoch)

    # A rate this high destroys what it learns, so that the validation loss soon stops falling.
    config = TrainingConfig(epochs=200, batch_size=8, learning_rate=0.9, patience=2)
    run, _ = train(config, small, tmp_path / "run", watcher=Seen())
    best = min(seen, key=lambda epoch: epoch.validation_loss)
    assert seen[-1].number == best.number + 2 < 200
    assert run.record.validation["accuracy"] == pytest.approx(best.validation_accuracy, abs=1e-6)


def test_a_run_goes_on_from_weights_of_another(small: Path, run: Run, tmp_path: Path) -> None:
    config = TrainingConfig(epochs=1, batch_size=8)
    weights = run.folder / BACKBONE_NAME
    warm, _ = train(config, small, tmp_path / "warm", weights=weights)
    cold, _ = train(config, small, tmp_path / "cold")
    assert _losses(warm) != _losses(cold)

    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    for path, told in (
        (damaged, "does not hold weights for the backbone small_cnn"),
        (tmp_path / "none.weights.h5", "do not exist"),
        (run.folder / "run.json", "is neither a .weights.h5 file"),
    ):
        with pytest.raises(UserError, match=told):
            train(config, small, tmp_path / "out", weights=path)
        assert not (tmp_path / "out").exists()


def test_what_is_interrupted_leaves_nothing(small: Path, tmp_path: Path) -> None:
    class Impatient(Watcher):
        def epoch(self, epoch: Epoch, of: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TrainingConfig(batch_size=8), small, tmp_path / "runs" / "run", watcher=Impatient())
    assert list((tmp_path / "runs").iterdir()) == []


def test_unreadable_files_are_left_out_and_recorded(small: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(small, tmp_path / "data"))
    (data / "red" / "notes.txt").write_text("milk, eggs")
    (data / "blue" / "half.png").write_bytes(photo((20, 20, 230))[:200])
    run, scores = train(TrainingConfig(epochs=1, batch_size=8), data, tmp_path / "run")
    assert {one["name"]: one["code"] for one in run.record.unreadable} == {
        "red/notes.txt": "image.unsupported_format",
        "blue/half.png": "image.corrupt",
    }
    assert sum(run.record.images.values()) == 36
    assert scores.images == run.record.images["test"]


def test_the_bundle_proves_itself_and_a_changed_one_does_not(bundle: Path, tmp_path: Path) -> None:
    manifest = open_bundle(bundle).prove().manifest
    assert manifest.name == "digits"
    assert manifest.metrics["test"]["accuracy"] >= 0.97
    assert manifest.dataset["images"] == 1797
    golden = GoldenSet.from_bytes((bundle / GOLDEN_NAME).read_bytes())
    assert len(golden.photos) == 8
    model = open_bundle(bundle).model
    shifted = GoldenSet(golden.tolerance, tuple(golden.photos[1:] + golden.photos[:1]))
    names = [one.file for one in golden.photos]
    with pytest.raises(ModelIncompatibleError, match=r"golden/0\d\.png differs"):
        model.check_golden(shifted, lambda name: (bundle / names[(names.index(name) + 1) % 8]).read_bytes())


def test_the_report_is_one_file_that_needs_no_other(bundle: Path) -> None:
    page = (bundle / "report.html").read_text()
    assert page.count("<svg role=") >= 5
    # Links lead to the sources of rules; nothing is fetched from anywhere.
    fetched = r"""(src|srcset|data|poster)=["']?http|url\(http|@import|<script|<link"""
    assert not re.search(fetched, page)
    for expected in (
        "Wilson",
        "int8",
        "float32",
        "small_cnn",
        "fingerprint",
        "By class",
        "Model card",
        "Gate",
        "Deploy",
    ):
        assert expected in page


def test_evaluate_reads_a_run_by_its_test_split_and_a_bundle_by_all(run: Run, bundle: Path, digits: Path) -> None:
    of_run = evaluate(run.folder, digits)
    assert (of_run.photos_used, of_run.scores.images) == ("the run's test split", 359)
    conversion = Conversion.read(run)
    assert of_run.scores.accuracy == conversion.of(conversion.chosen).accuracy
    assert set(of_run.quality.top_k) == {2, 3, 5}
    of_bundle = evaluate(bundle, digits)
    assert (of_bundle.scores.images, of_bundle.training_data) == (1797, True)


def test_evaluate_tells_what_it_cannot_do(bundle: Path, small: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 classes that the model does not know: 'blue', 'green', 'red'"):
        evaluate(bundle, small)
    with pytest.raises(UserError, match="is neither a run nor a bundle"):
        evaluate(tmp_path, small)
    (tmp_path / "bad" / "1").mkdir(parents=True)
    (tmp_path / "bad" / "1" / "x.png").write_bytes(b"no photo")
    with pytest.raises(UserError, match="none of the 1 files"):
        evaluate(bundle, tmp_path / "bad")


def test_the_quantization_can_be_chosen(run: Run, tmp_path: Path) -> None:
    manifest = package(run, tmp_path / "bundle", name="mine", quantization=QuantizationChoice.FLOAT32)
    assert (manifest.name, manifest.input.dtype, manifest.metrics["quantization"]) == ("mine", "float32", "float32")


def test_an_unconverted_or_changed_run_is_not_packaged(small: Path, run: Run, tmp_path: Path) -> None:
    fresh, _ = train(TrainingConfig(epochs=1, batch_size=8), small, tmp_path / "fresh")
    with pytest.raises(UserError, match="has not been converted"):
        package(fresh, tmp_path / "bundle")
    changed = Path(shutil.copytree(run.folder, tmp_path / "changed"))
    (changed / "model.int8.tflite").write_bytes((changed / "model.float32.tflite").read_bytes())
    with pytest.raises(UserError, match="has changed since it was converted"):
        package(Run.open(changed), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_photos_that_have_moved_are_asked_for(run: Run, digits: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(run.folder, tmp_path / "run"))
    record = json.loads((moved / RECORD_NAME).read_text())
    (moved / RECORD_NAME).write_text(json.dumps({**record, "data": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match="say where they are with --data"):
        package(Run.open(moved), tmp_path / "bundle")
    package(Run.open(moved), tmp_path / "bundle", data=digits)
    assert open_bundle(tmp_path / "bundle").prove().manifest.name == "run"
