"""What one does with a model, a function each: the command line, the demo and SageMaker's jobs call these.

``data`` is a folder with a folder of photos per class or, where it may be text, ``s3://bucket/prefix/``, which is
downloaded once. ``watcher`` is told what happens meanwhile; the default is silent. ``client`` is an S3 client; without
one it is made from the environment. Every expected failure is a :class:`classifier.errors.BucketlensError`, and a
ClientError or BotoCoreError where AWS refuses. What a function needs is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.errors import UserError
from model_build.choices import Pruner
from model_build.data.remote import DataUri, fetch, is_remote, s3_client
from model_build.files import cache_folder, read_json, write_atomic
from model_build.training.observers import SILENT, Watcher

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from model_build.conversion.convert import Conversion
    from model_build.diagnostics.diagnosis import Trained
    from model_build.evaluation.comparison import Difference
    from model_build.evaluation.evaluating import Evaluation
    from model_build.inspection.doctor import LabelCheck
    from model_build.inspection.inspection import Inspection
    from model_build.training.config import Setting, TrainingConfig
    from model_build.tuning.study_summary import BestOf
    from model_build.tuning.tuner import Tuned


def inspect(
    data: str | Path,
    *,
    out: Path | None = None,
    cache: Path | None = None,
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
) -> Inspection:
    """Find what is wrong with labelled photos before training: leaks, copies, unreadable files, imbalance.

    Args:
        out: HTML report to write.
        cache: folder for what is kept between inspections; the user's caches by default.

    Example: ``inspect("digits", out=Path("inspection.html")).verdict``
    """
    from model_build.inspection.facts import FactsCache
    from model_build.inspection.inspection import inspect as inspect_folder
    from model_build.inspection.inspection_html import render
    from model_build.inspection.sheets import make_sheets

    _require_page(out)
    kept = cache or cache_folder()
    folder = _folder(data, watcher, client, kept)
    with FactsCache(kept / "inspection.sqlite3") as facts:
        watcher.step("reading photos")
        inspection = inspect_folder(str(data), folder, facts, watcher.progress)
        if out:
            watcher.step("drawing thumbnails")
            sheets = make_sheets(inspection, facts, watcher.progress)
            page = render(inspection, sheets, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
            _write_page(out, page)
        if facts.trouble:
            watcher.say(facts.trouble)
    return inspection


def doctor(
    data: str | Path,
    *,
    out: Path | None = None,
    limit: int = 200,
    backbone: str | None = None,
    weights: Path | None = None,
    cache: Path | None = None,
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
) -> LabelCheck:
    """Find photos whose label is probably wrong: those that look more like the photos of another class.

    Args:
        out: HTML page to write, on which a person decides about each.
        limit: photos to list at most, the most doubtful ones.
        backbone: pretrained network whose features are compared; by default the one that ``weights`` (a file) fits,
            else EfficientNet-Lite0, or MobileNetV2 where the former's weights cannot be had.
        cache: folder for features and thumbnails; the user's by default.

    Example: ``doctor("photos", out=Path("doctor.html")).listed``
    """
    from model_build.inspection.doctor import check_labels, network_features
    from model_build.inspection.facts import FactsCache
    from model_build.inspection.label_check_html import render
    from model_build.inspection.reading import quiet_decoders, thumbnails

    _require_page(out)
    kept = cache or cache_folder()
    features = network_features(backbone, weights, kept, watcher)
    folder = _folder(data, watcher, client, kept)
    with FactsCache(kept / "inspection.sqlite3") as facts:
        check = check_labels(str(data), folder, facts, features, limit=limit, watcher=watcher)
        if out:
            watcher.step("drawing thumbnails")
            with quiet_decoders():
                pictures = dict(thumbnails([one.facts for one in check.listed], facts, watcher.progress))
            _write_page(out, render(check, pictures, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))
        if facts.trouble:
            watcher.say(facts.trouble)
    return check


def train(
    data: str | Path,
    out: Path,
    *,
    config: Path | None = None,
    best_of: str | None = None,
    storage: str | None = None,
    studies: Path = Path("studies"),
    weights: Path | None = None,
    minutes: float | None = None,
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
    **settings: Setting,
) -> Trained:
    """Train a classifier, measure it on photos it has not seen, and write the run folder ``out`` with what a report of
    it needs. The same call resumes an interrupted training after its last completed epoch.

    Args:
        config: TOML or JSON with settings; ``settings`` win over it. A network that neither names is the weights', and
            without weights the one that suits the photos (``backbone="auto"``).
        best_of: take the settings of this study's best trial instead; ``storage`` and ``studies`` are as in
            :func:`tune`.
        weights: ``.weights.h5``, ``.whl`` or ``.pth`` file to start from, in place of the backbone's own.
        minutes: that the training may take, about; 25 by default where the network is chosen, else as it comes.

    Example: ``train("digits", Path("runs/digits"), backbone="mobilenet_v2", epochs=10).scores.accuracy``
    """
    from model_build.diagnostics.diagnosis import Trained
    from model_build.diagnostics.observer import train_diagnosed
    from model_build.metrics.scores import Scores
    from model_build.training.finalists import train_best
    from model_build.training.run import CONFUSION_NAME
    from model_build.tuning.study_summary import start_from

    given, study = start_from(config, best_of, storage, studies)
    folder = _folder(data, watcher, client)

    def train_one(chosen: TrainingConfig, place: Path, file: Path | None) -> None:
        train_diagnosed(chosen, folder, place, weights=file, watcher=watcher)

    run = train_best(given, settings, folder, out, weights=weights, minutes=minutes, train=train_one, watcher=watcher)
    _note(out, data, folder, study, watcher)
    return Trained(run, Scores.from_document(read_json(run.folder / CONFUSION_NAME, "the confusion matrix")))


def convert(
    run: Path,
    *,
    data: Path | None = None,
    tolerance: float = 0.005,
    python: Path | None = None,
    watcher: Watcher = SILENT,
) -> Conversion:
    """Convert a run to float32, float16, dynamic range and int8, measure each where it will serve, choose one.

    Args:
        data: where the run's photos are now, if they have been moved.
        tolerance: validation accuracy that a format may lose against float32, as a share.
        python: the Python whose interpreter will serve; this one by default.

    Example: ``convert(Path("runs/digits")).chosen``
    """
    from model_build.conversion.convert import convert as convert_run
    from model_build.training.run import Run

    return convert_run(
        Run.open(run), data=data, tolerance=tolerance, python=python, on_step=watcher.step, progress=watcher.progress
    )


def evaluate(target: Path, data: Path, *, watcher: Watcher = SILENT) -> Evaluation:
    """Measure the model of a run or bundle folder on labelled photos, with the decoding and interpreter that serve.

    Example: ``evaluate(Path("bundles/digits"), Path("digits")).scores.accuracy``
    """
    from model_build.evaluation.evaluating import evaluate as evaluate_model

    watcher.step("evaluating")
    evaluation = evaluate_model(target, data, progress=watcher.progress)
    watcher.left_out(evaluation.unreadable)
    return evaluation


def diff(
    a: str | Path,
    b: str | Path,
    data: Path,
    *,
    at: str | None = None,
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
) -> Difference:
    """Find the photos whose label changes from model ``a`` to model ``b``.

    Args:
        a: run or bundle folder, ``s3://bucket/models/`` for the live version, or a version; ``b``: the same.
        at: the model location that a bare version belongs to.

    Example: ``diff("runs/old", "runs/new", Path("photos")).changes``
    """
    from model_build.evaluation.comparison import diff as compare
    from model_build.evaluation.opening import open_model

    first, second = (open_model(one, at=at, client=lambda: client or s3_client()) for one in (a, b))
    watcher.step("classifying")
    found = compare(first, second, data, progress=watcher.progress)
    watcher.left_out(found.unreadable)
    return found


def tune(
    data: str | Path,
    study: str,
    *,
    trials: int = 20,
    timeout: float | None = None,
    backbones: Sequence[str] = (),
    weights: Sequence[Path] = (),
    config: Path | None = None,
    space: Path | None = None,
    pruner: Pruner = Pruner.MEDIAN,
    storage: str | None = None,
    studies: Path = Path("studies"),
    watcher: Watcher = SILENT,
    client: S3Client | None = None,
    **settings: Setting,
) -> Tuned:
    """Search for the settings with the highest validation accuracy. The same call resumes an interrupted study, and
    several processes may run it at once.

    Args:
        trials: in the whole study, by all processes; ``timeout``: seconds after which this process stops.
        backbones: search these only; ``weights``: files to start from, one a backbone.
        config: TOML or JSON with settings that are fixed, as ``settings`` are.
        space: TOML with what to search instead.
        storage: URL of a database for several machines; SQLite in the study's folder by default.
        studies: folder of all studies.

    Example: ``tune("digits", "digits", trials=30).summary.best``
    """
    from model_build.tuning.space import search_of
    from model_build.tuning.studies import PAGE_NAME, StudyPlace, load_study, require_optuna
    from model_build.tuning.study_html import write_pages
    from model_build.tuning.study_summary import best_of as look_up
    from model_build.tuning.trials import Tuning, facts, photo_trainer, usual_epochs, weights_by_backbone
    from model_build.tuning.tuner import Tuned, best_run
    from model_build.tuning.tuner import tune as run_trials

    require_optuna()
    fixed, searched = search_of(config, space, backbones, settings)
    place = StudyPlace.of(study, storage, studies)
    folder = _folder(data, watcher, client)
    files = weights_by_backbone(weights)
    if files and not backbones:
        searched = searched.with_backbones(files)
    searched.check()
    tuning = Tuning(place, searched, fixed, trials, timeout, pruner, usual_epochs(folder), facts(folder))
    summary = run_trials(tuning, photo_trainer(folder, files), watcher=watcher)
    best = best_run(load_study(place), place)
    write_pages(summary, place, best)
    if best is not None:
        _note(best, data, folder, look_up(study, storage, studies), watcher)
    return Tuned(summary, place.folder / PAGE_NAME, best)


def _require_page(out: Path | None) -> None:
    if out and (out.is_dir() or not out.absolute().parent.is_dir()):
        why = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise UserError(f"the report {out} cannot be written: {why}")


def _write_page(out: Path, page: str) -> None:
    try:
        write_atomic(out, page.encode())
    except OSError as error:
        raise UserError(f"the report {out} cannot be written: {error.strerror}") from None


def _note(run: Path, data: str | Path, folder: Path, study: BestOf | None, watcher: Watcher) -> None:
    """Leave in a run folder what its report says beside the training: the photos' inspection, and the study."""
    from model_build.inspection.inspection import note

    watcher.step("inspecting photos")
    note(run, str(data), folder, cache_folder(), watcher.progress)
    if study:
        study.note(run)


def _folder(data: str | Path, watcher: Watcher, client: S3Client | None, cache: Path | None = None) -> Path:
    """``data`` itself, whether it exists or not, or for a place in S3 its copy in ``cache`` (the user's by default)."""
    if not is_remote(str(data)):
        return Path(data)
    watcher.step("downloading photos")
    fetched = fetch(
        DataUri.parse(str(data)), client or s3_client(), (cache or cache_folder()) / "data", watcher.progress
    )
    watcher.say(f"{fetched.downloaded} files downloaded, {fetched.present} already in {fetched.folder}")
    return fetched.folder
