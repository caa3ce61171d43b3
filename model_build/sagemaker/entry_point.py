"""What runs in a SageMaker training container: settings as flags, photos from the channels, a run and a bundle out.

``python -m model_build.sagemaker.entry_point --epochs 3 --learning_rate 0.001``. Every setting of
:class:`model_build.training.config.TrainingConfig` is a flag, written with underscores, as SageMaker names
hyperparameters, or with hyphens.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.api import convert, train
from model_build.bundle_api import package
from model_build.choices import AUTO
from model_build.sagemaker.container import Container
from model_build.training.config import TrainingConfig
from model_build.training.observers import Watcher

if TYPE_CHECKING:
    from model_build.training.observers import Epoch
    from model_build.training.run import Run

# Not the decoded photos beside them, which can be had again. A network that is trained already comes before its record.
_KEPT = ("*.keras", "*.h5", "*.json", "*.npz")
RUN_NAME = "run"
BUNDLE_NAME = "bundle"
_COPIED = ("run.json", "history.json", "config.json")
# Toolkits add these to the hyperparameters: the metric of a tuning job, and where TensorFlow's own would be saved.
_IGNORED = ("--_tuning_objective_metric", "--model_dir")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
Say = Callable[[str], None]


class Checkpoints:
    """Copies between ``kept``, which SageMaker mirrors to S3 (None: the job has no such folder), and ``work``, the
    folder of the unfinished training (:mod:`model_build.training.checkpoints`)."""

    def __init__(self, kept: Path | None, work: Path) -> None:
        self._kept, self._work = kept, work

    def restore(self) -> None:
        """Give an interrupted training back."""
        if self._kept is not None and self._kept.is_dir():
            _copy(self._kept, self._work)

    def save(self) -> None:
        if self._kept is not None:
            _copy(self._work, self._kept)

    def clear_work(self) -> None:
        """Remove an unfinished training from among the results."""
        shutil.rmtree(self._work, ignore_errors=True)

    def remove(self) -> None:
        """The training has ended: nothing is left to resume."""
        if self._kept is not None:
            shutil.rmtree(self._kept, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Each file in one step, as the machine may vanish at any moment."""
    target.mkdir(parents=True, exist_ok=True)
    for pattern in _KEPT:
        for path in source.rglob(pattern):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            unfinished = copy.with_name(f".{path.name}.copying")
            shutil.copyfile(path, unfinished)
            unfinished.replace(copy)


def main(
    arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ, say: Say | None = None
) -> int:
    """Train as the flags say; 0 on success, else 1 with the reason where SageMaker shows it."""
    say = say or _print
    container = Container.of(environ)
    try:
        flags = parse(sys.argv[1:] if arguments is None else arguments)
        train_in(container, flags.settings, package=flags.package, minutes=flags.minutes, say=say)
    except UserError as error:
        reason = str(error)
    except Exception as error:
        container.fail(f"{type(error).__name__}: {error}")
        raise
    else:
        return 0
    container.fail(reason)
    say(f"error: {reason}")
    return 1


@dataclass(frozen=True)
class Flags:
    """The ``settings`` that were given, whether to ``package`` the model, and the ``minutes`` of training, if given."""

    settings: dict[str, Any]
    package: bool
    minutes: float | None


def parse(arguments: Sequence[str]) -> Flags:
    """What the flags say.

    Raises:
        UserError: an unknown flag, or a value of another type.
    """
    parser = ArgumentParser(prog="entry_point", exit_on_error=False, allow_abbrev=False)
    for field in fields(TrainingConfig):
        spellings = dict.fromkeys((f"--{field.name}", f"--{field.name.replace('_', '-')}"))
        parser.add_argument(*spellings, dest=field.name, type=_reader(type(field.default)))
    parser.add_argument("--package", type=_switch, default=True)
    parser.add_argument("--minutes", type=float)
    for name in _IGNORED:
        parser.add_argument(name, dest="ignored")
    try:
        given, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise UserError(f"the hyperparameters: {error}") from None
    if unknown:
        raise UserError(f"the hyperparameters: unknown {' '.join(unknown)}")
    names = {field.name for field in fields(TrainingConfig)}
    settings = {name: value for name, value in vars(given).items() if name in names and value is not None}
    return Flags(settings, given.package, given.minutes)


def train_in(
    container: Container, settings: Mapping[str, Any], *, package: bool, minutes: float | None = None, say: Say
) -> Run:
    """Train on the container's photos and leave the run, and the bundle made of it, where models belong.

    An interrupted job, as on spot capacity, resumes after its last completed epoch.

    Raises:
        UserError: no photos, a wrong setting, or what else :func:`model_build.train` cannot do.
    """
    asked = settings.get("backbone")
    weights = container.weights(None if asked == AUTO else asked)
    say(f"settings: {dict(settings)}; weights: {weights.name if weights else 'none given'}")
    say(f"GPUs: {container.gpus}; checkpoints: {'yes' if container.checkpoints else 'no'}")
    out = container.model / RUN_NAME
    checkpoints = Checkpoints(container.checkpoints, out.with_name(f"{RUN_NAME}.partial"))
    checkpoints.restore()
    try:
        with container.photos() as photos:
            watcher = _Metrics(say, checkpoints)
            run = train(photos, out, weights=weights, minutes=minutes, watcher=watcher, **settings).run
            # The last value of a metric is what a tuning job goes by: that of the weights which were kept.
            say(metric_line(validation_accuracy=run.record.validation["accuracy"]))
            if package:
                _package(run, container.model / BUNDLE_NAME, photos, say)
    finally:
        checkpoints.clear_work()
    checkpoints.remove()
    container.data.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        shutil.copyfile(run.folder / name, container.data / name)
    return run


def metric_line(**values: float) -> str:
    """A line that the metric definitions of :mod:`model_build.sagemaker.requests` find their values in."""
    return "metrics: " + "; ".join(f"{name}={value:.6f}" for name, value in values.items())


class _Metrics(Watcher):
    def __init__(self, say: Say, checkpoints: Checkpoints) -> None:
        self._say, self._checkpoints = say, checkpoints
        self._head = 0

    def phases(self, head: int, epochs: int) -> None:  # noqa: ARG002
        self._head = head

    def say(self, message: str) -> None:
        self._say(message)

    def left_out(self, unreadable: Sequence[Any]) -> None:
        for one in unreadable:
            self._say(f"left out: {one.name}: {one.code}: {one.reason}")

    def resumed(self, epochs: int) -> None:
        self._say(f"resumed after {epochs} epochs")

    def training_step(self, epoch: int, step: int, steps: int) -> None:  # noqa: ARG002
        if step == 1:  # the state of the epoch before is complete by now
            self._checkpoints.save()

    def epoch(self, epoch: Epoch, of: int) -> None:
        told = metric_line(
            loss=epoch.loss, validation_loss=epoch.validation_loss, validation_accuracy=epoch.validation_accuracy
        )
        self._say(f"{epoch.place(of, self._head)}: {told}")

    def finding(self, severity: str, rule: str, meaning: str) -> None:
        self._say(f"{severity}: {rule}: {meaning}")


def _package(run: Run, out: Path, photos: Path, say: Say) -> None:
    say("converting")
    convert(run.folder, data=photos)
    packaged = package(run.folder, out, name="model", data=photos)
    say(f"packaged and verified: version {packaged.manifest.version}")


def _reader(wanted: type) -> Callable[[str], Any]:
    return _switch if wanted is bool else wanted


def _switch(word: str) -> bool:
    if word.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"{word!r} is neither true nor false")
    return word.lower() in _TRUE


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
