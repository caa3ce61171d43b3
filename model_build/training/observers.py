"""Who may look inside a training while it runs: what they are told, and the interfaces they are told it through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model_build.data.dataset import Split
    from model_build.data.tensors import Unreadable


@dataclass(frozen=True)
class TrainingContext:
    """What is fixed for one training, or for what is left of it after a resume.

    Attributes:
        labels: in output order.
        class_counts: training photos of each label, in the same order.
        batch_size: photos a step.
        steps_per_epoch: optimizer steps in an epoch.
        epochs: at most this many, both phases together.
        sample_every: every how many steps :attr:`StepRecord.samples` is filled; the first step of a phase always is.
    """

    labels: tuple[str, ...]
    class_counts: tuple[int, ...]
    batch_size: int
    steps_per_epoch: int
    epochs: int
    sample_every: int


@dataclass(frozen=True)
class VariableSample:
    """One trainable variable around one optimizer step; three float32 arrays of its shape.

    Attributes:
        name: its Keras path, ``block_3_expand/kernel``; a phase trains a part of them only.
        gradient: of the loss, before any clipping.
        before, after: its value around the update.
    """

    name: str
    gradient: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step.

    Attributes:
        step: counted from 0 over the whole training.
        epoch: counted from 1 over the whole training.
        phase: ``head`` or ``finetune``.
        loss: of this batch, label smoothing and class weights included.
        learning_rate: the highest of any layer at this step.
        data_seconds: waited for the batch. ``compute_seconds``: forward, backward and update.
        samples: the trainable variables, empty except every ``sample_every`` steps. Valid during the call only if kept
            as they are; reduce them to figures, a large network has tens of megabytes of them.
    """

    step: int
    epoch: int
    phase: str
    loss: float
    learning_rate: float
    data_seconds: float
    compute_seconds: float
    samples: Sequence[VariableSample] = ()


@dataclass(frozen=True)
class Epoch:
    """One pass over the training photos; an entry of ``history.json``.

    Attributes:
        number: counted from 1 over the whole training.
        loss: mean over the training batches, augmented, label smoothing and class weights included.
        validation_loss: plain cross-entropy. ``validation_accuracy``: share, 0 to 1.
        best: the best epoch so far; its weights are the checkpoint.
        phase: ``head`` or ``finetune``.
        training_accuracy: share of the augmented training photos classified rightly, as the epoch went by.
        learning_rate: the highest of any layer at the end of the epoch.
        image_size: side of the training crops in pixels (validation is always at the model's own).
        seconds: the whole epoch; ``data_seconds`` of it waiting for photos, ``compute_seconds`` computing.
        images_per_second: training photos over the two.
    """

    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool
    phase: str = "finetune"
    training_accuracy: float = 0.0
    learning_rate: float = 0.0
    image_size: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    compute_seconds: float = 0.0
    images_per_second: float = 0.0

    def place(self, of: int, head: int) -> str:
        """Where the training is, as its settings count: the ``head`` first passes, of the last layer alone, are none of
        the epochs that were asked for."""
        if self.number <= head:
            return f"last layer, pass {self.number} of {head}"
        return f"epoch {self.number - head} of {of - head}"


@dataclass(frozen=True)
class EpochSample:
    """What is too big for the history.

    Attributes:
        activity: for every ReLU layer, by name, and every unit (channel) of it the share of positions of a fixed probe
            batch of validation photos at which it is over 0; float32, (units,). A unit at 0 is dead on that batch.
        validation_targets: int64, (photos,).
        validation_logits: float32, (photos, labels).
    """

    activity: Mapping[str, NDArray[np.float32]]
    validation_targets: NDArray[np.int64]
    validation_logits: NDArray[np.float32]


class StepObserver(Protocol):
    """Looks on. What it raises ends the training as any error does; what it does to the model is its own fault."""

    def on_train_begin(self, model: Any, context: TrainingContext) -> None:
        """Before the first step. ``model``: the Keras classifier; trainable flags change between the phases."""

    def on_step(self, record: StepRecord) -> None:
        """After every optimizer step."""

    def on_epoch(self, epoch: Epoch, sample: EpochSample) -> None:
        """After every epoch's validation."""

    def on_train_end(self) -> None:
        """After the last epoch, or when it stopped early; not when it failed."""

    def state(self) -> dict[str, Any]:
        """What it has seen so far, as JSON's types: kept with the state of every completed epoch."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the :meth:`state` of an interrupted training; called before :meth:`on_train_begin`."""


class Watcher:
    """Told what happens while it happens. This one is silent; override what is of interest."""

    def step(self, what: str) -> None:
        """What is being done from now on."""

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` photos or files of the present step."""

    def say(self, message: str) -> None:
        """Something worth knowing that is no error: an assumption, what was downloaded."""

    def decoded(self, done: int, total: int) -> None:
        """Training: ``done`` of ``total`` files have been read."""

    def left_out(self, unreadable: Sequence[Unreadable]) -> None:
        """These files take no part; called once, with an empty sequence if all do."""

    def split(self, split: Split) -> None:
        """Training: which photos train, validate and test."""

    def phases(self, head: int, epochs: int) -> None:
        """Training: ``head`` passes of the last layer alone come first, then up to ``epochs`` epochs of fine-tuning."""

    def resumed(self, epochs: int) -> None:
        """Training: resumed after ``epochs`` completed ones, those of the first phase among them."""

    def training_step(self, epoch: int, step: int, steps: int) -> None:
        """Training: ``step`` of the ``steps`` of fine-tuning epoch ``epoch`` is done."""

    def epoch(self, epoch: Epoch, of: int) -> None:
        """Training: an epoch has ended, of at most ``of`` in both phases."""

    def finding(self, severity: str, rule: str, meaning: str) -> None:
        """Training: a diagnostic rule has fired; ``severity`` is ``warning`` or ``error``."""

    def trials(self, ended: int, of: int) -> None:
        """Tuning: ``ended`` of the wanted trials have a result."""

    def waiting(self, running: int) -> None:
        """Tuning: nothing is left to start; other processes are running the last trials."""

    def trial_started(self, number: int, params: Mapping[str, object]) -> None:
        """Tuning: a trial starts with these settings."""

    def trial_epoch(self, number: int, epoch: int, of: int, accuracy: float) -> None:
        """Tuning: an epoch of a trial has ended, of at most ``of``; ``accuracy`` is on the validation photos."""

    def trial_ended(self, number: int, accuracy: float) -> None:
        """Tuning: a trial ran to its end."""

    def trial_pruned(self, number: int, accuracy: float) -> None:
        """Tuning: a trial was stopped because it did worse than others had at that stage."""

    def trial_failed(self, number: int, reason: str) -> None:
        """Tuning: a trial failed; the study continues."""


SILENT = Watcher()
