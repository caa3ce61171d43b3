"""The HTTP API: only where it is wanted, nobody unknown, and no more than is asked for."""

from __future__ import annotations

from classifier.http_server import ANSWER_SECONDS
from classifier.settings import ApiSettings
from tests.template.checks.bucket_and_table import BUCKET
from tests.template.checks.function import SET_BY_PARAMETERS
from tests.template.checks.parameters import VERSION
from tests.template.document import API_FUNCTION, FUNCTIONS, Template

ON = {"EnableApi": "true"}
JWT = {**ON, "JwtIssuer": "https://issuer.example.org/pool", "JwtAudience": "client-1"}
PROTECTED = {"PredictRoute": "POST /predict", "ModelRoute": "GET /model", "HealthRoute": "GET /health"}
PAGES = {"PageRoute": "GET /", "FileRoute": "GET /{file}"}


def environment_of(template: Template, **parameters: str) -> dict[str, str]:
    variables = template.properties("Lambda::Function", API_FUNCTION, **ON, **parameters)["Environment"]["Variables"]
    return {name: str(value) for name, value in variables.items()}


def check_nothing_of_the_api_is_created_unasked(template: Template) -> None:
    more = template.resources(**ON).keys() - template.resources().keys()
    assert more == {
        *("Api", "ApiFunction", "ApiRole", "ApiLogGroup", "ApiAccessLogGroup", "ApiIntegration", "ApiStage"),
        *("ApiPermission", "ApiErrorAlarm", *PROTECTED, *PAGES),
    }
    assert template.resources(**JWT).keys() - template.resources(**ON).keys() == {"ApiAuthorizer"}
    assert "ApiAuthorizer" in template.resources(**ON, JwtIssuer=JWT["JwtIssuer"])
    without = {name: value for name, value in JWT.items() if name != "EnableApi"}
    assert template.resources(**without).keys() == template.resources().keys()


def check_the_apis_function_runs_the_other_handler(template: Template) -> None:
    properties = template.properties("Lambda::Function", API_FUNCTION, **ON, MemorySize="3538")
    assert (properties["Runtime"], properties["Handler"]) == ("python3.13", "classifier.api.handler")
    assert (properties["Architectures"], properties["MemorySize"]) == (["x86_64"], "3538")
    assert properties["Timeout"] == ANSWER_SECONDS - 1
    assert properties["LoggingConfig"] == {"LogGroup": "<ApiLogGroup>"}
    assert properties["Description"]
    assert not properties.keys() & {"ReservedConcurrentExecutions", "VpcConfig", "DeadLetterConfig"}
    assert "Events" not in template.source["Resources"][API_FUNCTION]["Properties"]


def check_sam_local_finds_the_routes(template: Template) -> None:
    """It reads routes as CloudFormation describes them only where an API comes before the first SAM function."""
    names = list(template.source["Resources"])
    assert names.index("Api") < min(map(names.index, FUNCTIONS))


def check_the_apis_environment_is_what_it_reads(template: Template) -> None:
    environment = environment_of(template)
    assert environment == {
        "MODEL_URI": f"s3://{BUCKET}/models/",
        "INPUT_BUCKET": BUCKET,
        "INPUT_PREFIX": "incoming/",
        "TOP_K": "5",
        "REVIEW_THRESHOLD": "",
        "MAX_IMAGE_BYTES": "26214400",
        "MAX_IMAGE_PIXELS": "64000000",
        "GOLDEN_TEST": "false",
        "ALLOW_URL_FETCH": "false",
        "LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": "bucketlens",
        "AWS_ENDPOINT_URL": "",
    }
    settings = ApiSettings.from_environment(environment)
    assert (settings.input_bucket, settings.allow_url_fetch) == (BUCKET, False)
    assert ApiSettings.from_environment(environment_of(template, AllowUrlFetch="true")).allow_url_fetch
    for variable, parameter, value in SET_BY_PARAMETERS:
        if variable in environment:
            assert environment_of(template, **{parameter: value})[variable] == value
    pinned = environment_of(template, ModelVersion=VERSION, ModelPrefix="a/b/")
    assert pinned["MODEL_URI"] == f"s3://{BUCKET}/a/b/{VERSION}/"


def check_the_apis_logs_are_forgotten(template: Template) -> None:
    for name, group in (("ApiLogGroup", "/aws/lambda/"), ("ApiAccessLogGroup", "/aws/vendedlogs/")):
        properties = template.properties("Logs::LogGroup", name, **ON, LogRetentionDays="14")
        assert properties == {"LogGroupName": f"{group}bucketlens-api", "RetentionInDays": "14"}
        resource = template.source["Resources"][name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Delete"


def check_browsers_of_one_origin_at_most(template: Template) -> None:
    api = template.properties("ApiGatewayV2::Api", "Api", **ON)
    assert api.keys() == {"Name", "Description", "ProtocolType"}
    assert (api["Name"], api["ProtocolType"]) == ("bucketlens-api", "HTTP")
    api = template.properties("ApiGatewayV2::Api", "Api", **ON, CorsOrigin="https://app.example.org")
    assert api["CorsConfiguration"] == {
        "AllowOrigins": ["https://app.example.org"],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": [
            *("authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")
        ],
        "ExposeHeaders": ["retry-after"],
        "MaxAge": 3600,
    }


def check_every_route_asks_who_it_is(template: Template) -> None:
    """But for the page, where tokens are used: it is the same for everyone, and a browser has no token yet."""
    target = {"ApiId": "<Api>", "Target": "integrations/<ApiIntegration>"}
    routes = {name for name, one in template.resources(**ON).items() if one["Type"].endswith("::Route")}
    assert routes == PROTECTED.keys() | PAGES.keys()
    for name, key in (PROTECTED | PAGES).items():
        signed = {**target, "RouteKey": key, "AuthorizationType": "AWS_IAM"}
        assert template.properties("ApiGatewayV2::Route", name, **ON) == signed
        with_token = {**signed, "AuthorizationType": "JWT", "AuthorizerId": "<ApiAuthorizer>"}
        expected = with_token if name in PROTECTED else {**signed, "AuthorizationType": "NONE"}
        assert template.properties("ApiGatewayV2::Route", name, **JWT) == expected


def check_tokens_are_of_the_issuer_and_for_the_audience(template: Template) -> None:
    assert template.properties("ApiGatewayV2::Authorizer", "ApiAuthorizer", **JWT) == {
        "ApiId": "<Api>",
        "Name": "jwt",
        "AuthorizerType": "JWT",
        "IdentitySource": ["$request.header.Authorization"],
        "JwtConfiguration": {"Issuer": "https://issuer.example.org/pool", "Audience": ["client-1"]},
    }


def check_requests_become_events_of_format_2(template: Template) -> None:
    assert template.properties("ApiGatewayV2::Integration", "ApiIntegration", **ON) == {
        "ApiId": "<Api>",
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": "<ApiFunction.Arn>",
        "PayloadFormatVersion": "2.0",
        "TimeoutInMillis": 1000 * ANSWER_SECONDS,
    }


def check_requests_are_throttled_and_logged(template: Template) -> None:
    stage = template.properties("ApiGatewayV2::Stage", "ApiStage", **ON, ApiRateLimit="7", ApiBurstLimit="9")
    logged = stage["AccessLogSettings"].pop("Format")
    assert stage == {
        "ApiId": "<Api>",
        "StageName": "$default",
        "AutoDeploy": True,
        "DefaultRouteSettings": {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "9"},
        "AccessLogSettings": {"DestinationArn": "<ApiAccessLogGroup.Arn>"},
    }
    # API Gateway refuses a format without the request's id, and logs what is no line as several.
    assert logged == (
        '{"requestId":"$context.requestId","time":"$context.requestTime","ip":"$context.identity.sourceIp",'
        ' "method":"$context.httpMethod","path":"$context.path","status":"$context.status",'
        ' "bytes":"$context.responseLength","ms":"$context.responseLatency","error":"$context.error.message",'
        ' "integrationError":"$context.integrationErrorMessage"}'
    )


def check_only_this_api_invokes_the_function(template: Template) -> None:
    assert template.properties("Lambda::Permission", "ApiPermission", **ON) == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": "<ApiFunction>",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": "arn:aws:execute-api:us-east-1:123456789012:<Api>/*",
    }
