"""A packaged run serves its photos as the same pixels that it was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from classifier.golden import GOLDEN_NAME
from classifier.imaging import DRAFT_MARGINS
from model_build.bundles.packaging import package
from model_build.data.dataset import TEST
from model_build.evaluation.comparison import answers_of
from model_build.evaluation.opening import open_model
from model_build.training.run import Run
from tests.unit.model_build.photos import COLOURS, photo
from tests.unit.model_build.ready_runs import SIDE, colour_photos, converted, ready_run


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """Photos of two and a half times the model's input: halved while decoded by one margin and not by the other."""
    root = colour_photos(tmp_path / "photos")
    for seed, path in enumerate(sorted(root.rglob("*.png"))):
        data = photo(COLOURS[path.parent.name], seed, size=5 * SIDE // 2, kind="JPEG")
        path.with_suffix(".jpg").write_bytes(data)
        path.unlink()
    return root


@pytest.mark.parametrize("draft_margin", DRAFT_MARGINS)
def test_a_bundle_decodes_with_the_margin_that_its_run_was_trained_with(
    tmp_path: Path, jpegs: Path, draft_margin: int
) -> None:
    run = ready_run(tmp_path / "run", jpegs, draft_margin=draft_margin)
    photos = run.split().photos[TEST]
    converted(run)
    manifest = package(run, tmp_path / "bundle", name="colours")
    assert open_model(str(run.folder)).manifest.draft_margin == manifest.draft_margin == draft_margin
    trained = run.tensors(photos).images
    contents = [one.path.read_bytes() for one in photos]
    assert [manifest.decode(data).tensor.tobytes() for data in contents] == [one.tobytes() for one in trained]
    recorded = manifest.metrics["golden_tensors"]
    golden = {name: (tmp_path / "bundle" / name).read_bytes() for name in recorded if name != GOLDEN_NAME}
    assert recorded == {name: hashlib.sha256(manifest.decode(data).tensor).hexdigest() for name, data in golden.items()}
    model = open_model(str(tmp_path / "bundle")).model
    answers = answers_of(model, photos, lambda *_: None)
    assert answers.confidence.tolist() == [float(model.predict(one).max()) for one in trained]


def test_a_run_of_an_earlier_release_keeps_its_margin(tmp_path: Path, jpegs: Path) -> None:
    run = ready_run(tmp_path / "run", jpegs)
    record = run.folder / "run.json"
    text = record.read_text()
    assert '"draft_margin": 2' in text
    record.write_text(text.replace('"draft_margin": 2,', ""))
    assert Run.open(run.folder).record.draft_margin == 2
