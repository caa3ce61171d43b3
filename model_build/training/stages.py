"""What moves the weights: the optimizer, the learning rate over time, and the compiled step for one size of photos.

Fine-tuning changes size once on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.native import load_tensorflow
from model_build.training.augmentation import augmentation
from model_build.training.backbones import finalize
from model_build.training.checkpoints import Arrays
from model_build.training.config import TrainingConfig, is_narrow
from model_build.training.observers import VariableSample

_PHOTO_PASSES, _NARROW_PHOTO_PASSES = 17_000, 24_000
_FEWEST_EPOCHS, _MOST_EPOCHS = 10, 40
_IMBALANCE = 1.5
_SIDE_MULTIPLE = 32  # of every backbone's stride: then padding falls on the same sides at every size


def epochs_for(photos: int, alpha: float = 0.0) -> int:
    """Passes of fine-tuning over ``photos`` training photos where the configuration leaves them open: about as many
    photo passes whatever the data, so that small sets get the epochs they need and large ones take no longer."""
    passes = _NARROW_PHOTO_PASSES if is_narrow(alpha) else _PHOTO_PASSES
    return min(max(round(passes / photos), _FEWEST_EPOCHS), _MOST_EPOCHS)


def class_weights(counts: NDArray[np.int64], choice: str) -> NDArray[np.float32]:
    """The factor of each class in the loss: photos / (classes x photos of the class), or 1 for each.

    Args:
        choice: :attr:`TrainingConfig.class_weights`.
    """
    if choice == "none" or (choice == "auto" and counts.max() <= _IMBALANCE * counts.min()):
        return np.ones(len(counts), dtype=np.float32)
    weights: NDArray[np.float32] = (counts.sum() / (len(counts) * counts)).astype(np.float32)
    return weights


def make_optimizer(config: TrainingConfig, steps: int, steps_per_epoch: int) -> Any:
    """The optimizer of fine-tuning: warm-up from a tenth of the peak rate, then a cosine to 0 over ``steps``."""
    _, keras = load_tensorflow()
    warmup = round(config.warmup_epochs * steps_per_epoch)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 10 if warmup else config.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return _optimizer(config, rate)


def make_head_optimizer(config: TrainingConfig) -> Any:
    return _optimizer(config, config.head_learning_rate)


def _optimizer(config: TrainingConfig, rate: Any) -> Any:
    _, keras = load_tensorflow()
    common = {"weight_decay": config.weight_decay, "global_clipnorm": config.clip_norm or None}
    if config.optimizer == "sgd":
        made = keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=config.momentum > 0, **common)
    else:
        made = keras.optimizers.AdamW(rate, **common)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


@dataclass(frozen=True)
class StepResult:
    """``gradients`` are those of the trainable variables, in their order, before clipping."""

    loss: float
    correct: int
    gradients: Sequence[Any]


def small_size(config: TrainingConfig) -> int:
    """Side of the photos in the first part of fine-tuning."""
    if not config.small_epochs:
        return config.image_size
    return min(
        config.image_size, max(round(config.image_size * config.small_side / _SIDE_MULTIPLE), 1) * _SIDE_MULTIPLE
    )


def small_epochs(config: TrainingConfig) -> int:
    """How many of fine-tuning's epochs are on small photos; the last ones never are."""
    return min(round(config.epochs * config.small_epochs), config.epochs - 1)


class Stage:
    """A network being trained on photos of one size, with its optimizer and its moving average."""

    def __init__(
        self, model: Any, optimizer: Any, config: TrainingConfig, size: int, weights: NDArray[np.float32]
    ) -> None:
        """``weights``: of the classes in the loss, float32, (labels,)."""
        tf, _ = load_tensorflow()
        self.model, self.optimizer = model, optimizer
        self.variables = model.trainable_variables
        optimizer.build(self.variables)
        self.average = [tf.Variable(v) for v in self.variables] if config.average else []
        self._step = self._compile(config, size, weights)

    def step(self, images: NDArray[np.uint8], targets: NDArray[np.int64], seed: tuple[int, int]) -> StepResult:
        tf, _ = load_tensorflow()
        loss, correct, gradients = self._step(tf.constant(images), tf.constant(targets), tf.constant(seed, tf.int32))
        return StepResult(float(loss), int(correct), gradients)

    def samples(self, before: Sequence[NDArray[np.float32]], gradients: Sequence[Any]) -> list[VariableSample]:
        """The trainable variables around the step just made; ``before``: their values before it."""
        return [
            VariableSample(variable.path, np.asarray(gradient), old, np.asarray(variable))
            for variable, gradient, old in zip(self.variables, gradients, before, strict=True)
        ]

    def load(self, model: Arrays, optimizer: Arrays, average: Arrays) -> None:
        """Go on from these values; an empty ``optimizer`` begins anew."""
        for variable, value in zip(self.model.variables, model, strict=True):
            variable.assign(value)
        finalize(self.model)
        for variable, value in zip(self.optimizer.variables, optimizer, strict=bool(optimizer)):
            variable.assign(value)
        if self.average:
            for variable, value in zip(self.average, average or self.variables, strict=True):
                variable.assign(value)

    def arrays(self) -> tuple[Arrays, Arrays, Arrays]:
        """What :meth:`load` takes."""
        groups = (self.model.variables, self.optimizer.variables, self.average)
        return tuple([np.asarray(v) for v in group] for group in groups)  # type: ignore[return-value]

    def served_weights(self) -> Arrays:
        """The weights of the model that this training would end with now, the averaged ones where there is an
        average."""
        averages = {id(v): a for v, a in zip(self.variables, self.average, strict=False)}
        return [np.asarray(averages.get(id(v), v)) for v in self.model.weights]

    def _compile(self, config: TrainingConfig, size: int, weights: NDArray[np.float32]) -> Any:
        tf, _ = load_tensorflow()
        model, optimizer, variables, average = self.model, self.optimizer, self.variables, self.average
        augment, labels, smoothing = augmentation(config, size), len(weights), config.label_smoothing

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(images: Any, targets: Any, seed: Any) -> Any:
            x, shares = augment(images, seed), tf.one_hot(targets, labels)
            with tf.GradientTape() as tape:
                logits = tf.cast(model(x, training=True), tf.float32)
                wanted = shares * (1 - smoothing) + smoothing / labels
                each = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
                loss = tf.reduce_mean(each * tf.gather(weights, targets))
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            if average:
                done = tf.cast(optimizer.iterations, tf.float32)
                # A short memory at first, so that the average forgets the beginning (TensorFlow's num_updates).
                decay = tf.minimum(config.average, (1 + done) / (10 + done))
                for mean, variable in zip(average, variables, strict=True):
                    mean.assign(decay * mean + (1 - decay) * tf.cast(variable, tf.float32))
            right = tf.reduce_sum(tf.cast(tf.argmax(logits, 1) == targets, tf.int32))
            return loss, right, gradients

        return step
