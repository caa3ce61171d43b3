"""``bucketlens model train-job``: the training of ``model train`` on a SageMaker machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import model_build
from bucketlens.cli.model import BackboneOption, BestOfOption, ConfigOption, StorageOption, StudiesOption
from bucketlens.cli.tune import (
    DryRunOption,
    ImageOption,
    InstanceOption,
    MaxHoursOption,
    OutputOption,
    RoleOption,
    SpotOption,
    show_submitted,
)


def train_job(
    data: Annotated[str, typer.Argument(help="s3:// location with a folder per class.")],
    name: Annotated[str, typer.Option("--name", help="Name of the job; unique in the account.")],
    role: RoleOption,
    image: ImageOption,
    output: OutputOption,
    config: ConfigOption = None,
    best_of: BestOfOption = None,
    backbone: BackboneOption = None,
    weights: Annotated[
        str | None, typer.Option(help="s3:// location of weights files whose names begin with the backbone's.")
    ] = None,
    storage: StorageOption = None,
    studies: StudiesOption = Path("studies"),
    instance_type: InstanceOption = "ml.g4dn.xlarge",
    max_hours: MaxHoursOption = 4.0,
    spot: SpotOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train on a SageMaker machine; the run and a verified bundle arrive as model.tar.gz.

    Example: bucketlens model train-job s3://photos/flowers/ --name flowers --role ARN --image URI --output s3://models/
    """
    plan = model_build.JobPlan(name, role, image, data, output, weights, instance_type, hours=max_hours, spot=spot)
    submitted = model_build.submit_training_job(
        plan,
        config=config,
        best_of=best_of,
        storage=storage,
        studies=studies,
        dry_run=dry_run,
        backbone=backbone,
    )
    show_submitted(submitted, f"the model will be in {plan.under_output('jobs')}/{name}")


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command("train-job")(train_job)
