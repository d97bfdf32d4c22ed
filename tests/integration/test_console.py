"""The admin console: every SHOW, every command, and who may give it."""
import signal
import threading
import time

import psycopg
import pytest
from psycopg.rows import dict_row

from harness import util
from harness.daemon import sqlstate
from harness.rawpg import extended, query, raw_client, sync

GATE = {"auth.type": "trust", "workers": 2}

SHOWS = {
    "STATUS": {"version", "phase", "ready", "clients"},
    "POOLS": {"shard", "database", "user", "mode", "servers_active", "servers_idle"},
    "CLIENTS": {"id", "user", "database", "application", "state", "tenant", "shard"},
    "SERVERS": {"id", "shard", "database", "user", "state", "pid"},
    "SHARDS": {"shard", "region", "active", "health", "usable", "paused"},
    "MAP": {"loaded", "source", "revision", "shards", "tenants", "last_error"},
    "STATS": {"shard", "transactions_total", "queries_total"},
    "CONFIG": {"name", "value", "default"},
    "WORKERS": {"worker", "clients"},
    "LISTS": {"list", "items"},
    "VERSION": {"version"},
    "HELP": {"command", "help"},
}


def extended_console(gate, sql, user="admin"):
    with gate.connect(dbname="shardgate", user=user, row_factory=dict_row) as c:
        cursor = c.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("what", SHOWS)
def test_show_by_both_protocols(gate, what):
    with gate.connect(42) as c:
        c.execute("select 1")
        rows = gate.console(f"SHOW {what}")
        assert rows and SHOWS[what] <= set(rows[0]), rows[:2]
        assert set(rows[0]) == set(extended_console(gate, f"show {what.lower()};")[0])


def test_psql(gate):
    done = util.run(["psql", "-X", "-c", "SHOW SHARDS", "-c", "show map", "shardgate"],
                    env=gate.environment(user="admin", dbname="shardgate"))
    assert "USA" in done.stdout and "(3 rows)" in done.stdout


def test_show_shards(gate):
    util.eventually(lambda: all(r["health"] == "up" for r in gate.console("SHOW SHARDS")))
    rows = gate.console("SHOW SHARDS")
    assert [(r["shard"], r["region"], r["min_tenant"], r["max_tenant"]) for r in rows] == [
        ("1", "USA", "1", "999"), ("2", "DEU", "1000", "1999"), ("3", "SGP", "2000", "2999")]


def test_show_clients_and_servers(gate):
    with gate.connect(1042, application_name="seen") as c:
        c.execute("begin")
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        (row,) = [r for r in gate.console("SHOW CLIENTS") if r["application"] == "seen"]
        assert (row["user"], row["database"], row["tenant"], row["shard"]) == ("app", "app", "1042", "2")
        assert row["address"] == "127.0.0.1" and "transaction" in row["state"]
        (server,) = [r for r in gate.console("SHOW SERVERS") if r["id"] == row["server"]]
        assert server["shard"] == "2" and server["pid"] == str(pid)
        c.execute("commit")
        (row,) = [r for r in gate.console("SHOW CLIENTS") if r["application"] == "seen"]
        assert row["state"] == "idle" and row["server"] in (None, "", "0")


def test_show_tenant(gate, whole):
    whole.assign(77, 3)
    util.eventually(lambda: gate.console("SHOW TENANT 77")[0]["why"] == "override")
    (row,) = gate.console("SHOW TENANT 77")
    assert row["shard"] == "3" and row["region"] == "SGP" and int(row["revision"]) >= 1
    (row,) = gate.console("SHOW TENANT 1042")
    assert (row["shard"], row["why"]) == ("2", "range")
    (row,) = gate.console("SHOW TENANT 9999")
    assert row["why"] == "none" and not row["shard"]
    for bad in ("SHOW TENANT", "SHOW TENANT abc", "SHOW TENANT 1 2", "SHOW TENANT 99999999999999999999"):
        with pytest.raises(psycopg.Error) as caught:
            gate.console(bad)
        assert sqlstate(caught.value) in ("42601", "22023")


def test_show_config_hides_secrets(gate):
    rows = {r["name"]: r for r in gate.console("SHOW CONFIG")}
    assert rows["listen.port"]["value"] == str(gate.port)
    assert rows["directory.password"]["value"] == "****"
    assert rows["directory.connection"]["value"] == "****"
    assert "secret" not in str(rows)


def test_reload(gate, whole):
    before = int(gate.console("SHOW MAP")[0]["generation"])
    whole.assign(88, 2)
    gate.console("RELOAD")
    assert gate.whoami(88) == "DEU"  # RELOAD waits until it is done
    assert int(gate.console("SHOW MAP")[0]["generation"]) >= before


@pytest.mark.parametrize("target", ("", " 1"))
def test_pause_and_resume(gate, target):
    """PAUSE waits for transactions under way and holds new ones; nobody hears an error."""
    with gate.connect(42) as busy:
        busy.execute("begin")
        busy.execute("select 1")
        pausing = threading.Thread(target=gate.console, args=(f"PAUSE{target}",))
        pausing.start()
        util.eventually(lambda: [r for r in gate.console("SHOW SHARDS") if r["shard"] == "1"][0]["paused"]
                        in ("t", "true", "yes", "1", "on"))
        assert busy.execute("select shard from whoami").fetchone() == ("USA",)
        assert pausing.is_alive()
        busy.execute("commit")
        pausing.join(20)
        assert not pausing.is_alive()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(gate.whoami(42)))
    waiting.start()
    util.eventually(lambda: gate.metric("clients_waiting") == 1)
    if target:
        assert gate.whoami(1042) == "DEU"
    assert not answers
    gate.console(f"RESUME{target}")
    waiting.join(20)
    assert answers == ["USA"]


def test_pause_of_an_unknown_shard(gate):
    for command in ("PAUSE 99", "RESUME 99", "RECONNECT 99"):
        with pytest.raises(psycopg.Error) as caught:
            gate.console(command)
        assert sqlstate(caught.value) == "42704"


def test_the_console_that_pauses_may_go(gate):
    """A lost console does not leave the pool's PAUSE without a way back."""
    with gate.connect(42) as busy:
        busy.execute("begin")
        busy.execute("select 1")
        raw = raw_client(gate, user="admin", database="shardgate")
        raw.send(query("PAUSE"))
        time.sleep(0.2)
        raw.close()
        busy.execute("commit")
    gate.console("RESUME")
    assert gate.whoami(42) == "USA"


def test_reconnect(gate):
    with gate.connect(42) as c:
        before = c.execute("select pg_backend_pid()").fetchone()
        c.execute("begin")
        held = c.execute("select pg_backend_pid()").fetchone()
        gate.console("RECONNECT")
        assert c.execute("select pg_backend_pid()").fetchone() == held
        c.execute("commit")
        util.eventually(lambda: c.execute("select pg_backend_pid()").fetchone() not in (before, held))


def test_kill(gate):
    with gate.connect(42, application_name="victim") as c, gate.connect(42, application_name="other") as other:
        c.execute("select 1")
        (row,) = [r for r in gate.console("SHOW CLIENTS") if r["application"] == "victim"]
        gate.console(f"KILL {row['id']}")
        with pytest.raises(psycopg.OperationalError) as caught:
            c.execute("select 1")
        assert "operator" in str(caught.value)
        assert other.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.Error) as caught:
        gate.console(f"KILL {row['id']}")
    assert sqlstate(caught.value) == "42704"


def test_kill_of_a_client_in_mid_query(gate, servers):
    raw = raw_client(gate, 42, application_name="runner")
    raw.send(query("select pg_sleep(60)"))
    util.eventually(lambda: servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))
    (row,) = [r for r in gate.console("SHOW CLIENTS") if r["application"] == "runner"]
    gate.console(f"KILL {row['id']}")
    raw.expect_error("57P01", closed=True)
    util.eventually(lambda: not servers.shards[1].backends("query like '%pg_sleep(60)%' and state = 'active'"))


def test_drain(new_gate):
    gate = new_gate(**{"auth.type": "trust"})
    with raw_client(gate, 42) as busy, raw_client(gate, 42) as idle:
        busy.ask("begin")
        busy.ask("select 1")
        gate.console("DRAIN")
        idle.expect_error("57P01", timeout=10, closed=True)
        util.eventually(lambda: gate.http("/readyz")[0] == 503)
        busy.ask("commit")
        busy.expect_error("57P01", timeout=10, closed=True)
    time.sleep(0.5)
    assert gate.running() and gate.http("/livez")[0] == 200


def test_the_console_outlives_drain(new_gate):
    """The operator can still look, and SIGTERM finds nothing left to wait for."""
    gate = new_gate(**{"auth.type": "trust", "timeout.shutdown": "60s"})
    with raw_client(gate, 42) as client:
        client.ask("select 1")
        gate.console("DRAIN")
        client.expect_error("57P01", timeout=10, closed=True)
    assert gate.console("SHOW MAP")[0]["loaded"] in ("t", "true", "yes", "1", "on")
    with pytest.raises(psycopg.OperationalError) as caught:
        gate.whoami(42)
    assert "shutting down" in str(caught.value)
    with gate.connect(dbname="shardgate", user="admin") as held:
        assert held.execute("SHOW STATUS").fetchone()
        gate.send_signal(signal.SIGTERM)
        assert gate.wait_exit(20) == 0


def test_drain_after_sigterm(new_gate):
    """DRAIN in the time of drain_delay does not take the end away."""
    gate = new_gate(**{"auth.type": "trust", "timeout.drain_delay": "3s", "timeout.shutdown": "60s"})
    with raw_client(gate, 42) as client:
        client.ask("select 1")
        gate.send_signal(signal.SIGTERM)
        util.eventually(lambda: gate.http("/readyz")[0] == 503)
        gate.console("DRAIN")
        client.expect_error("57P01", timeout=15, closed=True)
    assert gate.wait_exit(20) == 0


def test_shutdown(new_gate):
    gate = new_gate(**{"auth.type": "trust"})
    with raw_client(gate, 42) as client:
        client.ask("select 1")
        try:
            gate.console("SHUTDOWN")
        except psycopg.OperationalError:
            pass  # it may be gone before it answers
        client.expect_error("57P01", timeout=10, closed=True)
    assert gate.wait_exit(15) == 0


@pytest.mark.parametrize("command", ("RELOAD", "PAUSE", "RESUME", "RECONNECT", "KILL 1", "DRAIN", "SHUTDOWN"))
def test_stats_users_may_look_only(gate, command):
    with pytest.raises(psycopg.Error) as caught:
        gate.console(command, user="stats")
    assert sqlstate(caught.value) == "42501"
    assert gate.console("SHOW POOLS", user="stats") is not None


def test_others_may_not_enter(gate):
    with pytest.raises(psycopg.OperationalError) as caught:
        gate.console("SHOW VERSION", user="app")
    assert "may not" in str(caught.value)


@pytest.mark.parametrize("text", ("FROBNICATE", "SHOW", "SHOW NOTHING", "select * from pg_class", "PAUSE x", "KILL",
                                  "KILL abc", "RELOAD now", "SHOW 'unfinished", "\x01", "x" * 100000))
def test_what_it_does_not_understand(gate, text):
    with raw_client(gate, user="admin", database="shardgate") as raw:
        raw.send(query(text))
        fields = raw.expect_error("42601").fields()
        assert fields["S"] == "ERROR"
        raw.until_ready()
        raw.send(extended(text), sync())
        raw.expect_error("42601")
        raw.until_ready()
        assert raw.ask("SHOW VERSION")


def test_what_drivers_send_of_themselves(gate):
    with gate.connect(dbname="shardgate", user="admin", autocommit=False) as c:
        assert c.execute("SHOW VERSION").fetchone()
        c.commit()
        c.rollback()
    with gate.connect(dbname="shardgate", user="admin") as c:
        c.execute("set application_name = 'x'")
        assert c.execute("select 1").fetchone() is not None


def test_empty_and_pipelined(gate):
    with raw_client(gate, user="admin", database="shardgate") as raw:
        assert raw.send(query("")).kinds_until_ready() == "IZ"
        raw.send(query("SHOW VERSION") * 20)
        for _ in range(20):
            assert raw.kinds_until_ready() == "TDCZ"
        raw.send(extended("SHOW VERSION") + extended("SHOW SHARDS") + sync())
        got = raw.kinds_until_ready()
        assert got == "12TDC12TDDDCZ", got


def test_console_over_the_unix_socket(gate):
    assert gate.console("SHOW VERSION", host=gate.folder)


def test_console_under_load(gate):
    from harness.load import Load, reader
    with Load(*[reader(gate, 42, "USA") for _ in range(6)]) as load:
        for _ in range(5):
            for what in SHOWS:
                gate.console(f"SHOW {what}")
        load.progress(5)
        assert not load.errors()


def test_console_answers_while_the_map_is_missing(new_gate, servers):
    servers.directory.stop()
    try:
        gate = new_gate(ready=False, **{"auth.type": "trust", "directory.timeout": "1s"})
        gate.wait_listening()
        assert gate.console("SHOW MAP")[0]["loaded"] in ("f", "false", "no", "0", "off")
        util.eventually(lambda: gate.console("SHOW MAP")[0]["last_error"])
    finally:
        servers.directory.start()
    gate.wait_ready()
