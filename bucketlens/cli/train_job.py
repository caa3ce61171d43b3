"""``bucketlens model train-job``: the training of ``model train`` on a SageMaker machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bucketlens.cli import display
from bucketlens.cli.model import s3_client
from bucketlens.cli.tune import (
    DryRunOption,
    ImageOption,
    InstanceOption,
    MaxHoursOption,
    OutputOption,
    RoleOption,
    SpotOption,
    StorageOption,
    StudiesOption,
    region,
)
from classifier.errors import UserError


def train_job(
    data: Annotated[str, typer.Argument(help="s3:// location with a folder per class.")],
    name: Annotated[str, typer.Option("--name", help="Of the job; unique in the account.")],
    role: RoleOption,
    image: ImageOption,
    output: OutputOption,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON with any settings of model train.")] = None,
    best_of: Annotated[str | None, typer.Option("--best-of", help="Take the settings of a study's best trial.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Network (default: the one the weights fit).")] = None,
    weights: Annotated[str | None, typer.Option(help="s3:// location with <backbone>*.weights.h5 files.")] = None,
    storage: StorageOption = None,
    studies: StudiesOption = Path("studies"),
    instance_type: InstanceOption = "ml.g4dn.xlarge",
    max_hours: MaxHoursOption = 4.0,
    spot: SpotOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train on a SageMaker machine; the run and a proven bundle arrive as model.tar.gz.

    Example: bucketlens model train-job s3://photos/flowers/ --name flowers --role ARN --image URI --output s3://models/
    """
    from model_build.sagemaker.requests import JobPlan, training_job
    from model_build.sagemaker.submitting import TRAIN, prepare, submit
    from model_build.training.config import TrainingConfig, read_settings

    if config and best_of:
        raise UserError("--config and --best-of both give the settings; leave one out")
    settings = read_settings(config) if config else {}
    if best_of:
        from model_build.tuning.study_summary import best_of as look_up

        settings = look_up(best_of, storage, studies).config.to_document()
    if backbone:
        settings["backbone"] = backbone
    TrainingConfig.composed(None, settings)
    plan = JobPlan(name, role, image, data, output, weights, instance_type, hours=max_hours, spot=spot, region=region())
    source, request = prepare(TRAIN, plan, lambda code: training_job(plan, settings, code))
    if dry_run:
        typer.echo(json.dumps(request, indent=2))
        return
    import boto3

    arn = submit(TRAIN, plan, source, request, s3=s3_client(), sagemaker=boto3.client("sagemaker"))
    display.messages().print(f"submitted; the model will be in {plan.under_output('jobs')}/{name}", markup=False)
    typer.echo(arn)


def register(app: typer.Typer) -> None:
    """Make the command one of ``app``."""
    app.command("train-job")(train_job)
