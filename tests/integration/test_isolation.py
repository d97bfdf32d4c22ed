"""The property that everything stands on: a tenant's data comes from its shard and no other,
whatever clients, operators and the directory do meanwhile."""
import os
import random

import psycopg
import pytest

from harness import util
from harness.daemon import sqlstate
from harness.load import Load
from harness.rawpg import bind, execute, parse, query, raw_client, sync
from harness.servers import SHARDS, shard_of

GATE = {"pool.size": 4, "auth.type": "trust", "timeout.query_wait": "30s", "workers": 2}
SECONDS = float(os.environ.get("SHARDGATE_ISOLATION_SECONDS", "12"))
# Never moved by the test: their answer is certain. MOVING change their shard, known change by known change.
STEADY = [t for _, _, low, high in SHARDS for t in (low, low + 1, low + 41, (low + high) // 2, high)]
MOVING = (501, 1701)


def switching_client(gate, seed):
    """Random switches of tenant and form of statement; each answer is checked."""
    rng = random.Random(seed)
    forms = ("set", "comment", "transaction", "local", "extended", "prepared", "reconnect", "failed")

    def step(worker):
        if worker.connection is None:
            worker.connection = gate.connect()
        c = worker.connection
        tenant = rng.choice(STEADY)
        form = rng.choice(forms)
        sql = "select shard from whoami"
        if form == "set":
            c.execute(f"set shardgate.tenant_id = {tenant}")
            rows = [c.execute(sql).fetchone() for _ in range(rng.randrange(1, 4))]
        elif form == "comment":
            c.execute("reset shardgate.tenant_id")
            rows = [c.execute(f"/* tenant_id={tenant} */ {sql}").fetchone()]
        elif form == "transaction":
            c.execute(f"set shardgate.tenant_id = {tenant}")
            c.execute("begin")
            rows = [c.execute(sql).fetchone() for _ in range(3)]
            c.execute(rng.choice(("commit", "rollback")))
        elif form == "local":
            c.execute("begin")
            c.execute(f"set local shardgate.tenant_id = {tenant}")
            rows = [c.execute(sql).fetchone()]
            c.execute("commit")
        elif form == "extended":
            c.execute(f"set shardgate.tenant_id = {tenant}")
            rows = [c.execute("select shard from whoami where %s = 1", (1,)).fetchone()]
        elif form == "prepared":
            with gate.connect(tenant) as other:
                rows = [other.execute("select shard from whoami where %s = 1", (1,), prepare=True).fetchone()
                        for _ in range(2)]
        elif form == "reconnect":
            with gate.connect(tenant) as other:
                rows = [other.execute(sql).fetchone()]
        else:
            c.execute(f"set shardgate.tenant_id = {tenant}")
            c.execute("begin")
            rows = [c.execute(sql).fetchone()]
            with pytest.raises(psycopg.errors.DivisionByZero):
                c.execute("select 1/0")
            c.execute("rollback")
        for row in rows:
            assert row == (shard_of(tenant),), f"tenant {tenant} by {form}: {row}"
    return step


class Whereabouts:
    """Where a tenant may be: its assignments in order, and how many of them are past for sure."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.history = [shard_of(tenant)]
        self.confirmed = 0
        self.moves = 0

    def since(self, confirmed):
        """Every shard from which an answer may come whose statement began at `confirmed`."""
        return set(self.history[confirmed:])

    def move(self, gate, servers, number):
        """Assigns the tenant to a shard, or to none (0), and returns when the router has it so."""
        name = next((name for n, name, *_ in SHARDS if n == number), shard_of(self.tenant))
        self.history.append(name)
        if number:
            servers.assign(self.tenant, number)
        else:
            servers.unassign(self.tenant)
        why = "override" if number else "range"

        def known():
            (row,) = gate.console(f"SHOW TENANT {self.tenant}")
            return (row["region"], row["why"]) == (name, why)
        util.eventually(known, what=f"move of tenant {self.tenant} to {name}")
        self.confirmed = len(self.history) - 1
        self.moves += 1
        return name


def moving_client(gate, where):
    """The tenant changes its shard meanwhile; within one transaction it must not."""
    def step(worker):
        if worker.connection is None:
            worker.connection = gate.connect(where.tenant)
        c = worker.connection
        confirmed = where.confirmed
        c.execute("begin")
        rows = {c.execute("select shard from whoami").fetchone()[0] for _ in range(3)}
        c.execute("commit")
        assert len(rows) == 1 and rows <= where.since(confirmed), (where.tenant, rows, where.since(confirmed))
    return step


def mover(gate, servers, places):
    """Moves tenants; once a move is known, the next statement is answered by the new shard."""
    rng = random.Random(98)

    def step(worker):
        if worker.connection is None:
            worker.connection = gate.connect()
        where = rng.choice(places)
        name = where.move(gate, servers, rng.choice((0, 1, 2, 3)))
        sql = f"/* tenant_id={where.tenant} */ select shard from whoami"
        got = worker.connection.execute(sql).fetchone()[0]
        assert got == name, f"tenant {where.tenant} has moved to {name}, but {got} answers an old session"
        got = gate.whoami(where.tenant)
        assert got == name, f"tenant {where.tenant} has moved to {name}, but {got} answers a new session"
    return step


def trouble(gate, servers):
    """The operator and the directory: reloads, pauses, reconnects, further tenants."""
    rng = random.Random(99)

    def step(_worker):
        act = rng.choice(("reload", "pause", "reconnect", "learn"))
        if act == "reload":
            gate.reload()
        elif act == "pause":
            gate.console("PAUSE")
            gate.console("RESUME")
        elif act == "reconnect":
            gate.console("RECONNECT")
        else:
            servers.assign(rng.randrange(5000, 6000), rng.choice((1, 2, 3)))
    return step


def test_every_answer_comes_from_the_tenants_shard(gate, whole):
    places = [Whereabouts(tenant) for tenant in MOVING]
    steps = [switching_client(gate, seed) for seed in range(10)]
    steps += [moving_client(gate, where) for where in places for _ in range(2)]
    steps += [mover(gate, whole, places), trouble(gate, whole)]
    with Load(*steps) as load:
        load.progress(3, timeout=60)
        before = sum(w.count for w in load.workers)
        load.workers[0].join(SECONDS)
        assert sum(w.count for w in load.workers) > before
    unexpected = [e for e in load.errors()]
    assert not unexpected, [str(e) for e in unexpected[:5]]
    assert sum(where.moves for where in places) >= 3


def test_pipelined_switches_on_one_connection(gate):
    """All in flight at once: each statement goes to the tenant that stood before it."""
    rng = random.Random(5)
    tenants = [rng.choice(STEADY) for _ in range(200)]
    with raw_client(gate) as raw:
        raw.send(b"".join(query(f"set shardgate.tenant_id = {t}") + query("select shard from whoami") for t in tenants))
        for tenant in tenants:
            assert raw.kinds_until_ready() == "CZ"
            got = raw.until_ready()
            assert [m.row() for m in got if m.kind == "D"] == [[shard_of(tenant)]], tenant


def test_pipelined_comments_by_the_extended_protocol(gate):
    rng = random.Random(6)
    tenants = [rng.choice(STEADY) for _ in range(200)]
    with raw_client(gate) as raw:
        raw.send(b"".join(parse(f"/* tenant_id={t} */ select shard from whoami") + bind() + execute() + sync()
                          for t in tenants))
        for tenant in tenants:
            got = raw.until_ready()
            assert "".join(m.kind for m in got) == "12DCZ"
            assert got[2].row() == [shard_of(tenant)]


def test_a_shard_whose_identity_is_another_is_not_used(new_gate, whole):
    """The directory says that shard 3 is where shard 2 is: the shard itself knows better."""
    for number, cluster in whole.shards.items():
        cluster.load(os.path.join(util.SOURCE, "config/sql/shard_identity.sql"), shard_id=number)
    gate = new_gate(**{"auth.type": "trust"})
    assert gate.whoami(2042) == "SGP"
    whole.dsql("update shard_config set connection_string = %s where shard_id = 3",
               (whole.conninfo(whole.shards[2]),))
    util.eventually(lambda: sqlstate(gate.refusal(2042)) == "08006", what="refusal of the wrong shard")
    assert gate.whoami(1042) == "DEU" and gate.whoami(42) == "USA"
    whole.dsql("update shard_config set connection_string = %s where shard_id = 3",
               (whole.conninfo(whole.shards[3]),))
    util.eventually(lambda: gate.whoami(2042) == "SGP")
    for cluster in whole.shards.values():
        cluster.sql("drop schema if exists shardgate cascade")


def test_session_state_does_not_leak_to_other_clients(gate):
    with gate.connect(42) as a:
        a.execute("set work_mem = '9MB'")
        a.execute("set search_path = pg_catalog, public")
        a.execute("create temp table secrets as select 1 as x")
    for _ in range(8):
        with gate.connect(43) as b:
            assert b.execute("show work_mem").fetchone() != ("9MB",)
            assert b.execute("show search_path").fetchone() != ("pg_catalog, public",)
            assert b.execute("select to_regclass('pg_temp.secrets')").fetchone() == (None,)


def test_settings_follow_their_client(gate):
    """In transaction mode two clients share servers; each keeps its own settings."""
    clients = [gate.connect(42) for _ in range(12)]
    try:
        for i, c in enumerate(clients):
            c.execute(f"set application_name = 'client {i}'")
            c.execute(f"set datestyle = '{'ISO, DMY' if i % 2 else 'ISO, MDY'}'")
        for _ in range(3):
            for i, c in enumerate(clients):
                assert c.execute("show application_name").fetchone() == (f"client {i}",)
                assert c.execute("show datestyle").fetchone() == ("ISO, DMY" if i % 2 else "ISO, MDY",)
    finally:
        for c in clients:
            c.close()


def test_a_client_that_leaves_in_a_transaction_leaves_nothing(gate, servers):
    for _ in range(6):
        c = gate.connect(42)
        c.execute("begin")
        c.execute("insert into scratch values (42, 1, 'left')")
        c.close()
    util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))
    with gate.connect(42) as c:
        assert c.execute("select count(*) from scratch where note = 'left'").fetchone() == (0,)
