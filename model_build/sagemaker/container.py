"""Where SageMaker puts things in a training container, and where it looks for results.

Names and paths are those of the SageMaker training toolkit (script mode) and of
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from classifier.errors import UserError
from model_build.data.dataset import TEST, TRAIN, VALIDATION
from model_build.training.published import SUFFIXES

_BASE = Path("/opt/ml")
_CHANNEL = "SM_CHANNEL_"
_SPLIT_OF_CHANNEL = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
}
_SPLIT_OF_CHANNEL |= {"test": TEST, "testing": TEST}
WEIGHTS_CHANNEL = "weights"
PROGRAM = "train.py"
"""What the toolkit starts, at the root of the code it unpacks."""
_FAILURE_LIMIT = 1024  # characters of the failure file that DescribeTrainingJob returns


@dataclass(frozen=True)
class Container:
    """The folders of a training job.

    Attributes:
        channels: input folder by channel name in lower case.
        model: becomes model.tar.gz in S3.
        data: further output, becomes output.tar.gz.
        failure: a file for the reason, shown by DescribeTrainingJob.
        checkpoints: kept in S3 while the job runs and given back after an interruption; None where the job has none.
        gpus: how many this machine has.
    """

    channels: Mapping[str, Path]
    model: Path
    data: Path
    failure: Path
    checkpoints: Path | None
    gpus: int
    job: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Container:
        """From the variables that the toolkit sets; what it leaves out is at its usual place below /opt/ml, or below
        SAGEMAKER_BASE_DIR, as the toolkit has it."""
        base = Path(environ.get("SAGEMAKER_BASE_DIR", _BASE))
        output = Path(environ.get("SM_OUTPUT_DIR", base / "output"))
        channels = {
            name.removeprefix(_CHANNEL).lower(): Path(value)
            for name, value in environ.items()
            if name.startswith(_CHANNEL) and value
        }
        job = environ.get("TRAINING_JOB_NAME", "training")
        checkpoints = base / "checkpoints"
        return cls(
            channels,
            Path(environ.get("SM_MODEL_DIR", base / "model")),
            Path(environ.get("SM_OUTPUT_DATA_DIR", output / "data")),
            output / "failure",
            # The jobs of a tuning job share one S3 prefix of checkpoints.
            checkpoints / job if checkpoints.is_dir() else None,
            int(environ.get("SM_NUM_GPUS") or 0),
            job,
        )

    @contextmanager
    def photos(self) -> Iterator[Path]:
        """The data set's folder: the one channel, or links to several, named as the splits they hold.

        Raises:
            UserError: no channel of training photos, or two for one split.
        """
        splits: dict[str, Path] = {}
        for name, folder in self.channels.items():
            split = _SPLIT_OF_CHANNEL.get(name)
            if split in splits:
                raise UserError(f"two channels hold the {split} photos; give one")
            if split is not None:
                splits[split] = folder
        if TRAIN not in splits:
            given = f"there are {', '.join(sorted(self.channels))}" if self.channels else "there is none"
            raise UserError(f"no channel 'train' with the photos (SM_CHANNEL_TRAIN); {given}")
        if len(splits) == 1:
            yield splits[TRAIN]
            return
        with TemporaryDirectory(prefix="photos-") as together:
            for split, folder in splits.items():
                (Path(together) / split).symlink_to(folder.resolve(), target_is_directory=True)
            yield Path(together)

    def weights(self, backbone: str | None) -> Path | None:
        """The backbone's file in the channel of weights: the one whose name begins with it, or the only one.

        Raises:
            UserError: the channel is there and has none for the backbone, or several and no backbone is named.
        """
        folder = self.channels.get(WEIGHTS_CHANNEL)
        if folder is None:
            return None
        files = sorted(path for path in folder.rglob("*") if path.name.endswith((".weights.h5", *SUFFIXES)))
        named = [file for file in files if backbone and file.name.replace("-", "_").startswith(backbone)]
        if not named and len(files) != 1:
            wanted = (
                f"no file {backbone}*.weights.h5, .whl or .pth"
                if backbone
                else f"{len(files)} files; say which --backbone"
            )
            raise UserError(f"the channel {WEIGHTS_CHANNEL!r} has {wanted}")
        return (named or files)[0]

    def fail(self, reason: str) -> None:
        """Leave the reason where SageMaker reads it."""
        self.failure.parent.mkdir(parents=True, exist_ok=True)
        self.failure.write_text(reason[:_FAILURE_LIMIT], encoding="utf-8")
