"""Where credentials come from, and that they are renewed before they expire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier.aws_calls import TRIES, AwsError
from classifier.credentials import RENEWED_SECONDS_BEFORE, ContainerCredentials, Credentials, provider
from tests.support.scripted_server import ScriptedServer, http, scripted

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
STATIC = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}


def answer(name: str, expiration: str | None = "2026-09-21T15:13:20Z") -> bytes:
    document = {"AccessKeyId": name, "SecretAccessKey": "s", "Token": "t"}
    return http(200, json.dumps(document | ({"Expiration": expiration} if expiration else {})).encode())


def at(server: ScriptedServer, now: list[float], **environment: str) -> ContainerCredentials:
    return ContainerCredentials(f"{server.url}/creds?x=1", environment, clock=lambda: now[0], sleep=lambda _: None)


def test_lambda_puts_them_into_the_environment() -> None:
    assert provider({**STATIC, "AWS_SESSION_TOKEN": "t"})() == Credentials("AKID", "secret", "t")
    assert provider(STATIC)() == Credentials("AKID", "secret", None)
    both = {**STATIC, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}
    assert provider(both)().access_key_id == "AKID"


def test_without_any_a_call_says_what_to_set() -> None:
    for environment in ({}, {"AWS_ACCESS_KEY_ID": "AKID"}, {**STATIC, "AWS_SECRET_ACCESS_KEY": ""}):
        with pytest.raises(AwsError, match="aws configure export-credentials"):
            provider(environment)()


def test_an_endpoint_is_asked_once_and_again_before_they_expire() -> None:
    now = [NOW]
    with scripted([answer("first"), answer("second", "2026-09-21T16:13:20Z")]) as server:
        credentials = at(server, now, AWS_CONTAINER_AUTHORIZATION_TOKEN="Bearer x")
        assert credentials() == credentials() == Credentials("first", "s", "t", NOW + 3600)
        assert (server.targets(), server.header("authorization")) == (["/creds?x=1"], "Bearer x")
        now[0] += 3600 - RENEWED_SECONDS_BEFORE + 1
        assert credentials().access_key_id == "second"
        assert credentials().access_key_id == "second"
        assert len(server.requests) == 2


def test_those_that_still_hold_are_used_while_the_endpoint_fails() -> None:
    now = [NOW]
    failures = [http(500)] * 2 * TRIES
    with scripted([answer("first"), *failures]) as server:
        credentials = at(server, now)
        credentials()
        now[0] += 3500
        assert credentials().access_key_id == "first"
        now[0] += 101
        with pytest.raises(AwsError, match="answers 500"):
            credentials()


def test_a_token_is_read_anew_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    now = [NOW]
    with scripted([answer("first"), answer("second")]) as server:
        credentials = at(server, now, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(file))
        with pytest.raises(AwsError, match="token for asking for credentials cannot be read"):
            credentials()
        for token in ("one", "two"):
            file.write_text(f"{token}\n")
            credentials()
            assert server.header("authorization") == token
            now[0] += 3600


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"AccessKeyId":"a"}', b'"x"'])
def test_what_is_no_credentials_is_told(content: bytes) -> None:
    with scripted([http(200, content)]) as server, pytest.raises(AwsError, match="are no credentials"):
        at(server, [NOW])()


def test_without_an_expiry_they_hold_for_good() -> None:
    now = [NOW]
    with scripted([answer("first", None)]) as server:
        credentials = at(server, now)
        credentials()
        now[0] += 1e6
        assert credentials().access_key_id == "first"


@pytest.mark.parametrize("url", ["http://example.com/", "http://10.0.0.1/", "ftp://169.254.170.3/"])
def test_only_this_host_is_asked_without_tls(url: str) -> None:
    with pytest.raises(AwsError, match="only asked for on this host"):
        provider({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    for here in ("http://127.0.0.1:9/", "http://localhost/", "http://[::1]/", "http://169.254.170.23/v1"):
        provider({"AWS_CONTAINER_CREDENTIALS_FULL_URI": here})
    provider({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials"})
