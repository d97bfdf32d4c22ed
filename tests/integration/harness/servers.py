"""The usual landscape: a directory and three regional shards."""
import os
import signal

from . import util
from .cluster import Cluster, start_all

SHARD_PASSWORD = "shard-secret-b7e1"
DIRECTORY_PASSWORD = "directory-secret-93aa"
CLIENT_PASSWORD = "client-secret-51cd"
PASSWORDS = (SHARD_PASSWORD, DIRECTORY_PASSWORD, CLIENT_PASSWORD)

SHARDS = ((1, "USA", 1, 999), (2, "DEU", 1000, 1999), (3, "SGP", 2000, 2999))

TENANTS = {1: (1, 2, 7, 42, 999), 2: (1000, 1001, 1042, 1500, 1999), 3: (2000, 2001, 2042, 2500, 2999)}

ROLES = f"""
create role app login password '{SHARD_PASSWORD}' replication;
create role other login password '{SHARD_PASSWORD}';
grant pg_monitor, pg_signal_backend to app;
create database app owner app;
create database other owner app;
create role shardgate login password '{DIRECTORY_PASSWORD}';
create database directory;
"""
SCHEMA = """
set role app;
create schema authorization app;
drop schema app;
create table tenant_data (tenant_id bigint not null, id bigint not null, value text,
                          shard text not null, primary key (tenant_id, id));
create table whoami (shard text not null);
create table scratch (tenant_id bigint, n bigint, note text);
create function add_numbers(a int, b int) returns int language sql as 'select a + b';
create function complain(what text) returns text language plpgsql as
  $$begin raise notice 'told: %', what; return what; end$$;
grant all on all tables in schema public to public;
"""
FILL = """
alter table tenant_data alter shard set default '{name}';
insert into whoami values ('{name}');
insert into tenant_data (tenant_id, id, value)
  select t, i, 'value ' || i || ' of tenant ' || t
    from unnest(array[{tenants}]::bigint[]) t, generate_series(1, 10) i;
"""
# The documented columns only, as an existing deployment may have them.
BARE_DIRECTORY = """
create table shard_config (shard_id smallint primary key, region_code char(3), datacenter varchar(32),
  connection_string text, is_primary boolean, is_active boolean, min_tenant_id bigint,
  max_tenant_id bigint, created_at timestamptz default now());
create table tenant_shard_map (tenant_id bigint primary key, shard_id smallint references shard_config,
  region_code char(3), created_at timestamptz default now());
"""
READER = """
grant usage on schema public to shardgate;
grant select on all tables in schema public to shardgate;
"""


class Servers:
    """`directory` is a cluster; `shards` maps a shard's number to its cluster."""

    directory_name = "directory"

    def __init__(self, bare=False, start=True):
        self.root = util.scratch_folder()
        util.own_by_postgres(self.root)
        template = self._template()
        self.directory = Cluster(self.root, "dir", template)
        self.shards = {number: Cluster(self.root, f"s{number}", template) for number, *_ in SHARDS}
        template.remove()
        self.extra = []
        if start:
            start_all(self.all())
            self._load_directory(bare)
            for number, name, *_ in SHARDS:
                self._load_shard(self.shards[number], number, name)

    def all(self):
        return [self.directory, *self.shards.values(), *getattr(self, "extra", [])]

    def _template(self):
        template = Cluster(self.root, "template")
        template.start()
        with template.connect("postgres") as c:
            for statement in ROLES.strip().split(";\n"):
                c.execute(statement)
        template.sql(SCHEMA)
        util.run(["pgbench", "-i", "-q", "-I", "dtGp", "-s", "1", "-h", self.root, "-p", str(template.port),
                  "-U", template.superuser, "app"])
        template.sql("grant all on all tables in schema public to app")
        template.stop()
        return template

    def _load_directory(self, bare):
        if bare:
            self.directory.sql(BARE_DIRECTORY, dbname="directory")
        else:
            self.directory.load(os.path.join(util.SOURCE, "config/sql/directory.sql"), "directory")
        for number, name, low, high in SHARDS:
            self.add_shard(number, name, self.shards[number], low, high, primary=number == 1)
        self.directory.sql(READER, dbname="directory")

    def _load_shard(self, cluster, number, name):
        tenants = ",".join(map(str, TENANTS.get(number, ())))
        cluster.sql(FILL.format(name=name, tenants=tenants))

    # ---- changes of the directory ----

    def dsql(self, text, args=None):
        return self.directory.sql(text, args, dbname="directory")

    def conninfo(self, cluster, **changes):
        parts = {"host": "127.0.0.1", "port": cluster.port, "dbname": "app", "user": "app",
                 "password": SHARD_PASSWORD, **changes}
        return " ".join(f"{k}={v}" for k, v in parts.items() if v is not None)

    def add_shard(self, number, region, cluster, low, high, primary=False, active=True, **changes):
        self.dsql("insert into shard_config (shard_id, region_code, datacenter, connection_string, is_primary,"
                  " is_active, min_tenant_id, max_tenant_id) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                  (number, region, f"{region.lower()}-1", self.conninfo(cluster, **changes), primary, active,
                   low, high))

    def assign(self, tenant, shard):
        """An override of one tenant."""
        self.dsql("insert into tenant_shard_map (tenant_id, shard_id, region_code)"
                  " select %s, shard_id, region_code from shard_config where shard_id = %s"
                  " on conflict (tenant_id) do update set shard_id = excluded.shard_id,"
                  " region_code = excluded.region_code", (tenant, shard))

    def unassign(self, tenant):
        self.dsql("delete from tenant_shard_map where tenant_id = %s", (tenant,))

    def new_cluster(self, name, number):
        """A further shard, started and filled, but not in the directory yet."""
        template = self._template()
        cluster = Cluster(self.root, f"s{number}", template)
        template.remove()
        cluster.start()
        self._load_shard(cluster, number, name)
        self.extra.append(cluster)
        return cluster

    def close(self):
        for cluster in self.all():
            cluster.stop(signal.SIGQUIT)


def shard_of(tenant):
    """Name of the shard whose range holds the tenant, in the usual landscape."""
    for _, name, low, high in SHARDS:
        if low <= tenant <= high:
            return name
    return None
