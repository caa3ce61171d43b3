"""The environment of the function as one typed object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from classifier.bundle import ModelUri
from classifier.errors import ConfigError
from classifier.imaging import Limits

# Lambda gives one vCPU per 1,769 MB of memory (AWS Lambda Developer Guide, "Configure Lambda function memory").
_MEGABYTES_PER_VCPU = 1769


class OutputMode(StrEnum):
    """Where result documents go: one object an image, or one JSON Lines object a batch."""

    IMAGE = "image"
    JSONL = "jsonl"


@dataclass(frozen=True)
class ServingSettings:
    """What loading a model and classifying an image depend on, whoever asks for it.

    Attributes:
        review_threshold: None takes the manifest's.
        endpoint_url: None is AWS.
        memory_bytes: the function's memory.
    """

    model_uri: ModelUri
    input_prefix: str
    top_k: int
    review_threshold: float | None
    limits: Limits
    golden_test: bool
    log_level: str
    endpoint_url: str | None
    memory_bytes: int

    @property
    def workers(self) -> int:
        """Images decoded and classified at the same time: one for each whole vCPU."""
        return max(1, self.memory_bytes // 2**20 // _MEGABYTES_PER_VCPU)

    @property
    def bytes_in_flight(self) -> int:
        """Files in memory at once: a sixteenth of it, at least the largest file and at most eight of those."""
        return max(self.limits.max_bytes, min(8 * self.limits.max_bytes, self.memory_bytes // 16))


@dataclass(frozen=True)
class ApiSettings(ServingSettings):
    """Every setting of the function behind the HTTP API; names and defaults are those of its environment variables.

    Attributes:
        input_bucket: whose objects under the input prefix may be asked for; None refuses all.
        allow_url_fetch: whether images may be fetched from other people's servers.
    """

    input_bucket: str | None
    allow_url_fetch: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check the environment; an empty variable counts as not set.

        Raises:
            ConfigError: names the variable, its value and what it must be.
        """
        read = _Reader(environment)
        return cls(
            **_serving(read),
            input_bucket=read.text("INPUT_BUCKET", "") or None,
            allow_url_fetch=read.flag("ALLOW_URL_FETCH"),
        )


@dataclass(frozen=True)
class Settings(ServingSettings):
    """Every setting of the function for batches; names and defaults are those of its environment variables.

    Attributes:
        output_bucket: None writes next to the image, into its own bucket.
        queue_url: the queue that feeds the function, for sending deferred messages again; None fails them instead.
        publish_events: tell EventBridge what became of each batch.
        remove_deleted: remove the results of images that are deleted.
    """

    table_name: str
    output_prefix: str
    output_bucket: str | None
    output_mode: OutputMode
    queue_url: str | None
    publish_events: bool = False
    remove_deleted: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check the environment; an empty variable counts as not set.

        Raises:
            ConfigError: names the variable, its value and what it must be.
        """
        read = _Reader(environment)
        settings = cls(
            **_serving(read),
            table_name=read.text("TABLE_NAME"),
            output_prefix=read.prefix("OUTPUT_PREFIX", "predictions/"),
            output_bucket=read.text("OUTPUT_BUCKET", "") or None,
            output_mode=OutputMode(read.choice("OUTPUT_MODE", OutputMode.IMAGE, tuple(OutputMode))),
            queue_url=read.text("QUEUE_URL", "") or None,
            publish_events=read.flag("PUBLISH_EVENTS"),
            remove_deleted=read.flag("REMOVE_DELETED"),
        )
        if settings.output_bucket is None:
            settings._check_results_apart()
        elif settings.output_bucket == settings.model_uri.bucket:
            settings._check_models_apart("OUTPUT_PREFIX", settings.output_prefix)
        return settings

    def output_bucket_for(self, image_bucket: str) -> str:
        """The bucket of an image's result.

        Raises:
            ConfigError: prefixes that must lie apart share a bucket, now that the image's is known.
        """
        bucket = self.output_bucket or image_bucket
        if bucket == image_bucket:
            self._check_results_apart()
        if image_bucket == self.model_uri.bucket:
            self._check_models_apart("INPUT_PREFIX", self.input_prefix)
        if bucket == self.model_uri.bucket:
            self._check_models_apart("OUTPUT_PREFIX", self.output_prefix)
        return bucket

    def _check_results_apart(self) -> None:
        # The other way round, too: with input a/in/ and output a/, the result of a/in/in/x is a/in/x.json.
        if self.output_prefix.startswith(self.input_prefix) or self.input_prefix.startswith(self.output_prefix):
            raise ConfigError(
                f"OUTPUT_PREFIX {self.output_prefix!r} and INPUT_PREFIX {self.input_prefix!r} overlap: results would "
                "be classified again, endlessly. Choose separate prefixes, or another OUTPUT_BUCKET"
            )

    def _check_models_apart(self, name: str, prefix: str) -> None:
        if self.model_uri.prefix.startswith(prefix):
            raise ConfigError(
                f"MODEL_URI {self.model_uri} is inside {name} {prefix!r} of the same bucket: whoever can upload "
                "images could replace the model. Choose separate prefixes"
            )


def _serving(read: _Reader) -> dict[str, Any]:
    return {
        "model_uri": ModelUri.parse(read.text("MODEL_URI"), folders=True),
        "input_prefix": read.prefix("INPUT_PREFIX", "incoming/"),
        "top_k": read.integer("TOP_K", 5, low=1),
        "review_threshold": read.probability("REVIEW_THRESHOLD"),
        "limits": Limits(
            max_bytes=read.integer("MAX_IMAGE_BYTES", Limits.max_bytes, low=1),
            max_pixels=read.integer("MAX_IMAGE_PIXELS", Limits.max_pixels, low=1),
        ),
        "golden_test": read.flag("GOLDEN_TEST"),
        "log_level": read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        "endpoint_url": read.text("AWS_ENDPOINT_URL", "") or None,
        "memory_bytes": read.integer("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", _MEGABYTES_PER_VCPU, low=128) * 2**20,
    }


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name, "").strip() or default
        if value is None:
            raise ConfigError(f"the environment variable {name} is not set")
        return value

    def prefix(self, name: str, default: str) -> str:
        # An explicit empty prefix is the whole bucket, so here empty is a value.
        value = self._environment.get(name, default)
        if value and (not value.endswith("/") or value.startswith("/")):
            raise ConfigError(f"{name} is {value!r}; a prefix ends with / and does not begin with it")
        return value

    def integer(self, name: str, default: int, *, low: int) -> int:
        text = self.text(name, str(default))
        try:
            value = int(text)
        except ValueError:
            raise ConfigError(f"{name} is {text!r}, not a whole number") from None
        if value < low:
            raise ConfigError(f"{name} is {value}; the minimum is {low}")
        return value

    def probability(self, name: str) -> float | None:
        text = self.text(name, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {text!r}, not a number between 0 and 1")
        return value

    def flag(self, name: str) -> bool:
        return self.choice(name, "false", ("true", "false")) == "true"

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise ConfigError(f"{name} is {value!r}, not one of {', '.join(choices)}")
        return value
