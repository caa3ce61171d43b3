"""The code that a script-mode container runs, as ``sourcedir.tar.gz`` (the same bytes for the same code), and the job.

The clients are given, so that nothing here looks for credentials.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

import classifier
from classifier.errors import UserError
from model_build.data.boto_s3 import error_code
from model_build.data.remote import s3_client
from model_build.sagemaker.container import PROGRAM
from model_build.sagemaker.requests import JobPlan, check_request, training_job, tuning_job
from model_build.training.config import Setting, TrainingConfig, read_settings
from model_build.tuning.space import search_of
from model_build.tuning.study_summary import start_from

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# At the root, so that Python finds the packages beside it whatever the container's working folder is.
_PROGRAM = b"""from model_build.sagemaker.entry_point import main

if __name__ == "__main__":
    raise SystemExit(main())
"""

# What the packages import and a TensorFlow container lacks or has in another version; the toolkit installs it.
# TensorFlow and NumPy stay those of the container, which fit its GPU.
_REQUIREMENTS = ("ai-edge-litert", "pillow")
TRAIN = "CreateTrainingJob"
TUNE = "CreateHyperParameterTuningJob"
_METHODS = {TRAIN: "create_training_job", TUNE: "create_hyper_parameter_tuning_job"}


@dataclass(frozen=True)
class Submitted:
    """The request as sent to SageMaker, and the job's ARN; None after a dry run."""

    request: dict[str, Any]
    arn: str | None


@dataclass(frozen=True)
class SourceDir:
    """The archive, and a name that changes with its content."""

    data: bytes

    @property
    def key(self) -> str:
        """Where to put it below an S3 prefix."""
        return f"code/{hashlib.sha256(self.data).hexdigest()[:16]}/sourcedir.tar.gz"


def submit_training_job(
    plan: JobPlan,
    *,
    config: Path | None = None,
    best_of: str | None = None,
    storage: str | None = None,
    studies: Path = Path("studies"),
    dry_run: bool = False,
    client: S3Client | None = None,
    **settings: Setting,
) -> Submitted:
    """Train, convert and package on a SageMaker machine; the arguments are those of :func:`model_build.api.train`.

    Example: ``submit_training_job(plan, best_of="digits", dry_run=True).request``

    Raises:
        UserError: a setting is wrong, SageMaker would refuse the request, or as :func:`submit`.
    """
    given, _ = start_from(config, best_of, storage, studies)
    TrainingConfig.composed(given, settings)
    # Only what was given: the rest is left to the network, which the weights in the container may decide.
    document = read_settings(given) if isinstance(given, Path) else given or {}
    explicit = {**document, **{name: value for name, value in settings.items() if value is not None}}
    return _start(TRAIN, plan, lambda plan, code: training_job(plan, explicit, code), dry_run, client)


def submit_tuning_job(
    plan: JobPlan,
    *,
    jobs: int = 20,
    parallel: int = 2,
    backbones: Sequence[str] = (),
    config: Path | None = None,
    space: Path | None = None,
    dry_run: bool = False,
    client: S3Client | None = None,
    **settings: Setting,
) -> Submitted:
    """Start a SageMaker tuning job of ``jobs`` trainings, ``parallel`` at once; the other arguments are those of
    :func:`model_build.api.tune`.

    Example: ``submit_tuning_job(plan, jobs=8, parallel=4, dry_run=True).request``

    Raises:
        UserError: a setting is wrong, SageMaker would refuse the request, or as :func:`submit`.
    """
    fixed, searched = search_of(config, space, backbones, settings)
    searched.check()

    def request(plan: JobPlan, code: str) -> dict[str, Any]:
        return tuning_job(plan, fixed, searched, code, jobs=jobs, parallel=parallel)

    return _start(TUNE, plan, request, dry_run, client)


def _start(
    operation: str,
    plan: JobPlan,
    request: Callable[[JobPlan, str], dict[str, Any]],
    dry_run: bool,
    client: S3Client | None,
) -> Submitted:
    import boto3

    plan = replace(plan, region=plan.region or boto3.session.Session().region_name)
    source, made = prepare(operation, plan, lambda code: request(plan, code))
    if dry_run:
        return Submitted(made, None)
    sagemaker = boto3.client("sagemaker")
    return Submitted(made, submit(operation, plan, source, made, s3=client or s3_client(), sagemaker=sagemaker))


def build() -> SourceDir:
    """Archive ``model_build`` and ``classifier`` as installed here, the program and its requirements."""
    files = {PROGRAM: _PROGRAM, "requirements.txt": requirements().encode()}
    for root in (Path(str(classifier.__file__)).parent, Path(__file__).parents[1]):
        for path in root.rglob("*.py"):
            files[f"{root.name}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    buffer = io.BytesIO()
    # No times and no owners: the name of the archive tells whether the code has changed.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return SourceDir(buffer.getvalue())


def requirements() -> str:
    """requirements.txt, pinned to what is installed here."""
    return "".join(f"{name}=={version(name)}\n" for name in _REQUIREMENTS)


def prepare(
    operation: str, plan: JobPlan, request: Callable[[str], dict[str, Any]]
) -> tuple[SourceDir, dict[str, Any]]:
    """The archive of the code, and the checked request that names it; ``request`` takes the archive's S3 URI.

    Raises:
        UserError: SageMaker would refuse the request.
    """
    source = build()
    made = request(plan.under_output(source.key))
    check_request(operation, made)
    return source, made


def submit(
    operation: str, plan: JobPlan, source: SourceDir, request: dict[str, Any], *, s3: S3Client, sagemaker: Any
) -> str:
    """Upload the archive unless it is there, start the job, and return its ARN.

    Raises:
        UserError: the bucket does not exist, or a job of that name does.
        ClientError, BotoCoreError: anything else AWS refuses.
    """
    bucket, _, key = plan.under_output(source.key).removeprefix("s3://").partition("/")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) != "404":  # a HEAD has no body to name another code in
            raise
        _upload(s3, bucket, key, source.data)
    try:
        response: dict[str, str] = getattr(sagemaker, _METHODS[operation])(**request)
    except ClientError as error:
        if error_code(error) == "ResourceInUse":
            raise UserError(f"a SageMaker job named {plan.name!r} is already there; give another name") from None
        raise
    return next(value for name, value in response.items() if name.endswith("Arn"))


def _upload(s3: S3Client, bucket: str, key: str, data: bytes) -> None:
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=data)
    except ClientError as error:
        if error_code(error) == "NoSuchBucket":
            raise UserError(f"the bucket {bucket} does not exist; create it, or give another --output") from None
        raise
