"""What drivers and their pools do that plain queries do not, in both pool modes. Found with psycopg2, psycopg 3,
asyncpg, pg8000, SQLAlchemy, node-postgres, postgres.js, pgx, lib/pq, pgjdbc with HikariCP, and libpq's programs."""
import time

import psycopg
import pytest

from harness import util
from harness.rawpg import Raw, bind, cancel_packet, describe, execute, extended, parse, query, raw_client, sync

GATE = {"auth.type": "trust", "pool.size": 10, "workers": 1}


@pytest.fixture(scope="module", params=("transaction", "session"))
def gate(request, servers):
    from harness.daemon import Gate
    made = Gate(servers, **{**GATE, "pool.mode": request.param})
    request.module.__dict__.setdefault("_gates", []).append(made)
    yield made
    made.stop()


def mode(gate):
    return gate.options["pool.mode"]


def answers(raw, *parts):
    """Rows and SQLSTATEs of one exchange, in order."""
    found = []
    for message in raw.send(*parts, sync()).until_ready():
        if message.kind == "D":
            found.append(message.row()[0])
        elif message.kind == "E":
            found.append(message.code)
    return found


# ---- a kept server runs statements of its own tenant only ----

def test_a_prepared_statement_does_not_run_for_another_tenant(gate):
    """As by psycopg with prepare_threshold=0, or asyncpg: Parse once, then only Bind."""
    with raw_client(gate, 42) as raw:
        assert answers(raw, extended("select shard from whoami", statement="s")) == ["USA"]
        raw.ask("set shardgate.tenant_id = 43")
        assert answers(raw, bind(statement="s"), execute()) == ["USA"]
        raw.ask("set shardgate.tenant_id = 1042")
        assert answers(raw, bind(statement="s"), execute()) == ["SG003"]
        raw.ask("set shardgate.tenant_id = 42")
        assert answers(raw, bind(statement="s"), execute()) == ["USA"]


def test_the_unnamed_statement_does_not_run_for_another_tenant(gate):
    with raw_client(gate, 42) as raw:
        assert answers(raw, parse("select shard from whoami")) == []
        raw.ask("set shardgate.tenant_id = 1042")
        assert answers(raw, bind(), execute()) in (["SG003"], ["26000"])


def test_a_prepared_statement_needs_a_tenant(gate):
    with raw_client(gate) as raw:
        raw.ask("set shardgate.tenant_id = 42")
        assert answers(raw, extended("select shard from whoami", statement="s")) == ["USA"]
        raw.ask("reset shardgate.tenant_id")
        assert answers(raw, bind(statement="s"), execute()) == ["SG001"]


def test_a_prepared_statement_that_names_its_tenant(gate):
    with raw_client(gate) as raw:
        assert answers(raw, extended("select shard from whoami /* tenant_id=42 */", statement="s")) == ["USA"]
        assert answers(raw, bind(statement="s"), execute()) == ["USA"]


@pytest.mark.parametrize("again", ("prepared", "simple"))
def test_a_tenant_that_moves_takes_its_sessions_with_it(gate, whole, again):
    """A session that is bound to the old shard ends; its transaction may end first."""
    servers = whole
    with raw_client(gate, 42) as raw:
        assert answers(raw, extended("select shard from whoami", statement="s")) == ["USA"]
        raw.ask("begin")
        servers.assign(42, 2)
        util.eventually(lambda: gate.whoami(42) == "DEU")
        assert raw.ask("select shard from whoami") == [["USA"]]
        raw.ask("commit")
        raw.send(*(bind(statement="s"), execute(), sync()) if again == "prepared" else (query("select 1"),))
        raw.expect_error("57P01", closed=True)


# ---- DISCARD ALL and RESET ALL, as pools send them ----

def by_simple(raw, sql):
    assert [m.code for m in raw.send(query(sql)).until_ready() if m.kind == "E"] == []


def by_extended(raw, sql):
    assert answers(raw, extended(sql)) == []


def by_name(raw, sql):
    assert answers(raw, extended(sql, statement=sql)) == []


@pytest.mark.parametrize("how", (by_simple, by_extended, by_name))
@pytest.mark.parametrize("sql", ("discard all", "reset all"))
def test_the_tenant_does_not_outlive_a_reset(gate, how, sql):
    """Whoever gets the connection from its pool next must not be the last one's tenant."""
    with raw_client(gate) as raw:
        raw.ask("set shardgate.tenant_id = 42")
        raw.ask("create temp table kept (x int)")
        how(raw, sql)
        assert raw.ask("show shardgate.tenant_id") == [[""]]
        assert answers(raw, extended("select shard from whoami")) == ["SG001"]


@pytest.mark.parametrize("how", (by_simple, by_extended, by_name))
def test_discard_all_ends_what_keeps_a_server(gate, servers, how):
    with raw_client(gate, 42) as raw:
        raw.ask("create temp table kept (x int)")
        raw.ask("listen kept")
        how(raw, "discard all")
        if mode(gate) == "transaction":
            util.eventually(lambda: gate.console("show clients") and
                            not [c for c in gate.console("show clients") if c["pinned"]])
        assert raw.ask("select to_regclass('kept')") == [[None]]


# ---- application_name ----

@pytest.mark.parametrize("name", (None, "mine"))
@pytest.mark.parametrize("sql", ("discard all", "reset all", "reset application_name",
                                 "set application_name to default"))
@pytest.mark.parametrize("keep", (False, True))
def test_application_name_goes_back_to_the_clients_own(gate, name, sql, keep):
    given = {"application_name": name} if name else {}
    with raw_client(gate, 42, **given) as raw:
        assert raw.parameters["application_name"] == (name or "")
        if keep:
            raw.ask("listen something")
        raw.ask("set application_name = 'other'")
        assert raw.ask("show application_name") == [["other"]]
        got = raw.send(query(sql)).until_ready()
        assert ["application_name", name or ""] in [m.strings() for m in got if m.kind == "S"]
        assert raw.ask("show application_name") == [[name or ""]]
        assert raw.ask("select application_name from pg_stat_activity where pid = pg_backend_pid()") == [[name or ""]]


# ---- cancel ----

def cancel(gate, raw):
    """As drivers do: the request is through when its connection closes."""
    with Raw(gate.port) as other:
        other.send(cancel_packet(*raw.key)).expect_close()


def test_a_cancel_strikes_nothing_that_is_sent_after_it(gate):
    """PostgreSQL signals a backend twice: the second one must not find the next statement."""
    with raw_client(gate, 42) as raw:
        raw.ask("listen keeps_the_server")
        for _ in range(25):
            raw.send(query("select pg_sleep(20)"))
            time.sleep(0.01)
            cancel(gate, raw)
            assert [m.code for m in raw.until_ready() if m.kind == "E"] == ["57014"]
            assert raw.ask("select count(*) from generate_series(1, 30000)") == [["30000"]]


def test_a_cancel_that_comes_too_late(gate):
    with raw_client(gate, 42) as raw:
        raw.ask("listen keeps_the_server")
        for _ in range(25):
            raw.send(query("select 1"))
            cancel(gate, raw)
            raw.send(query("select count(*) from generate_series(1, 30000)"))
            raw.until_ready()
            assert [m.code for m in raw.until_ready() if m.kind == "E"] == []


# ---- as PostgreSQL says it ----

def test_transaction_control_out_of_place_is_a_warning(gate):
    with gate.connect(42) as c:
        told = []
        c.add_notice_handler(lambda d: told.append((d.severity, d.severity_nonlocalized, d.sqlstate)))
        for sql in ("begin", "begin", "commit", "commit", "rollback"):
            c.execute(sql)
        assert told == [("WARNING", "WARNING", state) for state in ("25001", "25P01", "25P01")]


@pytest.mark.parametrize("ssl, ok", (("disable", True), ("allow", True), ("prefer", True), ("require", False)))
def test_sslmode(gate, ssl, ok):
    """TLS is refused by its answer to SSLRequest; whoever requires it is told so by libpq."""
    for gss in ("disable", "prefer"):
        done = util.run(["psql", "-X", "-A", "-t", "-c", "select shard from whoami", f"sslmode={ssl} gssencmode={gss}"],
                        env=gate.environment(42), check=False)
        assert (done.stdout.strip() == "USA") == ok
        assert ok or "server does not support SSL, but SSL was required" in done.stderr


@pytest.mark.parametrize("wanted, ok", (("any", True), ("read-write", True), ("primary", True), ("prefer-standby", True),
                                        ("read-only", False), ("standby", False)))
def test_target_session_attrs(gate, wanted, ok):
    done = util.run(["psql", "-X", "-A", "-t", "-c", "select shard from whoami", f"target_session_attrs={wanted}"],
                    env=gate.environment(42), check=False)
    assert (done.stdout.strip() == "USA") == ok, done.stderr


def test_several_hosts(gate):
    with gate.connect(42, host="127.0.0.1,127.0.0.1", port=f"1,{gate.port}", target_session_attrs="read-write") as c:
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


# ---- what drivers do ----

def test_a_batch_with_its_own_transaction(gate):
    """One write, one Sync: BEGIN … COMMIT in the extended protocol, as by pgx and psycopg's pipelines."""
    with raw_client(gate, 42) as raw:
        raw.send(extended("begin"), extended("insert into scratch values (42, $1, 'batch')", (1,)),
                 extended("select shard from whoami"), extended("commit"), extended("select count(*) from scratch"), sync())
        got = raw.until_ready()
        assert [m.row()[0] for m in got if m.kind == "D"] == ["USA", "1"] and got[-1].body == b"I"
        raw.send(extended("begin"), extended("delete from scratch"), extended("select 1/0"), extended("commit"), sync())
        got = raw.until_ready()
        assert [m.code for m in got if m.kind == "E"] == ["22012"] and got[-1].body == b"E"
        raw.ask("rollback")
        raw.ask("delete from scratch")


def test_cursor_by_portal(gate):
    """As JDBC with a fetch size and pg-cursor do: Execute with a limit, Flush, Execute again."""
    with raw_client(gate, 42) as raw:
        raw.send(parse("begin"), bind(), execute(), parse("select i from generate_series(1, 25) i", "q"),
                 bind(statement="q", portal="p"), describe("P", "p"), execute("p", 10), sync())
        assert [m.kind for m in raw.until_ready()].count("D") == 10
        for rows in (10, 5):
            assert [m.kind for m in raw.send(execute("p", 10), sync()).until_ready()].count("D") == rows
        raw.ask("commit")


def test_isolation_read_only_and_deferrable(gate):
    for level in psycopg.IsolationLevel:
        with gate.connect(42, autocommit=False) as c:
            c.isolation_level, c.read_only, c.deferrable = level, True, True
            c.execute("select 1")
            assert c.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only'),"
                             " current_setting('transaction_deferrable')").fetchone() == (
                                 level.name.replace("_", " ").lower(), "on", "on")


def test_large_objects(gate):
    with gate.connect(42, autocommit=False) as c:
        oid = c.execute("select lo_create(0)").fetchone()[0]
        fd = c.execute("select lo_open(%s, 393216)", (oid,)).fetchone()[0]
        c.execute("select lowrite(%s, %s)", (fd, b"x" * 100000))
        c.execute("select lo_lseek(%s, 0, 0)", (fd,))
        assert len(c.execute("select loread(%s, 200000)", (fd,)).fetchone()[0]) == 100000
        c.rollback()


def test_a_cursor_with_hold_outlives_its_transaction(gate):
    with gate.connect(42) as c:
        with c.cursor("held", withhold=True) as cursor:
            cursor.execute("select i from generate_series(1, 100) i")
            assert len(cursor.fetchmany(10)) == 10
            c.execute("select 1")
            assert cursor.fetchone() == (11,)


def test_pg_restore(gate, tmp_path):
    """pg_dump and pg_restore, both parallel: a snapshot is shared between sessions of one shard."""
    env = gate.environment(42)
    gate.psql("create schema dumped; create table dumped.t (id serial primary key, note text);"
              "insert into dumped.t (note) select 'row ' || i from generate_series(1, 1000) i", 42)
    folder = str(tmp_path / "dump")
    util.run(["pg_dump", "-F", "d", "-j", "2", "-n", "dumped", "-f", folder], env=env)
    gate.psql("drop schema dumped cascade", 42)
    util.run(["pg_restore", "-d", "app", "-j", "2", "--no-owner", folder], env=env)
    assert gate.psql("select count(*), max(id) from dumped.t", 42).stdout.strip() == "1000|1000"
    gate.psql("drop schema dumped cascade", 42)


def test_pg_basebackup(gate):
    folder = util.scratch_folder("base")
    util.run(["pg_basebackup", "-D", f"{folder}/b", "-X", "stream", "-c", "fast"], env=gate.environment(1042))
    assert util.run(["cat", f"{folder}/b/PG_VERSION"]).stdout.strip() == "15"


def test_psql_commands(gate):
    script = """
        select 1 as a, 'x' as b \\gset
        select :a + 41 as sum, :'b' as b \\gx
        select 'select 7 as seven' \\gexec
        \\set FETCH_COUNT 10
        select count(*) from (select generate_series(1, 35)) s;
        \\set ON_ERROR_ROLLBACK on
        begin;
        select 1/0;
        select 'still here';
        rollback;
        \\copy scratch from program 'printf "42\\t1\\tcopied\\n"'
        \\copy (select note from scratch where tenant_id = 42) to program 'cat'
        delete from scratch;
        \\connect app
        select shard from whoami;
    """
    done = util.run(["psql", "-X", "-q", "-A", "-t"], input=script, env=gate.environment(42))
    assert done.stdout.split() == ["sum|42", "b|x", "7", "35", "still", "here", "copied", "USA"], done.stdout
    assert done.stderr.strip() == "ERROR:  division by zero"
