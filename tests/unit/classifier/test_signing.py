"""Signatures are those of botocore's signers, which AWS checks the same way."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from classifier.credentials import Credentials
from classifier.signing import signed

VALUE = st.text(string.ascii_letters + string.digits + ' "/;=*-_.', min_size=1, max_size=40)
NAMES = st.sampled_from(["if-match", "if-none-match", "content-type", "x-amz-target", "x-amz-meta-request-id"])
SECRET = st.text(string.ascii_letters + string.digits + "/+", min_size=1, max_size=40)


@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    key=st.text(max_size=60),
    version=st.none() | st.text(string.ascii_letters + string.digits + "._-~+/=", min_size=1, max_size=32),
    headers=st.dictionaries(NAMES, VALUE),
    body=st.binary(max_size=50),
    token=st.none() | VALUE.map(str.strip).filter(bool),
    secret=SECRET,
    service=st.sampled_from(["s3", "dynamodb", "sqs", "events"]),
    now=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
)
def test_they_are_the_ones_of_botocore(
    method: str,
    key: str,
    version: str | None,
    headers: dict[str, str],
    body: bytes,
    token: str | None,
    secret: str,
    service: str,
    now: datetime,
) -> None:
    at = now.replace(tzinfo=UTC)
    path = f"/{quote(key, safe='/~', errors='surrogatepass')}" if service == "s3" else "/"
    query = f"versionId={quote(version, safe='')}" if version is not None and service == "s3" else ""
    host = "photos.example.com"
    ours = signed(
        method,
        path,
        query,
        {**headers, "host": host},
        body,
        credentials=Credentials("AKID", secret, token),
        region="eu-central-1",
        service=service,
        now=at.timestamp(),
    )
    assert ours["authorization"] == theirs(method, host, path, query, headers, body, token, secret, service, at)


def theirs(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    token: str | None,
    secret: str,
    service: str,
    at: datetime,
) -> str:
    signer: Any = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    request = AWSRequest(method, f"http://{host}{path}" + (f"?{query}" if query else ""), dict(headers), body)
    # botocore's clock, not ours.
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=None)):
        signer(BotoCredentials("AKID", secret, token), service, "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])
