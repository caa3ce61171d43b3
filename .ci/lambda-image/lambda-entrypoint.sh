#!/bin/sh
# The entry point of the real image, as far as an image function needs it: the handler is the first argument.
export _HANDLER="$1"
exec /var/runtime/bootstrap
