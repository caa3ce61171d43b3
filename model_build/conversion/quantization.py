"""Keras network -> ``.tflite``. What the file is to be is a value."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.bundle import Quantization
from classifier.errors import UserError
from model_build.native import load_tensorflow, one_line, quiet_stderr
from model_build.training.backbones import FEATURES_LAYER

FLOAT32, FLOAT16, DYNAMIC, INT8 = "float32", "float16", "dynamic", "int8"
QUANTIZATIONS = (FLOAT32, FLOAT16, DYNAMIC, INT8)
_AS_IS = Quantization(1.0, 0)


class ConversionFailed(Exception):
    """The converter refuses one format; the others may still be possible. ``str`` is its reason, in one line."""


class Converter:
    """A saved network, read once, and the formats it can be had in.

    Args:
        keras_file: ``model.keras`` of a run; its input is (batch, height, width, 3) RGB 0..255.
        calibration: uint8, (photos, height, width, 3), decoded training photos, for int8.

    Raises:
        UserError: the file is no Keras network.
    """

    def __init__(self, keras_file: Path, calibration: NDArray[np.uint8]) -> None:
        self._tf, keras = load_tensorflow()
        try:
            network = keras.models.load_model(keras_file, compile=False)
        # Keras and h5py raise most of the built-in exceptions on a damaged archive.
        except Exception as error:  # noqa: BLE001
            raise UserError(f"{keras_file} cannot be loaded: {one_line(error)}") from None
        self._model = network
        if any(layer.name == FEATURES_LAYER for layer in network.layers):  # not in runs of before
            # The converter keeps this order.
            self._model = keras.Model(network.input, [network.output, network.get_layer(FEATURES_LAYER).output])
        self._calibration = calibration
        self._stored, self._unscaled = _without_scaling(keras, self._model)

    def to_tflite(self, quantization: str) -> bytes:
        """One format.

        ``float32``: as trained. ``float16``: weights of half the size, computed in float32. ``dynamic``: int8 weights,
        activations quantized as they come. ``int8``: weights and activations, with uint8 input, where the stored value
        is the pixel itself, and float32 outputs (dequantized inside, so that no reader needs their scale). Where a
        network begins with one scaling for all channels, it is converted without that layer: scale and zero point of
        the input say the same, and computing it in 8 bits loses something.

        The outputs are the logits and the embedding, what the last layer sees, where the network names that layer.

        Shapes are fixed at batch 1: with an open batch size one float32 model took 8 times as long in tflite-runtime.

        Raises:
            ConversionFailed: the converter refuses it.
        """
        tf, full = self._tf, quantization == INT8
        stored = self._stored if full else _AS_IS
        model = self._unscaled if full else self._model
        height, width = model.input_shape[1:3]
        low, high = (stored.scale * (value - stored.zero_point) for value in (0, 255))

        image_spec = tf.TensorSpec((1, height, width, 3), tf.float32, name="image")

        @tf.function(input_signature=[image_spec])  # type: ignore[untyped-decorator]
        def serve(image: Any) -> Any:
            if full:
                # Pins the input's range, which calibration photos without pure black or white would narrow.
                image = tf.quantization.fake_quant_with_min_max_args(image, min=low, max=high)
            return model(image, training=False)

        # Without the object that owns the variables the converter freezes them into constants; with it, Keras 3
        # variables stay READ_VARIABLE operations, on which int8 calibration fails.
        with quiet_stderr():  # it calls this way deprecated
            converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
        if quantization != FLOAT32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        if full:
            converter.representative_dataset = self._samples
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.float32
        try:
            with quiet_stderr(), warnings.catch_warnings():
                # It asks for input statistics that the calibration photos then give.
                warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
                content: bytes = converter.convert()
        # The converter raises whatever its C++ side throws, ConverterError (an Exception) among it.
        except Exception as error:  # noqa: BLE001
            raise ConversionFailed(f"cannot be converted: {one_line(error)}") from None
        return content

    def _samples(self) -> Iterator[list[NDArray[np.float32]]]:
        for image in self._calibration:
            yield [(image[np.newaxis].astype(np.float32) - self._stored.zero_point) * np.float32(self._stored.scale)]


def _without_scaling(keras: Any, model: Any) -> tuple[Quantization, Any]:
    """The real values that pixels stand for behind the network's first layer, and the network behind it; where that
    layer is no scaling by one factor and offset, pixels themselves and all of the network.

    The zero point is whole: where the scaling's is not (127.5), all pixels are off by half a grey level.
    """
    first = model.layers[1]
    if not isinstance(first, keras.layers.Rescaling) or np.ndim(first.scale) or np.ndim(first.offset):
        return _AS_IS, model
    stored = Quantization(float(first.scale), round(-first.offset / first.scale))
    return (stored, keras.Model(first.output, model.output)) if 0 <= stored.zero_point <= 255 else (_AS_IS, model)
