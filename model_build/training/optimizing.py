"""What moves the weights: optimizer, learning rate over time, the weight of each class, the number of epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.tf_runtime import load_tensorflow
from model_build.training.config import TrainingConfig, is_narrow

_PHOTO_PASSES, _NARROW_PHOTO_PASSES = 17_000, 24_000
_FEWEST_EPOCHS, _MOST_EPOCHS = 10, 40
_IMBALANCE = 1.5


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
