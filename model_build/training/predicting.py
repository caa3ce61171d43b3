"""What a Keras network says of photos, and how active its units are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.data.tensors import ArrayImages, Images, Progress
from model_build.native import load_tensorflow

_BATCH = 32


def predict_logits(
    model: Any, images: Images | NDArray[np.uint8], progress: Progress = lambda *_: None
) -> NDArray[np.float32]:
    """What ``model`` gives for (photos, height, width, 3) images, read and computed in batches; float32."""
    tf, _ = load_tensorflow()
    source = ArrayImages(images) if isinstance(images, np.ndarray) else images
    # Kept with the model: a trace takes longer than a few hundred photos. A plain call is ten times as slow.
    predict = getattr(model, "bucketlens_predict", None)
    if predict is None:
        predict = tf.function(lambda x: model(tf.cast(x, tf.float32), training=False), reduce_retracing=True)
        model.bucketlens_predict = predict
    rows = np.arange(source.shape[0], dtype=np.intp)
    parts = []
    for start in range(0, len(rows), _BATCH):
        parts.append(np.asarray(predict(tf.constant(source.take(rows[start : start + _BATCH])))))
        progress(min(start + _BATCH, len(rows)), len(rows))
    return np.concatenate(parts).astype(np.float32)


def measure_activity(model: Any, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """For every ReLU layer and every channel of it, the share of positions where it is over 0; float32, (channels,)."""
    tf, keras = load_tensorflow()
    layers = [layer for layer in model.layers if _is_relu(keras, layer)]
    if not layers:
        return {}
    probe = getattr(model, "bucketlens_probe", None)
    if probe is None:
        inner = keras.Model(model.input, [layer.output for layer in layers])

        def active(x: Any) -> list[Any]:
            outputs = inner(tf.cast(x, tf.float32), training=False)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            axes = [list(range(len(one.shape) - 1)) for one in outputs]
            return [
                tf.reduce_mean(tf.cast(one > 0, tf.float32), axis=axis) for one, axis in zip(outputs, axes, strict=True)
            ]

        probe = tf.function(active)
        model.bucketlens_probe = probe
    return {layer.name: np.asarray(share) for layer, share in zip(layers, probe(tf.constant(images)), strict=True)}


def _is_relu(keras: Any, layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return True
    activation = getattr(layer, "activation", None)
    return isinstance(layer, keras.layers.Activation) and getattr(activation, "__name__", "") in ("relu", "relu6")
