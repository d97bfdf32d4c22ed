"""Session mode: as if there were nothing between the client and its server."""
import os
import signal
import subprocess

import psycopg
import pytest

from harness import util
from harness.rawpg import Raw, query, raw_client, startup_packet
from harness.servers import CLIENT_PASSWORD

GATE = {"pool.mode": "session", "pool.size": 10, "workers": 1, "server.lifetime": "1h"}


@pytest.fixture(scope="module")
def trusted(request, servers):
    from harness.daemon import Gate
    made = Gate(servers, **{**GATE, "auth.type": "trust"})
    request.module.__dict__.setdefault("_gates", []).append(made)
    yield made
    made.stop()


def test_the_backend_pid_is_the_servers(gate):
    with gate.connect(1042) as c:
        assert c.info.backend_pid == c.execute("select pg_backend_pid()").fetchone()[0]


def test_notify_carries_that_pid(gate):
    with gate.connect(42) as listener, gate.connect(42) as speaker:
        notes = []
        listener.add_notify_handler(notes.append)
        listener.execute("listen news")
        speaker.execute("notify news, 'hello'")
        util.eventually(lambda: listener.execute("select 1") and notes)
        assert notes[0].payload == "hello" and notes[0].pid == speaker.info.backend_pid


def test_startup_options_are_startup_values(gate):
    with gate.connect(42, options="-c work_mem=7MB -c datestyle=German", application_name="theirs") as c:
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        assert c.execute("show application_name").fetchone() == ("theirs",)
        assert c.info.parameter_status("DateStyle") == "German, DMY"
        c.execute("set work_mem = '9MB'")
        c.execute("set application_name = 'changed'")
        c.execute("reset work_mem")
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        c.execute("reset all")
        assert c.execute("show application_name").fetchone() == ("theirs",)
        assert c.execute("show datestyle").fetchone() == ("German, DMY",)
        c.execute("set work_mem = '9MB'")
        c.execute("discard all")
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        source = c.execute("select source from pg_settings where name = 'work_mem'").fetchone()[0]
        assert source == "client"


def test_startup_values_do_not_stay_for_the_next(gate):
    with gate.connect(42, options="-c work_mem=7MB"):
        pass
    for _ in range(5):
        with gate.connect(42) as c:
            assert c.execute("show work_mem").fetchone() == ("4MB",)


def test_startup_parameters_that_the_server_refuses(gate):
    with pytest.raises(psycopg.OperationalError) as caught:
        with gate.connect(42, options="-c work_mem=lots") as c:
            c.execute("select 1")
    assert "work_mem" in str(caught.value)
    assert gate.whoami(42) == "USA"


def test_parameter_status_is_the_servers_own(trusted, servers):
    direct = psycopg.connect(servers.conninfo(servers.shards[1]))
    with raw_client(trusted, 42, timezone="europe/berlin", datestyle="sql") as raw:
        with Raw(servers.shards[1].port, servers.root).login(
                user=servers.shards[1].superuser, database="app", timezone="europe/berlin",
                datestyle="sql") as straight:
            differ = {"session_authorization", "is_superuser", "application_name"}
            assert {k: v for k, v in raw.parameters.items() if k not in differ} == \
                {k: v for k, v in straight.parameters.items() if k not in differ}
    for name in ("server_version", "TimeZone", "client_encoding", "integer_datetimes"):
        with trusted.connect(42) as c:
            assert c.info.parameter_status(name) == direct.info.parameter_status(name)
    direct.close()


def test_parameter_status_follows_set(trusted):
    with raw_client(trusted, 42) as raw:
        got = raw.send(query("set timezone = 'Asia/Singapore'")).until_ready()
        assert [m.strings() for m in got if m.kind == "S"] == [["TimeZone", "Asia/Singapore"]]


def test_temp_tables_locks_and_prepared_statements_live_with_the_session(gate):
    with gate.connect(42) as c:
        c.execute("create temp table mine (x int)")
        c.execute("insert into mine values (1), (2)")
        c.execute("select pg_advisory_lock(4711)")
        c.execute("prepare double as select $1::int * 2")
        c.execute("declare held cursor with hold for select i from generate_series(1, 3) i")
        assert c.execute("select count(*) from mine").fetchone() == (2,)
        assert c.execute("execute double(21)").fetchone() == (42,)
        assert c.execute("fetch 2 from held").fetchall() == [(1,), (2,)]


def test_the_next_client_finds_a_clean_session(gate):
    """One server in the pool: whoever comes next gets what the first has left."""
    with gate.connect(43) as c:
        pid = c.info.backend_pid
        c.execute("create temp table left_over (x int)")
        c.execute("select pg_advisory_lock(4712)")
        c.execute("prepare left_statement as select 1")
        c.execute("listen left_channel")
        c.execute("set search_path = pg_catalog")

    def again():
        with gate.connect(43) as d:
            if d.info.backend_pid != pid:
                return False
            assert d.execute("select to_regclass('left_over')").fetchone() == (None,)
            assert d.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == (0,)
            assert d.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
            assert d.execute("select count(*) from pg_listening_channels()").fetchone() == (0,)
            assert d.execute("show search_path").fetchone() == ('"$user", public',)
            return True
    util.eventually(again, what="reuse of the server connection")


def test_a_transaction_left_open_is_rolled_back(gate, servers):
    with gate.connect(42) as c:
        c.execute("begin")
        c.execute("insert into scratch values (42, 1, 'abandoned')")
        c.pgconn.finish()
    util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))
    with gate.connect(42) as c:
        assert c.execute("select count(*) from scratch where note = 'abandoned'").fetchone() == (0,)


def test_the_tenant_is_the_sessions(gate):
    """SET to another shard's tenant would leave the server behind: refused; same shard is fine."""
    with gate.connect(42) as c:
        c.execute("set shardgate.tenant_id = 43")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_listen_and_notify_without_asking(trusted):
    """A notification arrives while the client is silent."""
    with raw_client(trusted, 42) as listener, trusted.connect(42) as speaker:
        listener.ask("listen quiet")
        speaker.execute("notify quiet, 'psst'")
        (message,) = listener.expect("A")
        assert b"quiet\0psst\0" in message.body


@pytest.mark.parametrize("value", ("database", "true"))
def test_replication_connections(gate, value):
    with gate.connect(1042) as c:
        system = c.execute("select system_identifier::text from pg_control_system()").fetchone()[0]
    env = gate.environment(1042)
    done = util.run(["psql", "-X", "-A", "-t", f"dbname=app replication={value}", "-c", "IDENTIFY_SYSTEM"], env=env)
    assert done.stdout.split("|")[0] == system, done.stdout
    assert done.stdout.count("|") == 3


def test_pg_receivewal(gate, servers):
    folder = util.scratch_folder("wal")
    process = util.spawn(["pg_receivewal", "-D", folder, "--no-loop", "-v"], env=gate.environment(2042),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def streamed():
        servers.shards[3].sql("select pg_switch_wal()")
        servers.shards[3].sql("insert into scratch select 0, i, repeat('w', 500) from generate_series(1, 2000) i")
        return any(not name.endswith(".partial") for name in os.listdir(folder))
    util.eventually(streamed, 40)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, process.stdout.read()
    servers.shards[3].sql("truncate scratch")


def test_replication_connections_are_not_pooled(gate, servers):
    env = gate.environment(1042)
    util.run(["psql", "-X", "-A", "-t", "dbname=app replication=database", "-c", "IDENTIFY_SYSTEM"], env=env)
    util.eventually(lambda: not servers.shards[2].sql(
        "select 1 from pg_stat_activity where backend_type = 'walsender'"))
    assert gate.whoami(1042) == "DEU"


def test_copy_both_of_logical_replication(new_gate, servers):
    """START_REPLICATION switches to COPY in both directions."""
    servers.shards[3].restart(wal_level="logical")
    gate = new_gate(**GATE)
    servers.shards[3].sql("select pg_create_logical_replication_slot('s', 'test_decoding')")
    try:
        process = util.spawn(["pg_recvlogical", "-d", "app", "--slot", "s", "--start", "-f", "-", "--no-loop"],
                             env=gate.environment(2042), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        servers.shards[3].sql("insert into scratch values (2042, 1, 'decoded row')")
        lines = []
        while not any("decoded row" in line for line in lines):
            line = process.stdout.readline()
            assert line, lines
            lines.append(line)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        util.eventually(lambda: servers.shards[3].sql(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active") is not None
            and not servers.shards[3].sql("select 1 from pg_replication_slots"))
        servers.shards[3].restart(wal_level="replica")


def test_replication_in_transaction_mode_too(new_gate):
    gate = new_gate(**{"pool.mode": "transaction"})
    done = util.run(["psql", "-X", "-A", "-t", "dbname=app replication=database", "-c", "IDENTIFY_SYSTEM"],
                    env=gate.environment(42))
    assert done.stdout.count("|") == 3


def test_a_database_may_have_its_own_mode(new_gate):
    gate = new_gate(databases=[{"name": "app", "pool_mode": "session"}], **{"pool.mode": "transaction"})
    with gate.connect(42) as c:
        assert c.info.backend_pid == c.execute("select pg_backend_pid()").fetchone()[0]


def test_refused_before_the_login_ends(gate):
    """No shard, no session: the tenant must be known at the startup."""
    for tenant, text in ((None, "a tenant is required"), (9999, "not in the shard map")):
        with pytest.raises(psycopg.Error) as caught:
            with gate.connect(tenant) as c:
                c.execute("select shard from whoami")
        assert text in str(caught.value)


def test_a_shard_that_ends_the_session(trusted, servers):
    with raw_client(trusted, 1042) as raw:
        pid = raw.ask("select pg_backend_pid()")[0][0]
        servers.shards[2].sql(f"select pg_terminate_backend({pid})")
        message = raw.read()
        assert message.kind == "E" and message.code in ("57P01", "08006"), message
        raw.expect_close()
    assert trusted.whoami(1042) == "DEU"


def test_plain_password_user(gate):
    assert gate.whoami(42, password=CLIENT_PASSWORD) == "USA"
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app", options="-c shardgate.tenant_id=42"))
        assert raw.read().kind == "R"
