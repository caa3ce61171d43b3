"""What the converter makes of a network: its logits and its embedding, in this order, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.imaging import DRAFT_MARGIN, ResizePolicy
from model_build.conversion.quantization import FLOAT32, INT8, Converter
from model_build.native import load_tensorflow
from model_build.tflite.running import answer_all, describe, inspect_quietly, load_quietly, stored_scaling
from model_build.training.backbones import FEATURES_LAYER, build_backbone, build_classifier, find_backbone
from model_build.training.predicting import predict_logits
from tests.support.bundles import CREATED

# Keras 3.15 with NumPy 2: its own business, and Python shows it to nobody.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

SIDE = 32
LABELS = tuple(f"label {number}" for number in range(96))  # as many as small_cnn has features: nothing else tells them


@pytest.fixture(scope="module")
def network() -> Any:
    _, keras = load_tensorflow()
    keras.utils.set_random_seed(7)
    return build_classifier(build_backbone(find_backbone("small_cnn"), size=SIDE), labels=len(LABELS), dropout=0.2)


@pytest.mark.parametrize(("quantization", "tolerance"), [(FLOAT32, 1e-4), (INT8, 0.1)])
def test_a_model_gives_what_its_last_layer_sees(
    network: Any, tmp_path: Path, quantization: str, tolerance: float
) -> None:
    _, keras = load_tensorflow()
    network.save(tmp_path / "model.keras")
    images = np.random.default_rng(1).integers(0, 256, (24, SIDE, SIDE, 3), dtype=np.uint8)
    content = Converter(tmp_path / "model.keras", images).to_tflite(quantization)
    facts = inspect_quietly(content, len(LABELS))
    manifest = describe(
        content,
        facts,
        name="m",
        labels=LABELS,
        resize=ResizePolicy.STRETCH,
        draft_margin=DRAFT_MARGIN,
        output_kind="logits",
        scaling=stored_scaling(facts),
        created=CREATED,
    )
    assert manifest.embedding is not None
    assert manifest.embedding.features == 96
    probabilities, embeddings = answer_all(load_quietly(content, manifest), images)
    logits = predict_logits(network, images)
    features = predict_logits(keras.Model(network.input, network.get_layer(FEATURES_LAYER).output), images)
    # Softmax takes a constant from every logit.
    centred = [values - values.mean(axis=1, keepdims=True) for values in (np.log(probabilities), logits)]
    assert np.abs(centred[0] - centred[1]).max() <= tolerance * np.abs(centred[1]).max()
    assert np.abs(embeddings - features).max() <= tolerance * features.max()
