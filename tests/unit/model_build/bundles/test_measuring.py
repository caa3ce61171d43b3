from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bucketlens.cli.main import main
from classifier.errors import UserError
from classifier.golden import GOLDEN_NAME
from model_build.bundles.bundling import ORIGIN_NAME, find_test_photos
from model_build.bundles.importing import ImportRequest, import_model
from model_build.bundles.measuring import save_measurements
from model_build.evaluation.evaluating import evaluate
from model_build.evaluation.opening import open_bundle
from tests.unit.model_build.photos import COLOURS, FIXTURES, photo, write_photos

WHEN = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", {"red": 12, "green": 12, "blue": 12})


@pytest.fixture
def imported(tmp_path: Path, photos: Path) -> Path:
    out = tmp_path / "imported"
    request = ImportRequest(FIXTURES / "float32_softmax.tflite", FIXTURES / "labels.txt", golden=photos / "red")
    import_model(request, out, now=lambda: WHEN)
    return out


def test_an_imported_bundle_ends_as_a_proven_one(imported: Path, photos: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in imported.rglob("*") if path.is_file()}
    out = tmp_path / "measured"
    manifest = save_measurements(evaluate(imported, photos), out, now=lambda: WHEN)
    assert {path: path.read_bytes() for path in before} == before

    old, new = open_bundle(imported), open_bundle(out).prove()
    assert new.files["manifest.json"] == manifest.to_bytes()
    assert new.manifest.version > old.manifest.version  # although the clock has not moved on
    assert new.content == old.content
    assert new.files[GOLDEN_NAME] == old.files[GOLDEN_NAME]
    evidence = new.evidence
    assert evidence.test is not None
    assert (evidence.test.images, evidence.test.correct) == (36, 36)
    assert {check.name: check.passed for check in evidence.gate.checks} == {
        "golden": True,
        "tensors": True,
        "accuracy": True,
        "recall": True,
        "live": None,
    }
    assert evidence.baseline is not None
    assert evidence.baseline.labels == {"red": 12, "green": 12, "blue": 12}
    assert evidence.review is not None
    assert evidence.review.statement.startswith("set by hand to 0.5: ")
    page = new.files["report.html"].decode()
    assert "Deploy: it passes every check" in page
    assert "whether it was trained on any of them is not known" in page
    assert "fitted on the validation photos" not in page
    assert str(photos) not in page + new.files["manifest.json"].decode()
    # Publishing compares with the live version on these photos.
    assert (out / ORIGIN_NAME).is_file()
    assert len(find_test_photos(new, None).photos) == 36


def test_a_model_of_one_sigmoid_is_measured_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("other\nred\n")
    request = ImportRequest(FIXTURES / "int8_sigmoid.tflite", tmp_path / "labels.txt")
    import_model(request, tmp_path / "imported", now=lambda: WHEN)
    photos = write_photos(tmp_path / "photos", {"red": 20})
    for name, data in {"green": photo(COLOURS["green"]), "blue": photo(COLOURS["blue"])}.items():
        for number in range(10):
            (photos / "other").mkdir(exist_ok=True)
            (photos / "other" / f"{name}{number}.png").write_bytes(data)
    save_measurements(evaluate(tmp_path / "imported", photos), tmp_path / "measured")
    test = open_bundle(tmp_path / "measured").prove().evidence.test
    assert test is not None
    assert (test.images, test.correct) == (40, 40)
    assert test.ece is not None
    assert 0 < test.ece < 0.3


def test_what_was_trained_here_keeps_its_figures(imported: Path, photos: Path, tmp_path: Path) -> None:
    manifest = open_bundle(imported).manifest
    (imported / "manifest.json").write_bytes(
        manifest.to_bytes().replace(b'"training": {}', b'"training": {"backbone": "small_cnn"}')
    )
    with pytest.raises(UserError, match="was trained here"):
        save_measurements(evaluate(imported, photos), tmp_path / "measured")
    assert not (tmp_path / "measured").exists()


def test_the_command_writes_it_and_says_what_the_gate_says(
    imported: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "measured"
    command = ["bucketlens", "model", "evaluate", str(imported), str(photos), "--save", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="0"):
        main()
    told = " ".join(capsys.readouterr().err.split())
    assert "gate: accuracy passed: 100.0% of 36" in told
    assert open_bundle(out).manifest.version in told
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "is already there" in capsys.readouterr().err
    assert (out / "manifest.json").read_bytes() == before
