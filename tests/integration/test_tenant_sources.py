"""Where a tenant may come from, in which order, and what is refused."""
import psycopg
import pytest

from harness.daemon import sqlstate
from harness.rawpg import Raw, bind, describe, execute, parse, query, raw_client, startup_packet, sync

GATE = {
    "auth.type": "trust",
    "tenant.sources": ["startup", "user", "database", "set", "comment"],
    "users": [{"name": "app", "password": "client-secret-51cd"}, {"name": "a.b", "password": "x"},
              {"name": "limited", "password": "x", "tenants": ["1-50", "2042"]},
              {"name": "admin"}, {"name": "stats"}],
    "directory.negative_ttl": "100ms",
}


def check_refusal(error, code, text, hint):
    assert sqlstate(error) == code, error
    assert text in str(error)
    assert hint in (error.diag.message_hint or str(error))


# ---- identity and startup ----

def test_startup_parameter(gate):
    with Raw(gate.port) as raw:
        raw.login(user="app", database="app", shardgate__tenant_id="1042")
        assert raw.ask("select shard from whoami") == [["DEU"]]


def test_options_of_startup(gate):
    for options in ("-c shardgate.tenant_id=2042", "-cshardgate.tenant_id=2042", "--shardgate.tenant_id=2042",
                    "-c work_mem=5MB -c shardgate.tenant_id=2042 -c geqo=off", "-c  shardgate.tenant_id=20\\42"):
        with gate.connect(options=options) as c:
            assert c.execute("select shard from whoami").fetchone() == ("SGP",)


def test_user_pattern(gate):
    assert gate.whoami(None, user="app.1042") == "DEU"
    with gate.connect(user="app.42") as c:
        assert c.execute("show shardgate.tenant_id").fetchone() == ("42",)
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_user_pattern_takes_the_last_separator(gate):
    assert gate.whoami(None, user="a.b.2042") == "SGP"


def test_database_pattern(gate):
    assert gate.whoami(None, dbname="app/2042") == "SGP"
    assert gate.whoami(None, dbname="app/42") == "USA"


def test_sources_that_agree(gate):
    assert gate.whoami(42, user="app.42", dbname="app/42") == "USA"
    with gate.connect(42, user="app.42") as c:
        c.execute("set shardgate.tenant_id = 42")
        assert c.execute("/* tenant_id=42 */ select shard from whoami").fetchone() == ("USA",)


@pytest.mark.parametrize("kw", (
    {"user": "app.42", "dbname": "app/43"}, {"tenant": 42, "user": "app.1042"}, {"tenant": 42, "dbname": "app/1042"}))
def test_startup_sources_that_disagree(gate, kw):
    error = gate.refusal(**kw)
    assert "two sources name different tenants" in str(error)
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app.42", database="app/43"))
        raw.expect_error("SG003", closed=True)


@pytest.mark.parametrize("value", ("abc", "", "1.5", "9223372036854775808", "1e3", "0x10", "42 43"))
def test_startup_tenant_that_is_no_number(gate, value):
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app", shardgate__tenant_id=value))
        fields = raw.expect_error("22023", closed=True).fields()
        assert "tenant" in fields["M"]


def test_name_that_has_not_the_patterns_shape(gate):
    """A user `app` names no tenant; the other sources may."""
    error = gate.refusal()
    check_refusal(error, "SG001", "a tenant is required and none was given", "SET shardgate.tenant_id = N")


# ---- SET, SET LOCAL, RESET, SHOW ----

def both_protocols(gate):
    """One client by the simple, one by the extended protocol: name and ask(sql)."""
    c = gate.connect()
    simple = psycopg.ClientCursor(c)
    yield "simple", lambda sql: simple.execute(sql)
    c.close()
    c = gate.connect(prepare_threshold=None)
    yield "extended", lambda sql: c.execute(sql, ())
    c.close()


@pytest.mark.parametrize("statement", (
    "set shardgate.tenant_id = 1042", "SET shardgate.tenant_id TO 1042", "set session shardgate.tenant_id = '1042'",
    "set ShardGate.Tenant_ID=1042;", "/* hello */ set shardgate.tenant_id = 1042 -- bye",
    'set "shardgate"."tenant_id" = 1042', "set shardgate.tenant_id = $$1042$$", "set shardgate.tenant_id = E'1042'"))
def test_set(gate, statement):
    for name, ask in both_protocols(gate):
        ask(statement)
        assert ask("select shard from whoami").fetchone() == ("DEU",), name
        assert ask("show shardgate.tenant_id").fetchone() == ("1042",), name


def test_set_is_never_forwarded(gate, servers):
    with gate.connect() as c:
        c.execute("set shardgate.tenant_id = 1042")
        assert c.execute("select current_setting('shardgate.tenant_id', true)").fetchone()[0] in (None, "")


def test_set_answers_like_postgresql(gate):
    with raw_client(gate) as raw:
        got = raw.send(query("set shardgate.tenant_id = 42")).expect("CZ")
        assert got[0].body == b"SET\0" and got[1].body == b"I"
        got = raw.send(query("show shardgate.tenant_id")).expect("TDCZ")
        assert got[1].row() == ["42"] and got[2].body == b"SHOW\0"
        assert b"shardgate.tenant_id" in got[0].body
        got = raw.send(query("reset shardgate.tenant_id")).expect("CZ")
        assert got[0].body == b"RESET\0"
        raw.send(parse("set shardgate.tenant_id = 42"), bind(), describe(), execute(), sync())
        assert raw.kinds_until_ready() == "12nCZ"
        raw.send(parse("show shardgate.tenant_id"), describe("S"), bind(), describe(), execute(), sync())
        got = raw.until_ready()
        assert "".join(m.kind for m in got) == "1tT2TDCZ"
        assert got[5].row() == ["42"]


def test_switch_between_transactions(gate):
    for _name, ask in both_protocols(gate):
        for tenant, shard in ((42, "USA"), (1042, "DEU"), (2042, "SGP"), (42, "USA")):
            ask(f"set shardgate.tenant_id = {tenant}")
            assert ask("select shard from whoami").fetchone() == (shard,)


def test_reset_returns_to_the_startup_value(gate):
    with gate.connect(42) as c:
        c.execute("set shardgate.tenant_id = 1042")
        c.execute("reset shardgate.tenant_id")
        assert c.execute("show shardgate.tenant_id").fetchone() == ("42",)
        assert c.execute("select shard from whoami").fetchone() == ("USA",)
        c.execute("set shardgate.tenant_id = 2042")
        c.execute("set shardgate.tenant_id to default")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


@pytest.mark.parametrize("statement", ("reset all", "discard all"))
def test_reset_all_returns_to_the_startup_value(gate, statement):
    with gate.connect(42) as c:
        c.execute("set shardgate.tenant_id = 1042")
        c.execute(statement)
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_reset_without_startup_value_takes_the_tenant_away(gate):
    with gate.connect() as c:
        c.execute("set shardgate.tenant_id = 1042")
        c.execute("reset shardgate.tenant_id")
        with pytest.raises(psycopg.Error) as caught:
            c.execute("select shard from whoami")
        assert sqlstate(caught.value) == "SG001"


def test_set_local(gate):
    for name, ask in both_protocols(gate):
        ask("set shardgate.tenant_id = 42")
        ask("begin")
        ask("set local shardgate.tenant_id = 1042")
        assert ask("select shard from whoami").fetchone() == ("DEU",), name
        ask("commit")
        assert ask("select shard from whoami").fetchone() == ("USA",), name
        ask("begin")
        ask("set local shardgate.tenant_id = 2042")
        assert ask("select shard from whoami").fetchone() == ("SGP",), name
        ask("rollback")
        assert ask("select shard from whoami").fetchone() == ("USA",), name


def test_set_of_no_number(gate):
    with gate.connect(42) as c:
        for value in ("'abc'", "1.5", "99999999999999999999"):
            with pytest.raises(psycopg.Error) as caught:
                c.execute(f"set shardgate.tenant_id = {value}")
            assert sqlstate(caught.value) == "22023"
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_other_settings_are_not_ours(gate):
    with gate.connect(42) as c:
        c.execute("begin")
        c.execute("set local work_mem = '7MB'")
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        c.execute("commit")


# ---- comments ----

@pytest.mark.parametrize("sql", (
    "/* tenant_id=1042 */ select shard from whoami", "/*tenant_id='1042'*/ select shard from whoami",
    "select shard from whoami /* tenant_id=1042 */", "select shard from whoami; /* tenant_id = 1042 */",
    "select shard from whoami /*app='x',tenant_id='1042',z='1'*/",
    "-- note\n/* tenant_id=1042 */ select shard from whoami", "/* a /* nested */ b */ /* tenant_id=1042 */"
    " select shard from whoami"))
def test_comment(gate, sql):
    for name, ask in both_protocols(gate):
        assert ask(sql).fetchone() == ("DEU",), name


@pytest.mark.parametrize("sql", (
    "select '/* tenant_id=1042 */', shard from whoami", "select $$/* tenant_id=1042 */$$, shard from whoami",
    "select e'\\'/* tenant_id=1042 */', shard from whoami", "select shard as \"/* tenant_id=1042 */\" from whoami",
    "select /* tenant_id=1042 */ shard from whoami", "/* my_tenant_id=1042 */ select shard from whoami",
    "/* a /* tenant_id=1042 */ */ select shard from whoami"))
def test_what_is_no_comment_source(gate, sql):
    """Strings, identifiers, nested and inner comments do not name a tenant."""
    with gate.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute(sql)
        assert sqlstate(caught.value) == "SG001"


def test_comment_beats_nothing_but_may_not_contradict_identity(gate):
    with gate.connect(user="app.42") as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute("/* tenant_id=1042 */ select shard from whoami")
        check_refusal(caught.value, "SG003", "two sources name different tenants", "one place")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_two_comments_that_disagree(gate):
    with gate.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute("/* tenant_id=42 */ select shard from whoami /* tenant_id=43 */")
        assert sqlstate(caught.value) in ("SG003", "SG004")
        assert c.execute("/* tenant_id=42 */ select shard from whoami /* tenant_id=42 */").fetchone() == ("USA",)


@pytest.mark.parametrize("value", ("abc", "", "1.5", "99999999999999999999"))
def test_comment_that_is_no_number(gate, value):
    with gate.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute(f"/* tenant_id={value} */ select shard from whoami")
        assert sqlstate(caught.value) == "22023"


# ---- lock and transactions ----

def test_identity_is_locked(gate):
    for kw in ({"user": "app.42"}, {"dbname": "app/42"}):
        with gate.connect(**kw) as c:
            for statement in ("set shardgate.tenant_id = 1042", "set shardgate.tenant_id = 43"):
                with pytest.raises(psycopg.Error) as caught:
                    c.execute(statement)
                assert sqlstate(caught.value) == "SG003"
            c.execute("reset shardgate.tenant_id")
            assert c.execute("select shard from whoami").fetchone() == ("USA",)


@pytest.mark.parametrize("statement", ("set shardgate.tenant_id = 1042", "set local shardgate.tenant_id = 1042",
                                       "/* tenant_id=1042 */ select 1", "set shardgate.tenant_id = 43"))
def test_the_tenant_cannot_change_in_a_transaction(gate, statement):
    with gate.connect(42) as c:
        c.execute("begin")
        c.execute("select shard from whoami")
        with pytest.raises(psycopg.Error) as caught:
            c.execute(statement)
        assert sqlstate(caught.value) in ("SG003", "SG004")
        # As after any error, the transaction is aborted.
        with pytest.raises(psycopg.Error) as caught:
            c.execute("select 1")
        assert sqlstate(caught.value) == "25P02"
        c.execute("rollback")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_the_same_tenant_again_in_a_transaction(gate):
    with gate.connect(42) as c:
        c.execute("begin")
        c.execute("select shard from whoami")
        c.execute("set shardgate.tenant_id = 42")
        assert c.execute("/* tenant_id=42 */ select shard from whoami").fetchone() == ("USA",)
        c.execute("commit")


def test_tenant_set_after_begin(gate):
    """BEGIN needs no shard; the first statement that does decides."""
    with gate.connect() as c:
        c.execute("begin")
        c.execute("set shardgate.tenant_id = 1042")
        assert c.execute("select shard from whoami").fetchone() == ("DEU",)
        c.execute("commit")


def test_refused_statement_in_a_transaction_aborts_it(gate):
    with gate.connect() as c:
        c.execute("begin")
        with pytest.raises(psycopg.Error) as caught:
            c.execute("select shard from whoami")
        assert sqlstate(caught.value) == "SG001"
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        c.execute("rollback")
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


# ---- the codes ----

def test_sg002(gate):
    error = gate.refusal(9999)
    check_refusal(error, "SG002", "the tenant is not in the shard map", "tenant_shard_map")
    with gate.connect() as c:
        for _name, ask in both_protocols(gate):
            ask("set shardgate.tenant_id = -5")
            with pytest.raises(psycopg.Error) as caught:
                ask("select 1 from whoami")
            assert sqlstate(caught.value) == "SG002"
        c.execute("set shardgate.tenant_id = 42")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_sg004(gate):
    with gate.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute("/* tenant_id=42 */ select shard from whoami /* tenant_id=43 */")
        check_refusal(caught.value, "SG004", "more than one tenant", "one tenant")


def test_sg005(gate):
    assert gate.whoami(42, user="limited") == "USA"
    assert gate.whoami(2042, user="limited") == "SGP"
    with gate.connect(42, user="limited") as c:
        for tenant in (51, 1042, 2043):
            c.execute("reset shardgate.tenant_id")
            with pytest.raises(psycopg.Error) as caught:
                c.execute(f"set shardgate.tenant_id = {tenant}")
                c.execute("select shard from whoami")
            check_refusal(caught.value, "SG005", "the user may not act for this tenant",
                          "to whom this tenant is assigned")
            assert str(tenant) not in str(caught.value)
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="limited", database="app", shardgate__tenant_id="1042"), query("select 1"))
        assert raw.expect_error("SG005").fields()["M"] == "the user may not act for this tenant"


def test_sg005_tells_nothing_of_the_map(gate):
    """A tenant that is not his and one that nobody knows look the same."""
    with_shard, without = gate.refusal(1042, user="limited"), gate.refusal(9999, user="limited")
    assert (sqlstate(with_shard), str(with_shard)) == (sqlstate(without), str(without))


def test_sg006(gate, whole):
    whole.dsql("update shard_config set is_active = false where shard_id = 3")
    from harness.util import eventually
    eventually(lambda: sqlstate(gate.refusal(2042)) == "SG006")
    check_refusal(gate.refusal(2042), "SG006", "the tenant's shard is not active", "out of service")
    assert gate.whoami(42) == "USA"
    whole.dsql("update shard_config set is_active = true where shard_id = 3")
    eventually(lambda: gate.whoami(2042) == "SGP")


def test_statements_that_touch_no_tenant_table(new_gate):
    """With tenant.missing: primary they go to the home shard."""
    gate = new_gate(env={"SHARD_ID": "2"}, **{"tenant.missing": "primary", "auth.type": "trust"})
    with gate.connect() as c:
        assert c.execute("select shard from whoami").fetchone() == ("DEU",)
    gate = new_gate(**{"tenant.missing": "primary", "auth.type": "trust"})
    with gate.connect() as c:
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_a_source_that_is_off(new_gate):
    gate = new_gate(**{"auth.type": "trust", "tenant.sources": ["startup"]})
    assert gate.whoami(42) == "USA"
    with gate.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute("/* tenant_id=42 */ select shard from whoami")
        assert sqlstate(caught.value) == "SG001"


def test_own_names(new_gate):
    gate = new_gate(**{"auth.type": "trust", "tenant.parameter": "acme.customer", "tenant.comment_key": "customer",
                       "tenant.sources": ["startup", "user", "set", "comment"],
                       "tenant.user_pattern": "{tenant}@{user}"})
    assert gate.whoami(None, options="-c acme.customer=1042") == "DEU"
    assert gate.whoami(None, user="2042@app") == "SGP"
    with gate.connect() as c:
        c.execute("set acme.customer = 42")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)
        c.execute("reset acme.customer")
        assert c.execute("/* customer=1042 */ select shard from whoami").fetchone() == ("DEU",)
