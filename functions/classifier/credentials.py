"""Credentials of the function's role, from where its environment says they are.

- In the environment itself, as Lambda gives them: they hold for as long as the process lives.
- From a local endpoint, as with SnapStart, in ECS and in EKS (AWS SDKs and Tools Reference Guide, "Container credential
  provider"): they expire, and are asked for anew before they do.

Profiles and instance metadata are for people's machines and are not read: ``aws configure export-credentials`` gives
what is needed here.
"""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from classifier.aws_calls import AwsError, sent_until_answered
from classifier.connections import Connections, Timeouts

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_ECS = "http://169.254.170.2"
# Besides the loopback, what may be asked without TLS: the agents of ECS and EKS.
_AGENTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})

RENEWED_SECONDS_BEFORE = 300.0
"""So long before they expire, credentials are asked for anew."""


@dataclass(frozen=True)
class Credentials:
    """Attributes:
    expires_at: by the system's clock; None where they hold for the process's life.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expires_at: float | None = None


Provider = Callable[[], Credentials]


def provider(environment: Mapping[str, str]) -> Provider:
    """Where this environment's credentials come from; calling it raises AwsError where there are none."""
    access_key_id, secret_access_key = (environment.get(name, "") for name in _KEYS)
    if access_key_id and secret_access_key:
        fixed = Credentials(access_key_id, secret_access_key, environment.get("AWS_SESSION_TOKEN") or None)
        return lambda: fixed
    relative, full = environment.get(_RELATIVE), environment.get(_FULL)
    if relative or full:
        return ContainerCredentials(_ECS + relative if relative else full or "", environment)
    return _none


class ContainerCredentials:
    """Asks a local endpoint. Safe to call from several threads.

    Args:
        environment: may hold the endpoint's token, or name the file that does.
        clock: the system's, in seconds.
        sleep: pauses between tries.

    Raises:
        AwsError: when called, where the endpoint gives none and those that were there have expired.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._environment = environment
        self._clock = clock
        self._sleep = sleep
        self._connections = Connections(_checked(url), kept=0, timeouts=Timeouts(connect=2, read=2))
        self._turn = threading.Lock()
        self._current: Credentials | None = None

    def __call__(self) -> Credentials:
        with self._turn:
            current = self._current
            if current is not None and self._seconds_left(current) > RENEWED_SECONDS_BEFORE:
                return current
            try:
                self._current = current = self._ask()
            except AwsError:
                if current is None or self._seconds_left(current) <= 0:
                    raise
            return current

    def _seconds_left(self, credentials: Credentials) -> float:
        return float("inf") if credentials.expires_at is None else credentials.expires_at - self._clock()

    def _ask(self) -> Credentials:
        parts = urlsplit(self._url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"accept": "application/json", **self._authorization()}

        def once() -> bytes:
            answer = self._connections.exchange("GET", target or "/", headers)
            content = answer.read()
            if answer.status != 200:
                raise AwsError(f"{self._url} answers {answer.status} to who asks for credentials", status=answer.status)
            return content

        try:
            document = json.loads(sent_until_answered(once, sleep=self._sleep))
            expiration = document.get("Expiration")
            return Credentials(
                document["AccessKeyId"],
                document["SecretAccessKey"],
                document.get("Token"),
                datetime.fromisoformat(expiration).timestamp() if expiration else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AwsError(f"what {self._url} answers are no credentials") from None

    def _authorization(self) -> dict[str, str]:
        file = self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        try:
            # Read each time: EKS replaces it.
            token = Path(file).read_text(encoding="ascii") if file else None
        except (OSError, ValueError) as error:
            raise AwsError(f"the token for asking for credentials cannot be read: {error}") from error
        token = (token or self._environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")).strip()
        return {"authorization": token} if token else {}


def _checked(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and host not in _AGENTS and host != "localhost":
        try:
            is_here = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_here = False
        if not is_here:
            raise AwsError(f"{_FULL} is {url}; without TLS, credentials are only asked for on this host")
    return url


def _none() -> Credentials:
    raise AwsError(
        f"there are no credentials: neither {' and '.join(_KEYS)} are set, nor {_FULL}."
        " Give the process the output of 'aws configure export-credentials --format env-no-export'"
    )
