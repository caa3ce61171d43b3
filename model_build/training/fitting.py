"""Fits a network to decoded photos: its new last layer first, then all that may change, an epoch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.data.tensors import Material
from model_build.metrics.scores import cross_entropy
from model_build.native import load_tensorflow
from model_build.training.backbones import assign_weights, build_backbone, build_classifier, find_backbone
from model_build.training.checkpoints import TrainingState
from model_build.training.config import TrainingConfig
from model_build.training.heads import train_head
from model_build.training.observers import Epoch, EpochSample, StepObserver, StepRecord, TrainingContext
from model_build.training.predicting import measure_activity, predict_logits
from model_build.training.stages import Stage, class_weights, make_optimizer, small_epochs, small_size
from model_build.training.weights import load_weights

__all__ = ["Epoch", "Fitted", "Material", "fit", "predict_logits"]

_SAMPLES_PER_EPOCH = 2
_TIMED_STEPS = 3
_PROBE_PHOTOS = 32


@dataclass(frozen=True)
class Fitted:
    """A trained model with its best weights in place, the backbone in it, and how it went."""

    model: Any
    backbone: Any
    history: tuple[Epoch, ...]


def fit(
    config: TrainingConfig,
    material: Material,
    *,
    weights: Path | None = None,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], object] = lambda _: None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[int, int, int], None] = lambda *_: None,
    observers: Sequence[StepObserver] = (),
) -> Fitted:
    """Train until ``config.epochs`` or until the validation loss has not fallen for ``config.patience`` epochs.

    The same configuration and photos give the same model on the same machine, whether or not it was interrupted.

    Args:
        config: with ``alpha``, ``image_size`` and ``epochs`` chosen.
        weights: a file for the backbone, in place of ImageNet's.
        state: of an interrupted training; ``save`` is called with it after every epoch.
        on_step: called with (epoch, step, steps).

    Raises:
        UserError: the weights do not fit the backbone or cannot be had.
    """
    return _Fitting(config, material, weights, state, save, on_epoch, on_step, observers).run()


@dataclass(frozen=True)
class Pace:
    """Wall seconds on this machine: ``start`` to compile a step, ``photo`` of training on one photo at full size."""

    start: float
    photo: float


def measure_pace(
    config: TrainingConfig,
    material: Material,
    weights: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Time a few steps of fine-tuning on a batch of photos; nothing of it is kept.

    Args:
        config: with ``image_size`` chosen.

    Raises:
        UserError: as :func:`fit`.
    """
    whole = replace(config, epochs=1, small_epochs=0.0, fine_tune="all", class_weights="none")
    fitting = _Fitting(whole, material, weights, None, lambda _: None, lambda _: None, lambda *_: None, ())
    stage = Stage(fitting.model, make_optimizer(whole, 1, 1), whole, whole.image_size, fitting.class_weights)
    images = material.training.take(np.arange(fitting.batch, dtype=np.intp))
    marks = [clock()]
    for step in range(1 + _TIMED_STEPS):
        stage.step(images, material.training_targets[: fitting.batch], (0, step))
        marks.append(clock())
    compiled, *timed = np.diff(marks)
    step_seconds = float(np.median(timed))
    return Pace(max(0.0, float(compiled) - step_seconds), step_seconds / fitting.batch)


class _Fitting:
    def __init__(
        self,
        config: TrainingConfig,
        material: Material,
        weights: Path | None,
        state: TrainingState | None,
        save: Callable[[TrainingState], object],
        on_epoch: Callable[[Epoch], None],
        on_step: Callable[[int, int, int], None],
        observers: Sequence[StepObserver],
    ) -> None:
        tf, keras = load_tensorflow()
        keras.utils.set_random_seed(config.seed)
        tf.config.experimental.enable_op_determinism()
        self.config, self.material = config, material
        self.save, self.on_epoch, self.on_step, self.observers = save, on_epoch, on_step, observers
        self.state = state or TrainingState()
        self.backbone = find_backbone(config.backbone)
        # A network that starts from trained weights keeps their statistics: a small data set would spoil them.
        self.frozen_statistics = self.backbone.pretrained and (config.pretrained or weights is not None)
        download = config.pretrained and weights is None and not self.state.history
        self.features, self.model = self._network(config.image_size, imagenet=download)
        if weights is not None and not self.state.history:
            load_weights(self.features, weights, config.backbone + _width(config))
        photos = len(material.training_targets)
        self.batch = min(config.batch_size, photos)
        self.steps = photos // self.batch  # what does not fill a batch waits for another epoch's order
        counts = np.bincount(material.training_targets, minlength=len(material.labels))
        self.class_weights = class_weights(counts, config.class_weights)
        self.context = TrainingContext(
            material.labels,
            tuple(int(count) for count in counts),
            self.batch,
            self.steps,
            self.config.head_epochs + self._fine_epochs,
            max(1, self.steps // _SAMPLES_PER_EPOCH),
        )

    @property
    def _fine_epochs(self) -> int:
        return 0 if self.config.fine_tune == "none" else self.config.epochs

    def run(self) -> Fitted:
        for position, observer in enumerate(self.observers):
            if position < len(self.state.observers):
                observer.restore(self.state.observers[position])
            observer.on_train_begin(self.model, self.context)
        if not self.state.history:
            self.state.model = [np.asarray(v) for v in self.model.variables]
            if self.config.head_epochs:
                self._head()
        done = len(self.state.history) - self.config.head_epochs
        turn = min(small_epochs(self.config), self._fine_epochs)
        if done < turn:
            self._stage(range(done, turn), small_size(self.config))
        if done <= turn:
            self._forget_best()  # small photos are not what is served; no epoch on them competes
        self._stage(range(max(done, turn), self._fine_epochs), self.config.image_size)
        if self.state.best:
            assign_weights(self.model, self.state.best)
        for observer in self.observers:
            observer.on_train_end()
        return Fitted(self.model, self.features, tuple(self.state.history))

    def _head(self) -> None:
        """The first phase. It takes seconds, so a kill in it starts it again."""
        for epoch, logits in train_head(self.config, self.model, self.features, self.material, self.class_weights):
            self._record(epoch, logits, self.model.get_weights(), {})
        assign_weights(self.model, self.state.best)
        self.state.model = [np.asarray(v) for v in self.model.variables]
        # What counts from here on is where fine-tuning arrives; its first epochs may well be worse.
        if self._fine_epochs:
            self._forget_best()
        self._save()

    def _forget_best(self) -> None:
        """The next epoch is the best there is, however it compares."""
        self.state.best_loss, self.state.best_accuracy = float("inf"), -1.0

    def _stage(self, epochs: range, size: int) -> None:
        if not epochs or self._stopped():
            return
        config = self.config
        model = self.model
        if size != config.image_size or self._precision() != "float32":
            model = self._network(size, imagenet=False, precision=self._precision())[1]
        optimizer = make_optimizer(config, self._fine_epochs * self.steps, self.steps)
        stage = Stage(model, optimizer, config, size, self.class_weights)
        stage.load(self.state.model, self.state.optimizer, self.state.average)
        with ThreadPoolExecutor(max_workers=1) as reader:
            for number in epochs:
                self._epoch(stage, reader, number, size)
                if self._stopped():
                    break

    def _epoch(self, stage: Stage, reader: ThreadPoolExecutor, number: int, size: int) -> None:
        begun, waited, computed = time.perf_counter(), 0.0, 0.0
        losses, correct, at = [], 0, self.config.head_epochs + number + 1
        mark = begun
        for step, (images, targets) in enumerate(self._batches(reader, number)):
            ready = time.perf_counter()
            whole = number * self.steps + step
            sampled = bool(self.observers) and whole % self.context.sample_every == 0
            before = [np.array(v) for v in stage.variables] if sampled else []
            result = stage.step(images, targets, (self.config.seed % 2**31, whole * 16))
            now = time.perf_counter()
            waited, computed = waited + ready - mark, computed + now - ready
            losses.append(result.loss)
            correct += result.correct
            if self.observers:
                samples = stage.samples(before, result.gradients) if sampled else ()
                rate = float(np.asarray(stage.optimizer.learning_rate))
                record = StepRecord(whole, at, "finetune", result.loss, rate, ready - mark, now - ready, samples)
                for observer in self.observers:
                    observer.on_step(record)
            self.on_step(at, step + 1, self.steps)
            mark = time.perf_counter()
        self.state.model, self.state.optimizer, self.state.average = stage.arrays()
        current = stage.served_weights()
        if stage.model is self.model:
            training = self.model.get_weights()
        assign_weights(self.model, current)
        logits = predict_logits(self.model, self.material.validation)
        activity = {}
        if self.observers:
            probe = np.arange(min(_PROBE_PHOTOS, len(self.material.validation_targets)), dtype=np.intp)
            activity = measure_activity(self.model, self.material.validation.take(probe))
        if stage.model is self.model:
            assign_weights(self.model, training)
        epoch = Epoch(
            number=at,
            loss=float(np.mean(losses)),
            validation_loss=cross_entropy(logits, self.material.validation_targets),
            validation_accuracy=float((logits.argmax(axis=1) == self.material.validation_targets).mean()),
            best=False,
            phase="finetune",
            training_accuracy=correct / (self.steps * self.batch),
            learning_rate=float(np.asarray(stage.optimizer.learning_rate)),
            image_size=size,
            seconds=time.perf_counter() - begun,
            data_seconds=waited,
            compute_seconds=computed,
            images_per_second=self.steps * self.batch / (waited + computed),
        )
        self._record(epoch, logits, current, activity)
        self._save()

    def _record(self, epoch: Epoch, logits: NDArray[np.float32], weights: list[Any], activity: dict[str, Any]) -> None:
        state, loss, accuracy = self.state, epoch.validation_loss, epoch.validation_accuracy
        better = loss < state.best_loss
        if self.config.best_by == "accuracy":
            better = (accuracy, -loss) > (state.best_accuracy, -state.best_loss)
        if better:
            state.best_loss, state.best_accuracy, state.best = loss, accuracy, weights
        epoch = replace(epoch, best=better)
        self.state.history.append(epoch)
        sample = EpochSample(activity, self.material.validation_targets, logits)
        for observer in self.observers:
            observer.on_epoch(epoch, sample)
        self.on_epoch(epoch)

    def _save(self) -> None:
        self.state.observers = [observer.state() for observer in self.observers]
        self.save(self.state)

    def _stopped(self) -> bool:
        """Early stopping, which waits for the full size: on small photos the validation loss says little."""
        fine = [epoch for epoch in self.state.history if epoch.phase == "finetune"]
        turn = small_epochs(self.config)
        if len(fine) <= turn:
            return False
        best = max((position for position, epoch in enumerate(fine, start=1) if epoch.best), default=0)
        return len(fine) - max(best, turn) >= self.config.patience

    def _batches(self, reader: ThreadPoolExecutor, number: int) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        """The batches of an epoch, each read while the one before is computed with."""
        photos = len(self.material.training_targets)
        order = np.random.default_rng([self.config.seed, number]).permutation(photos)
        rows = order[: self.steps * self.batch].reshape(self.steps, self.batch)
        coming = reader.submit(self.material.training.take, rows[0])
        for position, chosen in enumerate(rows):
            images = coming.result()
            if position + 1 < len(rows):
                coming = reader.submit(self.material.training.take, rows[position + 1])
            yield images, self.material.training_targets[chosen]

    def _network(self, size: int, *, imagenet: bool, precision: str = "float32") -> tuple[Any, Any]:
        """Backbone and classifier, with what may change marked as trainable."""
        _, keras = load_tensorflow()
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        try:
            features = build_backbone(self.backbone, size=size, alpha=self.config.alpha or 1.0, imagenet=imagenet)
            model = build_classifier(features, labels=len(self.material.labels), dropout=self.config.dropout)
        finally:
            keras.config.set_dtype_policy(before)
        trained = {id(layer) for layer in self.backbone.trained_layers(features.layers, self.config.fine_tune)}
        for layer in features.layers:
            frozen = self.frozen_statistics and isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = id(layer) in trained and not frozen
        return features, model

    def _precision(self) -> str:
        tf, _ = load_tensorflow()
        if self.config.precision != "auto":
            return self.config.precision
        return "mixed_bfloat16" if tf.config.list_physical_devices("GPU") else "float32"


def _width(config: TrainingConfig) -> str:
    return f" with alpha {config.alpha:g}" if find_backbone(config.backbone).has_alpha else ""
