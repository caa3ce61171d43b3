from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.bundle import Quantization, Scaling
from classifier.errors import BucketlensError, ModelIncompatibleError, UserError
from classifier.golden import GOLDEN_NAME, GoldenSet
from classifier.imaging import decode
from classifier.model import ModelFacts, inspect
from model_build.bundles.importing import (
    ImportRequest,
    check_labels,
    choose_scaling,
    import_model,
    read_labels,
)
from model_build.bundles.output_kind import choose_output
from model_build.choices import OutputChoice, ScalingChoice
from model_build.evaluation.comparison import diff
from model_build.evaluation.evaluating import evaluate
from model_build.evaluation.opening import open_bundle
from model_build.tflite.inspecting import is_tflite, last_operation, metadata_scaling, scales_itself
from tests.unit.model_build.photos import COLOURS, FIXTURES, photo

VARIANTS = {
    "float32_softmax": "softmax",
    "float32_logits": "logits",
    "uint8_quantized": "softmax",
    "int8_quantized": "softmax",
}
LABELS = FIXTURES / "labels.txt"


def request_for(variant: str, **changes: Any) -> ImportRequest:
    return ImportRequest(FIXTURES / f"{variant}.tflite", LABELS, **changes)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    folder = tmp_path / "golden photos"
    folder.mkdir()
    for label, colour in COLOURS.items():
        (folder / f"{label} one.png").write_bytes(photo(colour))
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_is_imported_as_it_is(variant: str, tmp_path: Path, golden: Path) -> None:
    said: list[str] = []
    out = tmp_path / "bundle"
    now = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
    manifest = import_model(request_for(variant, golden=golden), out, say=said.append, now=lambda: now)

    assert manifest.version.startswith("20261120T101500Z-")
    assert manifest.name == variant
    assert manifest.output.kind == VARIANTS[variant]
    opened = open_bundle(out)
    assert opened.manifest == manifest
    model = opened.model
    for label, colour in COLOURS.items():
        answer = model.predict(decode(photo(colour, seed=5), height=32, width=32).tensor)
        assert manifest.labels[int(answer.argmax())] == label
        assert answer.max() > 0.8
    golden_set = GoldenSet.from_bytes((out / GOLDEN_NAME).read_bytes())
    assert [one.file for one in golden_set.photos] == ["golden/01.png", "golden/02.png", "golden/03.png"]
    assert any("notes.txt" in line for line in said)
    report = (out / "report.html").read_text()
    assert "No accuracy is known" in report
    assert "tested on" not in report
    assert report.count('src="data:image/jpeg;base64,') == 3
    for one in golden_set.photos:
        best = max(range(len(manifest.labels)), key=lambda index: one.probabilities[index])
        assert f"{manifest.labels[best]} {one.probabilities[best]:.0%}" in report


def test_without_golden_photos_the_user_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    import_model(request_for("uint8_quantized", name="mine"), tmp_path / "bundle", say=said.append)
    assert any("--golden" in line for line in said)
    assert GoldenSet.from_bytes((tmp_path / "bundle" / GOLDEN_NAME).read_bytes()).photos == ()
    assert "Golden photos" not in (tmp_path / "bundle" / "report.html").read_text()


def test_an_output_beside_the_labels_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    manifest = import_model(request_for("float32_embedding"), tmp_path / "bundle", say=said.append)
    assert manifest.embedding is not None
    assert (manifest.embedding.features, manifest.novelty, manifest.output.kind) == (12, None, "logits")
    assert any(line.endswith("of 12 values, is not used") for line in said)
    photo_of_red = open_bundle(tmp_path / "bundle").model.answer(np.full((32, 32, 3), (230, 20, 20), np.uint8))
    assert photo_of_red.novelty is None
    assert photo_of_red.probabilities.argmax() == 0


def wrong_labels(folder: Path, count: int) -> Path:
    path = folder / "labels.txt"
    path.write_text("".join(f"label {n}\n" for n in range(count)))
    return path


def bad_requests(folder: Path) -> dict[str, tuple[ImportRequest, str]]:
    """Requests that cannot be carried out, and what the message must say."""
    model = FIXTURES / "uint8_quantized.tflite"
    files = {
        "empty.tflite": b"",
        "text.tflite": b"this is a text, not a model",
        "cut.tflite": model.read_bytes()[:700],
        "empty.txt": b"",
        "blank.txt": b"\n\n",
        "latin.txt": "rot\ngr\u00fcn\nblau\n".encode("latin-1"),
        "gap.txt": b"red\n\nblue\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "no photos").mkdir()
    return {
        "missing model": (ImportRequest(folder / "no.tflite", LABELS), "no.tflite cannot be read"),
        "folder as model": (ImportRequest(folder, LABELS), "cannot be read"),
        "empty model": (ImportRequest(folder / "empty.tflite", LABELS), "empty.tflite is empty"),
        "text as model": (ImportRequest(folder / "text.tflite", LABELS), "is not a TensorFlow Lite model"),
        "cut model": (ImportRequest(folder / "cut.tflite", LABELS), "cut.tflite cannot be imported"),
        "missing labels": (ImportRequest(model, folder / "no.txt"), "no.txt cannot be read"),
        "empty labels": (ImportRequest(model, folder / "empty.txt"), "empty.txt is empty"),
        "blank labels": (ImportRequest(model, folder / "blank.txt"), "blank.txt is empty"),
        "latin-1 labels": (ImportRequest(model, folder / "latin.txt"), "latin.txt is not UTF-8"),
        "gap in labels": (ImportRequest(model, folder / "gap.txt"), "gap.txt has an empty line 2"),
        "too many labels": (ImportRequest(model, wrong_labels(folder, 5)), "has 5 labels"),
        "no golden folder": (request_for("uint8_quantized", golden=folder / "nowhere"), "does not exist"),
        "no golden photo": (request_for("uint8_quantized", golden=folder / "no photos"), "below it are not read"),
        "bad name": (request_for("uint8_quantized", name="a\nb"), "cannot be used"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing model",
        "folder as model",
        "empty model",
        "text as model",
        "cut model",
        "missing labels",
        "empty labels",
        "blank labels",
        "latin-1 labels",
        "gap in labels",
        "too many labels",
        "no golden folder",
        "no golden photo",
        "bad name",
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(case: str, tmp_path: Path) -> None:
    request, told = bad_requests(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BucketlensError) as caught:
        import_model(request, tmp_path / "bundle")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_bundle_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"1")
    with pytest.raises(UserError, match="already there"):
        import_model(request_for("uint8_quantized"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(("labels", "hint"), [(2, True), (1, False), (4, False)])
def test_wrong_labels_count_gives_both_numbers_and_the_background_hint(labels: int, hint: bool) -> None:
    with pytest.raises(UserError) as caught:
        check_labels(tuple(map(str, range(labels))), 3, request_for("uint8_quantized"))
    assert f"{labels} labels" in str(caught.value)
    assert "3 outputs" in str(caught.value)
    assert ("background" in str(caught.value)) is hint


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("tench, Tinca tinca\ncrane\ncrane\n", ("tench, Tinca tinca", "crane", "crane")),
        ("\ufeffrouge\r\nvert \u00e9meraude\r\n\r\n", ("rouge", "vert \u00e9meraude")),
        ("0 cat\n1 dog\n", ("cat", "dog")),
        ("0\n1\n2\n", ("0", "1", "2")),
        ("1 cent\n2 cents\n", ("1 cent", "2 cents")),
    ],
)
def test_labels_are_lines_with_commas_and_all(tmp_path: Path, content: str, labels: tuple[str, ...]) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content.encode())
    assert read_labels(path) == labels


def facts(dtype: str, quantization: Quantization | None = None) -> ModelFacts:
    return ModelFacts(32, 32, dtype, quantization, 3, "float32", None)


@pytest.mark.parametrize(
    ("dtype", "quantization", "expected"),
    [
        ("uint8", Quantization(1.0, 0), None),
        ("uint8", None, None),
        ("uint8", Quantization(0.0078125, 128), Scaling((128.0,) * 3, (128.0,) * 3)),
        ("int8", Quantization(1.0, -128), None),
        ("int8", Quantization(0.0078125, 0), Scaling((128.0,) * 3, (128.0,) * 3)),
        ("int8", Quantization(1 / 256, -128), Scaling((0.0,) * 3, (256.0,) * 3)),
    ],
)
def test_integer_inputs_take_the_pixel_itself(
    dtype: str, quantization: Quantization | None, expected: Scaling | None
) -> None:
    assert choose_scaling(b"", facts(dtype, quantization), ScalingChoice.AUTO) == expected


def test_a_float_model_that_scales_itself_is_recognised() -> None:
    content = (FIXTURES / "float32_softmax.tflite").read_bytes()
    assert is_tflite(content)
    assert scales_itself(content)
    assert metadata_scaling(content) is None
    assert choose_scaling(content, facts("float32"), ScalingChoice.AUTO) is None


def test_what_the_file_does_not_say_is_assumed_aloud_and_can_be_chosen() -> None:
    said: list[str] = []
    assumed = choose_scaling(b"\0" * 64, facts("float32"), ScalingChoice.AUTO, said.append)
    assert assumed == Scaling((127.5,) * 3, (127.5,) * 3)
    assert "assumed" in said[0]
    chosen = choose_scaling(b"", facts("float32"), ScalingChoice.ZERO_ONE)
    assert chosen == Scaling((0.0,) * 3, (255.0,) * 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.7, 0.2, 0.1], "softmax"), ([5.0, -1.0, 0.2], "logits"), ([0.9, -0.1, 0.2], "logits"), ([0.9, 0.8, 0.7], None)],
)
def test_where_no_operation_tells_the_kind_of_output_is_seen_in_the_values(
    values: list[float], expected: str | None
) -> None:
    content = (FIXTURES / "float32_logits.tflite").read_bytes()
    if expected is None:
        with pytest.raises(UserError, match="--output multi-label"):
            choose_output(content, np.array([values]), None, OutputChoice.AUTO, Path("x.tflite"))
    else:
        found = choose_output(content, np.array([values]), None, OutputChoice.AUTO, Path("x.tflite"))
        assert found is OutputChoice(expected)


def test_the_last_operation_is_read_through_what_only_stores() -> None:
    found = {path.stem: last_operation(path.read_bytes()) for path in FIXTURES.glob("*.tflite")}
    assert {name for name, last in found.items() if last == "SOFTMAX"} == {
        "float32_softmax",
        "uint8_quantized",
        "int8_quantized",
    }
    assert {name for name, last in found.items() if last == "LOGISTIC"} == {
        f"{dtype}_{kind}" for dtype in ("float32", "int8") for kind in ("sigmoid", "multi_label")
    }
    assert last_operation(b"\0" * 64) is None


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_one_sigmoid_becomes_two_labels(dtype: str, tmp_path: Path, golden: Path) -> None:
    said: list[str] = []
    labels = tmp_path / "labels.txt"
    labels.write_text("other\nred\n")
    request = ImportRequest(FIXTURES / f"{dtype}_sigmoid.tflite", labels, golden=golden)
    manifest = import_model(request, tmp_path / "bundle", say=said.append)
    assert (manifest.output.kind, manifest.labels) == ("sigmoid", ("other", "red"))
    assert any("probability of the second label, 'red'" in line for line in said)
    model = open_bundle(tmp_path / "bundle").prove().model
    for label, colour in COLOURS.items():
        answer = model.predict(decode(photo(colour, seed=5), height=32, width=32).tensor)
        assert manifest.labels[int(answer.argmax())] == ("red" if label == "red" else "other")
        assert 0.5 < answer.max() < 1


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_several_sigmoids_become_a_multi_label_bundle(dtype: str, tmp_path: Path, golden: Path) -> None:
    request = request_for(f"{dtype}_multi_label", golden=golden, label_threshold=0.7)
    manifest = import_model(request, tmp_path / "bundle")
    assert (manifest.output.kind, manifest.output.thresholds) == ("multi_label", (0.7, 0.7, 0.7))
    opened = open_bundle(tmp_path / "bundle").prove()
    assert opened.manifest == manifest
    assert "Says which of 3 labels apply to a photo" in opened.files["report.html"].decode()
    for refused in (lambda: evaluate(tmp_path / "bundle", golden), lambda: diff(opened, opened, golden)):
        with pytest.raises(UserError, match=r"any number of labels|whether it applies"):
            refused()


@pytest.mark.parametrize(
    ("variant", "output"),
    [
        ("float32_sigmoid", OutputChoice.LOGITS),
        ("float32_sigmoid", OutputChoice.SOFTMAX),
        ("float32_multi_label", OutputChoice.LOGITS),
        ("int8_multi_label", OutputChoice.LOGITS),
        ("float32_multi_label", OutputChoice.SOFTMAX),
        ("float32_multi_label", OutputChoice.SIGMOID),
        ("float32_softmax", OutputChoice.LOGITS),
        ("float32_softmax", OutputChoice.MULTI_LABEL),
        ("float32_logits", OutputChoice.MULTI_LABEL),
        ("float32_logits", OutputChoice.SIGMOID),
    ],
)
def test_an_output_that_the_model_cannot_have_is_refused(variant: str, output: OutputChoice, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("other\nred\n" if variant.endswith("_sigmoid") else "red\ngreen\nblue\n")
    with pytest.raises(UserError, match=f"--output {output.value} does not fit .*{variant}"):
        import_model(ImportRequest(FIXTURES / f"{variant}.tflite", labels, output=output), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_one_output_needs_two_labels_and_has_to_be_a_probability(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 1 outputs; one output tells two labels apart"):
        import_model(request_for("float32_sigmoid"), tmp_path / "bundle")
    content = (FIXTURES / "float32_logits.tflite").read_bytes()
    with pytest.raises(UserError, match=r"one output that is no probability \(it gives -3 to 4\)"):
        choose_output(content, np.array([[4.0], [-3.0]]), None, OutputChoice.AUTO, Path("x.tflite"))


def test_one_output_may_be_one_label_that_applies_or_not(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\n")
    request = ImportRequest(FIXTURES / "float32_sigmoid.tflite", labels, output=OutputChoice.MULTI_LABEL)
    manifest = import_model(request, tmp_path / "bundle")
    assert (manifest.output.kind, manifest.output.thresholds) == ("multi_label", (0.5,))


def test_labels_that_read_the_same_are_refused(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    for lines in ("red\nblue\nred\n", "caf\u00e9\nblue\ncafe\u0301\n"):
        labels.write_text(lines)
        with pytest.raises(UserError, match="on lines 1 and 3; results could not be told apart"):
            import_model(ImportRequest(FIXTURES / "float32_softmax.tflite", labels), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_imagenets_two_cranes_are_named_apart() -> None:
    said: list[str] = []
    labels = (*(f"label {n}" for n in range(998)), "crane", "crane")
    checked = check_labels(labels, 1000, request_for("float32_softmax"), said.append)
    assert checked[-2:] == ("crane", "crane (2)")
    assert checked[:-2] == labels[:-2]
    assert len(said) == 1


def test_the_user_may_say_what_the_output_is(tmp_path: Path) -> None:
    manifest = import_model(request_for("float32_logits", output=OutputChoice.SOFTMAX), tmp_path / "bundle")
    assert manifest.output.kind == "softmax"


def test_the_fixtures_say_what_their_table_says() -> None:
    found = {name: inspect((FIXTURES / f"{name}.tflite").read_bytes()) for name in VARIANTS}
    assert found["uint8_quantized"].input_quantization == Quantization(1.0, 0)
    assert found["int8_quantized"].input_quantization == Quantization(1.0, -128)
    assert found["float32_logits"].input_dtype == "float32"
    with pytest.raises(ModelIncompatibleError):
        inspect(b"\0" * 100)
