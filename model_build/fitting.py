"""Fits a backbone to decoded photos. No files here: tensors in, weights and figures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.backbones import Backbone, build_classifier
from model_build.config import TrainingConfig
from model_build.tensors import TensorSet
from model_build.tf_runtime import load_tensorflow

_PREDICT_BATCH = 256


@dataclass(frozen=True)
class Epoch:
    """One pass over the training photos. ``best`` marks the lowest validation loss so far."""

    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool


@dataclass(frozen=True)
class Fitted:
    """A trained model with its best weights in place, the backbone in it, and how it went."""

    model: Any
    backbone: Any
    history: tuple[Epoch, ...]


def fit(
    backbone: Backbone,
    config: TrainingConfig,
    labels: Sequence[str],
    training: TensorSet,
    validation: TensorSet,
    *,
    weights: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda *_: None,
) -> Fitted:
    """Train until ``config.epochs`` or until the validation loss has not fallen for ``config.patience`` epochs.

    The same configuration and photos give the same model on the same machine.

    Raises:
        UserError: ``weights`` do not fit the backbone.
    """
    tf, keras = load_tensorflow()
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    height, width = training.images.shape[1:3]
    model = build_classifier(
        backbone, height=height, width=width, labels=len(labels), dropout=config.dropout, weights=weights
    )
    batch = min(config.batch_size, len(training))
    steps = len(training) // batch  # what does not fill a batch waits for another epoch's order
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=config.learning_rate / 10,
            decay_steps=max(1, (config.epochs - 1) * steps),
            warmup_target=config.learning_rate,
            warmup_steps=steps,
        ),
        weight_decay=config.weight_decay,
    )
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    augment = _augmentation(keras, config)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(augment(tf.cast(images, tf.float32), training=True), training=True)
            loss = loss_of(targets, logits)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    rng = np.random.default_rng(config.seed)
    targets, validation_targets = training.targets(labels), validation.targets(labels)
    history: list[Epoch] = []
    best_loss, best_weights = float("inf"), model.get_weights()
    for number in range(1, config.epochs + 1):
        order = rng.permutation(len(training))[: steps * batch].reshape(steps, batch)
        losses = [float(step(training.images[rows], targets[rows])) for rows in order]
        logits = predict_logits(model, validation.images)
        validation_loss = float(loss_of(validation_targets, logits))
        better = validation_loss < best_loss
        if better:
            best_loss, best_weights = validation_loss, model.get_weights()
        accuracy = float((logits.argmax(axis=1) == validation_targets).mean())
        history.append(Epoch(number, float(np.mean(losses)), validation_loss, accuracy, better))
        on_epoch(history[-1])
        if number - max((epoch.number for epoch in history if epoch.best), default=0) >= config.patience:
            break
    model.set_weights(best_weights)
    return Fitted(model, keras.Model(model.input, model.get_layer("features").output), tuple(history))


def predict_logits(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of (photos, height, width, 3) images, in batches; float32, (photos, labels)."""
    parts = [
        np.asarray(model(images[start : start + _PREDICT_BATCH].astype(np.float32), training=False))
        for start in range(0, len(images), _PREDICT_BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def _augmentation(keras: Any, config: TrainingConfig) -> Any:
    """Random changes of training photos, on RGB 0..255. The border is repeated, so that no black edge is learnt."""
    layers = keras.layers
    changes = [
        layers.RandomTranslation(config.shift, config.shift, fill_mode="nearest", seed=config.seed),
        layers.RandomRotation(config.rotation_degrees / 360, fill_mode="nearest", seed=config.seed + 1),
        layers.RandomZoom(config.zoom, fill_mode="nearest", seed=config.seed + 2),
    ]
    if config.flip:
        changes.append(layers.RandomFlip("horizontal", seed=config.seed + 3))
    return keras.Sequential(changes, name="augmentation")
