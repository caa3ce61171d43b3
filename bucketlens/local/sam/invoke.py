"""Two ways to run the built function: `sam local invoke` in Docker, and the emulator on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bucketlens.local.emulator import Emulator
from bucketlens.local.sam.cases import Case
from bucketlens.local.sam.docker import HOST, Docker
from bucketlens.local.sam.process import attempt, run
from bucketlens.local.sam.tool import SamTool
from classifier.errors import UserError

FUNCTION = "ClassifierFunction"
_INVOKE_SECONDS = 300
_SHOWN_LINES = 12


class Invoker(Protocol):
    """Runs the function once for an event."""

    def invoke(self, case: Case) -> Any:
        """The function's answer, decoded.

        Raises:
            UserError: there is none.
        """


@dataclass(frozen=True)
class SamInvoker:
    """`sam local invoke`, a new container for each event.

    Attributes:
        build: the folder that `sam build` made.
        variables: the `--env-vars` file.
        options: more options of `sam local invoke`.
    """

    tool: SamTool
    build: Path
    variables: Path
    docker: Docker
    options: tuple[str, ...]

    def invoke(self, case: Case) -> Any:
        # It exits 0 when the handler fails, so only what it prints counts: one line of JSON on stdout.
        done = attempt(
            [
                *(self.tool.command, "local", "invoke", FUNCTION, "--template", self.build / "template.yaml"),
                *("--event", case.path, "--env-vars", self.variables),
                *("--add-host", f"{HOST}:host-gateway"),
                *self.options,
            ],
            env=self.docker.environment,
            timeout=_INVOKE_SECONDS,
        )
        lines = done.stdout.strip().splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            said = "\n".join(f"  {line}" for line in (lines + done.stderr.strip().splitlines())[-_SHOWN_LINES:])
            raise UserError(f"sam local invoke gave no JSON (exit code {done.returncode}):\n{said}") from None


@dataclass(frozen=True)
class EmulatorInvoker:
    """The Runtime Interface Emulator, one process for all events."""

    emulator: Emulator

    def invoke(self, case: Case) -> Any:
        return self.emulator.invoke(case.event)


def build(tool: SamTool, root: Path, environment: Mapping[str, str]) -> Path:
    """`sam build` the classifier into `.aws-sam/build`; return that folder.

    Raises:
        UserError: with the last lines of what it said.
    """
    folder = root / ".aws-sam" / "build"
    command: list[str | Path] = [
        *(tool.command, "build", FUNCTION, "--build-dir", folder, "--template", root / "template.yaml")
    ]
    run(command, purpose="sam build", env=environment, cwd=root)
    return folder


def write_variables(path: Path, settings: Mapping[str, str]) -> Path:
    """Write the `--env-vars` file: the local stack's settings, its endpoint as a container reaches it."""
    variables = {**settings, "AWS_ENDPOINT_URL": Docker.endpoint(settings["AWS_ENDPOINT_URL"])}
    path.write_text(json.dumps({FUNCTION: variables}, indent=2), encoding="utf-8")
    return path


def check_sample_variables(sample: Path, settings: Mapping[str, str]) -> None:
    """Make sure that the variables which people pass to `sam local invoke` are those of the local stack.

    Raises:
        UserError: the file sets another value than the stack has, or a variable that it does not have.
    """
    variables = json.loads(sample.read_text(encoding="utf-8"))
    for name, value in variables.get(FUNCTION, {}).items():
        # The endpoint differs by its port, and by the host's name in a container. Empty switches a setting off.
        same = settings.get(name) == value or (name in settings and value == "")
        if name != "AWS_ENDPOINT_URL" and not same:
            raise UserError(f"{sample} sets {name} to {value!r}; the local stack has {settings.get(name)!r}")
