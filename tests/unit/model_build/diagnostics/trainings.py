"""Tiny real Keras trainings for the diagnostics: a plain loop behind the same seam as the project's own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_build.native import load_tensorflow
from model_build.training.observers import Epoch, EpochSample, StepObserver, StepRecord, TrainingContext, VariableSample

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Data:
    """Points of some classes: float32 (points, numbers) and int64 (points,)."""

    training: Batch
    validation: Batch
    labels: tuple[str, ...]


def blobs(*, classes: int = 4, training: int = 240, validation: int = 160, spread: float = 0.3, seed: int = 0) -> Data:
    """One cloud a class around points of a 12-dimensional cube; easy when ``spread`` is small."""
    rng = np.random.default_rng(seed)
    centres = rng.choice([-1.0, 1.0], (classes, 12))

    def draw(points: int) -> Batch:
        targets = np.arange(points) % classes
        return (centres[targets] + spread * rng.standard_normal((points, 12))).astype(np.float32), targets

    return Data(draw(training), draw(validation), tuple(f"class {index}" for index in range(classes)))


def dense_network(
    layers: int, classes: int, *, width: int = 16, activation: str = "relu", initial: Any = "he_normal", bias: float = 0
) -> Any:
    """A stack of dense layers with logits on top, from 12 numbers."""
    _, keras = load_tensorflow()
    keras.utils.set_random_seed(7)
    stack = [
        keras.layers.Dense(
            width,
            activation=activation,
            kernel_initializer=initial,
            bias_initializer=keras.initializers.Constant(bias),
            name=f"hidden_{index}",
        )
        for index in range(layers)
    ]
    return keras.Sequential([keras.Input((12,)), *stack, keras.layers.Dense(classes, name="logits")])


def train(
    model: Any,
    data: Data,
    observer: StepObserver,
    *,
    epochs: int = 4,
    batch_size: int = 12,
    optimizer: Any = None,
    label_smoothing: float = 0.1,
    batches: Callable[[int], Iterable[Batch]] | None = None,
    sample_every: int = 5,
) -> None:
    """``batches(epoch)`` takes the place of the shuffled training points."""
    tf, keras = load_tensorflow()
    optimizer = optimizer or keras.optimizers.Adam(3e-3)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    classes = len(data.labels)

    @tf.function  # type: ignore[untyped-decorator]
    def update(points: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(tf.one_hot(targets, classes), model(points, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, gradients

    points, targets = data.training
    observer.on_train_begin(
        model,
        TrainingContext(
            labels=data.labels,
            class_counts=tuple(int(count) for count in np.bincount(targets, minlength=classes)),
            batch_size=batch_size,
            steps_per_epoch=len(points) // batch_size,
            epochs=epochs,
            sample_every=sample_every,
        ),
    )
    step, best = 0, math.inf
    for number in range(1, epochs + 1):
        losses = []
        source = iter(_shuffled(data.training, batch_size, number) if batches is None else batches(number))
        while True:
            begun = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                break
            ready = time.perf_counter()
            wanted = step % sample_every == 0
            before = [variable.numpy().copy() for variable in model.trainable_variables] if wanted else []
            loss, gradients = update(*batch)
            losses.append(float(loss))
            done = time.perf_counter()
            samples = [
                VariableSample(variable.path, gradient.numpy(), old, variable.numpy())
                for variable, gradient, old in zip(model.trainable_variables, gradients, before, strict=False)
            ]
            observer.on_step(
                StepRecord(
                    step=step,
                    epoch=number,
                    phase="finetune",
                    loss=losses[-1],
                    learning_rate=float(optimizer.learning_rate),
                    data_seconds=ready - begun,
                    compute_seconds=done - ready,
                    samples=samples,
                )
            )
            step += 1
        points, targets = data.validation
        logits = model(points, training=False).numpy()
        validation_loss = float(
            keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True).numpy().mean()
        )
        observer.on_epoch(
            Epoch(
                number=number,
                loss=float(np.mean(losses)),
                validation_loss=validation_loss,
                validation_accuracy=float((logits.argmax(axis=1) == targets).mean()),
                best=validation_loss < best,
            ),
            EpochSample(_activity(model, points), targets, logits),
        )
        best = min(best, validation_loss)
    observer.on_train_end()


def _shuffled(points: Batch, batch_size: int, seed: int) -> Iterator[Batch]:
    order = np.random.default_rng(seed).permutation(len(points[0]))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        yield points[0][rows], points[1][rows]


def _activity(model: Any, points: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    activity, values = {}, points
    for layer in model.layers:
        values = layer(values).numpy()
        if layer.get_config().get("activation") == "relu":
            activity[layer.name] = (values > 0).mean(axis=0).astype(np.float32)
    return activity
