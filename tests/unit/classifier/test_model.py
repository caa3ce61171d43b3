"""The interpreter seam: dtypes, quantization, scaling, calibration, agreement with the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.bundle import InputSpec, OutputSpec, Quantization, Scaling
from classifier.errors import ModelIncompatibleError
from classifier.golden import GoldenPhoto, GoldenSet
from classifier.imaging import decode
from classifier.model import Model, above_thresholds, input_table, inspect, interpreter_facts, probabilities, top_k
from tests.support.bundles import FIXTURES, LABELS, bundle_files, manifest_for, model_bytes
from tests.support.images import COLOURS, png

MODELS = ("float32_softmax", "float32_logits", "uint8_quantized", "int8_quantized")


def tensor(colour: str) -> Any:
    return decode(png(colour), height=32, width=32).tensor


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("on_disk", [True, False])
def test_every_kind_of_model_gives_probabilities(name: str, colour: str, on_disk: bool) -> None:
    content: bytes | Path = FIXTURES / "models" / f"{name}.tflite" if on_disk else model_bytes(name)
    predicted = Model.load(content, manifest_for(name)).predict(tensor(colour))
    assert predicted.shape == (3,)
    assert predicted.dtype == np.float32
    assert predicted.sum() == pytest.approx(1, abs=0.01)
    best = top_k(predicted, LABELS, 5)
    assert best[0].label == colour
    assert best[0].confidence > 0.8
    assert len(best) == 3


@pytest.mark.parametrize("name", ["float32_sigmoid", "int8_sigmoid"])
@pytest.mark.parametrize("colour", COLOURS)
def test_one_sigmoid_tells_two_labels_apart(name: str, colour: str) -> None:
    predicted = Model.load(model_bytes(name), manifest_for(name)).predict(tensor(colour))
    assert predicted.shape == (2,)
    assert predicted.sum() == pytest.approx(1, abs=1e-6)
    assert top_k(predicted, ("other", "red"), 1)[0].label == ("red" if colour == "red" else "other")
    assert predicted.max() < 1


@pytest.mark.parametrize("name", ["float32_multi_label", "int8_multi_label"])
@pytest.mark.parametrize("colour", COLOURS)
def test_every_output_of_a_multi_label_model_is_its_own_probability(name: str, colour: str) -> None:
    manifest = manifest_for(name)
    predicted = Model.load(model_bytes(name), manifest).predict(tensor(colour))
    assert predicted.shape == (3,)
    assert top_k(predicted, LABELS, 1)[0].label == colour
    assert above_thresholds(predicted, manifest.output) == [LABELS.index(colour)]
    assert above_thresholds(predicted, replace(manifest.output, thresholds=(0.999,) * 3)) == []
    every = above_thresholds(predicted, replace(manifest.output, thresholds=(1e-6,) * 3))
    assert every == np.argsort(-predicted, kind="stable").tolist()


def test_a_model_of_one_output_is_no_softmax() -> None:
    with pytest.raises(ModelIncompatibleError, match="number of outputs is 1, its manifest says 2"):
        Model.load(
            model_bytes("float32_sigmoid"),
            replace(manifest_for("float32_sigmoid"), output=OutputSpec("softmax", "float32")),
        )


@given(
    values=st.lists(st.floats(-0.125, 1.125, width=32), min_size=1, max_size=6),
    kind=st.sampled_from(["sigmoid", "multi_label"]),
    temperature=st.sampled_from([1.0, 0.05, 0.7, 3.0, 20.0]),
)
def test_sigmoids_give_probabilities_in_the_order_of_their_outputs(
    values: list[float], kind: str, temperature: float
) -> None:
    stored = np.array(values[:1] if kind == "sigmoid" else values, np.float32)
    answer = probabilities(stored, OutputSpec(kind, "float32", temperature=temperature))
    assert answer.dtype == np.float32
    assert ((answer >= 0) & (answer <= 1)).all()
    if kind == "sigmoid":
        assert answer.sum() == pytest.approx(1, abs=1e-6)
        assert answer.shape == (2,)
        # The answer stays on the side of one half.
        assert (answer[1] - 0.5) * (stored[0] - 0.5) >= -1e-9
    else:
        assert answer.shape == stored.shape
        assert (np.diff(answer[np.argsort(stored)]) >= -1e-7).all()


@given(stored=st.integers(-128, 127))
def test_a_quantized_sigmoid_is_a_probability(stored: int) -> None:
    spec = OutputSpec("sigmoid", "int8", Quantization(1 / 256, -128))
    answer = probabilities(np.array([stored], np.int8), spec)
    assert answer.tolist() == pytest.approx([1 - (stored + 128) / 256, (stored + 128) / 256])


def test_kinds_agree_with_each_other() -> None:
    predicted = [Model.load(model_bytes(name), manifest_for(name)).predict(tensor("red")) for name in MODELS]
    for other in predicted[1:]:
        assert np.abs(other - predicted[0]).max() < 0.02


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("red", "green")},
        {"input": InputSpec(16, 32, "uint8", Quantization(1.0, 0))},
        {"input": InputSpec(32, 32, "float32", None)},
        {"input": InputSpec(32, 32, "uint8", Quantization(0.5, 0))},
        {"output": OutputSpec("softmax", "float32", None)},
        {"output": OutputSpec("softmax", "uint8", Quantization(0.5, 0))},
    ],
)
def test_a_manifest_that_speaks_of_another_model_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelIncompatibleError, match="its manifest says"):
        Model.load(model_bytes("uint8_quantized"), manifest_for(**change))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\0" * 4000])
def test_what_is_not_a_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelIncompatibleError, match="cannot load the model") as raised:
        inspect(content)
    assert "\n" not in str(raised.value)


def test_the_interpreter_is_named() -> None:
    facts = interpreter_facts()
    assert facts.library in ("ai-edge-litert", "tflite-runtime")
    assert facts.version[0].isdigit()


def test_golden_photos_prove_this_machine() -> None:
    files = bundle_files()
    golden = GoldenSet.from_bytes(files["golden/golden.json"])
    model = Model.load(files["model.tflite"], manifest_for())
    model.check_golden(golden, files.__getitem__)
    wrong = replace(golden, photos=(replace(golden.photos[0], probabilities=(0.5, 0.25, 0.25)),))
    with pytest.raises(ModelIncompatibleError, match=r"golden/red\.png differs by 0\.48"):
        model.check_golden(wrong, files.__getitem__)
    short = replace(golden, photos=(GoldenPhoto("golden/red.png", (1.0,)),))
    with pytest.raises(ModelIncompatibleError, match="has 1 probabilities, not 3"):
        model.check_golden(short, files.__getitem__)
    with pytest.raises(ModelIncompatibleError, match="cannot be decoded"):
        model.check_golden(golden, lambda _: b"damaged")


def test_scaling_and_quantization_of_the_input() -> None:
    def table(scaling: Scaling | None, dtype: str, quantization: Quantization | None) -> Any:
        return input_table(manifest_for(scaling=scaling, input=InputSpec(1, 1, dtype, quantization)))

    pixels = np.arange(256)
    unit = Scaling((127.5,) * 3, (127.5,) * 3)
    assert np.array_equal(table(None, "float32", None)[:, 0], pixels.astype(np.float32))
    assert np.allclose(table(unit, "float32", None)[:, 1], pixels / 127.5 - 1)
    assert np.array_equal(table(None, "uint8", Quantization(1.0, 0))[:, 2], pixels)
    assert np.array_equal(table(None, "int8", Quantization(1.0, -128))[:, 0], pixels - 128)
    assert np.array_equal(table(None, "uint8", Quantization(0.5, 0))[:, 0], np.minimum(2 * pixels, 255))
    # The hosted ImageNet models: pixels go in as they are, their quantization does the scaling.
    as_stored = Scaling((128,) * 3, (128,) * 3)
    assert np.array_equal(table(as_stored, "uint8", Quantization(1 / 128, 128))[:, 0], pixels)
    per_channel = table(Scaling((1, 2, 3), (1, 2, 4)), "float32", None)
    assert per_channel[5].tolist() == [4, 1.5, 0.5]


def test_each_channel_is_scaled_by_its_own_figures() -> None:
    blind_to_blue = manifest_for("float32_softmax", scaling=Scaling((0, 0, 0), (1, 1, 1e6)))
    model = Model.load(model_bytes("float32_softmax"), blind_to_blue)
    assert top_k(model.predict(tensor("red")), LABELS, 1)[0].label == "red"
    assert top_k(model.predict(tensor("blue")), LABELS, 1)[0].label != "blue"


LOGITS = st.lists(st.floats(-30, 30), min_size=2, max_size=6).map(lambda values: np.array(values, np.float32))


@given(logits=LOGITS, temperature=st.floats(0.2, 5))
def test_calibration_keeps_the_order_and_sums_to_one(logits: Any, temperature: float) -> None:
    calibrated = probabilities(logits, OutputSpec("logits", "float32", temperature=temperature))
    assert calibrated.sum() == pytest.approx(1, abs=1e-5)
    assert calibrated[int(logits.argmax())] == calibrated.max()
    plain = probabilities(logits, OutputSpec("logits", "float32"))
    if temperature > 1:
        assert calibrated.max() <= plain.max() + 1e-6
    elif temperature < 1:
        assert calibrated.max() >= plain.max() - 1e-6


@given(logits=st.lists(st.floats(-8, 8), min_size=2, max_size=6), temperature=st.floats(0.5, 3))
def test_a_softmax_output_is_calibrated_like_its_logits(logits: list[float], temperature: float) -> None:
    values = np.array(logits, np.float32)
    softmax = probabilities(values, OutputSpec("logits", "float32"))
    again = probabilities(softmax, OutputSpec("softmax", "float32", temperature=temperature))
    direct = probabilities(values, OutputSpec("logits", "float32", temperature=temperature))
    assert np.abs(again - direct).max() < 1e-3


@given(stored=st.lists(st.integers(0, 255), min_size=2, max_size=8))
def test_quantized_outputs_stay_probabilities(stored: list[int]) -> None:
    spec = OutputSpec("softmax", "uint8", Quantization(1 / 255, 0))
    values = probabilities(np.array(stored, np.uint8), spec)
    assert ((values >= 0) & (values <= 1)).all()


def test_top_k_breaks_ties_in_label_order() -> None:
    best = top_k(np.array([0.2, 0.4, 0.4], np.float32), LABELS, 2)
    assert [p.label for p in best] == ["green", "blue"]


def test_the_hosted_imagenet_models_load(real_data: Path) -> None:
    quantized = inspect((real_data / "models" / "mobilenet_v2_1.0_224_quant.tflite").read_bytes())
    assert (quantized.height, quantized.width, quantized.input_dtype, quantized.outputs) == (224, 224, "uint8", 1001)
    assert quantized.input_quantization == Quantization(0.0078125, 128)


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [np.inf, np.inf]])
def test_what_is_no_number_does_not_pass_for_a_probability(logits: list[float]) -> None:
    stored = np.array(logits, np.float32)
    for kind in ("sigmoid", "multi_label"):
        for temperature in (1.0, 2.0):
            lost = probabilities(np.array([np.nan], np.float32), OutputSpec(kind, "float32", temperature=temperature))
            assert not np.isfinite(lost).all()
    assert not np.isfinite(probabilities(stored, OutputSpec("logits", "float32"))).all()


def test_a_model_that_returns_nan_is_refused() -> None:
    everything_infinite = manifest_for("float32_logits", scaling=Scaling((1e38,) * 3, (1e-38,) * 3))
    with pytest.raises(ModelIncompatibleError, match="returns NaN"), np.errstate(over="ignore"):
        Model.load(model_bytes("float32_logits"), everything_infinite)
