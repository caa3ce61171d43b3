"""Keras network -> ``.tflite``. What the file is to be is a value: float32 or full int8."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.errors import UserError
from model_build.quiet import quiet_stderr
from model_build.tf_runtime import load_tensorflow

FLOAT32, INT8 = "float32", "int8"
QUANTIZATIONS = (FLOAT32, INT8)


def to_tflite(keras_file: Path, *, calibration: NDArray[np.uint8] | None = None) -> bytes:
    """Convert a saved network with input (batch, height, width, 3) RGB 0..255.

    Shapes are fixed at batch 1: with an open batch size one float32 model took 8 times as long in tflite-runtime.

    Args:
        keras_file: ``model.keras`` of a run.
        calibration: uint8, (photos, height, width, 3), decoded training photos. Given, the result is full int8 with
            uint8 input, where the stored value is the pixel itself (scale 1, zero point 0), and float32 logits
            (dequantized inside, so that no reader needs their scale). Not given, it is float32.

    Raises:
        UserError: the file is no Keras network, or the converter refuses it.
    """
    tf, keras = load_tensorflow()
    try:
        model = keras.models.load_model(keras_file, compile=False)
    # Keras and h5py raise most of the built-in exceptions on a damaged archive.
    except Exception as error:  # noqa: BLE001
        raise UserError(f"{keras_file} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def serve(image: Any) -> Any:
        if calibration is not None:
            # Pins the input's range, which calibration photos without pure black or white would narrow.
            image = tf.quantization.fake_quant_with_min_max_args(image, min=0.0, max=255.0)
        return model(image, training=False)

    # Without the object that owns the variables the converter freezes them into constants; with it, Keras 3 variables
    # stay READ_VARIABLE operations, on which int8 calibration fails.
    with quiet_stderr():  # it calls this way deprecated
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _samples(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    try:
        with quiet_stderr(), warnings.catch_warnings():
            # It asks for input statistics that the calibration photos then give.
            warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
            content: bytes = converter.convert()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{keras_file} cannot be converted: {' '.join(str(error).split())[:200]}") from None
    return content


def _samples(calibration: NDArray[np.uint8]) -> Iterator[list[NDArray[np.float32]]]:
    for image in calibration:
        yield [image[np.newaxis].astype(np.float32)]
