"""Every row of the error table that a client can provoke: SQLSTATE, severity, message, hint."""
import os
import re
import signal

import pytest

from harness import util
from harness.rawpg import (Closed, Raw, bind, cancel_packet, describe, execute, msg, parse, query, raw_client, startup_packet,
                           sync)

TRUST = {"auth.type": "trust", "directory.negative_ttl": "100ms"}
GATE = {**TRUST, "users": [{"name": "app"}, {"name": "admin"}, {"name": "stats"},
                           {"name": "limited", "tenants": ["1-50"]}]}


def table():
    """errors.def as the daemon has it: name -> (sqlstate, severity, message, hint)."""
    with open(os.path.join(util.SOURCE, "include/shardgate/errors.def")) as f:
        text = f.read()
    string = r'"((?:[^"\\]|\\.)*)"'
    found = {}
    for m in re.finditer(rf"^ERR\((\w+),\s*{string},\s*(\w+),\s*{string},\s*{string}\)", text, re.M):
        found[m.group(1)] = tuple(g.replace('\\"', '"') for g in m.group(2, 3, 4, 5))
    return found


TABLE = table()


def check(name, fields, message=None, hint=None, sqlstate=None):
    """Code, severity, message and hint of the row, but for what is told more precisely: `message` (a text, or a
    pattern that must match whole), `hint` and `sqlstate` take the place of the row's."""
    row_sqlstate, severity, row_message, row_hint = TABLE[name]
    assert fields["C"] == (sqlstate or row_sqlstate), fields
    assert fields["S"] == fields["V"] == severity, fields
    if isinstance(message, re.Pattern):
        assert message.fullmatch(fields["M"]), fields
    else:
        assert fields["M"] == (message or row_message), fields
    assert fields.get("H", "") == (row_hint if hint is None else hint), fields


def error_of(raw, *parts, timeout=20):
    raw.send(*parts)
    while True:
        message = raw.read(timeout)
        if message.kind == "E":
            return message.fields()
        assert message.kind != "Z", "no error"


def startup_error(gate, timeout=20, **params):
    with Raw(gate.port) as raw:
        return error_of(raw, startup_packet(**params), timeout=timeout)


LOOK = query("select shard from whoami")


def test_the_table_was_read():
    assert len(TABLE) > 40 and TABLE["TENANT_REQUIRED"][0] == "SG001"


# Rows that nothing from outside can provoke, and why.
EXEMPT = {
    "OUT_OF_MEMORY": "memory would have to run out; the flow tests do it with an allocator that refuses",
    "INTERNAL": "stands for a fault of shardgate itself or of a library",
}


def test_every_row_is_tested():
    """A new row of errors.def comes with a test here, or with a reason."""
    with open(__file__) as f:
        tested = set(re.findall(r'\bcheck\(\s*"(\w+)"', f.read()))
    assert tested <= set(TABLE), tested - set(TABLE)
    assert not tested & set(EXEMPT) and set(EXEMPT) <= set(TABLE)
    assert not set(TABLE) - tested - set(EXEMPT), set(TABLE) - tested - set(EXEMPT)


def test_routing(gate, whole):
    with raw_client(gate) as raw:
        check("TENANT_REQUIRED", error_of(raw, LOOK))
        raw.until_ready()
        check("TENANT_REQUIRED", error_of(raw, parse("select shard from whoami"), bind(), execute(), sync()))
        raw.until_ready()
        raw.send(query("set shardgate.tenant_id = 9999")).until_ready()
        check("TENANT_UNKNOWN", error_of(raw, LOOK))
        raw.until_ready()
        check("INVALID_TENANT", error_of(raw, query("set shardgate.tenant_id = 'x'")))
        raw.until_ready()
        raw.send(query("reset shardgate.tenant_id")).until_ready()
        raw.send(query("begin")).until_ready()
        raw.send(query("/* tenant_id=42 */ select 1")).until_ready()
        check("TENANT_SEVERAL", error_of(raw, query("/* tenant_id=42 */ select 1 /* tenant_id=43 */")))
        assert raw.until_ready()[-1].body == b"E"
        check("IN_FAILED_TRANSACTION", error_of(raw, query("select 1")))
        raw.until_ready()
        raw.send(query("rollback")).until_ready()
    with raw_client(gate, user="limited") as raw:
        check("TENANT_FORBIDDEN", error_of(raw, query("/* tenant_id=1042 */ select 1")))
    whole.dsql("update shard_config set is_active = false where shard_id = 3")

    def inactive():
        with raw_client(gate, 2042) as raw:
            check("SHARD_INACTIVE", error_of(raw, LOOK))
            return True
    util.eventually(inactive)


def test_conflict(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "tenant.sources": ["startup", "user", "set", "comment"]})
    check("TENANT_CONFLICT", {**startup_error(gate, user="app.42", database="app", shardgate__tenant_id="43"),
                              "S": "ERROR", "V": "ERROR"})  # at startup any error is FATAL
    with Raw(gate.port) as raw:
        raw.login(user="app.42", database="app")
        check("TENANT_CONFLICT", error_of(raw, query("/* tenant_id=43 */ select 1")))
        raw.until_ready()
        check("TENANT_CONFLICT", error_of(raw, query("set shardgate.tenant_id = 43")))


def test_startup(gate):
    check("NO_USER", startup_error(gate, database="app"))
    with Raw(gate.port) as raw:
        check("PROTOCOL_VERSION", error_of(raw, startup_packet(0x00040000, user="app")))
    fields = startup_error(gate, user="app", database="shardgate")
    check("AUTH_NOT_ALLOWED", fields)
    check("INVALID_PARAMETER", startup_error(gate, user="app", database="app", options="-Z"))
    check("AUTH_FAILED", startup_error(gate, user="nobody", database="app"))


def test_protocol(gate):
    with raw_client(gate, 42) as raw:
        check("PROTOCOL", error_of(raw, msg("z")))
        raw.expect_close()


def test_shards(gate, servers):
    with raw_client(gate, 1042) as raw:
        raw.ask("begin")
        raw.ask("select 1")
        servers.shards[2].kill()
        try:
            check("SERVER_LOST", error_of(raw, query("select 1")))

            def unreachable():
                with raw_client(gate, 1042) as other:
                    check("SHARD_UNREACHABLE", error_of(other, LOOK))
                    return True
            util.eventually(unreachable)
        finally:
            servers.shards[2].start()
    util.eventually(lambda: gate.whoami(1042) == "DEU")


def test_map_not_loaded(new_gate, servers):
    servers.directory.stop()
    try:
        gate = new_gate(ready=False, users=GATE["users"], **TRUST)
        gate.wait_listening()

        def not_loaded():
            with Raw(gate.port) as raw:
                raw.login(user="app", database="app", shardgate__tenant_id="42")
                check("MAP_NOT_LOADED", error_of(raw, LOOK))
                return True
        util.eventually(not_loaded)
    finally:
        servers.directory.start()


def test_queue(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "pool.size": 1, "timeout.query_wait": "300ms"})
    with raw_client(gate, 42) as busy, raw_client(gate, 42) as raw:
        busy.ask("begin")
        busy.ask("select 1")
        check("QUEUE_TIMEOUT", error_of(raw, LOOK))
        assert raw.until_ready()[-1].body == b"I"
        busy.ask("commit")
        assert raw.ask("select shard from whoami") == [["USA"]]
        gate.console("PAUSE")
        check("POOL_PAUSED_TIMEOUT", error_of(raw, LOOK))
        raw.until_ready()
        gate.console("RESUME")
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_client_limits(new_gate):
    gate = new_gate(users=[{"name": "app", "max_clients": 2}, {"name": "admin"}, {"name": "other"}],
                    **{**TRUST, "limits.max_clients_per_address": 4, "limits.max_clients_per_user": 3})
    with raw_client(gate, 42), raw_client(gate, 42):
        check("TOO_MANY_USER_CLIENTS", startup_error(gate, user="app", database="app"))
        with raw_client(gate, 42, user="other"), raw_client(gate, 42, user="other"):
            check("TOO_MANY_ADDRESS_CLIENTS", startup_error(gate, user="admin", database="shardgate"))
    gate = new_gate(users=GATE["users"], **{**TRUST, "limits.max_clients": 2})
    with raw_client(gate, 42), raw_client(gate, 42):
        check("TOO_MANY_CLIENTS", startup_error(gate, user="app", database="app"))


def test_timeouts(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "timeout.idle_in_transaction": "300ms", "timeout.query": "500ms",
                                            "timeout.client_idle": "1500ms", "timeout.client_login": "400ms"})
    with raw_client(gate, 42) as raw:
        check("QUERY_TIMEOUT", error_of(raw, query("select pg_sleep(30)")))
        raw.expect_close()
    with raw_client(gate, 42) as raw:
        raw.ask("begin")
        raw.ask("select 1")
        check("IDLE_IN_TRANSACTION", error_of(raw))
        raw.expect_close()
    with raw_client(gate, 42) as raw:
        raw.ask("select 1")
        check("CLIENT_IDLE", error_of(raw))
        raw.expect_close()
    with Raw(gate.port) as raw:
        check("LOGIN_TIMEOUT", error_of(raw))
        raw.expect_close()


def test_cancel(gate, servers):
    with raw_client(gate, 42) as raw:
        raw.send(query("select pg_sleep(30)"))
        util.eventually(lambda: servers.shards[1].backends("query like '%pg_sleep(30)%' and state = 'active'"))
        with Raw(gate.port) as other:
            other.send(cancel_packet(*raw.key))
            other.expect_close()
        assert raw.expect_error("57014").fields()["S"] == "ERROR"
        raw.until_ready()


def test_cancel_of_a_client_in_the_queue(new_gate):
    """Nothing runs on a server yet: shardgate itself cancels the wait."""
    gate = new_gate(users=GATE["users"], **{**TRUST, "pool.size": 1, "timeout.query_wait": "20s"})
    with raw_client(gate, 42) as busy, raw_client(gate, 42) as raw:
        busy.ask("begin")
        busy.ask("select 1")
        raw.send(LOOK)
        util.eventually(lambda: gate.metric("clients_waiting") == 1)
        with Raw(gate.port) as other:
            other.send(cancel_packet(*raw.key))
            other.expect_close()
        check("CANCELED", error_of(raw))
        raw.until_ready()
        busy.ask("commit")
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_statement_too_large(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "limits.max_statement_size": "4kB"})
    with raw_client(gate, 42) as raw:
        check("STATEMENT_TOO_LARGE", error_of(raw, query("select '" + "x" * 5000 + "'")))


def test_console(gate, whole):
    with raw_client(gate, user="admin", database="shardgate") as raw:
        check("SYNTAX", error_of(raw, query("FROBNICATE")))
        raw.until_ready()
        check("NOT_FOUND", error_of(raw, query("KILL 999999999")), hint="SHOW CLIENTS lists them.")
        raw.until_ready()
        good = open(gate.path).read()
        gate.write("listen: [\n")
        check("CONFIG", error_of(raw, query("RELOAD"), timeout=30))
        raw.until_ready()
        gate.write(good)
        saved = whole.dsql("select connection_string from shard_config where shard_id = 2")[0][0]
        whole.dsql("update shard_config set connection_string = 'nonsense=1' where shard_id = 2")
        check("MAP_INVALID", error_of(raw, query("RELOAD"), timeout=30))
        raw.until_ready()
        whole.dsql("update shard_config set connection_string = %s where shard_id = 2", (saved,))
        whole.directory.stop()
        try:
            check("DIRECTORY", error_of(raw, query("RELOAD"), timeout=30))
            raw.until_ready()
        finally:
            whole.directory.start()
        util.eventually(lambda: not raw.send(query("RELOAD")).kinds_until_ready(30).startswith("E"))
    with raw_client(gate, user="stats", database="shardgate") as raw:
        check("NOT_PERMITTED", error_of(raw, query("RELOAD")))


def test_killed(gate):
    with raw_client(gate, 42, application_name="victim") as raw:
        raw.ask("select 1")
        (row,) = [r for r in gate.console("SHOW CLIENTS") if "victim" in r.values()]
        gate.console(f"KILL {row['id']}")
        check("KILLED", error_of(raw))
        raw.expect_close()


def test_shutting_down(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "timeout.shutdown": "20s"})
    with raw_client(gate, 42) as busy, raw_client(gate, 42) as idle:
        busy.ask("begin")
        busy.ask("select 1")
        gate.send_signal(signal.SIGTERM)
        check("SHUTTING_DOWN", error_of(idle))
        idle.expect_close()
        try:
            check("SHUTTING_DOWN", startup_error(gate, user="app", database="app"))
        except (Closed, ConnectionError):
            pass  # it may have closed the door already
        busy.ask("commit")
        check("SHUTTING_DOWN", error_of(busy))
    assert gate.wait_exit(15) == 0


def test_unknown_database(new_gate, whole):
    """Where the connection string names no database, the client's goes to the shard, which knows."""
    whole.dsql("update shard_config set connection_string = %s where shard_id = 1",
               (whole.conninfo(whole.shards[1], dbname=None),))
    gate = new_gate(users=GATE["users"], **TRUST)
    with raw_client(gate, 42, database="nosuch") as raw:
        fields = error_of(raw, LOOK)
        assert (fields["C"], fields["S"]) == ("3D000", "ERROR"), fields
        assert fields["M"] == 'database "nosuch" does not exist', fields
        assert fields["H"] == "The shard's PostgreSQL refused the connection with this error.", fields
        raw.until_ready()
    assert gate.whoami(42, dbname="app") == "USA"


def test_a_database_that_is_not_listed(new_gate):
    gate = new_gate(users=GATE["users"], databases=[{"name": "app"}], **TRUST)
    check("NO_DATABASE", startup_error(gate, user="app", database="nosuch"))
    assert gate.whoami(42) == "USA"


def test_a_tenant_command_behind_another_statement(gate):
    with raw_client(gate, 42) as raw:
        check("UNSUPPORTED", error_of(raw, query("select 1; set shardgate.tenant_id = 1042")),
              message="a tenant command must come before the other statements of a query")
        assert raw.until_ready()[-1].body == b"I"
        check("UNSUPPORTED", error_of(raw, parse("select 1; set shardgate.tenant_id = 1042"), sync()))
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_pause_with_an_open_transaction(new_gate):
    gate = new_gate(users=GATE["users"], **{**TRUST, "timeout.query_wait": "500ms"})
    with raw_client(gate, 42) as busy, raw_client(gate, user="admin", database="shardgate") as console:
        busy.ask("begin")
        busy.ask("select 1")
        fields = error_of(console, query("PAUSE"))
        check("PAUSE_INCOMPLETE", fields)
        assert fields["D"] == "1 server connections are in use.", fields
        console.until_ready()
        busy.ask("commit")
        console.ask("RESUME")
        assert busy.ask("select shard from whoami") == [["USA"]]


def test_statements_and_portals_that_do_not_exist(gate):
    with raw_client(gate, 42) as raw:
        for name, message in (("nosuch", 'prepared statement "nosuch" does not exist'),
                              ("", "unnamed prepared statement does not exist")):
            check("NO_STATEMENT", error_of(raw, bind(statement=name), sync()), message=message)
            raw.until_ready()
            check("NO_STATEMENT", error_of(raw, describe("S", name), sync()), message=message)
            raw.until_ready()
        for name, message in (("nosuch", 'portal "nosuch" does not exist'), ("", "unnamed portal does not exist")):
            check("NO_PORTAL", error_of(raw, execute(name), sync()), message=message)
            raw.until_ready()
            check("NO_PORTAL", error_of(raw, describe("P", name), sync()), message=message)
            raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]
    with raw_client(gate, user="admin", database="shardgate") as raw:
        check("NO_STATEMENT", error_of(raw, bind(statement="nosuch"), sync()))
        raw.until_ready()
        check("NO_PORTAL", error_of(raw, execute("nosuch"), sync()))
        raw.until_ready()


@pytest.mark.parametrize("hot_standby", ("on", "off"))
def test_a_shard_in_recovery(new_gate, servers, hot_standby):
    """A standby where the primary is meant: one that would take connections, and one that takes none yet."""
    cluster = servers.shards[2]
    standby = os.path.join(cluster.data, "standby.signal")
    cluster.stop()
    open(standby, "w").close()
    util.own_by_postgres(standby)
    cluster.start(wait=False, hot_standby=hot_standby)
    own = re.compile("the database system is (starting up|not (yet )?accepting connections)")
    try:
        gate = new_gate(users=GATE["users"], **TRUST)

        def starting():
            with raw_client(gate, 1042) as raw:
                check("SHARD_STARTING", error_of(raw, LOOK), message=None if hot_standby == "on" else own)
                return raw.until_ready()[-1].body == b"I"
        util.eventually(starting)
        assert gate.whoami(42) == "USA"
    finally:
        cluster.stop()
        if os.path.exists(standby):
            os.unlink(standby)
        cluster.start()
    util.eventually(lambda: gate.whoami(1042) == "DEU")


def test_a_tenant_that_moved_away_from_its_session(new_gate, whole):
    """In session mode the server stays the session's: it cannot follow its tenant."""
    gate = new_gate(users=GATE["users"], **{**TRUST, "pool.mode": "session"})
    with raw_client(gate, 42) as raw:
        assert raw.ask("select shard from whoami") == [["USA"]]
        whole.assign(42, 2)
        util.eventually(lambda: gate.whoami(42) == "DEU")
        check("TENANT_MOVED", error_of(raw, LOOK))
        raw.expect_close()
