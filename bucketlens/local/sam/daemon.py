"""A Docker daemon: the one that runs, or a private one that leaves nothing behind but its cached images."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bucketlens.local.sam.process import attempt, run
from classifier.errors import UserError

_BRIDGE = Path("/sys/class/net/docker0")
# Address ranges for the bridge, the first of which is not routed elsewhere.
_SUBNETS = ("172.31.255.1/24", "172.30.255.1/24", "192.168.254.1/24")
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


class NoDaemon(UserError):
    """No Docker daemon runs and none can be started here; the message says why."""


@dataclass(frozen=True)
class Docker:
    """How to reach a daemon: the environment of every `docker` and `sam` that shall use it."""

    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return attempt(["docker", *arguments], env=self.environment, timeout=timeout)

    def gateway(self) -> str:
        """The host's address as containers see it: the default bridge's gateway; loopback for Docker Desktop."""
        answer = self("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        address = answer.stdout.strip()
        if address:
            with contextlib.suppress(OSError), socket.socket() as probe:
                # Fails where containers live in a virtual machine, whose bridge is not this machine's.
                probe.bind((address, 0))
                return address
        return "127.0.0.1"


@contextlib.contextmanager
def docker_daemon(cache: Path, environment: dict[str, str], console: Console) -> Iterator[Docker]:
    """A daemon for as long as the context lasts.

    Args:
        cache: where a private daemon keeps its images from one run to the next.

    Raises:
        NoDaemon: there is none to be had.
    """
    docker = Docker(environment)
    # Where there is an init system, installing starts a daemon too.
    if _answers(docker) or (_install(environment, console) and _answers(docker)):
        yield docker
        return
    with _private_daemon(cache, environment, console) as private:
        yield private


def _answers(docker: Docker) -> bool:
    return docker("info", timeout=30).returncode == 0


def _install(environment: Mapping[str, str], console: Console) -> bool:
    """Install Docker; return False where it is installed."""
    if all(shutil.which(name, path=environment.get("PATH")) for name in ("dockerd", "docker")):
        return False
    if os.geteuid() != 0:
        raise NoDaemon("no Docker daemon answers, and starting one takes root")
    if not shutil.which("apt-get"):
        raise NoDaemon("no Docker daemon answers, and there is no apt-get to install one with")
    console.print("Installing Docker with apt-get (once) ...")
    quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-qq"], purpose="apt-get update", env=quiet)
        run(["apt-get", "install", "-y", "--no-install-recommends", "docker.io"], purpose="apt-get install", env=quiet)
    except UserError as error:
        raise NoDaemon(str(error)) from error
    return True


@contextlib.contextmanager
def _private_daemon(data: Path, environment: dict[str, str], console: Console) -> Iterator[Docker]:
    if os.geteuid() != 0:
        raise NoDaemon("no Docker daemon answers, and starting one takes root")
    data.mkdir(parents=True, exist_ok=True)
    forgotten = _end_forgotten(data)
    others_bridge = _BRIDGE.exists() and not forgotten
    # A socket's path is limited to 107 bytes, so it cannot live in the project, wherever that is.
    work = Path(tempfile.mkdtemp(prefix="bucketlens-docker-"))
    command = ["dockerd", "--data-root", data, "--exec-root", work / "exec", "--pidfile", _pidfile(data)]
    command += ["--host", f"unix://{work}/docker.sock", "--bip", _free_subnet()]
    # Containers only talk to this machine: no address translation, hence no change of the firewall to undo.
    command += ["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"]
    docker = Docker(environment | {"DOCKER_HOST": f"unix://{work}/docker.sock"})
    log = work / "dockerd.log"
    with log.open("wb") as output:
        # A session of its own, so that Ctrl-C reaches us first and the daemon is ended in order.
        daemon = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    try:
        console.print("Starting a private Docker daemon ...")
        _wait_until_up(daemon, docker, log)
        yield docker
    finally:
        _end(daemon)
        _unmount(data, work)
        if not others_bridge and _BRIDGE.exists():
            attempt(["ip", "link", "delete", _BRIDGE.name])
        shutil.rmtree(work, ignore_errors=True)


def _wait_until_up(daemon: subprocess.Popen[bytes], docker: Docker, log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(_START_SECONDS / 0.25)):
        if daemon.poll() is not None:
            break
        if _answers(docker):
            return
        pause.wait(0.25)
    reasons = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise NoDaemon("dockerd does not start here: " + (reasons[-1] if reasons else "it said nothing"))


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its containerd is in the same session, and would hold the data folder.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def _pidfile(data: Path) -> Path:
    return data.parent / "dockerd.pid"


def _end_forgotten(data: Path) -> bool:
    """End the daemon of an earlier run that was killed: by its own pid file, and only if it is that daemon.

    Returns:
        Whether there was one, so that its bridge is ours to remove.
    """
    pidfile = _pidfile(data)
    if not pidfile.is_file():
        return False
    process = Path("/proc") / pidfile.read_text().strip()
    with contextlib.suppress(OSError, ValueError):
        arguments = (process / "cmdline").read_text().split("\0")
        if str(data) in arguments:
            os.kill(int(process.name), signal.SIGTERM)
            pause = threading.Event()
            for _ in range(int(_STOP_SECONDS / 0.25)):
                if not process.exists():
                    break
                pause.wait(0.25)
            work = Path(arguments[arguments.index("--exec-root") + 1]).parent
            _unmount(data, work)
            shutil.rmtree(work, ignore_errors=True)
    pidfile.unlink(missing_ok=True)
    return True


def _unmount(*folders: Path) -> None:
    """Undo what a daemon leaves mounted, innermost first (it binds its data folder onto itself)."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted(mounts, key=len, reverse=True):
        if any(mount == str(folder) or mount.startswith(f"{folder}/") for folder in folders):
            attempt(["umount", mount])


def _free_subnet() -> str:
    routes = attempt(["ip", "-4", "route", "show"]).stdout
    for subnet in _SUBNETS:
        if subnet.rsplit(".", 1)[0] + "." not in routes:
            return subnet
    return _SUBNETS[0]
