"""One shard's trouble touches only its own tenants, with the right code and in bounded time."""
import signal
import time

import psycopg
import pytest

from harness import util
from harness.daemon import sqlstate
from harness.load import Load, Pgbench, reader
from harness.rawpg import Raw, query, raw_client, startup_packet

GATE = {"auth.type": "trust", "timeout.query_wait": "3s", "server.connect_timeout": "3s", "pool.size": 6}
UNREACHABLE = ("08006", "57P03", "57P01")


def codes(load, number):
    return {sqlstate(e) or str(e) for _, e in load.workers[number].errors}


def steps(gate, each=3):
    """`each` clients of DEU first, then as many of USA and SGP."""
    return [reader(gate, tenant, want) for tenant, want in ((1042, "DEU"), (42, "USA"), (2042, "SGP"))
            for _ in range(each)]


def others_are_clean(load, each=3):
    for worker in load.workers[each:]:
        assert not worker.errors, worker.errors[:3]
        assert worker.slowest < 5, worker.slowest


def test_a_shard_that_is_down_at_the_start(new_gate, servers):
    servers.shards[2].stop()
    try:
        gate = new_gate(**GATE)
        begun = time.monotonic()
        error = gate.refusal(1042)
        assert sqlstate(error) == "08006" or "cannot be reached" in str(error), error
        assert time.monotonic() - begun < 6
        assert gate.whoami(42) == "USA" and gate.whoami(2042) == "SGP"
        util.eventually(lambda: gate.http("/shards/2")[0] == 503)
        assert gate.http("/shards/1")[0] == 200
    finally:
        servers.shards[2].start()
    util.eventually(lambda: gate.whoami(1042) == "DEU", 15)
    util.eventually(lambda: gate.http("/shards/2")[0] == 200)


def test_a_shard_killed_under_load_and_back(gate, servers):
    benches = [Pgbench(gate, 42, 8, 4), Pgbench(gate, 2042, 8, 4, "extended")]
    with Load(*steps(gate)) as load:
        load.progress(10)
        servers.shards[2].kill()
        util.eventually(lambda: all(w.errors for w in load.workers[:3]), what="errors of the shard's own clients")
        util.eventually(lambda: gate.http("/shards/2")[0] == 503)
        load_progress_of_others = [w.count for w in load.workers[3:]]
        util.eventually(lambda: all(w.count > b + 10 for w, b in zip(load.workers[3:], load_progress_of_others)))
        assert gate.http("/readyz")[0] == 200
        servers.shards[2].start()
        load.progress(10)
        for worker in load.workers[:3]:
            assert worker.slowest < 6, worker.slowest
        others_are_clean(load)
        found = set().union(*(codes(load, n) for n in range(3)))
    assert found <= {*UNREACHABLE} or all("08006" in f or "reached" in f or "lost" in f for f in
                                            found - {*UNREACHABLE}), found
    assert "08006" in found or any("lost" in f or "reached" in f for f in found), found
    for bench in benches:
        bench.assert_clean()


def test_the_error_of_a_lost_server(gate, servers):
    """In mid-statement: the client hears 08006 and why it must be careful."""
    with raw_client(gate, 1042) as raw, gate.connect(42) as other:
        raw.ask("begin")
        raw.ask("insert into scratch values (1042, 1, 'x')")
        other.execute("begin")
        assert other.execute("select shard from whoami").fetchone() == ("USA",)
        servers.shards[2].kill()
        try:
            raw.send(query("commit"))
            fields = raw.expect_error("08006", closed=True).fields()
            assert fields["S"] == "FATAL" and "may or may not have been committed" in fields["H"]
            assert other.execute("select 1").fetchone() == (1,)
            other.execute("commit")
        finally:
            servers.shards[2].start()
    util.eventually(lambda: gate.whoami(1042) == "DEU", 15)


def test_a_server_in_recovery_is_57p03(new_gate, servers, tmp_path_factory):
    """A standby where a primary is meant."""
    cluster = servers.shards[2]
    signal_file = f"{cluster.data}/standby.signal"
    cluster.stop()
    open(signal_file, "w").close()
    util.own_by_postgres(signal_file)
    import os
    cluster.start(hot_standby="on")
    try:
        gate = new_gate(**GATE)
        error = gate.refusal(1042)
        assert sqlstate(error) == "57P03" or "recovery" in str(error), error
        util.eventually(lambda: gate.http("/shards/2")[0] == 503)
        assert gate.whoami(42) == "USA"
    finally:
        cluster.stop()
        if os.path.exists(signal_file):
            os.unlink(signal_file)
        cluster.start()
    util.eventually(lambda: gate.whoami(1042) == "DEU", 15)


def test_a_shard_that_answers_nothing(new_gate, servers):
    """Its kernel takes connections, nobody answers: clients wait a bounded time."""
    gate = new_gate(**GATE)
    servers.shards[3].pause()
    try:
        with Load(reader(gate, 42, "USA"), reader(gate, 1042, "DEU")) as load:
            begun = time.monotonic()
            error = gate.refusal(2042, connect_timeout=15)
            assert time.monotonic() - begun < 8
            assert sqlstate(error) in ("08006", "53300", "57P03") or "reached" in str(error), error
            util.eventually(lambda: gate.http("/shards/3")[0] == 503, 15)
            load.progress(10)
            assert not load.errors()
            assert gate.http("/readyz")[0] == 200
    finally:
        servers.shards[3].resume()
    util.eventually(lambda: gate.whoami(2042) == "SGP", 15)


def test_a_query_on_a_silent_shard_ends_by_query_timeout(new_gate, servers):
    gate = new_gate(**{**GATE, "timeout.query": "1s"})
    with raw_client(gate, 2042) as raw:
        assert raw.ask("select shard from whoami") == [["SGP"]]
        servers.shards[3].pause()
        try:
            begun = time.monotonic()
            raw.send(query("select shard from whoami"))
            raw.expect_error("57014", closed=True)
            assert time.monotonic() - begun < 8
            assert gate.whoami(42) == "USA"
        finally:
            servers.shards[3].resume()


def test_backends_ended_by_the_operator_of_the_shard(gate, servers):
    """pg_terminate_backend of idle servers, once noticed, costs nobody an error."""
    with gate.connect(42) as c:
        assert c.execute("select 1").fetchone() == (1,)
        for _ in range(5):
            servers.shards[1].sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
                                  " and state = 'idle'")
            util.eventually(lambda: gate.metric("shard_server_connections", shard="1") == 0)
            assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_restarts_of_every_shard_in_turn(gate, servers):
    for number, (tenant, want) in enumerate(((42, "USA"), (1042, "DEU"), (2042, "SGP")), 1):
        servers.shards[number].stop(signal.SIGINT)
        servers.shards[number].start()
        util.eventually(lambda: gate.whoami(tenant) == want, 20)


def test_a_shard_with_too_many_connections_of_others(new_gate, servers):
    """53300 of the shard itself: the client hears of it in bounded time, others nothing."""
    servers.shards[3].restart(max_connections=12)
    hoard = []
    try:
        gate = new_gate(**GATE)
        try:
            while True:
                hoard.append(psycopg.connect(servers.conninfo(servers.shards[3])))
        except psycopg.OperationalError:
            pass
        error = gate.refusal(2042, connect_timeout=10)
        assert sqlstate(error) in ("53300", "08006") or "too many" in str(error) or "reached" in str(error), error
        assert gate.whoami(42) == "USA"
        for c in hoard:
            c.close()
        util.eventually(lambda: gate.whoami(2042) == "SGP", 15)
    finally:
        servers.shards[3].restart(max_connections=100)


@pytest.mark.parametrize("mode", ("transaction", "session"))
def test_a_senseless_startup_option_is_its_clients_own_trouble(new_gate, mode):
    """The shard refuses those connections and no others: only the pool of that client waits before it tries again."""
    options = "-c shardgate.tenant_id=42 -c no_such=1"
    gate = new_gate(**{**GATE, "pool.mode": mode, "server.login_retry": "3s", "health.probe_interval": "30s"})

    def senseless(worker):
        with pytest.raises(psycopg.Error) as caught:
            with gate.connect(options=options) as c:
                c.execute("select 1")
        assert "no_such" in str(caught.value), caught.value
        for foreign in ("127.0.0.1", str(gate.servers.shards[1].port), "password", "whoami"):
            # libpq itself puts the router's address before an error at connect
            said = str(caught.value).replace(f"at \"127.0.0.1\", port {gate.port}", "")
            assert foreign not in said, said

    def fresh(worker):
        """Servers that are closed behind it: it needs a new one each time."""
        with gate.connect(42) as c:
            assert c.execute("select shard from whoami").fetchone() == ("USA",)
        gate.console("RECONNECT 1")

    with Load(senseless, senseless, fresh, fresh, reader(gate, 43, "USA")) as load:
        load.progress(2, 40)
        util.eventually(lambda: load.workers[2].count > 10)
    assert not load.errors(), [str(e) for e in load.errors()[:3]]
    for worker in load.workers[2:]:
        assert worker.slowest < 3, worker.slowest
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app", options=options))
        fields = {}
        while not fields:
            message = raw.read()
            if message.kind == "Z":
                raw.send(query("select 1"))
            elif message.kind == "E":
                fields = message.fields()
    assert fields["C"] == "42704" and "D" not in fields, fields
    assert fields["M"] == 'unrecognized configuration parameter "no_such"', fields
