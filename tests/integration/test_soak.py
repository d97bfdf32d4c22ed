"""Churn and faults for a while: no growth of memory or descriptors, no wrong answer.
SHARDGATE_SOAK_SECONDS sets how long (default 20)."""
import gc
import os
import random
import time

import psycopg

from harness import util
from harness.daemon import Gate
from harness.load import Load, reader
from harness.rawpg import Closed, Raw, cancel_packet, query, raw_client, startup_packet
from harness.servers import shard_of

SECONDS = float(os.environ.get("SHARDGATE_SOAK_SECONDS", "20"))
GATE = {"auth.type": "trust", "pool.size": 5, "workers": 2, "timeout.query_wait": "5s", "server.idle_timeout": "2s",
        "server.lifetime": "5s", "timeout.client_login": "2s", "log.level": "warn", "timeout.query": "20s",
        "directory.cache_file": os.path.join(util.scratch_folder("soak"), "map.cache")}


def churn(gate, seed):
    """Connects, does one of the things that clients do, and leaves in one of the ways they leave."""
    rng = random.Random(seed)

    def step(_worker):
        tenant = rng.choice((1, 42, 999, 1000, 1042, 2042, 2999))
        act = rng.randrange(9)
        if act < 4:
            assert gate.whoami(tenant) == shard_of(tenant)
        elif act == 4:  # gone in a transaction
            c = gate.connect(tenant)
            try:
                c.execute("begin")
                c.execute("insert into scratch values (0, 0, 'soak')")
            finally:
                c.pgconn.finish()
        elif act == 5:  # gone in a query
            with raw_client(gate, tenant) as raw:
                raw.send(query("select pg_sleep(5), repeat('x', 1000)"))
        elif act == 6:  # canceled
            with raw_client(gate, tenant) as raw:
                raw.send(query("select pg_sleep(0.2)"))
                with Raw(gate.port) as other:
                    other.send(cancel_packet(*raw.key))
                    raw.until_ready()
        elif act == 7:  # garbage
            with Raw(gate.port) as raw:
                raw.send(rng.choice((b"\0\0\0\x03", rng.randbytes(50), startup_packet(user="app")[:9])))
        else:  # state that pins
            with gate.connect(tenant) as c:
                c.execute("create temp table t (x int)")
                c.execute("listen something")
        if rng.random() < 0.02:
            gate.refusal(9999)
    return quiet(step)


def quiet(step):
    """Faults are going on: a refused client is no failure, a wrong answer is."""
    def careful(worker):
        try:
            step(worker)
        except (Closed, ConnectionError):
            pass
        except AssertionError as e:
            if "refused" not in str(e) and "'C'" not in str(e):
                raise
    return careful


def faults(gate, servers, until):
    rng = random.Random(4)
    while time.monotonic() < until:
        act = rng.choice(("reload", "assign", "restart", "directory", "reconnect", "terminate"))
        if act == "reload":
            gate.reload()
        elif act == "assign":
            servers.assign(rng.randrange(3000, 3100), rng.choice((1, 2, 3)))
        elif act == "restart":
            number = rng.choice((2, 3))
            servers.shards[number].kill()
            time.sleep(0.3)
            servers.shards[number].start()
        elif act == "directory":
            servers.directory.stop()
            time.sleep(0.3)
            servers.directory.start()
        elif act == "reconnect":
            gate.console("RECONNECT")
        else:
            servers.shards[1].sql("select pg_terminate_backend(pid) from pg_stat_activity"
                                  " where usename = 'app' and state = 'idle'")
        time.sleep(0.5)


def settled(gate):
    """Descriptors and memory when nobody is there any more."""
    gc.collect()
    try:
        util.eventually(lambda: gate.metric("clients") == 0, 30)
    except AssertionError:
        raise AssertionError(f"sessions are left: {gate.console('SHOW CLIENTS')}") from None
    util.eventually(lambda: gate.metric("shard_server_connections") <= 3, 30, "idle servers closed")
    time.sleep(1)
    return gate.fd_count(), gate.memory_kib()


def test_no_growth_under_churn_and_faults(gate, whole):
    def round_of(seconds):
        steps = [churn(gate, seed) for seed in range(6)]
        with Load(*steps) as load:
            faults(gate, whole, time.monotonic() + seconds)
        return sum(w.count for w in load.workers)

    done = round_of(max(5.0, SECONDS / 3))
    util.eventually(lambda: gate.whoami(1042) == "DEU" and gate.whoami(2042) == "SGP", 20)
    fds, memory = settled(gate)
    done += round_of(SECONDS * 2 / 3)
    util.eventually(lambda: gate.whoami(1042) == "DEU" and gate.whoami(2042) == "SGP", 20)
    fds_after, memory_after = settled(gate)
    assert done > 50
    assert fds_after <= fds + 4, f"descriptors grew from {fds} to {fds_after}"
    # Under a sanitizer freed memory stays in quarantine for a while.
    slack = 40000 if _sanitized() else 6000
    assert memory_after <= memory + slack, f"memory grew from {memory} to {memory_after} KiB"


def _sanitized():
    with open(os.path.join(util.BUILD, "CMakeCache.txt")) as f:
        return "SHARDGATE_SANITIZE:STRING=\n" not in f.read()


def test_errors_end_with_the_faults(gate):
    with Load(*[reader(gate, t, shard_of(t)) for t in (42, 1042, 2042)]) as load:
        load.progress(20)
        assert not load.errors(), load.errors()[:3]


def test_many_connections_leave_nothing(servers):
    """Descriptors and memory after a thousand logins are those from before."""
    gate = Gate(servers, **{**GATE, "workers": 1})
    try:
        for _ in range(50):
            gate.whoami(42)
        fds, memory = settled(gate)
        for _ in range(500):
            gate.whoami(42)
        held = [gate.connect(42) for _ in range(200)]
        for c in held:
            c.close()
        fds_after, memory_after = settled(gate)
        assert fds_after <= fds + 2
        assert memory_after <= memory + (40000 if _sanitized() else 4000)
    finally:
        gate.stop()


def test_nothing_is_left_of_clients_that_vanish(gate, servers):
    """SIGKILLed programs, half-sent messages: no transaction stays open on any shard."""
    for _ in range(20):
        c = gate.connect(42)
        c.execute("begin")
        c.execute("select 1")
        os.close(os.dup(c.fileno()))
        c.pgconn.finish()
    util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))
    with gate.connect(42) as c:
        try:
            assert c.execute("select count(*) from scratch where note = 'soak'").fetchone() == (0,)
        except psycopg.Error as e:
            raise AssertionError(e) from e
