"""Unchanged clients: psql, pgbench, pg_dump, psycopg, in both pool modes, against three shards."""
import os
import re

import psycopg
import pytest

from harness import util
from harness.load import Pgbench
from harness.servers import SHARDS, TENANTS, shard_of

ONE_EACH = (42, 1042, 2042)


@pytest.fixture(scope="module", params=("transaction", "session"))
def gate(request, servers):
    from harness.daemon import Gate
    made = Gate(servers, **{"pool.mode": request.param, "pool.size": 10})
    request.module.__dict__.setdefault("_gates", []).append(made)
    yield made
    made.stop()


@pytest.mark.parametrize("tenant", ONE_EACH)
def test_psql(gate, tenant):
    assert gate.psql("select shard from whoami", tenant).stdout.strip() == shard_of(tenant)
    meta = util.run(["psql", "-X", "-c", "\\d tenant_data"], env=gate.environment(tenant))
    assert "tenant_data_pkey" in meta.stdout
    listing = util.run(["psql", "-X", "-c", "\\dt"], env=gate.environment(tenant))
    assert "pgbench_accounts" in listing.stdout


def test_psql_script_with_transaction(gate):
    script = """
        begin;
        insert into scratch values (42, 1, 'one');
        savepoint a;
        insert into scratch values (42, 2, 'two');
        rollback to a;
        commit;
        select string_agg(note, ',') from scratch where tenant_id = 42;
        delete from scratch where tenant_id = 42;
    """
    done = util.run(["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"], input=script, env=gate.environment(42))
    assert done.stdout.strip() == "one"


def test_psql_over_unix_socket(gate):
    env = gate.environment(1042, host=gate.folder)
    done = util.run(["psql", "-X", "-A", "-t", "-c", "select shard from whoami"], env=env)
    assert done.stdout.strip() == "DEU"


@pytest.mark.parametrize("protocol", ("simple", "extended", "prepared"))
@pytest.mark.parametrize("churn", (False, True), ids=("keep", "connect"))
def test_pgbench(gate, protocol, churn):
    more = ["-C", "-S"] if churn else []
    benches = [Pgbench(gate, tenant, 2, 8, protocol, *more) for tenant in ONE_EACH]
    for bench in benches:
        out = bench.assert_clean()
        assert int(re.search(r"number of transactions actually processed: (\d+)", out).group(1)) > 10, out


def test_pgbench_more_clients_than_servers(gate):
    if gate.options["pool.mode"] == "session":
        gate_clients = 10
    else:
        gate_clients = 40
    done = util.run(["pgbench", "-n", "-S", "-M", "prepared" if gate_clients == 10 else "extended",
                     "-c", str(gate_clients), "-j", "2", "-T", "2"], env=gate.environment(2042))
    assert "number of failed transactions: 0 " in done.stdout


def test_pg_dump(gate, servers):
    for tenant, (number, name, *_) in zip(ONE_EACH, SHARDS):
        done = util.run(["pg_dump", "--no-owner", "-t", "tenant_data", "-t", "whoami"], env=gate.environment(tenant))
        assert f"\n{name}\n" in done.stdout
        rows = len(TENANTS[number]) * 10
        assert len(re.findall(rf"value \d+ of tenant \d+\t{name}", done.stdout)) == rows


def test_copy(gate, tmp_path):
    path = tmp_path / "rows"
    path.write_text("".join(f"1042\t{i}\trow {i}\n" for i in range(20000)))
    os.chmod(path, 0o644)
    env = gate.environment(1042)
    util.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", f"\\copy scratch from '{path}'"], env=env)
    back = tmp_path / "back"
    util.run(["psql", "-X", "-v", "ON_ERROR_STOP=1",
              "-c", f"\\copy (select * from scratch where tenant_id = 1042 order by n) to '{back}'",
              "-c", "delete from scratch where tenant_id = 1042"], env=env)
    assert back.read_text() == path.read_text()


@pytest.mark.parametrize("tenant", ONE_EACH)
def test_psycopg(gate, tenant):
    with gate.connect(tenant) as c:
        assert c.execute("select shard from whoami").fetchone()[0] == shard_of(tenant)
        rows = c.execute("select tenant_id, id, shard from tenant_data where tenant_id = %s order by id",
                         (tenant,)).fetchall()
        assert rows == [(tenant, i, shard_of(tenant)) for i in range(1, 11)]
        with c.transaction():
            c.execute("insert into scratch values (%s, 1, 'x')", (tenant,))
            with pytest.raises(psycopg.errors.DivisionByZero):
                with c.transaction():
                    c.execute("select 1/0")
        assert c.execute("delete from scratch where tenant_id = %s", (tenant,)).rowcount == 1
        with c.cursor(binary=True) as cursor:
            assert cursor.execute("select %b::int8", (2 ** 40,)).fetchone()[0] == 2 ** 40


def test_psycopg_prepared_statements(gate):
    with gate.connect(42, prepare_threshold=0) as c:
        for i in range(30):
            assert c.execute("select add_numbers(%s, %s)", (i, 1)).fetchone()[0] == i + 1


def test_psycopg_server_side_cursor(gate):
    with gate.connect(42, autocommit=False) as c:
        with c.cursor("named") as cursor:
            cursor.execute("select i from generate_series(1, 5000) i")
            cursor.itersize = 500
            assert sum(1 for _ in cursor) == 5000


def test_psycopg_many_clients_on_three_shards(gate):
    clients = [gate.connect(ONE_EACH[i % 3]) for i in range(24)]
    try:
        for _ in range(5):
            for i, c in enumerate(clients):
                assert c.execute("select shard from whoami").fetchone()[0] == shard_of(ONE_EACH[i % 3])
    finally:
        for c in clients:
            c.close()


def test_error_of_the_shard_reaches_the_client_whole(gate):
    with gate.connect(42) as c:
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            c.execute("insert into tenant_data (tenant_id, id) values (42, 1)")
        assert caught.value.diag.constraint_name == "tenant_data_pkey"
        assert caught.value.diag.table_name == "tenant_data"
        assert c.execute("select 1").fetchone() == (1,)
