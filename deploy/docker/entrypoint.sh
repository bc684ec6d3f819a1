#!/bin/sh
# `faust -A $APP ..`. A worker listens on all addresses of its container, and keeps its files in the volume; what stands
# behind `worker` goes before that. Beyond this machine it listens only where it knows who asks: see docs/security.md.
set -eu
: "${APP:?say which app is to run, as APP=streams.shop.orders}"
if [ "${1-}" = worker ]; then
    shift
    set -- worker --web-bind 0.0.0.0 --web-port "${PORT:?say on which port it is to listen}" \
        --datadir "${DATA_DIR:-/data}" -l "${LOG_LEVEL:-warn}" "$@"
fi
exec faust -A "$APP" "$@"
