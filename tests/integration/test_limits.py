"""Limits, timeouts, cancel, drain and the ways to stop."""
import os
import signal
import threading
import time

import psycopg
import pytest

from harness import util
from harness.daemon import sqlstate
from harness.load import Load, Pgbench, reader
from harness.rawpg import Closed, Raw, cancel_packet, query, raw_client

TRUST = {"auth.type": "trust"}
GATE = {**TRUST, "pool.size": 5}


def connects(gate, **kw):
    try:
        with gate.connect(42, **kw) as c:
            return c.execute("select 1").fetchone() == (1,)
    except psycopg.Error as e:
        return str(e)


# ---- how many ----

@pytest.mark.parametrize("options, users, text", (
    ({"limits.max_clients": 3}, None, "too many clients are connected"),
    ({"limits.max_clients_per_user": 3}, None, "too many clients of this user"),
    ({"limits.max_clients_per_address": 3}, None, "too many clients from this address"),
    ({}, [{"name": "app", "max_clients": 3}], "too many clients of this user"),
), ids=("all", "user", "address", "one user"))
def test_too_many_clients(new_gate, options, users, text):
    gate = new_gate(users=users, **{**TRUST, **options})
    held = [gate.connect(42) for _ in range(3)]
    for _ in range(3):
        error = connects(gate)
        assert error is not True and text in error, error
    held.pop().close()
    util.eventually(lambda: connects(gate) is True)
    if "limits.max_clients_per_user" in options:
        assert connects(gate, user="other") is True
    for c in held:
        assert c.execute("select 1").fetchone() == (1,)
        c.close()
    util.eventually(lambda: connects(gate) is True)
    assert gate.metric("clients_refused_total") >= 3


def test_limits_hold_over_workers_and_reload(new_gate):
    gate = new_gate(**{**TRUST, "workers": 2, "limits.max_clients": 20})
    held = []
    for _ in range(20):
        held.append(gate.connect(42))
    assert connects(gate) is not True
    gate.set(**{"limits.max_clients": 25})
    gate.reload()
    util.eventually(lambda: connects(gate) is True)
    for c in held:
        c.close()


def test_a_shard_never_sees_more_connections_than_allowed(new_gate, servers):
    gate = new_gate(**{**TRUST, "workers": 2, "pool.size": 3, "timeout.query_wait": "30s",
                       "health.probe_interval": "1h", "server.idle_timeout": "1h"})
    most = []
    with Load(*[reader(gate, 42, "USA") for _ in range(20)]) as load:
        for _ in range(5):
            load.progress(3, 60)
            most.append(len(servers.shards[1].backends("datname = 'app' and query not like '%pg_is_in_recovery()'")))
        assert not load.errors(), load.errors()[:3]
    assert max(most) <= 3, most


def test_pool_size_per_user_and_database(new_gate, servers):
    """max_server_connections of a user bounds it over all shards and pools."""
    gate = new_gate(users=[{"name": "app", "pool_size": 2}, {"name": "admin"}],
                    **{**TRUST, "workers": 1, "pool.size": 10, "timeout.query_wait": "1s"})
    busy = [gate.connect(42) for _ in range(2)]
    for c in busy:
        c.execute("begin")
        c.execute("select 1")
    assert sqlstate(gate.refusal(42)) == "53300"
    assert gate.whoami(1042) == "DEU"
    for c in busy:
        c.close()
    util.eventually(lambda: gate.whoami(42) == "USA")


def test_the_queue_is_first_in_first_out(new_gate):
    gate = new_gate(**{**TRUST, "workers": 1, "pool.size": 1})
    order = []
    with raw_client(gate, 42) as busy:
        busy.ask("begin")
        busy.ask("select 1")
        waiting = [raw_client(gate, 42) for _ in range(5)]
        for i, raw in enumerate(waiting):
            raw.send(query(f"insert into scratch values (42, {i}, 'queue'); select clock_timestamp()::text"))
            util.eventually(lambda n=i: gate.metric("clients_waiting") == n + 1)
        busy.ask("commit")
    for raw in waiting:
        order.append([m.row()[0] for m in raw.until_ready() if m.kind == "D"][0])
        raw.close()
    assert order == sorted(order)
    gate.psql("delete from scratch where note = 'queue'", 42)


def test_a_waiting_client_that_leaves_takes_no_server(new_gate):
    gate = new_gate(**{**TRUST, "workers": 1, "pool.size": 1})
    with raw_client(gate, 42) as busy:
        busy.ask("begin")
        busy.ask("select 1")
        raw = raw_client(gate, 42).send(query("select 1"))
        util.eventually(lambda: gate.metric("clients_waiting") == 1)
        raw.close()
        util.eventually(lambda: gate.metric("clients_waiting") == 0)
        busy.ask("commit")
        assert busy.ask("select shard from whoami") == [["USA"]]
    assert gate.whoami(42) == "USA"


def test_the_reserve(new_gate):
    gate = new_gate(**{**TRUST, "workers": 1, "pool.size": 1, "pool.reserve_size": 1, "pool.reserve_timeout": "300ms",
                       "timeout.query_wait": "5s"})
    with gate.connect(42) as busy:
        busy.execute("begin")
        busy.execute("select 1")
        begun = time.monotonic()
        assert gate.whoami(42) == "USA"
        assert 0.2 < time.monotonic() - begun < 4


# ---- how long ----

def test_queue_timeout(new_gate):
    gate = new_gate(**{**TRUST, "pool.size": 1, "timeout.query_wait": "500ms"})
    with gate.connect(42) as busy:
        busy.execute("begin")
        busy.execute("select 1")
        begun = time.monotonic()
        assert sqlstate(gate.refusal(42)) == "53300"
        assert 0.4 < time.monotonic() - begun < 4
        assert gate.metric("shard_queue_timeouts_total", shard="1") == 1
        assert gate.whoami(1042) == "DEU"
        busy.execute("commit")
    assert gate.whoami(42) == "USA"


def test_idle_in_transaction(new_gate, servers):
    gate = new_gate(**{**TRUST, "timeout.idle_in_transaction": "500ms"})
    with raw_client(gate, 42) as raw, raw_client(gate, 42) as outside:
        outside.ask("select 1")
        raw.ask("begin")
        raw.ask("insert into scratch values (42, 77, 'idle')")
        raw.expect_error("25P03", timeout=8, closed=True)
        util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))
        assert outside.ask("select count(*) from scratch where n = 77") == [["0"]]


def test_an_active_transaction_is_not_idle(new_gate):
    gate = new_gate(**{**TRUST, "timeout.idle_in_transaction": "400ms"})
    with gate.connect(42) as c:
        c.execute("begin")
        c.execute("select pg_sleep(1)")
        for _ in range(4):
            time.sleep(0.2)
            c.execute("select 1")
        c.execute("commit")


def test_client_idle(new_gate):
    gate = new_gate(**{**TRUST, "timeout.client_idle": "600ms"})
    with raw_client(gate, 42) as raw, raw_client(gate, 42) as busy:
        busy.send(query("select pg_sleep(1.5)"))
        raw.expect_error("57P05", timeout=8, closed=True)
        busy.until_ready()  # a running query is not idleness


def test_server_lifetime(new_gate):
    gate = new_gate(**{**TRUST, "server.lifetime": "1s", "workers": 1})
    with gate.connect(42) as c:
        first = c.execute("select pg_backend_pid()").fetchone()
        c.execute("begin")
        c.execute("select 1")
        held = c.execute("select pg_backend_pid()").fetchone()
        time.sleep(1.5)
        assert c.execute("select pg_backend_pid()").fetchone() == held  # not in a transaction
        c.execute("commit")
        util.eventually(lambda: c.execute("select pg_backend_pid()").fetchone() not in (first, held))


def test_server_idle_timeout_and_min_size(new_gate, servers):
    gate = new_gate(**{**TRUST, "server.idle_timeout": "500ms", "pool.min_size": 1, "workers": 1})
    clients = [gate.connect(42) for _ in range(4)]
    for c in clients:
        c.execute("begin")
        c.execute("select 1")
    assert gate.metric("shard_server_connections", shard="1") >= 4
    for c in clients:
        c.close()
    util.eventually(lambda: gate.metric("shard_server_connections", shard="1") <= 1)
    assert gate.whoami(42) == "USA"


# ---- cancel ----

def test_cancel(gate):
    with gate.connect(42) as c:
        timer = threading.Timer(0.5, c.cancel)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("select pg_sleep(20)")
        assert time.monotonic() - begun < 8
        assert c.execute("select shard from whoami").fetchone() == ("USA",)
        timer.join()


def test_cancel_with_a_wrong_key(gate):
    with raw_client(gate, 42) as raw:
        raw.send(query("select pg_sleep(1), 'done'"))
        pid, key = raw.key
        for bad in (bytes(4), bytes(b ^ 0xFF for b in key), key + b"x"):
            with Raw(gate.port) as other:
                other.send(cancel_packet(pid, bad))
                other.expect_close()
        got = raw.until_ready()
        assert "D" in "".join(m.kind for m in got)


def test_cancel_of_an_idle_session_does_nothing(gate):
    with raw_client(gate, 42) as raw:
        raw.ask("select 1")
        for _ in range(5):
            with Raw(gate.port) as other:
                other.send(cancel_packet(*raw.key))
                other.expect_close()
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_cancel_never_hits_a_connection_that_moved_on(new_gate):
    """One server, two clients: A's late cancels must never end B's query."""
    gate = new_gate(**{**TRUST, "pool.size": 1, "workers": 2, "timeout.query_wait": "30s"})
    stop = threading.Event()
    hits = []

    def victim():
        with gate.connect(42) as b:
            while not stop.is_set():
                try:
                    b.execute("select pg_sleep(0.005)")
                except psycopg.errors.QueryCanceled as e:
                    hits.append(e)
    thread = threading.Thread(target=victim)
    thread.start()
    canceled = 0
    with raw_client(gate, 42) as a:
        for i in range(120):
            a.send(query("select pg_sleep(0.002)"))
            if i % 3:
                time.sleep(0.001 * (i % 5))
            with Raw(gate.port) as other:
                other.send(cancel_packet(*a.key))
                got = a.until_ready(30)
                canceled += any(m.kind == "E" for m in got)
                try:
                    other.read(10)
                except Closed:
                    pass
    stop.set()
    thread.join(30)
    assert not hits, f"{len(hits)} queries of the bystander were canceled"


def test_a_client_that_leaves_in_mid_query(gate, servers):
    """The query is canceled and the server is free for others."""
    for _ in range(5):
        raw = raw_client(gate, 42)
        raw.send(query("select pg_sleep(60)"))
        util.eventually(lambda: servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))
        raw.close()
        util.eventually(lambda: not servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))
    assert gate.whoami(42) == "USA"


# ---- stop ----

def test_drain(new_gate):
    gate = new_gate(**{**TRUST, "timeout.shutdown": "20s", "timeout.drain_delay": "1500ms"})
    with raw_client(gate, 42) as busy:
        busy.ask("begin")
        busy.ask("insert into scratch values (42, 500, 'drain')")
        gate.send_signal(signal.SIGTERM)
        util.eventually(lambda: gate.http("/readyz")[0] == 503, 5)
        assert gate.http("/livez")[0] == 200
        assert connects(gate) is True  # within drain_delay

        def refuses():
            try:
                return connects(gate) is not True
            except OSError:
                return True
        util.eventually(refuses, 10)
        assert gate.running()
        busy.ask("insert into scratch values (42, 501, 'drain')")
        busy.ask("commit")
        busy.expect_error("57P01", closed=True)
    assert gate.wait_exit(15) == 0
    gate.process = None
    gate.start()
    with gate.connect(42) as c:
        assert c.execute("delete from scratch where note = 'drain'").rowcount == 2


def test_drain_under_load_finishes_transactions(new_gate):
    gate = new_gate(**{**TRUST, "timeout.shutdown": "20s"})
    bench = Pgbench(gate, 42, 20, 6)
    util.eventually(lambda: gate.metric("shard_transactions_total", shard="1") > 50)
    gate.send_signal(signal.SIGTERM)
    assert gate.wait_exit(20) == 0
    out = bench.result()
    assert "terminating" in out or "shutting down" in out, out


def test_sigterm_with_nobody_ends_at_once(new_gate):
    gate = new_gate(**TRUST)
    begun = time.monotonic()
    gate.stop(signal.SIGTERM)
    assert time.monotonic() - begun < 5


def test_shutdown_timeout(new_gate, servers):
    """A transaction that does not end is ended, with its code."""
    gate = new_gate(**{**TRUST, "timeout.shutdown": "1s"})
    with raw_client(gate, 42) as raw:
        raw.ask("begin")
        raw.ask("select 1")
        begun = time.monotonic()
        gate.send_signal(signal.SIGTERM)
        raw.expect_error("57P01", timeout=10, closed=True)
        assert time.monotonic() - begun > 0.8
    assert gate.wait_exit(15) == 0
    util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))


def test_sigint_is_fast(new_gate, servers):
    gate = new_gate(**{**TRUST, "timeout.shutdown": "60s"})
    with raw_client(gate, 42) as raw, raw_client(gate, 42) as idle:
        raw.send(query("select pg_sleep(60)"))
        util.eventually(lambda: servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))
        begun = time.monotonic()
        gate.send_signal(signal.SIGINT)
        raw.expect_error("57P01", timeout=10, closed=True)
        idle.expect_error("57P01", timeout=10, closed=True)
        assert gate.wait_exit(10) == 0
        assert time.monotonic() - begun < 8
    util.eventually(lambda: not servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))


def test_second_sigterm_or_sigint_after_sigterm_is_fast(new_gate):
    gate = new_gate(**{**TRUST, "timeout.shutdown": "60s"})
    with raw_client(gate, 42) as raw:
        raw.ask("begin")
        raw.ask("select 1")
        gate.send_signal(signal.SIGTERM)
        util.eventually(lambda: gate.http("/readyz")[0] == 503)
        gate.send_signal(signal.SIGINT)
        raw.expect_error("57P01", timeout=10, closed=True)
    assert gate.wait_exit(10) == 0


def test_sigusr1_reopens_the_log(new_gate):
    gate = new_gate(start=False, **TRUST)
    path = os.path.join(gate.folder, "own.log")
    gate.set(**{"log.file": path})
    gate.start()
    os.rename(path, path + ".1")
    gate.send_signal(signal.SIGUSR1)
    util.eventually(lambda: os.path.exists(path))
    gate.whoami(42)
    util.eventually(lambda: os.path.getsize(path) > 0)
