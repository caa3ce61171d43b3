"""The trainings behind one run: the networks that were chosen for it, one after the other, of which the best remains.

They lie in ``RUN.partial`` beside ``choice.json``, each with its own state, so that the same command resumes after an
interruption: with the choice that was made, and after the last completed epoch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.errors import UserError
from model_build.choices import AUTO
from model_build.files import require_free
from model_build.training.checkpoints import CHOICE_NAME, IDENTITY_NAME, partial_folder
from model_build.training.choice import BackboneCandidate, BackboneChoice
from model_build.training.choosing import CANDIDATES, DEFAULT_MINUTES, SMALLEST_SIDE, are_small, choose
from model_build.training.config import TrainingConfig, read_settings
from model_build.training.observers import Watcher
from model_build.training.run import RECORD_NAME, Run
from model_build.training.train import weights_origin
from model_build.training.weights import configured, identify

if TYPE_CHECKING:
    from model_build.training.config import Setting

Train = Callable[[TrainingConfig, Path, Path | None], object]
"""(settings, run folder to write, weights file): trains; resumes what was interrupted there."""


def train_best(
    settings: Path | Mapping[str, Any] | None,
    options: Mapping[str, Setting],
    data: Path,
    out: Path,
    *,
    weights: Path | None,
    minutes: float | None,
    train: Train,
    watcher: Watcher,
    names: Sequence[str] = CANDIDATES,
    cache: Path | None = None,
) -> Run:
    """Train the network that ``options`` or ``settings`` name, or the one whose ``weights`` are given, or with ``auto``
    and without any of these the one that suits the photos.

    Args:
        minutes: for all of it; None is :data:`model_build.training.choosing.DEFAULT_MINUTES` for ``auto``, and no limit
            for a named network.
        names: the candidates of ``auto``.

    Raises:
        UserError: as :func:`model_build.training.choosing.choose` and ``train``; or an unfinished training of ``out``
            was started with other settings.
    """
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UserError(f"--minutes is {minutes:g}; it must be over 0")
    document = read_settings(settings) if isinstance(settings, Path) else dict(settings or {})
    asked = {**document, **{name: value for name, value in options.items() if value is not None}}
    auto = asked.get("backbone", AUTO if weights is None else None) == AUTO
    if document.get("backbone") == AUTO:
        settings = {name: value for name, value in document.items() if name != "backbone"}
    from_nothing = _from_nothing(asked, data, watcher) if auto and weights is None else ""
    if from_nothing or (not auto and minutes is None):
        named = {**options, "backbone": from_nothing} if from_nothing else options
        train(configured(settings, named, weights), out, weights)
        return Run.open(out)
    require_free(out)
    folder = partial_folder(out.absolute())
    identity = {"settings": asked, "data": str(data.resolve()), "minutes": minutes, "weights": None}
    if weights:
        identity["weights"] = weights_origin(TrainingConfig(), weights)
    choice = _begun(folder, identity)
    if choice is None:
        candidates = _candidates(settings, options, weights, names if auto else ())
        chosen = choose(candidates, data, minutes=minutes or DEFAULT_MINUTES, watcher=watcher, cache=cache)
        choice = replace(chosen, identity=identity)
        folder.mkdir(parents=True, exist_ok=True)
        choice.write(folder / CHOICE_NAME)
    runs = []
    for number, one in enumerate(choice.finalists, start=1):
        if len(choice.finalists) > 1:
            watcher.say(f"training {one.backbone}, {number} of {len(choice.finalists)}")
        config = TrainingConfig().overridden(one.config or {}, str(folder / CHOICE_NAME))
        place = folder / one.backbone
        if not (place / RECORD_NAME).is_file():
            shutil.rmtree(place, ignore_errors=True)  # a copy that was cut off
            train(config, place, Path(one.weights) if one.weights else None)
        runs.append(Run.open(place))
    return _finish(choice, runs, folder, out.absolute(), watcher)


def _from_nothing(asked: Mapping[str, Any], data: Path, watcher: Watcher) -> str:
    """The network that starts from nothing, where no pretrained one is asked for or of use; else empty."""
    size = asked.get("image_size") or SMALLEST_SIDE
    if asked.get("pretrained") is False:
        return "small_cnn"
    if asked.get("alpha"):
        raise UserError("--alpha is the width of one network: name it, --backbone mobilenet_v2, or leave out --alpha")
    if (isinstance(size, int) and size < SMALLEST_SIDE) or are_small(data):
        watcher.say(f"training small_cnn: pictures under {SMALLEST_SIDE} pixels are too small for a pretrained network")
        return "small_cnn"
    return ""


def _candidates(
    settings: Path | Mapping[str, Any] | None,
    options: Mapping[str, Setting],
    weights: Path | None,
    names: Sequence[str],
) -> list[tuple[TrainingConfig, Path | None]]:
    """Those called ``names`` and the one whose ``weights`` are given; without names the one that is asked for."""
    if not names:
        return [(configured(settings, options, weights), weights)]
    owner = identify(weights) if weights else None
    if weights and owner is None:
        raise UserError(f"{weights} fits none of the known backbones")
    files = {owner[0]: weights} if owner else {}
    return [
        (configured(settings, {**options, "backbone": name}, files.get(name)), files.get(name))
        for name in dict.fromkeys((*files, *names))
    ]


def _begun(folder: Path, identity: Mapping[str, Any]) -> BackboneChoice | None:
    """The choice of an interrupted training with the same ``identity``."""
    path = folder / CHOICE_NAME
    if path.is_file():
        choice = BackboneChoice.read(path)
        if choice.identity == identity:
            return choice
    elif not (folder / IDENTITY_NAME).exists():
        return None
    raise UserError(
        f"{folder} contains an unfinished training that was started with other settings; use the same ones to resume"
        " it, or remove that folder to start over"
    )


def _finish(choice: BackboneChoice, runs: list[Run], folder: Path, out: Path, watcher: Watcher) -> Run:
    """Give the best run its final name, with the choice in it."""
    accuracies = [float(run.record.validation["accuracy"]) for run in runs]
    best = max(range(len(runs)), key=lambda place: accuracies[place])  # of equals the one that the probe ranks higher
    measured = {run.config.backbone: accuracy for run, accuracy in zip(runs, accuracies, strict=True)}

    def told(one: BackboneCandidate) -> BackboneCandidate:
        kept = one.backbone == runs[best].config.backbone
        note = f"{one.note}; kept" if kept and len(runs) > 1 else one.note
        return replace(one, validation_accuracy=measured.get(one.backbone), note=note)

    final = replace(choice, candidates=tuple(map(told, choice.candidates)))
    if len(runs) > 1:
        scores = ", ".join(f"{name} {accuracy:.4f}" for name, accuracy in measured.items())
        watcher.say(f"{runs[best].config.backbone} is kept; validation accuracy: {scores}")
    require_free(out)
    final.write(runs[best].folder / CHOICE_NAME)
    runs[best].folder.rename(out)
    shutil.rmtree(folder)
    return Run.open(out)
