#!/bin/sh
# `serve` is the HTTP API; anything else is a Lambda handler, in Lambda or, where that is not, under its emulator.
set -eu
python=$(command -v python3)
if [ "$1" = serve ]; then
    shift
    exec "$python" -m classifier.http_server --host 0.0.0.0 --port 8080 "$@"
elif [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec "$python" -m awslambdaric "$@"
fi
exec aws-lambda-rie --log-level error "$python" -m awslambdaric "$@"
