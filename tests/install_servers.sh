#!/bin/sh
# Installs the servers that the tests use on Debian, as root or with sudo; elsewhere says what is missing.
missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1; then
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        sudo="sudo -n"
        $sudo true 2>/dev/null || { echo "Missing for some tests:$missing"; exit 0; }
    fi
    $sudo apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || echo "Could not install:$missing"
else
    echo "Missing for some tests:$missing"
fi
exit 0
