"""The data path: every kind of message, pipelines, COPY, large values, state that pins."""
import io
import socket
import struct

import psycopg
import pytest

from harness import util
from harness.rawpg import (Raw, bind, close, cstr, describe, execute, extended, flush, function_call, msg, parse, query,
                           raw_client, sync)

GATE = {"auth.type": "trust", "pool.size": 5, "workers": 1}


@pytest.fixture
def raw(gate):
    with raw_client(gate, 42) as client:
        yield client
        assert client.ask("select shard from whoami") == [["USA"]]


def kinds(messages):
    return "".join(m.kind for m in messages)


# ---- simple protocol ----

def test_simple_query(raw):
    got = raw.send(query("select 1 as one, null::text")).expect("TDCZ")
    assert got[1].row() == ["1", None] and got[2].body == b"SELECT 1\0" and got[3].body == b"I"


@pytest.mark.parametrize("text", ("", "   ", ";", "-- only a comment", "/* a comment */"))
def test_empty_query(raw, text):
    assert raw.send(query(text)).kinds_until_ready() == "IZ"
    raw.send(parse(text), bind(), describe(), execute(), sync())
    assert raw.kinds_until_ready() == "12nIZ"


def test_several_statements_in_one_query(raw):
    assert raw.send(query("select 1; select 2; select 3")).kinds_until_ready() == "TDCTDCTDCZ"
    assert raw.send(query("select 1; select 1/0; select 3")).kinds_until_ready() == "TDCEZ"
    got = raw.send(query("begin; insert into scratch values (42, 1, 'several'); rollback; select 1")).until_ready()
    assert kinds(got) == "CCCTDCZ"


def test_set_and_select_in_one_query(gate):
    with raw_client(gate) as client:
        got = client.send(query("set shardgate.tenant_id = 1042; select shard from whoami")).until_ready()
        assert [m.row() for m in got if m.kind == "D"] == [["DEU"]]
        assert kinds(got) == "CTDCZ" and got[0].body == b"SET\0"


def test_set_in_the_middle_of_a_query_is_refused(gate):
    """Only the commands that lead a text are ours to answer; the others must not go to a wrong shard."""
    with raw_client(gate, 42) as client:
        got = client.send(query("select 1; set shardgate.tenant_id = 1042; select shard from whoami")).until_ready()
        assert kinds(got) == "EZ" and got[0].code == "0A000", got
        assert client.ask("select shard from whoami") == [["USA"]]


def test_two_tenants_in_one_query_are_refused(gate):
    with raw_client(gate) as client:
        client.send(query("set shardgate.tenant_id = 42; select shard from whoami;"
                          " set shardgate.tenant_id = 1042; select shard from whoami"))
        got = client.until_ready()
        assert any(m.kind == "E" and m.code in ("SG004", "SG003", "0A000") for m in got), got


def test_notice(raw):
    got = raw.send(query("select complain('hello')")).until_ready()
    assert kinds(got) == "TNDCZ" or kinds(got) == "NTDCZ", got
    (notice,) = [m for m in got if m.kind == "N"]
    assert notice.fields()["M"] == "told: hello"


def test_function_call(raw):
    oid = int(raw.ask("select 'add_numbers'::regproc::oid")[0][0])
    got = raw.send(function_call(oid, 40, 2)).until_ready()
    assert kinds(got) == "VZ" and got[0].body[4:] == b"42"
    got = raw.send(function_call(1, 1)).until_ready()
    assert kinds(got) == "EZ"


def test_statements_of_a_transaction(raw):
    assert raw.send(query("begin")).until_ready()[-1].body == b"T"
    assert raw.send(query("selec")).until_ready()[-1].body == b"E"
    got = raw.send(query("select 1")).until_ready()
    assert got[0].code == "25P02" and got[-1].body == b"E"
    got = raw.send(query("commit")).until_ready()
    assert got[0].body == b"ROLLBACK\0" and got[-1].body == b"I"
    assert raw.send(query("begin; select 1")).until_ready()[-1].body == b"T"
    assert raw.send(query("commit and chain")).until_ready()[-1].body == b"T"
    assert raw.send(query("rollback")).until_ready()[-1].body == b"I"


@pytest.mark.parametrize("begin", ("begin", "start transaction", "BEGIN;", "begin work", "/* c */ begin -- x",
                                   "begin isolation level serializable", "start transaction read only"))
def test_begin_answered_at_once_is_begun_as_asked(raw, begin):
    got = raw.send(query(begin)).until_ready()
    assert kinds(got) == "CZ" and got[-1].body == b"T"
    tag = b"START TRANSACTION\0" if begin.startswith("start") else b"BEGIN\0"
    assert got[0].body == tag
    level = raw.ask("show transaction_isolation")[0][0]
    assert level == ("serializable" if "serializable" in begin else "read committed")
    assert raw.ask("show transaction_read_only") == [["on" if "read only" in begin else "off"]]
    raw.ask("commit")


def test_begin_by_the_extended_protocol(raw):
    raw.send(extended("begin"), sync())
    got = raw.until_ready()
    assert kinds(got) == "12nCZ" and got[-1].body == b"T"
    raw.send(extended("insert into scratch values (42, 3, 'x')"), sync()).until_ready()
    raw.send(extended("rollback"), sync())
    got = raw.until_ready()
    assert got[-1].body == b"I" and got[-2].body == b"ROLLBACK\0"
    assert raw.ask("select count(*) from scratch where n = 3") == [["0"]]


def test_begin_and_nothing_else(raw):
    assert raw.send(query("begin")).until_ready()[-1].body == b"T"
    got = raw.send(query("commit")).until_ready()
    assert got[0].body == b"COMMIT\0" and got[-1].body == b"I"
    got = raw.send(query("commit")).until_ready()  # a warning, as ever
    assert got[-1].body == b"I" and got[-2].body == b"COMMIT\0"


# ---- extended protocol ----

def test_extended_query(raw):
    raw.send(parse("select $1::int + 1", types=(23,)), bind([41]), describe(), execute(), sync())
    got = raw.expect("12TDCZ")
    assert got[3].row() == ["42"]


def test_describe_of_a_statement(raw):
    raw.send(parse("select $1::int as a, 'x' as b"), describe("S"), sync())
    got = raw.expect("1tTZ")
    assert struct.unpack(">HI", got[1].body) == (1, 23)


def test_pipeline_of_cycles(raw):
    raw.send(b"".join(extended("select $1::int * 2", [i]) + sync() for i in range(300)))
    for i in range(300):
        got = raw.expect("12TDCZ")
        assert got[3].row() == [str(i * 2)]


def test_pipeline_within_one_cycle(raw):
    raw.send(b"".join(parse("select $1::int") + bind([i]) + execute() for i in range(100)), sync())
    got = raw.until_ready()
    assert kinds(got) == "12DC" * 100 + "Z"
    assert [m.row()[0] for m in got if m.kind == "D"] == [str(i) for i in range(100)]


def test_error_in_a_pipeline(raw):
    """What follows up to the Sync is skipped; the next cycle is not."""
    raw.send(extended("select 1"), extended("select 1/0"), extended("select 2"), sync(), extended("select 3"), sync())
    got = raw.until_ready()
    assert kinds(got) == "12TDC1EZ", got  # the planner divides, so Bind fails
    got = raw.until_ready()
    assert kinds(got) == "12TDCZ" and got[3].row() == ["3"]


def test_our_own_error_in_a_pipeline(gate):
    with raw_client(gate) as client:
        client.send(extended("select shard from whoami"), extended("select 2"), sync(),
                    extended("/* tenant_id=42 */ select shard from whoami"), sync(),
                    extended("select 4"), sync(), query("/* tenant_id=1042 */ select shard from whoami"))
        got = client.until_ready()
        assert kinds(got) == "EZ" and got[0].code == "SG001"
        got = client.until_ready()
        assert kinds(got) == "12TDCZ" and got[3].row() == ["USA"]
        got = client.until_ready()
        assert kinds(got) == "EZ" and got[0].code == "SG001"
        assert [m.row() for m in client.until_ready() if m.kind == "D"] == [["DEU"]]


def test_set_in_a_pipeline(gate):
    with raw_client(gate) as client:
        client.send(extended("set shardgate.tenant_id = 1042"), extended("select shard from whoami"), sync())
        got = client.until_ready()
        assert kinds(got) == "12nC12TDCZ", got
        assert [m.row() for m in got if m.kind == "D"] == [["DEU"]]
        client.send(extended("select shard from whoami"), extended("show shardgate.tenant_id"),
                    extended("select 5"), sync())
        got = client.until_ready()
        assert [m.row()[0] for m in got if m.kind == "D"] == ["DEU", "1042", "5"]


def test_flush(raw):
    raw.send(parse("select 7"), bind(), flush())
    raw.expect("12")
    raw.send(describe(), flush())
    raw.expect("T")
    raw.send(execute(), flush())
    raw.expect("DC")
    raw.send(sync())
    raw.expect("Z")


def test_portal_in_pieces(raw):
    raw.send(query("begin")).until_ready()
    raw.send(parse("select i from generate_series(1, 10) i"), bind(portal="p"), execute("p", 4), sync())
    assert raw.kinds_until_ready() == "12DDDDsZ"
    raw.send(execute("p", 4), sync())
    assert raw.kinds_until_ready() == "DDDDsZ"
    raw.send(execute("p"), close("P", "p"), sync())
    assert raw.kinds_until_ready() == "DDC3Z"
    raw.send(query("commit")).until_ready()


def test_only_sync(raw):
    for _ in range(3):
        raw.send(sync())
        assert raw.kinds_until_ready() == "Z"
    raw.send(sync() * 10)
    raw.expect("Z" * 10)


def test_named_statement_stays_with_its_session(gate):
    """Transaction mode: it is pinned rather than broken, and costs others nothing."""
    pins = gate.metric("session_pins_total")
    with raw_client(gate, 42) as a, raw_client(gate, 42) as b:
        a.send(parse("select $1::int + 1", "plus"), sync()).until_ready()
        for i in range(5):
            b.ask("select 1")
            a.send(bind([i], "plus"), execute(), sync())
            assert [m.row() for m in a.until_ready() if m.kind == "D"] == [[str(i + 1)]]
        b.send(parse("select $1::int + 2", "plus"), sync()).until_ready()  # the same name, another session
        b.send(bind([1], "plus"), execute(), sync())
        assert [m.row() for m in b.until_ready() if m.kind == "D"] == [["3"]]
        a.send(bind([1], "plus"), execute(), sync())
        assert [m.row() for m in a.until_ready() if m.kind == "D"] == [["2"]]
    assert gate.metric("session_pins_total") >= pins + 2


@pytest.mark.parametrize("make, use, want", (
    ("create temp table tt as select 5 as x", "select x from tt", "5"),
    ("prepare pp as select 6", "execute pp", "6"),
    ("declare cc cursor with hold for select 7", "fetch 1 from cc", "7"),
    ("select pg_advisory_lock(99)", "select pg_advisory_unlock(99)::text", "true"),
    ("set work_mem = '8MB'", "show work_mem", "8MB"),
    ("select set_config('work_mem', '10MB', false)", "show work_mem", "10MB"),
    ("set search_path = pg_catalog", "show search_path", "pg_catalog"),
))
def test_session_state_in_transaction_mode(gate, make, use, want):
    """Others take servers in between; the state is still there, and only there."""
    with raw_client(gate, 42) as a:
        others = [raw_client(gate, 42) for _ in range(3)]
        for simple in (True, False):
            if simple:
                a.ask(make)
            for other in others:
                other.ask("select pg_sleep(0.01)")
            if simple and "unlock" not in use and "fetch" not in use:
                assert a.ask(use) == [[want]]
        if "unlock" in use or "fetch" in use:
            assert a.ask(use) == [[want]]
        for other in others:
            if use.startswith("show"):
                assert other.ask(use) != [[want]]
            other.close()


def test_state_is_cleaned_before_the_next_session(gate):
    for _ in range(4):
        with raw_client(gate, 42) as a:
            a.ask("create temp table only_mine as select 1")
            a.ask("select pg_advisory_lock(77)")
            a.ask("listen somewhere")
    def clean():
        with raw_client(gate, 42) as b:
            return b.ask("select count(*) from pg_locks where locktype = 'advisory'") == [["0"]] and \
                b.ask("select to_regclass('only_mine')") == [[None]]
    util.eventually(clean)


def test_discard_all_lets_the_server_go(gate):
    with raw_client(gate, 42) as a:
        a.ask("create temp table tt as select 5 as x")
        a.ask("discard all")
        assert a.ask("select to_regclass('tt')") == [[None]]


def test_listen_pins_and_notifies(gate):
    with raw_client(gate, 42) as listener, raw_client(gate, 42) as speaker:
        listener.ask("listen pinned")
        speaker.ask("notify pinned, 'now'")
        (message,) = listener.expect("A")
        assert b"pinned\0now\0" in message.body


# ---- COPY ----

def test_copy_in(raw):
    raw.send(query("begin")).until_ready()
    raw.send(query("copy scratch from stdin"))
    assert raw.read().kind == "G"
    for i in range(500):
        raw.send(msg("d", f"42\t{i}\tcopied\n".encode()))
    raw.send(msg("c"))
    got = raw.until_ready()
    assert kinds(got) == "CZ" and got[0].body == b"COPY 500\0"
    assert raw.ask("select count(*) from scratch where note = 'copied'") == [["500"]]
    raw.ask("rollback")


def test_copy_in_in_one_write(raw):
    """COPY, its data and what follows, all at once."""
    raw.send(query("copy scratch from stdin"), msg("d", b"42\t1\tpiped\n"), msg("c"),
             query("delete from scratch where note = 'piped'"))
    assert raw.kinds_until_ready() == "GCZ"
    got = raw.until_ready()
    assert got[0].body == b"DELETE 1\0"


def test_copy_in_fails(raw):
    raw.send(query("copy scratch from stdin"), msg("d", b"42\t1\tx\n"), msg("f", cstr("changed my mind")))
    got = raw.until_ready()
    assert kinds(got) == "GEZ" and "changed my mind" in got[1].fields()["M"]
    raw.send(query("copy scratch from stdin"), msg("d", b"not a number\n"), msg("d", b"42\t1\tx\n") * 50, msg("c"))
    got = raw.until_ready()
    assert kinds(got) == "GEZ" and got[1].code.startswith("22"), got


def test_copy_by_the_extended_protocol(raw):
    raw.send(parse("copy scratch from stdin"), bind(), execute(), flush())
    raw.expect("12G")
    raw.send(msg("d", b"42\t1\textended\n"), msg("c"), sync())
    assert raw.kinds_until_ready() == "CZ"
    assert raw.ask("delete from scratch where note = 'extended' returning n") == [["1"]]


def test_copy_out(raw):
    got = raw.send(query("copy (select i, repeat('z', 100) from generate_series(1, 20000) i) to stdout")).until_ready()
    assert kinds(got) == "H" + "d" * 20000 + "cCZ"
    assert got[20000].body == b"20000\t" + b"z" * 100 + b"\n"


def test_copy_of_many_megabytes_both_ways(gate):
    with gate.connect(42) as c:
        data = io.BytesIO(b"".join(b"42\t%d\t%s\n" % (i, b"m" * 1000) for i in range(30000)))
        with c.cursor() as cursor:
            with cursor.copy("copy scratch from stdin") as copy:
                while block := data.read(65536):
                    copy.write(block)
            assert cursor.rowcount == 30000
            total = 0
            with cursor.copy("copy scratch to stdout") as copy:
                for block in copy:
                    total += len(block)
            assert total == len(data.getvalue())
        c.execute("truncate scratch")


def test_client_gone_in_mid_copy(gate, servers):
    for sql in ("copy scratch from stdin", "copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout"):
        client = raw_client(gate, 42)
        client.send(query(sql))
        assert client.read().kind in "GH"
        client.close()
        util.eventually(lambda: not servers.shards[1].backends("query like '%copy %' and state = 'active'"))
    assert gate.whoami(42) == "USA"


# ---- psycopg's pipeline ----

def test_psycopg_pipeline(gate):
    with gate.connect(42) as c:
        with c.pipeline() as p:
            cursors = [c.execute("select %s::int", (i,)) for i in range(50)]
            p.sync()
            assert [cur.fetchone()[0] for cur in cursors] == list(range(50))
        with pytest.raises(psycopg.errors.DivisionByZero):
            with c.pipeline():
                c.execute("select 1")
                c.execute("select 1/0")
                c.execute("select 2")
        assert c.execute("select shard from whoami").fetchone() == ("USA",)


def test_psycopg_pipeline_with_switches(gate):
    with gate.connect() as c:
        with c.pipeline() as p:
            cursors = []
            for tenant in (42, 1042, 2042, 42) * 5:
                c.execute(f"set shardgate.tenant_id = {tenant}")
                p.sync()
                cursors.append(c.execute("select shard from whoami"))
                p.sync()
            assert [cur.fetchone()[0] for cur in cursors] == ["USA", "DEU", "SGP", "USA"] * 5


# ---- size ----

@pytest.mark.parametrize("size", (1, 100, 4096, 65536, 262143, 262144, 262145, 1000000, 5000000))
def test_values_of_every_size(raw, size):
    raw.send(parse("select length($1), $1", types=(25,)), bind(["v" * size]), execute(), sync())
    got = [m for m in raw.until_ready() if m.kind == "D"]
    assert got[0].row() == [str(size), "v" * size]


def stream_query(raw, sql):
    """Reads an answer without keeping it; returns the bytes read."""
    raw.send(query(sql))
    raw.sock.settimeout(60)
    total, tail, chunk = 0, b"", bytearray(1 << 20)
    while not tail.endswith(b"Z\0\0\0\5I"):
        n = raw.sock.recv_into(chunk)
        assert n, "closed"
        total += n
        tail = (tail + bytes(chunk[max(0, n - 6):n]))[-6:]
    return total


def test_a_field_of_300_mb_streams(gate):
    with raw_client(gate, 42) as raw:
        raw.ask("select 1")
        before = gate.memory_kib("VmRSS")
        total = stream_query(raw, "select repeat('x', 300000000)")
        assert total > 300000000
        assert gate.memory_kib("VmHWM") - before < 40000, "the field was held in memory"
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_a_parameter_of_200_mb_streams(gate):
    with raw_client(gate, 42) as raw:
        raw.ask("select 1")
        before = gate.memory_kib("VmRSS")
        size = 200000000
        body = b"\0\0" + struct.pack(">HHi", 0, 1, size)
        raw.send(parse("select length($1::text)"), b"B" + struct.pack(">I", 4 + len(body) + size + 2) + body)
        raw.sock.settimeout(60)
        block = b"p" * 1000000
        for _ in range(size // len(block)):
            raw.sock.sendall(block)
        raw.send(b"\0\0", execute(), sync())
        assert [m.row() for m in raw.until_ready(60) if m.kind == "D"] == [[str(size)]]
        assert gate.memory_kib("VmHWM") - before < 40000, "the value was held in memory"


def test_many_rows(raw):
    got = raw.send(query("select i from generate_series(1, 100000) i")).until_ready(60)
    assert len(got) == 100003


def test_sends_cut_at_every_place(gate):
    """A cycle in two packets, cut everywhere."""
    data = parse("select $1::text") + bind(["abc"]) + describe() + execute() + sync() + query("select 'def'")
    with raw_client(gate, 42) as raw:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(data), 3):
            raw.send(data[:cut]).send(data[cut:])
            assert raw.kinds_until_ready() == "12TDCZ"
            assert raw.kinds_until_ready() == "TDCZ"


def test_terminate(gate):
    with Raw(gate.port) as raw:
        raw.login(user="app", database="app")
        raw.send(msg("X"))
        raw.expect_close()
