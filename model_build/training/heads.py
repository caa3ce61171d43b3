"""The first phase: the new last layer alone, over features that are computed once.

Fine-tuning from a trained last layer keeps the features that a random one would pull apart in its first steps
(Kumar et al., Fine-Tuning can Distort Pretrained Features, 2022).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model_build.data.tensors import Images
from model_build.metrics.scores import cross_entropy
from model_build.native import load_tensorflow
from model_build.training.config import TrainingConfig
from model_build.training.observers import Epoch
from model_build.training.predicting import predict_logits
from model_build.training.stages import make_head_optimizer

if TYPE_CHECKING:
    from model_build.data.tensors import Material

_BATCH = 64


class _Resized:
    """Training photos at the model's own size; they may be stored larger."""

    def __init__(self, images: Images, size: int) -> None:
        self._images, self._size = images, size

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._images.shape[0], self._size, self._size, 3)

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        tf, _ = load_tensorflow()
        images = self._images.take(rows)
        if images.shape[1] == self._size:
            return images
        resized = tf.image.resize(images, [self._size, self._size], antialias=True)
        return np.asarray(resized).round().clip(0, 255).astype(np.uint8)


def train_head(
    config: TrainingConfig, model: Any, features: Any, material: Material, weights: NDArray[np.float32]
) -> Iterator[tuple[Epoch, NDArray[np.float32]]]:
    """Each epoch, ``best`` unset, and the logits of the validation photos after it.

    Args:
        model: the classifier whose layer ``logits`` is trained; ``features``: what lies under it.
        weights: of the classes in the loss.
    """
    tf, _ = load_tensorflow()
    begun = time.perf_counter()
    inputs = predict_logits(features, _Resized(material.training, config.image_size))
    validation = predict_logits(features, material.validation)
    reading = time.perf_counter() - begun
    layer, labels, smoothing = model.get_layer("logits"), len(material.labels), config.label_smoothing
    optimizer = make_head_optimizer(config)
    optimizer.build(layer.trainable_variables)
    photos = len(inputs)
    batch = min(_BATCH, photos)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(x: Any, targets: Any, seed: Any) -> Any:
        kept = tf.random.stateless_uniform(tf.shape(x), seed) >= config.dropout
        x = tf.where(kept, x / (1 - config.dropout), 0.0)
        with tf.GradientTape() as tape:
            logits = layer(x)
            shares = tf.one_hot(targets, labels)
            each = tf.nn.softmax_cross_entropy_with_logits(shares * (1 - smoothing) + smoothing / labels, logits)
            loss = tf.reduce_mean(each * tf.gather(weights, targets))
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss, tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == targets, tf.int32))

    targets = material.training_targets
    for number in range(config.head_epochs):
        start = time.perf_counter()
        order = np.random.default_rng([config.seed, 1, number]).permutation(photos)
        losses, correct = [], 0
        for first in range(0, photos - batch + 1, batch):
            rows = order[first : first + batch]
            seed = tf.constant([config.seed % 2**31, number * photos + first], tf.int32)
            loss, right = step(tf.constant(inputs[rows]), tf.constant(targets[rows]), seed)
            losses.append(float(loss))
            correct += int(right)
        logits = np.asarray(layer(tf.constant(validation)), dtype=np.float32)
        computed = time.perf_counter() - start
        waited = reading if number == 0 else 0.0  # the features of all photos, for all of the epochs
        epoch = Epoch(
            number=number + 1,
            loss=float(np.mean(losses)),
            validation_loss=cross_entropy(logits, material.validation_targets),
            validation_accuracy=float((logits.argmax(axis=1) == material.validation_targets).mean()),
            best=False,
            phase="head",
            training_accuracy=correct / (len(losses) * batch),
            learning_rate=config.head_learning_rate,
            image_size=config.image_size,
            seconds=waited + computed,
            data_seconds=waited,
            compute_seconds=computed,
            images_per_second=photos / computed,
        )
        yield epoch, logits
