"""Hostile and broken peers: each gets a clear error, loses at most its own connection,
and nobody else notices."""
import random
import socket
import struct
import time

import pytest

from harness import util
from harness.rawpg import (GSSENC_REQUEST, SSL_REQUEST, Closed, Raw, bind, cancel_packet, close, cstr, describe, execute,
                           msg, packet, parse, query, raw_client, startup_packet, sync)

GATE = {"auth.type": "trust", "timeout.client_login": "1500ms", "workers": 1}


@pytest.fixture(autouse=True)
def others_are_served(gate):
    """A session from before, and a new one after, each test."""
    with gate.connect(42) as bystander:
        assert bystander.execute("select shard from whoami").fetchone() == ("USA",)
        yield
        assert bystander.execute("select shard from whoami").fetchone() == ("USA",)
    assert gate.whoami(1042) == "DEU"
    assert gate.running()


def refused(gate, data, codes=("08P01",)):
    """Sends the bytes; an ErrorResponse with one of the codes and the end must follow."""
    with Raw(gate.port) as raw:
        raw.send(data)
        message = raw.read()
        assert message.kind == "E", message
        assert message.code in codes, message
        fields = message.fields()
        assert fields["S"] == "FATAL" and fields["M"], fields
        raw.expect_close()
        return fields


# ---- startup ----

STARTUPS = {
    "length zero": struct.pack(">I", 0) + b"\0" * 8,
    "length three": struct.pack(">I", 3) + b"\0" * 8,
    "length negative": struct.pack(">i", -5) + b"\0" * 8,
    "length huge": struct.pack(">I", 0x7FFFFFFF) + b"\0" * 8,
    "length above the limit": struct.pack(">I", 10001) + b"\0" * 100,
    "no terminator": packet(struct.pack(">I", 196608) + b"user\0app"),
    "no end of list": packet(struct.pack(">I", 196608) + b"user\0app\0"),
    "bytes after the end": packet(struct.pack(">I", 196608) + b"user\0app\0\0more\0"),
    "name without value": packet(struct.pack(">I", 196608) + b"user\0app\0database\0"),
    "text of HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS hello out of the blue": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 64,
    "code of nothing": packet(struct.pack(">I", 80877199)),
}


@pytest.mark.parametrize("what", STARTUPS)
def test_startup_packets_that_cannot_be(gate, what):
    refused(gate, STARTUPS[what], ("08P01", "0A000"))


@pytest.mark.parametrize("version", (0x00020000, 0x00040000, 0x7FFF0000, 0))
def test_versions_that_are_not_spoken(gate, version):
    fields = refused(gate, startup_packet(version, user="app", database="app"), ("0A000", "08P01"))
    assert "protocol" in fields["M"]


def test_version_3_2_is_negotiated(gate):
    with Raw(gate.port) as raw:
        raw.send(startup_packet(0x00030002, user="app", database="app", _pq___option="1"))
        got = raw.until_ready()
        assert "v" in "".join(m.kind for m in got)
        raw.send(query("/* tenant_id=42 */ select shard from whoami"))
        assert raw.until_ready()[1].row() == ["USA"]


def test_startup_without_user(gate):
    fields = refused(gate, startup_packet(database="app"), ("28000",))
    assert "user" in fields["M"]


def test_ssl_and_gss_requests_are_declined(gate):
    with Raw(gate.port) as raw:
        assert raw.send(packet(struct.pack(">I", SSL_REQUEST))).byte() == b"N"
        assert raw.send(packet(struct.pack(">I", GSSENC_REQUEST))).byte() == b"N"
        raw.login(user="app", database="app")
        assert raw.ask("/* tenant_id=42 */ select shard from whoami") == [["USA"]]


def test_ssl_request_again_and_again(gate):
    """PostgreSQL takes each kind once; endless requests must end."""
    with Raw(gate.port) as raw:
        with pytest.raises((Closed, AssertionError, OSError)):
            for _ in range(1000):
                assert raw.send(packet(struct.pack(">I", SSL_REQUEST))).byte() == b"N"


def test_bytes_stuffed_behind_the_ssl_request(gate):
    """Plain bytes sent before the answer: as PostgreSQL, either refused or taken as plain text;
    here no TLS follows, so the login simply goes on."""
    with Raw(gate.port) as raw:
        raw.send(packet(struct.pack(">I", SSL_REQUEST)) + startup_packet(user="app", database="app"))
        assert raw.byte() == b"N"
        assert raw.read().kind in "RE"


@pytest.mark.parametrize("cut", (1, 3, 4, 7, 8, 20))
def test_truncated_startup_and_gone(gate, cut):
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app")[:cut])


@pytest.mark.parametrize("cut", (0, 2, 9))
def test_silent_client_hears_of_the_login_timeout(gate, cut):
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app")[:cut])
        begun = time.monotonic()
        fields = raw.expect_error("08006", timeout=10, closed=True).fields()
        assert "client_login_timeout" in fields["M"]
        assert time.monotonic() - begun < 8


def test_slow_client_is_served_in_the_end(gate):
    with Raw(gate.port) as raw:
        raw.dribble(startup_packet(user="app", database="app", options="-c shardgate.tenant_id=42"), 5, 0.01)
        raw.until_ready()
        raw.dribble(query("select shard from whoami") + parse("select 1") + bind() + execute() + sync())
        assert [m.row() for m in raw.until_ready() if m.kind == "D"] == [["USA"]]
        assert [m.row() for m in raw.until_ready() if m.kind == "D"] == [["1"]]


def test_random_bytes(gate):
    rng = random.Random(3)
    for _ in range(60):
        with Raw(gate.port) as raw:
            try:
                raw.send(rng.randbytes(rng.randrange(1, 400)))
                raw.sock.shutdown(socket.SHUT_WR)
                raw.read(timeout=10)
            except (Closed, ConnectionError):
                pass


def test_cancel_requests_of_nobody(gate):
    for data in (cancel_packet(1, 2), cancel_packet(0xFFFFFFFF, b"\xff" * 4), cancel_packet(7, b"x" * 256),
                 packet(struct.pack(">II", 80877102, 1)), packet(struct.pack(">I", 80877102)),
                 cancel_packet(7, b"x" * 300)):
        with Raw(gate.port) as raw:
            raw.send(data)
            try:
                raw.read(timeout=10)
            except Closed:
                pass


# ---- after the login ----

MESSAGES = {
    "length zero": b"Q" + struct.pack(">I", 0),
    "length three": b"Q" + struct.pack(">I", 3),
    "length negative": b"Q" + struct.pack(">i", -1),
    "length above 1 GiB": b"Q" + struct.pack(">I", 0x7FFFFFFF),
    "unknown type": msg("z", b"abc"),
    "type zero": b"\0" + packet(b""),
    "a backend's type": msg("T", b"\0\0"),
    "query without terminator": msg("Q", b"select 1"),
    "query with bytes behind": msg("Q", b"select 1\0rest\0"),
    "parse without terminator": msg("P", b"name"),
    "parse with missing types": msg("P", b"\0select 1\0" + struct.pack(">H", 5)),
    "describe of nothing": msg("D", b""),
    "describe of x": msg("D", b"xname\0"),
    "close of x": msg("C", b"xname\0"),
    "execute without rows": msg("E", b"\0"),
    "empty query body": msg("Q", b""),
    "startup packet again": startup_packet(user="app", database="app"),
    "password out of order": msg("p", b"secret\0"),
}


@pytest.mark.parametrize("tenant", (None, 42), ids=("no tenant", "tenant"))
@pytest.mark.parametrize("what", MESSAGES)
def test_messages_that_cannot_be(gate, what, tenant):
    """FATAL 08P01 and the end; PostgreSQL treats a few of these as plain errors, which is fine too."""
    with raw_client(gate, tenant) as raw:
        raw.send(MESSAGES[what])
        message = raw.read()
        assert message.kind == "E" and message.code == "08P01", message
        if message.fields()["S"] == "FATAL":
            raw.expect_close()
        else:
            raw.send(sync())
            raw.until_ready()


def test_binds_that_cannot_be(gate):
    for body in (b"", b"\0", b"portal", b"\0\0" + b"\0\1", b"\0\0" + struct.pack(">HHi", 0, 1, 1000) + b"x",
                 b"\0\0" + struct.pack(">HHi", 0, 1, -7)):
        with raw_client(gate, 42) as raw:
            raw.send(parse("select $1::text"), msg("B", body), sync())
            raw.expect_error("08P01")


def test_statement_above_the_limit(new_gate):
    gate = new_gate(**{**GATE, "limits.max_statement_size": "64kB"})
    with raw_client(gate, 42) as raw:
        raw.send(query("select '" + "x" * 100000 + "'"))
        raw.expect_error("54000")
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]
        raw.send(parse("select '" + "x" * 100000 + "'"), bind(), execute(), sync())
        raw.expect_error("54000")
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]
        value = "v" * 1000000  # bind values stream
        raw.send(parse("select length($1)", types=(25,)), bind([value]), execute(), sync())
        assert [m.row() for m in raw.until_ready() if m.kind == "D"] == [["1000000"]]


def test_message_out_of_order(gate):
    """CopyData without COPY is ignored, as PostgreSQL does; Execute of an unknown portal is an error."""
    with raw_client(gate, 42) as raw:
        raw.send(msg("d", b"data\n"), msg("c"), msg("f", cstr("why")), query("select shard from whoami"))
        assert [m.row() for m in raw.until_ready() if m.kind == "D"] == [["USA"]]
        raw.send(execute("nowhere"), sync())
        raw.expect_error("34000")
        raw.until_ready()
        raw.send(describe("S", "nowhere"), sync())
        raw.expect_error("26000")
        raw.until_ready()
        raw.send(close("S", "nowhere"), sync())
        assert raw.kinds_until_ready() == "3Z"


def test_message_cut_off_in_mid_transaction(gate, servers):
    raw = raw_client(gate, 42)
    raw.ask("begin")
    raw.ask("insert into scratch values (42, 9, 'cut off')")
    raw.send(query("select 1")[:7])
    raw.close()
    util.eventually(lambda: not servers.shards[1].backends("state like 'idle in transaction%'"))
    with gate.connect(42) as c:
        assert c.execute("select count(*) from scratch where n = 9").fetchone() == (0,)


@pytest.mark.parametrize("sql, code", (
    ("select 'unfinished", "42601"), ("select \"unfinished", "42601"), ("/* unfinished", "42601"),
    ("select $tag$ unfinished", "42601"), ("select e'\\", "42601"), ("select (1", "42601"),
    ("set shardgate.tenant_id = 'unfinished", "22023"), ("\x01\x02\x03", "42601"),
    ("/* tenant_id=42 */ select 'unfinished /* tenant_id=1042 */", "42601")))
def test_unbalanced_sql(gate, sql, code):
    """The shard judges the syntax; the session goes on."""
    with raw_client(gate, 42) as raw:
        raw.send(query(sql))
        raw.expect_error(code)
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]
        raw.send(parse(sql), bind(), execute(), sync())
        raw.expect_error(code)
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_invalid_encoding(gate):
    with raw_client(gate, 42) as raw:
        raw.send(query(b"select '\xff\xfe'"))
        raw.expect_error("22021")
        raw.until_ready()
        assert raw.ask("select shard from whoami") == [["USA"]]


def test_many_half_open_logins(gate):
    sockets = [Raw(gate.port) for _ in range(200)]
    for i, raw in enumerate(sockets):
        raw.send(startup_packet(user="app", database="app")[:i % 9])
    assert gate.whoami(2042) == "SGP"
    for raw in sockets[:100]:
        raw.close()
    for raw in sockets[100:]:
        raw.expect_error("08006", timeout=15)
        raw.close()


def test_a_reader_that_does_not_read(gate):
    """A large answer to a client that takes nothing must not fill our memory."""
    with raw_client(gate, 42) as lazy:
        before = gate.memory_kib()
        lazy.send(query("select repeat('x', 1000) from generate_series(1, 200000)"))
        for _ in range(20):
            assert gate.whoami(1042) == "DEU"
        assert gate.memory_kib() - before < 60000
        assert len(lazy.until_ready(timeout=60)) > 200000


def test_a_flood_of_pipelined_queries(gate):
    """A client that sends and never reads is held back, not buffered without end."""
    with raw_client(gate, 42) as raw:
        before = gate.memory_kib()
        raw.sock.settimeout(1)
        sent = 0
        try:
            for _ in range(3000):
                raw.sock.sendall(query("select repeat('y', 20000)"))
                sent += 1
        except socket.timeout:
            pass
        assert gate.memory_kib() - before < 100000
