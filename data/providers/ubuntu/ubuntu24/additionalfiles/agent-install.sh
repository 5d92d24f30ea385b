#!/bin/sh
# Installs the tools that are named as arguments, from the image's own package sources.
set -eu
if [ "$#" -eq 0 ]; then
    echo "usage: agent-install.sh PACKAGE..." >&2
    exit 2
fi
apt-get update
apt-get install --yes --no-install-recommends -- "$@"
