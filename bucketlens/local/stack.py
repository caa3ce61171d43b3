"""The application on one machine: endpoints, resources, event source and functions, started and stopped as one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import ClientError

from bucketlens.local import lambda_api
from bucketlens.local.clients import Clients, clients
from bucketlens.local.constants import DEFAULT_PORT
from bucketlens.local.deployment import Deployment, FunctionSettings, deploy
from bucketlens.local.emulator import Emulator, free_ports
from bucketlens.local.event_source import BatchReport, EventSource
from bucketlens.local.files import FUNCTION_DIR, TEMPLATE
from bucketlens.local.http_api import HttpApi, is_served_by
from bucketlens.local.lambda_api import LambdaApi
from bucketlens.local.rie import find_emulator
from bucketlens.local.server import AwsServer, WsgiApplication
from bucketlens.local.template import LocalTemplate, read_template
from classifier.bundle import ModelUri
from classifier.errors import UserError

LOG_FOLDER = Path(".bucketlens") / "local"


class LocalStack:
    """A context manager; everything it holds is in memory and gone afterwards.

    Args:
        template: the SAM template whose resources are created.
        port: 0 takes a free one.
        http_port: of the HTTP API; 0 takes a free one, None leaves it out.
        event_source: False leaves messages in the queue.
        workers: functions that run at once; by default one a CPU, at most the template's maximum concurrency.
        function_dir: the function's code; by default the template's ``CodeUri``. A built package does as well.
        python: the interpreter that runs the function; by default this one.
        parameters: template parameters that differ from their defaults.
        retry_after_seconds: see ``EventSource``.
        report: called after each batch, by several threads.
        log_folder: takes ``function-<n>.log`` and ``http.log``; written anew.
        function_endpoint: where the function finds AWS, such as a proxy; by default at this stack's own endpoint.
    """

    def __init__(
        self,
        template: Path,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        http_port: int | None = None,
        event_source: bool = True,
        workers: int | None = None,
        function_dir: Path | None = None,
        python: Path | None = None,
        parameters: Mapping[str, str] | None = None,
        retry_after_seconds: int | None = None,
        report: Callable[[BatchReport], None] = lambda _: None,
        log_folder: Path = LOG_FOLDER,
        function_endpoint: str | None = None,
    ) -> None:
        self._template = template
        self._server = AwsServer(host, port)
        self._host = host
        self._http_port = http_port or (None if http_port is None else free_ports(1)[0])
        self._wants_event_source = event_source
        self._workers = workers
        self._function_dir = FUNCTION_DIR if function_dir is None and template == TEMPLATE else function_dir
        self._python = python
        self._parameters = dict(parameters or {})
        self._retry_after_seconds = retry_after_seconds
        self._report = report
        self._log_folder = log_folder
        self._function_endpoint = function_endpoint
        self._running: contextlib.ExitStack | None = None
        self._deployment: Deployment | None = None
        self._aws: Clients | None = None
        self._event_source: EventSource | None = None
        self._http_api: HttpApi | None = None

    def start(self) -> Self:
        """Start everything, or raise and leave nothing running.

        Raises:
            UserError: the port is taken, the template is wrong, or the emulator is missing or does not start.
        """
        if self._wants_event_source:
            find_emulator()  # the error that most people meet first, before anything is started
        with contextlib.ExitStack() as starting:
            starting.callback(self._forget)
            self._server.start()
            starting.callback(self._server.stop)
            template = read_template(self._template, self._parameters, self.endpoint_url, self._api_url)
            self._aws = clients(self.endpoint_url, connections=50)
            self._deployment = deploy(template, self._aws)
            if self._wants_event_source:
                functions = self._functions(template, self._deployment)
                api = LambdaApi(self._deployment.outputs["FunctionName"], functions)
                starting.callback(api.close)  # after the event source's stop, which ends what it waits for
                self._event_source = self._start_event_source(functions, self._deployment, self._aws)
                starting.callback(self._event_source.stop)
                self.mount(lambda_api.MOUNT, api)
            self._http_api = self._new_http_api(template, self._deployment)
            if self._http_api is not None:
                starting.callback(self._http_api.stop)
                self._http_api.start()
            self._running = starting.pop_all()
        return self

    def stop(self) -> None:
        """End every process and thread and free the port. Does nothing when not running."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the event source's end: it has none but ``stop()``, or an error, which is raised here."""
        if self._event_source is None:
            raise RuntimeError("there is no event source to wait for")
        return self._event_source.wait(timeout)

    @property
    def http_url(self) -> str | None:
        """Where the HTTP API answers; None where there is none."""
        return None if self._http_api is None else self._api_url

    def mount(self, path: str, application: WsgiApplication) -> str:
        """Serve a WSGI application below ``path`` beside the endpoints; its address."""
        self._server.mount(path, application)
        return f"{self.endpoint_url}{path}/"

    def model_is_published(self) -> bool:
        """Whether the function will find a model: the pointer, or the pinned version's manifest."""
        uri = ModelUri.parse(self.settings["MODEL_URI"])
        key = uri.pointer_key if uri.version is None else uri.key(uri.version, "manifest.json")
        try:
            self.aws.s3.head_object(Bucket=uri.bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return False
        return True

    @property
    def aws(self) -> Clients:
        """Clients of the endpoints."""
        if self._aws is None:
            raise RuntimeError("the local stack is not running")
        return self._aws

    @property
    def deployment(self) -> Deployment:
        if self._deployment is None:
            raise RuntimeError("the local stack is not running")
        return self._deployment

    @property
    def endpoint_url(self) -> str:
        return self._server.endpoint_url

    @property
    def settings(self) -> dict[str, str]:
        """The function's environment variables."""
        return self._settings_of(self.deployment.function)

    @property
    def workers(self) -> int:
        """How many functions run at once."""
        most = self.deployment.event_source.maximum_concurrency
        return max(1, min(self._workers or os.cpu_count() or 1, most))

    @property
    def bucket(self) -> str:
        return self.deployment.outputs["BucketName"]

    @property
    def table(self) -> str:
        return self.deployment.outputs["TableName"]

    @property
    def review_table(self) -> str:
        return self.deployment.outputs["ReviewTableName"]

    @property
    def queue_url(self) -> str:
        return self.deployment.outputs["QueueUrl"]

    @property
    def dead_letter_queue_url(self) -> str:
        return self.deployment.outputs["DeadLetterQueueUrl"]

    @property
    def _api_url(self) -> str:
        return f"{self.endpoint_url.rpartition(':')[0]}:{self._http_port}/"

    def _settings_of(self, function: FunctionSettings) -> dict[str, str]:
        return {**function.environment, "AWS_ENDPOINT_URL": self._function_endpoint or self.endpoint_url}

    def _new_http_api(self, template: LocalTemplate, deployment: Deployment) -> HttpApi | None:
        function, function_dir = deployment.api_function, self._function_dir or template.function_dir
        if self._http_port is None or function is None or not is_served_by(function_dir):
            return None
        return HttpApi(
            function_dir,
            self._settings_of(function),
            function.memory_mb,
            host=self._host,
            port=self._http_port,
            log=self._new_log("http"),
            python=self._python,
        )

    def _functions(self, template: LocalTemplate, deployment: Deployment) -> list[Emulator]:
        function_dir = self._function_dir or template.function_dir
        if not function_dir.is_dir():
            raise UserError(f"the function's folder {function_dir} does not exist; name it with --function-dir")
        return [
            Emulator(
                function_dir,
                self.settings,
                deployment.function.timeout_seconds,
                deployment.function.memory_mb,
                handler=deployment.function.handler,
                name=deployment.outputs["FunctionName"],
                python=self._python,
                log=self._new_log(f"function-{number}"),
            )
            for number in range(1, self.workers + 1)
        ]

    def _start_event_source(self, functions: list[Emulator], deployment: Deployment, aws: Clients) -> EventSource:
        source = EventSource(
            aws.sqs,
            deployment.event_source,
            functions,
            retry_after_seconds=self._retry_after_seconds,
            report=self._report,
        )
        source.start()
        return source

    def _new_log(self, name: str) -> Path:
        log = self._log_folder / f"{name}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(b"")
        except OSError as error:
            raise UserError(f"cannot write the function's log {log}: {error.strerror}") from error
        return log

    def _forget(self) -> None:
        self._event_source = self._http_api = self._deployment = self._aws = None
