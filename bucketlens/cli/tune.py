"""``bucketlens model tune``: search for better settings, on this machine, on several, or on SageMaker."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bucketlens.cli import display
from bucketlens.cli.data import local_data
from bucketlens.cli.model import SizeHelp, s3_client
from classifier.errors import UserError

if TYPE_CHECKING:
    from model_build.tuning.space import SearchSpace

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


RoleOption = Annotated[str, typer.Option(help="ARN of the role that SageMaker jobs take.")]
ImageOption = Annotated[str, typer.Option(help="URI of a TensorFlow training image of SageMaker's.")]
OutputOption = Annotated[str, typer.Option(help="s3:// location for code, models and checkpoints.")]
InstanceOption = Annotated[str, typer.Option(help="SageMaker: machine of each job.")]
MaxHoursOption = Annotated[float, typer.Option(help="SageMaker: the longest one job may run.")]
SpotOption = Annotated[bool, typer.Option("--spot", help="SageMaker: use spare capacity; jobs resume.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="SageMaker: print the request, change nothing.")]
StorageOption = Annotated[
    str | None, typer.Option(help="Database for several machines (default: SQLite in the study's folder).")
]
StudiesOption = Annotated[Path, typer.Option(help="Folder of all studies.")]


class Place(StrEnum):
    LOCAL = "local"
    SAGEMAKER = "sagemaker"


class Pruner(StrEnum):
    """:class:`model_build.tuning.tuner.Pruning`, without what its module imports."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


def tune(
    data: Annotated[str, typer.Argument(help="Folder with a folder per class; with --on sagemaker s3://...")],
    study: Annotated[str, typer.Option("--study", help="Name; the same name again goes on where it stopped.")],
    trials: Annotated[
        int, typer.Option("--trials", "--max-jobs", min=1, help="Trials in the whole study, by all processes.")
    ] = 20,
    timeout: Annotated[str | None, typer.Option(help="Stop after a time such as 90s, 45m or 8h.")] = None,
    backbone: Annotated[list[str] | None, typer.Option(help="Search these only; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="A .weights.h5 file to start from; may be repeated, one a backbone.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML or JSON with settings that are fixed, not searched.")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="TOML with ranges, choices or values to search instead.")] = None,
    image_size: Annotated[int | None, typer.Option(help=SizeHelp)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search, the split and the training.")] = None,
    pruner: Annotated[Pruner, typer.Option(help="How hopeless trials are stopped early.")] = Pruner.MEDIAN,
    storage: StorageOption = None,
    studies: StudiesOption = Path("studies"),
    on: Annotated[Place, typer.Option("--on", help="Where to train.")] = Place.LOCAL,
    role: Annotated[str | None, typer.Option(help="SageMaker: ARN of the role that jobs take.")] = None,
    image: Annotated[str | None, typer.Option(help="SageMaker: URI of a TensorFlow training image.")] = None,
    output: Annotated[str | None, typer.Option(help="SageMaker: s3:// location for code, models, checkpoints.")] = None,
    instance_type: InstanceOption = "ml.g4dn.xlarge",
    max_parallel: Annotated[int, typer.Option(min=1, help="SageMaker: jobs at once.")] = 2,
    max_hours: MaxHoursOption = 4.0,
    spot: SpotOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Search for the settings with the highest validation accuracy. Kill it when you like, run it twice at once.

    Searched: backbone, learning rate, weight decay, batch size, dropout, fine-tuning depth, epochs, optimiser.
    What was learnt is written to STUDIES/STUDY/tuning.html. The test photos take no part.

    Example: bucketlens model tune DATA --study digits --trials 30
    """
    from model_build.training.config import TrainingConfig, read_settings
    from model_build.tuning.space import SEARCH_SPACE

    options = {"image_size": image_size, "seed": seed}
    fixed = {
        **(read_settings(config) if config else {}),
        **{name: value for name, value in options.items() if value is not None},
    }
    TrainingConfig.composed(config, options)
    searched = SEARCH_SPACE.without(fixed)
    if space:
        searched = searched.from_file(space)
    if on is Place.SAGEMAKER:
        _require(role=role, image=image, output=output)
        if backbone:
            searched = searched.with_backbones(backbone)
        from model_build.sagemaker.requests import JobPlan

        plan = JobPlan(
            name=study,
            role=role or "",
            image=image or "",
            data=data,
            output=output or "",
            weights=_single(weights),
            instance_type=instance_type,
            hours=max_hours,
            spot=spot,
            region=region(),
        )
        _on_sagemaker(plan, fixed, searched, jobs=trials, parallel=max_parallel, dry_run=dry_run)
        return
    if dry_run:
        raise UserError("--dry-run shows the request of --on sagemaker; tuning on this machine changes nothing in AWS")
    _locally(data, study, fixed, searched, trials, _seconds(timeout), backbone, weights, pruner, storage, studies)


def _locally(
    source: str,
    name: str,
    fixed: Mapping[str, Any],
    space: SearchSpace,
    trials: int,
    timeout: float | None,
    backbones: list[str] | None,
    weights: list[str] | None,
    pruner: Pruner,
    storage: str | None,
    studies: Path,
) -> None:
    from bucketlens.cli.tuning_screen import TuningScreen, show_findings
    from model_build.tuning.studies import PAGE_NAME, StudyPlace, load_study, require_optuna
    from model_build.tuning.study_html import write_pages
    from model_build.tuning.study_summary import best_of
    from model_build.tuning.trials import Pruning, Tuning, facts, photo_trainer, usual_epochs, weights_by_backbone
    from model_build.tuning.tuner import best_run, tune

    require_optuna()
    place = StudyPlace.of(name, storage, studies)
    messages = display.messages()
    with display.Screen(messages).running() as screen:
        data = local_data(source, s3_client, screen)
    about = facts(data)
    files = weights_by_backbone(map(Path, weights or ()))
    if backbones or files:
        space = space.with_backbones(backbones or files)
    space.check()
    tuning = Tuning(place, space, fixed, trials, timeout, Pruning(pruner.value), usual_epochs(data), about)
    try:
        with TuningScreen(messages).running() as screen:
            findings = tune(tuning, photo_trainer(data, files), watcher=screen)
    except KeyboardInterrupt:
        messages.print("interrupted; the same command goes on from here", markup=False)
        raise
    write_pages(findings, place)
    show_findings(display.results(), findings)
    run = best_run(load_study(place), place)
    if run is not None:
        best_of(name, storage, studies).note(run)
        messages.print(f"the best run: {run}; next: bucketlens model convert {run}", markup=False)
    messages.print(f"written: {place.folder / PAGE_NAME}", markup=False)


def _on_sagemaker(
    plan: Any, fixed: Mapping[str, Any], space: SearchSpace, *, jobs: int, parallel: int, dry_run: bool
) -> None:
    from model_build.sagemaker.requests import tuning_job
    from model_build.sagemaker.submitting import TUNE, prepare, submit

    space.check()
    source, request = prepare(
        TUNE, plan, lambda code: tuning_job(plan, fixed, space, code, jobs=jobs, parallel=parallel)
    )
    if dry_run:
        typer.echo(json.dumps(request, indent=2))
        return
    import boto3

    arn = submit(TUNE, plan, source, request, s3=s3_client(), sagemaker=boto3.client("sagemaker"))
    display.messages().print(f"submitted: {jobs} training jobs, {parallel} at once", markup=False)
    typer.echo(arn)


def _require(**options: str | None) -> None:
    missing = [f"--{name}" for name, value in options.items() if not value]
    if missing:
        raise UserError(f"--on sagemaker needs {', '.join(missing)} too")


def _single(weights: list[str] | None) -> str | None:
    if weights and len(weights) > 1:
        raise UserError("with --on sagemaker give one --weights: an s3:// location with all files")
    return weights[0] if weights else None


def region() -> str | None:
    """The region of this environment, if it names one."""
    import boto3

    return boto3.session.Session().region_name


def _seconds(duration: str | None) -> float | None:
    """Raises UserError for anything but a number with s, m or h behind it."""
    if duration is None:
        return None
    found = _DURATION.fullmatch(duration)
    if not found:
        raise UserError(f"--timeout is {duration!r}; write a time such as 90s, 45m or 8h")
    return float(found[1]) * _SECONDS[found[2]]


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command()(tune)
