"""``bucketlens model tune``: search for better settings, on this machine, on several, or on SageMaker."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import model_build
from bucketlens.cli import display
from bucketlens.cli.model import PretrainedOption, SizeHelp, StorageOption, StudiesOption
from bucketlens.cli.tuning_screen import TuningScreen, show_summary
from classifier.errors import UserError
from model_build.choices import Pruner

if TYPE_CHECKING:
    from model_build import Submitted

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


RoleOption = Annotated[str, typer.Option(help="ARN of the role that SageMaker jobs take.")]
ImageOption = Annotated[str, typer.Option(help="URI of a TensorFlow training image of SageMaker's.")]
OutputOption = Annotated[str, typer.Option(help="s3:// location for code, models and checkpoints.")]
InstanceOption = Annotated[str, typer.Option(help="SageMaker: machine type of each job.")]
MaxHoursOption = Annotated[float, typer.Option(help="SageMaker: the longest one job may run.")]
SpotOption = Annotated[bool, typer.Option("--spot", help="SageMaker: use spare capacity; jobs resume.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="SageMaker: print the request, change nothing.")]


class Place(StrEnum):
    LOCAL = "local"
    SAGEMAKER = "sagemaker"


def tune(
    data: Annotated[str, typer.Argument(help="Folder with a folder per class; with --on sagemaker s3://...")],
    study: Annotated[str, typer.Option("--study", help="Name; the same name again resumes it.")],
    trials: Annotated[
        int, typer.Option("--trials", "--max-jobs", min=1, help="Trials in the whole study, by all processes.")
    ] = 20,
    timeout: Annotated[str | None, typer.Option(help="Stop after a time such as 90s, 45m or 8h.")] = None,
    backbone: Annotated[list[str] | None, typer.Option(help="Search only these networks; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Weights file to start from, as for train; may be repeated, one per backbone."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML or JSON with settings that are fixed, not searched.")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="TOML with ranges, choices or values to search instead.")] = None,
    pretrained: PretrainedOption = None,
    image_size: Annotated[int | None, typer.Option(help=SizeHelp)] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of the search, the split and the training.")] = None,
    pruner: Annotated[Pruner, typer.Option(help="How unpromising trials are stopped early.")] = Pruner.MEDIAN,
    storage: StorageOption = None,
    studies: StudiesOption = Path("studies"),
    on: Annotated[Place, typer.Option("--on", help="Where to train.")] = Place.LOCAL,
    role: Annotated[str | None, typer.Option(help="SageMaker: ARN of the role that jobs take.")] = None,
    image: Annotated[str | None, typer.Option(help="SageMaker: URI of a TensorFlow training image.")] = None,
    output: Annotated[str | None, typer.Option(help="SageMaker: s3:// location for code, models, checkpoints.")] = None,
    instance_type: InstanceOption = "ml.g4dn.xlarge",
    max_parallel: Annotated[int, typer.Option(min=1, help="SageMaker: jobs in parallel.")] = 2,
    max_hours: MaxHoursOption = 4.0,
    spot: SpotOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Search for the settings with the highest validation accuracy; can be interrupted, resumed and run in parallel.

    Searched: backbone, learning rate, weight decay, batch size, dropout, fine-tuning depth, epochs, optimiser.
    The results are in STUDIES/STUDY/tuning.html. The test photos are not used.

    Example: bucketlens model tune DATA --study digits --trials 30
    """
    if on is Place.SAGEMAKER:
        _require(role=role, image=image, output=output)
        submitted = model_build.submit_tuning_job(
            model_build.JobPlan(
                name=study,
                role=role or "",
                image=image or "",
                data=data,
                output=output or "",
                weights=_single(weights),
                instance_type=instance_type,
                hours=max_hours,
                spot=spot,
            ),
            jobs=trials,
            parallel=max_parallel,
            backbones=backbone or (),
            config=config,
            space=space,
            dry_run=dry_run,
            pretrained=pretrained,
            image_size=image_size,
            seed=seed,
        )
        show_submitted(submitted, f"{trials} training jobs, {max_parallel} at once")
        return
    if dry_run:
        raise UserError("--dry-run shows the request of --on sagemaker; tuning on this machine changes nothing in AWS")
    messages = display.messages()
    try:
        with TuningScreen(messages).running() as screen:
            tuned = model_build.tune(
                data,
                study,
                trials=trials,
                timeout=_seconds(timeout),
                backbones=backbone or (),
                weights=[Path(file) for file in weights or ()],
                config=config,
                space=space,
                pruner=pruner,
                storage=storage,
                studies=studies,
                watcher=screen,
                pretrained=pretrained,
                image_size=image_size,
                seed=seed,
            )
    except KeyboardInterrupt:
        messages.print("interrupted; run the same command again to resume", markup=False)
        raise
    show_summary(display.results(), tuned.summary)
    if tuned.best_run is not None:
        messages.print(f"the best run: {tuned.best_run}; next: bucketlens model convert {tuned.best_run}", markup=False)
    messages.print(f"written: {tuned.page}", markup=False)


def show_submitted(submitted: Submitted, what: str) -> None:
    """The ARN of a job that was started, or the request that a dry run would have sent, on standard output."""
    if submitted.arn is None:
        typer.echo(json.dumps(submitted.request, indent=2))
    else:
        display.messages().print(f"submitted: {what}", markup=False)
        typer.echo(submitted.arn)


def _require(**options: str | None) -> None:
    missing = [f"--{name}" for name, value in options.items() if not value]
    if missing:
        raise UserError(f"--on sagemaker needs {', '.join(missing)} too")


def _single(weights: list[str] | None) -> str | None:
    if weights and len(weights) > 1:
        raise UserError("with --on sagemaker give one --weights: an s3:// location with all files")
    return weights[0] if weights else None


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
