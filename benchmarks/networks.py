"""One network in every form that is compared: ``python -m benchmarks.networks FOLDER [WEIGHTS]``.

MobileNetV2 (width 1.0, 224 x 224, 1,001 logits) as Keras saves it, as float32 and int8 ``.tflite`` and, where
tf2onnx is installed, as ONNX. The weights of all but the last layer may be given; the others are random, which changes
no time. It runs in a process of its own, because TensorFlow does not leave a process once it is there.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

from model_build.conversion.quantization import FLOAT32, INT8, Converter
from model_build.native import load_tensorflow, quiet_stderr
from model_build.training.backbones import BACKBONES

SIDE = 224
LABELS = 1001
KERAS, ONNX = "network.keras", "network.onnx"


def tflite_name(quantization: str) -> str:
    return f"network-{quantization}.tflite"


def build(folder: Path, weights: str | None) -> None:
    """Write all forms into ``folder``."""
    tensorflow, keras = load_tensorflow()
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    features = BACKBONES["mobilenet_v2"].build(keras, image, 1.0, weights)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    network = keras.Model(image, keras.layers.Dense(LABELS)(pooled))
    network.save(folder / KERAS)
    noise = np.random.default_rng(0).integers(0, 256, (16, SIDE, SIDE, 3), dtype=np.uint8)
    converter = Converter(folder / KERAS, noise)
    for quantization in (FLOAT32, INT8):
        (folder / tflite_name(quantization)).write_bytes(converter.to_tflite(quantization))
    if importlib.util.find_spec("tf2onnx") is not None:
        import tf2onnx

        spec = tensorflow.TensorSpec((1, SIDE, SIDE, 3), tensorflow.float32, name="image")
        with quiet_stderr():
            tf2onnx.convert.from_keras(network, input_signature=(spec,), output_path=str(folder / ONNX))


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
