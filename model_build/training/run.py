"""A run folder: what a training leaves behind, and what conversion and packaging go on from.

::

    RUN/config.json            TrainingConfig, as trained
        run.json               RunRecord: data, labels, input, figures, library versions
        split.json             which photo was in which split (relative paths and labels)
        history.json           Epoch records: loss, accuracy, learning rate and time by epoch
        tensorboard/           the same for: tensorboard --logdir RUN/tensorboard
        model.keras            the whole network, best weights
        backbone.weights.h5    the same without the last layer, for --weights
        confusion.json         of the test photos
        model.float32.tflite, model.int8.tflite, conversion.json      written by convert
        choice.json                written by --backbone auto: the networks that were compared
        inspection.json, tuning.json                                  what is known of its photos and its study
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from classifier.errors import UserError
from classifier.imaging import EARLIER_DRAFT_MARGIN, ResizePolicy
from model_build.data.dataset import Photo, Split
from model_build.data.tensors import Progress, TensorSet, decode_photos
from model_build.files import read_bytes, read_json
from model_build.training.config import TrainingConfig
from model_build.training.observers import Epoch

CONFIG_NAME = "config.json"
RECORD_NAME = "run.json"
SPLIT_NAME = "split.json"
HISTORY_NAME = "history.json"
KERAS_NAME = "model.keras"
BACKBONE_NAME = "backbone.weights.h5"
CONFUSION_NAME = "confusion.json"
CONVERSION_NAME = "conversion.json"
TUNING_NAME = "tuning.json"


@dataclass(frozen=True)
class RunRecord:
    """``run.json``.

    Attributes:
        data: absolute path of the data set's folder at the time.
        fingerprint: :attr:`TensorSet.fingerprint` of all readable photos.
        images: photos by split.
        unreadable: files left out, each with name, code and reason.
        validation, test: :meth:`Scores.summary` of the Keras network on those photos.
        libraries: versions it was trained with.
        training: what was found out for the configuration: backbone, alpha, parameters, class_weights, weights (where
            the backbone's came from) and best_epoch.
        timing: seconds of ``decoding``, ``fitting`` and all in ``total``; of the last start only after a resume.
        draft_margin: that its photos were decoded with (:func:`classifier.imaging.decode`), and are from now on.
        diagnostics: what watched the training has to say, ``Diagnosis.to_document``; empty when nothing did.
    """

    created_at: str
    data: str
    fingerprint: str
    labels: list[str]
    height: int
    width: int
    images: dict[str, int]
    unreadable: list[dict[str, str]]
    validation: dict[str, Any]
    test: dict[str, Any]
    libraries: dict[str, str]
    training: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    draft_margin: int = EARLIER_DRAFT_MARGIN
    schema_version: str = "1"


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    config: TrainingConfig
    record: RunRecord

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises UserError when ``folder`` is not a complete run."""
        if not folder.is_dir():
            raise UserError(
                f"the run {folder} does not exist; train one with: bucketlens model train DATA --out {folder}"
            )
        if not (folder / RECORD_NAME).is_file():
            raise UserError(f"{folder} is not a run of 'bucketlens model train': it has no {RECORD_NAME}")
        document = read_json(folder / RECORD_NAME, "the run record")
        required = [one.name for one in fields(RunRecord) if one.default is MISSING and one.default_factory is MISSING]
        missing = [name for name in required if name not in document]
        if missing:
            raise UserError(f"the run record {folder / RECORD_NAME} is damaged: it lacks {', '.join(missing)}")
        record = RunRecord(**{one.name: document[one.name] for one in fields(RunRecord) if one.name in document})
        return cls(folder, TrainingConfig.from_file(folder / CONFIG_NAME), record)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.record.labels)

    @property
    def policy(self) -> ResizePolicy:
        return self.config.policy

    def history(self) -> tuple[Epoch, ...]:
        """Raises UserError when ``history.json`` is damaged."""
        path = self.folder / HISTORY_NAME
        try:
            return tuple(Epoch(**one) for one in json.loads(read_bytes(path, "the history")))
        except (TypeError, ValueError) as error:
            raise UserError(f"the history {path} is damaged: {error}") from None

    def split(self, data: Path | None = None) -> Split:
        """The run's split, its photos looked for in ``data`` or where they were.

        Raises:
            UserError: the data set has gone.
        """
        root = data or Path(self.record.data)
        if not root.is_dir():
            raise UserError(f"the photos of this run are no longer in {root}; say where they are with --data FOLDER")
        return Split.from_document(read_json(self.folder / SPLIT_NAME, "the split"), root)

    def tensors(self, photos: tuple[Photo, ...], progress: Progress = lambda *_: None) -> TensorSet:
        """Decode photos that were readable when the run was trained.

        Raises:
            UserError: one of them has gone or changed.
        """
        decoded, unreadable = decode_photos(
            photos,
            height=self.record.height,
            width=self.record.width,
            policy=self.policy,
            draft_margin=self.record.draft_margin,
            progress=progress,
        )
        if unreadable:
            first = unreadable[0]
            raise UserError(
                f"{len(unreadable)} photos of this run can no longer be read, first {first.name} ({first.reason});"
                " restore them, say where they are with --data FOLDER, or train again"
            )
        return decoded

    def to_files(self) -> dict[str, Any]:
        """The JSON documents that make :meth:`open` succeed, by file name."""
        return {CONFIG_NAME: self.config.to_document(), RECORD_NAME: asdict(self.record)}
