"""A storm: clients that do everything and leave in every way, while backends, servers and
the directory fail. Every answer must be one to the client's own question, from its
tenant's shard; nobody hangs; afterwards everything is as it was before.
SHARDGATE_CHAOS_SECONDS sets how long (default 8 for each pool mode), SHARDGATE_CHAOS_SEED
what happens."""
import os
import random
import resource
import signal
import socket
import struct
import threading
import time

import psycopg
import pytest

from harness import util
from harness.rawpg import (Closed, Deadline, Raw, bind, cancel_packet, close, describe, execute, extended, flush, msg,
                           parse, query, raw_client, startup_packet, sync, terminate)
from harness.servers import shard_of

SECONDS = float(os.environ.get("SHARDGATE_CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("SHARDGATE_CHAOS_SEED", "1"))
POOL = 4
CLIENTS = 8
PATIENCE = 25  # seconds for any single answer; more is a client that hangs
GATE = {"auth.type": "trust", "pool.size": POOL, "workers": 2, "timeout.query_wait": "4s",
        "server.connect_timeout": "2s", "server.idle_timeout": "3s", "server.lifetime": "4s",
        "timeout.client_login": "8s", "limits.io_buffer": "4kB", "directory.max_shard_loss": 100,
        "log.connections": False}
TENANTS = (1, 42, 999, 1000, 1042, 1999, 2000, 2042, 2999)
NAMES = {"USA", "DEU", "SGP"}
MOVING = (2500, 2501)  # tenants that wander from shard to shard

# What a failing landscape may answer. Not among them: protocol errors, errors of the
# router's making, 57014 for a client that has canceled nothing.
TROUBLE = {"08006", "57P01", "57P02", "57P03", "53300", "25P02"}

_tags = iter(range(1, 1 << 60))
_tags_lock = threading.Lock()


def tag():
    with _tags_lock:
        return next(_tags)


class Wrong(Exception):
    """An invariant is broken."""


class Client:
    """One client program: a connection, its tenant, and what it may see."""

    def __init__(self, gate, rng, tenant):
        self.rng = rng
        self.gate = gate
        self.tenant = tenant
        self.shards = NAMES if tenant in MOVING else {shard_of(tenant)}
        self.canceled = False
        self.raw = raw_client(gate, tenant)
        self.raw.timeout = PATIENCE

    # ---- talking ----

    def ask(self, *parts, tags=(), allowed=(), readies=1):
        """Sends, and reads up to ReadyForQuery. The rows' first values must be `tags` in
        their order; fewer only after an error. Returns the SQLSTATEs."""
        self.raw.send(*parts)
        return self.answers(tags, allowed, readies)

    def answers(self, tags=(), allowed=(), readies=1):
        wanted, errors, got = list(tags), [], []
        while readies:
            message = self.raw.read(PATIENCE)
            if message.kind == "Z":
                readies -= 1
                self.status = message.body.decode()
            elif message.kind == "D":
                row = message.row()
                while errors and len(wanted) > 1 and row[0] != str(wanted[0]):
                    wanted.pop(0)  # instead of which the error came
                if not wanted or row[0] != str(wanted[0]):
                    raise Wrong(f"tenant {self.tenant}: row {row} where {wanted[:2]} was asked, after {got}")
                got.append(wanted.pop(0))
                if len(row) > 1 and row[1] not in self.shards:
                    raise Wrong(f"tenant {self.tenant} was answered by {row[1]}")
            elif message.kind == "E":
                fields = message.fields()
                errors.append(message.code)
                if message.code not in TROUBLE and message.code not in allowed and not (
                        message.code == "57014" and self.canceled):
                    raise Wrong(f"tenant {self.tenant}: unexpected {fields}")
                if fields["S"] in ("FATAL", "PANIC"):
                    raise Closed(fields["M"])
        if wanted and not errors:
            raise Wrong(f"tenant {self.tenant}: {len(wanted)} answers are missing, no error")
        return errors

    @staticmethod
    def select(number, more=""):
        return f"select {number}, shard{more} from whoami"

    # ---- what clients do ----

    def simple(self):
        n = tag()
        self.ask(query(self.select(n)), tags=[n])

    def several_at_once(self):
        """Queries behind each other without waiting."""
        numbers = [tag() for _ in range(self.rng.randrange(2, 12))]
        if self.rng.random() < 0.5:
            self.ask(*[query(self.select(n)) for n in numbers], tags=numbers, readies=len(numbers))
        else:
            self.ask(*[extended(self.select(n)) for n in numbers], sync(), tags=numbers)

    def failing_pipeline(self):
        a, b, c = tag(), tag(), tag()
        self.ask(extended(self.select(a)), extended("select 1/0"), extended(self.select(b)), sync(),
                 query(self.select(c)), tags=[a, c], allowed=("22012",), readies=2)

    def parameters(self):
        n = tag()
        self.ask(parse("select $1::bigint, shard from whoami", types=(20,)), bind([n]), describe(), execute(), sync(),
                 tags=[n])

    def named(self):
        numbers = [tag() for _ in range(3)]
        self.ask(parse("select $1::bigint, shard from whoami", "mine", (20,)), sync())
        self.ask(*[bind([n], "mine") + execute() + (flush() if self.rng.random() < 0.5 else b"") for n in numbers],
                 sync(), tags=numbers, allowed=("26000",))
        self.ask(close("S", "mine"), sync())

    def transaction(self):
        n, m = tag(), tag()
        self.ask(query("begin"))
        self.ask(query(self.select(n)), tags=[n])
        self.ask(query(f"insert into scratch values ({self.tenant}, {m}, 'chaos') returning {m}"), tags=[m])
        if self.rng.random() < 0.3:
            self.ask(query("select 1/0"), allowed=("22012",))
        self.ask(query(self.rng.choice(("commit", "rollback"))))

    def pipelined_transaction(self):
        n, m = tag(), tag()
        self.ask(query("begin"), query(self.select(n)), query(self.select(m)), query("commit"), tags=[n, m], readies=4)

    def rows(self):
        """More than any buffer, of which some are large."""
        first, count = tag(), self.rng.randrange(10, 400)
        with _tags_lock:
            for _ in range(count):
                next(_tags)
        self.ask(query(f"select {first} + i, shard, repeat('x', {self.rng.choice((1, 100, 5000))})"
                       f" from whoami, generate_series(1, {count}) i"), tags=range(first + 1, first + count + 1))

    def copy_in(self):
        n = tag()
        self.raw.send(query("copy scratch from stdin"))
        message = self.raw.read(PATIENCE)
        while message.kind not in "GE":
            message = self.raw.read(PATIENCE)
        if message.kind == "E":
            raise Closed(message.code)
        for _ in range(self.rng.randrange(1, 20)):
            self.raw.send(msg("d", f"{self.tenant}\t{n}\tchaos\n".encode() * 10))
        end = msg("c") if self.rng.random() < 0.7 else msg("f", b"no\0")
        self.ask(end, query(self.select(n)), tags=[n], readies=2, allowed=("57014",) if end[:1] == b"f" else ())

    def copy_out(self):
        n = tag()
        self.ask(query(f"copy (select {n}, repeat('y', 200) from generate_series(1, 300)) to stdout"),
                 query(self.select(n)), tags=[n], readies=2)

    def state(self):
        """What pins the server."""
        n = tag()
        if not self.ask(query("create temp table mine (n bigint)")) and not self.ask(
                query(f"insert into mine values ({n})")):
            self.ask(query("select n, shard from mine, whoami"), tags=[n])
        while self.ask(query("discard all")) == ["57014"]:
            pass  # an earlier cancel request of ours may strike late

    def settings(self):
        """Follows the session from server to server; nobody else gets it."""
        name = f"c{tag()}"
        if self.ask(query(f"set application_name = '{name}'")):
            return
        self.raw.send(query("show application_name"))
        rows = [m.row() for m in self.raw.until_ready(PATIENCE) if m.kind == "D"]
        if rows and rows[0][0] != name:
            raise Wrong(f"application_name is {rows}, not {name}")

    def cancel(self):
        """Its own query, or nothing, at a random moment."""
        n = tag()
        self.canceled = True
        self.raw.send(query(f"select pg_sleep({self.rng.choice((0, 0.01, 0.2))})"))
        time.sleep(self.rng.choice((0, 0, 0.005, 0.03)))
        with Raw(self.gate.port) as other:
            other.send(cancel_packet(*self.raw.key))
            if self.rng.random() < 0.5:
                other.expect_close(PATIENCE)
        while self.raw.read(PATIENCE).kind != "Z":
            pass
        self.ask(query(self.select(n)), tags=[n])

    # ---- how they leave ----

    def goodbye(self):
        self.raw.send(terminate())
        self.raw.close()

    def vanish(self):
        """In the middle of something, half of a message sent."""
        whole = self.rng.choice((
            query("select pg_sleep(3)"), query("begin") + query("insert into scratch values (0, 0, 'chaos')"),
            query("copy scratch from stdin") + msg("d", b"1\t1\tchaos\n" * 100),
            parse("copy scratch from stdin") + bind() + execute() + sync() + msg("d", b"1\t"),
            extended("select pg_sleep(1)") + extended("select 1") + flush(),
            parse("select $1::text") + bind(["x" * 20000]) + execute() + sync(),
            query("select repeat('z', 1000000)"), query("select 1/0") * 20,
            query("begin") + query("select 1/0"), query("listen chaos") + query("create temp table gone (x int)"),
            query("copy (select repeat('w', 1000) from generate_series(1, 5000)) to stdout"),
            extended("begin") + sync() + extended("select 1") + sync()))
        cut = len(whole) if self.rng.random() < 0.5 else self.rng.randrange(1, len(whole))
        self.raw.send(whole[:cut])
        time.sleep(self.rng.choice((0, 0, 0.01, 0.1)))
        if self.rng.random() < 0.3:
            with Raw(self.gate.port) as other:
                other.send(cancel_packet(*self.raw.key))
        if self.rng.random() < 0.5:  # reset, not an end of stream
            self.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


ACTS = (Client.simple, Client.simple, Client.several_at_once, Client.failing_pipeline, Client.parameters, Client.named,
        Client.transaction, Client.pipelined_transaction, Client.rows, Client.copy_in, Client.copy_out, Client.state,
        Client.settings, Client.cancel)


class Life(threading.Thread):
    """One client after the other."""

    def __init__(self, gate, seed, stop):
        super().__init__(daemon=True)
        self.gate, self.rng, self.stop = gate, random.Random(seed), stop
        self.done, self.refused, self.wrong = 0, 0, []
        self.doing = "nothing"

    def run(self):
        while not self.stop.is_set():
            try:
                self.one()
            except (Closed, OSError):
                self.refused += 1
            except AssertionError as e:  # from the harness: a login was refused
                self.refused += 1
                if not any(code in str(e) for code in TROUBLE):
                    self.wrong.append(f"{self.doing}: {e}")
            except (Wrong, Deadline) as e:
                self.wrong.append(f"{self.doing}: {e!r}")

    def one(self):
        tenant = self.rng.choice(TENANTS + MOVING)
        self.doing = "login"
        if self.rng.random() < 0.05:
            with Raw(self.gate.port) as raw:  # not even a login
                raw.send(startup_packet(user="app", database="app")[:self.rng.randrange(1, 30)])
                return
        client = Client(self.gate, self.rng, tenant)
        try:
            for _ in range(self.rng.randrange(1, 8)):
                act = self.rng.choice(ACTS)
                self.doing = f"{act.__name__} of tenant {tenant}"
                act(client)
                self.done += 1
            self.doing = "leaving"
            self.rng.choice((client.goodbye, client.vanish, client.vanish, client.raw.close))()
        finally:
            client.raw.close()


def backend(cluster, rng):
    try:
        pids = [pid for pid, *_ in cluster.backends()]
    except psycopg.Error:
        return None
    return rng.choice(pids) if pids else None


def faults(gate, servers, rng, until):
    while time.monotonic() < until:
        shard = servers.shards[rng.choice((1, 2, 3))]
        act = rng.choice(("kill backend", "crash", "freeze", "terminate", "terminate", "reload", "pause",
                          "reconnect", "move", "move", "new address", "limits", "directory"))
        if act == "kill backend":
            pid = backend(shard, rng)
            if pid:
                util.signal_quietly(pid, signal.SIGKILL)  # its postmaster ends all the others and recovers
                shard.wait_ready()
        elif act == "crash":
            shard.kill()
            time.sleep(rng.choice((0, 0.3)))
            shard.start()
        elif act == "freeze":
            shard.pause()
            time.sleep(rng.choice((0.1, 1)))
            shard.resume()
        elif act == "terminate":
            try:
                shard.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                          " where usename = 'app' and random() < 0.5")
            except psycopg.Error:
                pass  # it recovers from an earlier fault
        elif act == "reload":
            gate.reload()
        elif act == "limits":
            gate.set(**{"pool.size": rng.choice((1, POOL, 2 * POOL))})
            gate.reload()
        elif act == "pause":
            number = rng.choice((1, 2, 3))
            try:
                gate.console(f"PAUSE {number}")
            except psycopg.Error:
                pass  # it stays paused, its transactions go on
            time.sleep(rng.choice((0, 0.2)))
            gate.console(f"RESUME {number}")
        elif act == "reconnect":
            gate.console("RECONNECT")
        elif act == "move":
            servers.assign(rng.choice(MOVING), rng.choice((1, 2, 3)))
        elif act == "new address":
            number = rng.choice((1, 2, 3))
            more = rng.choice(("keepalives=1", "keepalives_idle=60", None))
            servers.dsql("update shard_config set connection_string = %s where shard_id = %s",
                         (servers.conninfo(servers.shards[number]) + (f" {more}" if more else ""), number))
        elif act == "directory":
            servers.directory.stop()
            servers.directory.start()
        time.sleep(rng.choice((0, 0.1, 0.4)))


def storm(gate, servers, seconds, seed):
    stop = threading.Event()
    lives = [Life(gate, seed * 100 + i, stop) for i in range(CLIENTS)]
    for life in lives:
        life.start()
    try:
        faults(gate, servers, random.Random(seed), time.monotonic() + seconds)
    finally:
        stop.set()
    for life in lives:
        life.join(PATIENCE + 10)
    assert gate.running(), gate.log()[-6000:]
    hang = [life.doing for life in lives if life.is_alive()]
    assert not hang, f"clients hang: {hang}; {gate.console('SHOW CLIENTS')} {gate.console('SHOW SERVERS')}"
    wrong = [w for life in lives for w in life.wrong]
    assert not wrong, wrong[:6]
    return sum(life.done for life in lives)


def calm(gate, servers):
    """As before the storm: nobody there, nothing open, a full pool can be taken."""
    gate.set(**{"pool.size": POOL})
    gate.reload()
    gate.console("RESUME")
    for tenant in TENANTS:
        util.eventually(lambda: gate.whoami(tenant) == shard_of(tenant), 30)
    util.eventually(lambda: gate.metric("clients") == 0, 30, f"no clients: {gate.console('SHOW CLIENTS')}")
    util.eventually(lambda: all(s["state"] == "idle" for s in gate.console("SHOW SERVERS")), 30,
                    "only idle servers")
    for number, shard in servers.shards.items():
        util.eventually(lambda: not shard.backends("state <> 'idle' and query not like '%%pg_is_in_recovery%%'"), 30,
                        f"nothing runs on shard {number}")
    for tenant in (42, 1042, 2042):
        held = [gate.connect(tenant) for _ in range(POOL)]
        for c in held:
            c.execute("begin")
            assert c.execute("select shard from whoami").fetchone() == (shard_of(tenant),)
        for c in held:
            c.execute("rollback")
            c.close()
    text = gate.log()
    for defect in ('event="session state"', 'event="server state"', "impossible move", "sqlstate=XX"):
        assert defect not in text, text[text.index(defect) - 300:][:1000]


def settled(gate):
    util.eventually(lambda: gate.metric("clients") == 0, 30)
    util.eventually(lambda: not gate.console("SHOW SERVERS"), 40, "idle servers closed")
    time.sleep(0.5)
    return gate.fd_count(), gate.memory_kib()


@pytest.mark.parametrize("mode", ("transaction", "session"))
def test_a_storm(new_gate, whole, mode):
    gate = new_gate(**{**GATE, "pool.mode": mode})
    for tenant in MOVING:
        whole.assign(tenant, 3)
    storm(gate, whole, SECONDS / 3, SEED)
    calm(gate, whole)
    descriptors, memory = settled(gate)
    done = storm(gate, whole, SECONDS * 2 / 3, SEED + 1)
    calm(gate, whole)
    descriptors_after, memory_after = settled(gate)
    assert done > 50
    assert descriptors_after <= descriptors + 4, f"from {descriptors} to {descriptors_after}"
    assert memory_after <= memory + 40000, f"from {memory} to {memory_after} KiB"


@pytest.mark.parametrize("mode, how", (("transaction", signal.SIGINT), ("session", signal.SIGTERM)))
def test_ends_in_a_storm(new_gate, whole, mode, how):
    """Orderly and in time whatever is going on, with nothing left on the shards."""
    gate = new_gate(**{**GATE, "pool.mode": mode, "timeout.shutdown": "500ms"})
    stop = threading.Event()
    lives = [Life(gate, SEED * 1000 + i, stop) for i in range(CLIENTS)]
    for life in lives:
        life.start()
    faults(gate, whole, random.Random(SEED), time.monotonic() + 0.7)
    stop.set()
    begun = time.monotonic()
    gate.stop(how)
    assert time.monotonic() - begun < 15
    for life in lives:
        life.join(PATIENCE + 10)
    wrong = [w for life in lives for w in life.wrong]
    assert not wrong, wrong[:6]
    for number, shard in whole.shards.items():
        util.eventually(lambda: not shard.backends(), 15, f"nobody on shard {number}")


def test_files_that_cannot_grow(new_gate, whole):
    """As with a full disk: the log is cut off, the cache is the old one, clients notice nothing."""
    folder = util.scratch_folder("full")
    log = os.path.join(folder, "log")
    gate = new_gate(**{**GATE, "log.file": log, "log.level": "debug", "log.connections": True,
                       "directory.cache_file": os.path.join(folder, "cache")})
    assert gate.whoami(42) == "USA"
    resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE, (os.path.getsize(log) + 200,) * 2)
    for _ in range(10):
        assert gate.whoami(1042) == "DEU"
    whole.dsql("insert into tenant_shard_map select 100000 + i, 2, 'DEU' from generate_series(1, 2000) i")
    gate.reload()
    util.eventually(lambda: gate.whoami(100001) == "DEU")
    assert os.path.getsize(log) <= resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE)[0]
    gate.stop()


def test_no_descriptors_left(new_gate, servers):
    """Connections that cannot be taken wait; those that are there go on; nothing spins."""
    gate = new_gate(**{**GATE, "timeout.client_login": "20s"})
    with gate.connect(42) as there:
        there.execute("select 1")
        resource.prlimit(gate.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        waiting = [Raw(gate.port) for _ in range(100)]
        util.eventually(lambda: gate.fd_count() >= 63, 10)
        before, begun = gate.cpu_seconds(), time.monotonic()
        assert there.execute("select shard from whoami").fetchone() == ("USA",)
        time.sleep(1)
        assert gate.cpu_seconds() - before < 0.7 * (time.monotonic() - begun)
        for raw in waiting:
            raw.close()
        util.eventually(lambda: gate.whoami(1042) == "DEU", 20)
        assert there.execute("select shard from whoami").fetchone() == ("USA",)


def test_a_frozen_shard_holds_up_no_login_and_no_end(new_gate, servers):
    """More abandoned queries on it than there are threads for blocking work, and SCRAM."""
    options = {**GATE, "pool.size": 24, "auth.type": "scram-sha-256"}
    gate = new_gate(**options)
    left = [gate.connect(1042) for _ in range(24)]
    for c in left:
        c.execute("begin")
        c.execute("select 1")
    servers.shards[2].pause()
    try:
        for c in left:
            c.pgconn.send_query(b"select pg_sleep(10)")
            c.pgconn.flush()
        time.sleep(0.3)
        for c in left:
            c.pgconn.finish()
        for _ in range(5):
            begun = time.monotonic()
            assert gate.whoami(42) == "USA"
            assert time.monotonic() - begun < 5
        begun = time.monotonic()
        gate.stop()
        assert time.monotonic() - begun < 15
    finally:
        servers.shards[2].resume()
