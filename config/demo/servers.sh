# shellcheck shell=bash
# The demo's PostgreSQL clusters: in the scratch folder, on loopback, on ports
# that were free, never as root. Sourced by run.

pg_bin=${PG_BIN:-/usr/lib/postgresql/15/bin}

# PostgreSQL refuses to run as root; root runs it as the user its package made.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

port_is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Sets the variable named $1 to a free port that this run has not given away yet.
taken=" "
free_port() {
    local candidate
    for _ in $(seq 200); do
        candidate=$((15000 + RANDOM % 17000))
        case $taken in *" $candidate "*) continue ;; esac
        if port_is_free "$candidate"; then
            taken="$taken$candidate "
            printf -v "$1" %s "$candidate"
            return
        fi
    done
    fail "no free port between 15000 and 32000"
}

# The superuser, over the Unix socket in the scratch folder: $1 cluster, rest for psql.
super() {
    local cluster=$1
    shift
    PGOPTIONS=--client-min-messages=warning PGCONNECT_TIMEOUT=10 PGPASSWORD='' \
        psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$scratch" -p "${port_of[$cluster]}" -U postgres "$@"
}

make_template() {
    as_postgres "$pg_bin/initdb" -D "$scratch/template" -U postgres -E UTF8 --locale=C.UTF-8 -N \
        --wal-segsize=1 --auth-local=trust --auth-host=scram-sha-256 >"$scratch/initdb.log" 2>&1 ||
        fail "initdb failed" "$scratch/initdb.log"
}

# $1 cluster. Its port is in port_of, its log in the scratch folder.
declare -A port_of
clusters=()
start_cluster() {
    local cluster=$1 port
    free_port port
    port_of[$cluster]=$port
    as_postgres cp -a "$scratch/template" "$scratch/$cluster"
    as_postgres tee -a "$scratch/$cluster/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$scratch'
max_connections = 60
shared_buffers = 16MB
fsync = off
autovacuum = off
CONF
    clusters+=("$cluster")
    as_postgres "$pg_bin/pg_ctl" start -w -t 60 -s -D "$scratch/$cluster" -l "$scratch/$cluster.log" >/dev/null 2>&1 ||
        fail "PostgreSQL for $cluster did not start on port $port" "$scratch/$cluster.log"
}

stop_clusters() {
    local cluster
    for cluster in "${clusters[@]}"; do
        as_postgres "$pg_bin/pg_ctl" stop -m immediate -t 20 -s -D "$scratch/$cluster" >/dev/null 2>&1 || true
    done
    clusters=()
}
