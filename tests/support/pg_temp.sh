#!/bin/sh
# A PostgreSQL cluster of a test's own, on loopback and a Unix socket, with TLS.
#
#   pg_temp.sh start PORT   makes and starts it, prints its folder (also the socket's)
#   pg_temp.sh stop FOLDER  stops and removes it
#
# Users: postgres (superuser; trusted on the Unix socket) and app, password s'ec\ret,
# by SCRAM on TCP. Certificate for localhost and 127.0.0.1: FOLDER/server.crt.
set -eu

bin=${PG_BIN:-}
if [ -z "$bin" ]; then
    for d in /usr/lib/postgresql/*/bin; do
        [ -x "$d/initdb" ] && bin=$d
    done
fi
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)")

# PostgreSQL refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- env -i PATH="$bin:$PATH" LC_ALL=C "$@"
    else
        env -i PATH="$bin:$PATH" LC_ALL=C "$@"
    fi
}

start() {
    port=$1
    dir=$(mktemp -d "${TMPDIR:-/tmp}/shardgate-pg-XXXXXX")
    if [ "$(id -u)" = 0 ]; then
        chown postgres "$dir"
    fi
    chmod 755 "$dir"
    trap 'stop "$dir" || true' EXIT
    cd "$dir"
    as_server initdb -D "$dir/data" -U postgres -A trust --no-sync --no-instructions >"$dir/initdb.log" 2>&1
    as_server openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$dir/data/server.key" -out "$dir/data/server.crt" 2>/dev/null
    cp "$dir/data/server.crt" "$dir/server.crt"
    as_server tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
fsync = off
max_connections = 30
shared_buffers = 16MB
ssl = on
log_destination = stderr
CONF
    as_server tee "$dir/data/pg_hba.conf" >/dev/null <<HBA
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
HBA
    as_server pg_ctl -D "$dir/data" -l "$dir/data/server.log" -w start >/dev/null
    as_server psql -qX -v ON_ERROR_STOP=1 -h "$dir" -p "$port" -U postgres -d postgres <<'SQL'
CREATE ROLE app LOGIN PASSWORD $$s'ec\ret$$;
CREATE DATABASE app OWNER app;
SQL
    trap - EXIT
    echo "$dir"
}

stop() {
    case $1 in
    */shardgate-pg-*) ;;
    *) echo "not a folder of ours: $1" >&2; exit 1 ;;
    esac
    cd /
    [ -f "$1/data/postmaster.pid" ] && as_server pg_ctl -D "$1/data" -m immediate stop >/dev/null
    rm -rf "$1"
}

case ${1:-} in
start) start "$2" ;;
stop) stop "$2" ;;
*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
