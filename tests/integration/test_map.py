"""Changes of the directory: seen by SIGHUP, NOTIFY and poll, validated, without disturbing anybody."""
import os
import re
import time

import psycopg
import pytest

from harness import util
from harness.daemon import cli, ctl, sqlstate
from harness.load import Load, Pgbench, reader
from harness.servers import Servers

# One way of hearing of changes each; the other ways are off or far away.
WAYS = {
    "sighup": {"directory.notify": False, "directory.poll_interval": "1h"},
    "notify": {"directory.notify": True, "directory.poll_interval": "1h"},
    "poll": {"directory.notify": False, "directory.poll_interval": "200ms"},
}
COMMON = {"auth.type": "trust", "directory.lookup_on_miss": False, "directory.max_shard_loss": 100}


def shard(gate, tenant):
    try:
        return gate.whoami(tenant)
    except psycopg.Error as e:
        return sqlstate(e) or str(e)


def refused(gate, tenant):
    """A step of a Load: the tenant is not known."""
    def step(_worker):
        assert shard(gate, tenant) == "SG002"
    return step


def follows(gate, tenant, want):
    util.eventually(lambda: shard(gate, tenant) == want, 15, f"tenant {tenant} at {want}")


@pytest.fixture(scope="module")
def fourth(servers):
    return servers.new_cluster("BRA", 4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bare", (False, True), ids=("full", "bare"))
def test_changes_are_followed(new_gate, whole, fourth, way, bare, bare_servers):
    landscape = bare_servers if bare else whole
    if bare and way == "notify":
        way = "poll"  # bare tables tell nobody
    gate = new_gate(landscape=landscape, **COMMON, **WAYS[way])
    tell = gate.reload if way == "sighup" else (lambda: None)

    assert shard(gate, 42) == "USA"
    landscape.assign(42, 2)  # a new override
    tell()
    follows(gate, 42, "DEU")
    landscape.assign(42, 3)  # changed
    tell()
    follows(gate, 42, "SGP")
    landscape.unassign(42)  # removed
    tell()
    follows(gate, 42, "USA")

    assert shard(gate, 3500) == "SG002"
    landscape.dsql("update shard_config set max_tenant_id = 3999 where shard_id = 3")  # a longer range
    tell()
    follows(gate, 3500, "SGP")
    landscape.dsql("update shard_config set max_tenant_id = 2999 where shard_id = 3")
    tell()
    follows(gate, 3500, "SG002")

    landscape.add_shard(4, "BRA", fourth, 4000, 4999)  # a new shard
    tell()
    follows(gate, 4001, "BRA")
    landscape.dsql("delete from shard_config where shard_id = 4")  # removed
    tell()
    follows(gate, 4001, "SG002")

    landscape.dsql("update shard_config set is_active = false where shard_id = 3")
    tell()
    follows(gate, 2042, "SG006")
    landscape.dsql("update shard_config set is_active = true where shard_id = 3")
    tell()
    follows(gate, 2042, "SGP")

    # The same shard at another address.
    landscape.dsql("update shard_config set connection_string = %s where shard_id = 1",
                   (landscape.conninfo(fourth),))
    tell()
    follows(gate, 42, "BRA")
    landscape.dsql("update shard_config set connection_string = %s where shard_id = 1",
                   (landscape.conninfo(landscape.shards[1]),))
    tell()
    follows(gate, 42, "USA")


@pytest.fixture(scope="module")
def bare_servers(servers):
    """The documented tables without triggers, in a database beside; the shards are the same."""
    from harness import servers as landscape

    class Bare(Servers):
        directory_name = "bare"

        def __init__(self):  # noqa: super's would start clusters
            self.root, self.shards, self.extra = servers.root, servers.shards, []
            self.directory = servers.directory

        def dsql(self, text, args=None):
            return self.directory.sql(text, args, dbname="bare")
    servers.directory.sql("create database bare", dbname="postgres")
    bare = Bare()
    bare.dsql(landscape.BARE_DIRECTORY)
    for number, name, low, high in landscape.SHARDS:
        bare.add_shard(number, name, servers.shards[number], low, high, primary=number == 1)
    bare.dsql(landscape.READER)
    return bare


@pytest.mark.parametrize("change, why", (
    ("update shard_config set min_tenant_id = 500 where shard_id = 2", "overlap"),
    ("update shard_config set connection_string = 'host=''unfinished' where shard_id = 2", "connection"),
    ("update shard_config set connection_string = 'nonsense=1' where shard_id = 2", "connection"),
    ("update shard_config set min_tenant_id = 1999, max_tenant_id = 1000 where shard_id = 2", "range"),
    ("delete from tenant_shard_map; delete from shard_config where shard_id in (2, 3)", "shard"),
), ids=("overlap", "quote", "keyword", "order", "loss"))
def test_an_invalid_map_is_refused_and_the_old_one_stays(new_gate, whole, change, why):
    gate = new_gate(**{"auth.type": "trust", "directory.lookup_on_miss": False, "directory.max_shard_loss": 50})
    failures = gate.metric("map_reload_failures_total")
    saved = whole.dsql("select shard_id, region_code, datacenter, is_primary from shard_config")
    try:
        whole.dsql("set session_replication_role = origin; " + change)
    except psycopg.Error as e:  # the schema's own constraints refuse it: even better
        assert e.sqlstate.startswith("23"), e
        return
    gate.reload()
    util.eventually(lambda: gate.metric("map_reload_failures_total") > failures, what="refusal of the map")
    for tenant, want in ((42, "USA"), (1042, "DEU"), (2042, "SGP")):
        assert gate.whoami(tenant) == want
    assert why in gate.log().lower()
    health = gate.health()
    assert why in str(health).lower(), health
    existing = {row[0] for row in whole.dsql("select shard_id from shard_config")}
    for number, region, datacenter, primary in saved:
        if number not in existing:
            low, high = {2: (1000, 1999), 3: (2000, 2999)}[number]
            whole.add_shard(number, region, whole.shards[number], low, high, primary)
    whole.dsql("update shard_config set min_tenant_id = 1000, max_tenant_id = 1999, connection_string = %s"
               " where shard_id = 2", (whole.conninfo(whole.shards[2]),))
    reloads = gate.metric("map_reloads_total")
    gate.reload()
    util.eventually(lambda: gate.metric("map_reloads_total") > reloads or "last_error" not in str(gate.health()))
    assert gate.whoami(1042) == "DEU"


def test_sessions_in_transactions_are_not_disturbed(new_gate, whole):
    gate = new_gate(**COMMON)
    with gate.connect(42) as c:
        c.execute("begin")
        pid = c.execute("select pg_backend_pid()").fetchone()
        whole.assign(42, 2)
        follows(gate, 42, "DEU")
        gate.reload()
        assert c.execute("select pg_backend_pid()").fetchone() == pid
        assert c.execute("select shard from whoami").fetchone() == ("USA",)
        c.execute("commit")
        assert c.execute("select shard from whoami").fetchone() == ("DEU",)


def test_ten_reloads_under_load_give_no_error(new_gate, whole):
    gate = new_gate(**COMMON)
    benches = [Pgbench(gate, 42, 8), Pgbench(gate, 1042, 8, 4, "extended")]
    with Load(reader(gate, 2042, "SGP"), reader(gate, 2001, "SGP")) as load:
        for i in range(10):
            reloads = gate.metric("map_reloads_total")
            whole.assign(600 + i, 3)
            gate.reload()
            util.eventually(lambda: gate.metric("map_reloads_total") > reloads)
            load.progress(5)
        assert not load.errors(), load.errors()[:3]
    for bench in benches:
        bench.assert_clean()


def test_lookup_of_the_command_line(new_gate, whole):
    whole.assign(77, 3)
    gate = new_gate(**COMMON)
    util.eventually(lambda: gate.whoami(77) == "SGP")
    for tenant, shard, region, why in (("77", "3", "SGP", "override"), ("1042", "2", "DEU", "range")):
        lines = [line.split() for line in cli("--config", gate.path, "--lookup", tenant).stdout.splitlines()]
        assert lines[:-1] == [["tenant", tenant], ["shard", shard], ["region", region],
                              ["datacenter", f"{region.lower()}-1"], ["active", "yes"], ["why", why]]
        assert lines[-1][0] == "revision" and int(lines[-1][1]) >= 1
        # The running instance says the same, line by line.
        told = [line.split() for line in ctl("tenant", tenant, gate=gate).stdout.splitlines()]
        assert told[:-1] == lines[:-1] and told[-1][0] == "revision"
    none = cli("--config", gate.path, "--lookup", "9999", check=False)
    assert none.returncode != 0 and "9999" in none.stdout + none.stderr
    bad = cli("--config", gate.path, "--lookup", "abc", check=False)
    assert bad.returncode != 0 and "abc" in bad.stdout + bad.stderr


def test_show_tenant(new_gate, whole):
    whole.assign(77, 3)
    gate = new_gate(**COMMON)
    util.eventually(lambda: gate.whoami(77) == "SGP")
    (row,) = gate.console("SHOW TENANT 77")
    assert "override" in row.values() and "3" in map(str, row.values())
    (row,) = gate.console("SHOW TENANT 1042")
    assert "range" in row.values() and "2" in map(str, row.values())


def test_a_miss_is_asked_of_the_directory(new_gate, bare_servers):
    """Bare tables, no poll in sight: only the look-up on a miss can find the tenant."""
    gate = new_gate(landscape=bare_servers, **{**COMMON, **WAYS["sighup"], "directory.lookup_on_miss": True,
                                               "directory.negative_ttl": "300ms"})
    assert sqlstate(gate.refusal(7001)) == "SG002"
    bare_servers.assign(7001, 2)
    follows(gate, 7001, "DEU")
    (row,) = gate.console("SHOW TENANT 7001")
    assert "learned" in row.values()
    assert gate.metric("map_misses_total") >= 2


def test_a_miss_asks_once_for_many_clients(new_gate, bare_servers):
    bare_servers.dsql("alter database bare set log_statement = 'all'")
    gate = new_gate(landscape=bare_servers, **{**COMMON, **WAYS["sighup"], "directory.lookup_on_miss": True,
                                               "directory.negative_ttl": "1h"})
    before = len(bare_servers.directory.log())
    with Load(*[refused(gate, 7100) for _ in range(8)]) as load:
        load.progress(3)
    asked = [line for line in bare_servers.directory.log()[before:].splitlines() if "7100" in line]
    bare_servers.dsql("alter database bare reset log_statement")
    assert len(asked) == 1, asked  # the negative cache answers the rest


def test_the_cache_starts_an_instance_without_the_directory(new_gate, whole):
    folder = util.scratch_folder("cache")
    cache = os.path.join(folder, "map.cache")
    options = {**COMMON, "directory.cache_file": cache, "directory.timeout": "1s"}
    whole.assign(77, 3)
    first = new_gate(**options)
    follows(first, 77, "SGP")
    util.eventually(lambda: os.path.exists(cache) and os.path.getsize(cache) > 0)
    util.eventually(lambda: cli("--config", first.path, "--lookup", "77").stdout)
    first.stop()
    whole.directory.stop()
    try:
        second = new_gate(**options)
        assert second.whoami(77) == "SGP" and second.whoami(42) == "USA"
        health = second.health()
        assert "cache" in str(health) and "degraded" in str(health), health
        assert second.http("/readyz")[0] == 200
    finally:
        whole.directory.start()
    whole.assign(77, 2)
    util.eventually(lambda: second.whoami(77) == "DEU", 30, "following after the directory is back")


def test_a_damaged_cache_is_not_used(new_gate, whole):
    cache = os.path.join(util.scratch_folder("cache"), "map.cache")
    with open(cache, "wb") as f:
        f.write(os.urandom(4096))
    whole.directory.stop()
    try:
        gate = new_gate(ready=False, **{**COMMON, "directory.cache_file": cache, "directory.timeout": "1s"})
        gate.wait_listening()
        assert gate.http("/readyz")[0] == 503
        assert sqlstate(gate.refusal(42)) in ("57P03", None)
        assert "not loaded" in str(gate.refusal(42))
    finally:
        whole.directory.start()
    gate.wait_ready()
    assert gate.whoami(42) == "USA"


def test_the_directory_may_go_and_come_back(new_gate, whole):
    gate = new_gate(**{**COMMON, "directory.timeout": "1s", "directory.poll_interval": "300ms"})
    with Load(reader(gate, 42, "USA"), reader(gate, 1042, "DEU")) as load:
        whole.directory.kill()
        errors = gate.metric("directory_errors_total")
        load.progress(20)
        util.eventually(lambda: gate.metric("directory_errors_total") > errors or "degraded" in str(gate.health()))
        assert gate.http("/readyz")[0] == 200
        whole.directory.start()
        whole.assign(77, 3)
        follows(gate, 77, "SGP")
        load.progress(20)
        assert not load.errors()


def test_a_directory_that_answers_nothing(new_gate, whole):
    """It takes connections and is silent: clients of known tenants do not notice."""
    gate = new_gate(**{**COMMON, "directory.timeout": "500ms", "directory.poll_interval": "300ms",
                       "directory.lookup_on_miss": True})
    whole.directory.pause()
    try:
        begun = time.monotonic()
        assert gate.whoami(42) == "USA"
        assert sqlstate(gate.refusal(8888)) in ("SG002", "08001", "57P03")
        assert time.monotonic() - begun < 15
    finally:
        whole.directory.resume()
    follows(gate, 1042, "DEU")
