"""What is measured: one PostgreSQL, and in front of it PgBouncer and shardgate with
the same pools, the same users and the same authentication."""
import os
import resource
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import daemon, util  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.rawpg import Raw, VERSION_3_0, startup_packet  # noqa: E402

TENANT = 5
POOL_SIZE = 16
PASSWORD = "bench-secret"
DESCRIPTORS = 20000
MANY_USERS = 2000
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
SETTINGS = {"shared_buffers": "128MB", "max_wal_size": "2GB", "maintenance_work_mem": "256MB"}
GATE = {"auth.type": "trust", "log.level": "info", "health.probe_interval": "5s", "health.probe_timeout": "3s",
        "pool.size": POOL_SIZE, "pool.max_per_shard": 400, "limits.max_clients": 10000, "workers": 1}
BOUNCER = {"auth_type": "trust", "pool_mode": "transaction", "default_pool_size": POOL_SIZE,
           "max_client_conn": 10000, "max_db_connections": 400, "unix_socket_dir": "",
           "ignore_startup_parameters": "extra_float_digits", "listen_addr": "127.0.0.1"}


def raise_descriptor_limit():
    """For 5,000 clients on both sides. Inherited by all that is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def user_name(number):
    return f"u{number:04d}"


class Stage:
    """The PostgreSQL server: the shard's database `app` and, for small maps, the directory."""

    directory_name = "directory"

    def __init__(self):
        self.root = util.scratch_folder("bench")
        util.own_by_postgres(self.root)
        self.cluster = self.directory = Cluster(self.root, "pg")
        with open(os.path.join(self.cluster.data, "pg_hba.conf"), "w") as f:
            f.write(HBA)
        self.cluster.start(max_connections=600, **SETTINGS)
        with self.cluster.connect("postgres") as c:
            for statement in ("create role app login", "create role shardgate login",
                              "create database app owner app", "create database directory"):
                c.execute(statement)
        self.cluster.sql(f"do $$ begin for i in 1..{MANY_USERS} loop"
                         " execute format('create role u%s login', lpad(i::text, 4, '0')); end loop; end $$")
        util.run(["pgbench", "-i", "-q", "-I", "dtGvp", "-s", "1", *self.psql_arguments("app")])
        self.cluster.sql("grant all on all tables in schema public to app")
        self.fill_directory(self.directory_name, 1000, overrides=10)
        # Opened before thousands of clients: psycopg cannot wait for a descriptor above 1023.
        self.control = self.cluster.connect()
        self.users = os.path.join(self.root, "users")
        with open(self.users, "w") as f:
            for name in ("app", "admin", *(user_name(i + 1) for i in range(MANY_USERS))):
                f.write(f'"{name}" "{PASSWORD}"\n')
        os.chmod(self.users, 0o644)

    def psql_arguments(self, dbname):
        return ["-h", self.root, "-p", str(self.cluster.port), "-U", self.cluster.superuser, dbname]

    def fill_directory(self, dbname, tenants, overrides=100, bare=False):
        """A directory of that many tenants, all of them on this server."""
        if bare or dbname != self.directory_name:
            with self.cluster.connect("postgres") as c:
                c.execute(f"create database {dbname}")
        argv = [os.path.join(util.SOURCE, "tests/tools/make_directory"), "--tenants", str(tenants), "--shards", "1",
                "--overrides", str(overrides),
                "--conninfo", f"host=127.0.0.1 port={self.cluster.port} dbname=app user=app"]
        util.run([*argv, *(["--bare"] if bare else []),
                  f"host={self.root} port={self.cluster.port} user={self.cluster.superuser} dbname={dbname}"],
                 timeout=1200)
        self.cluster.sql("grant select on all tables in schema public to shardgate", dbname=dbname)

    def drop_directory(self, dbname):
        with self.cluster.connect("postgres") as c:
            c.execute(f"drop database {dbname} with (force)")

    def close(self):
        self.control.close()
        self.cluster.remove()


class Candidate:
    """One way to the server: a port, and the process in between, if any."""

    name = "direct"
    pid = None
    startup_options = ""

    def __init__(self, port):
        self.port = port

    def environment(self, user="app", dbname="app"):
        env = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": user,
               "PGDATABASE": dbname, "PGPASSWORD": PASSWORD}
        return {**env, "PGOPTIONS": self.startup_options} if self.startup_options else env

    def session_database(self):
        return "app"

    def startup(self, user="app"):
        """The first packet of a raw client."""
        options = {"options": self.startup_options} if self.startup_options else {}
        return startup_packet(VERSION_3_0, user=user, database="app", **options)

    def client(self, user="app"):
        """A raw client, logged in."""
        raw = Raw(self.port, timeout=60)
        raw.send(self.startup(user))
        raw.until_ready()
        return raw

    def stop(self):
        pass


class Direct(Candidate):
    def __init__(self, stage):
        super().__init__(stage.cluster.port)


class Bouncer(Candidate):
    """PgBouncer in transaction mode; its database app_session is in session mode."""

    name = "pgbouncer"

    def __init__(self, stage, prefix=(), **settings):
        super().__init__(util.free_port())
        self.folder = util.scratch_folder("pgb")
        util.own_by_postgres(self.folder)
        path = os.path.join(self.folder, "pgbouncer.ini")
        server = f"host=127.0.0.1 port={stage.cluster.port} dbname=app"
        values = {**BOUNCER, "listen_port": self.port, "auth_file": stage.users, **settings}
        with open(path, "w") as f:
            f.write(f"[databases]\napp = {server}\napp_session = {server} pool_mode=session\n[pgbouncer]\n")
            f.writelines(f"{key} = {value}\n" for key, value in values.items())
        os.chmod(path, 0o644)
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = util.spawn([*prefix, "/usr/sbin/pgbouncer", path], as_postgres=True, stdout=log,
                                      stderr=subprocess.STDOUT, cwd=self.folder)
        self.pid = self.process.pid
        util.eventually(lambda: Raw(self.port).close() or True, 60, "start of PgBouncer")

    def session_database(self):
        return "app_session"

    def stop(self):
        util.signal_quietly(self.pid, 15)
        self.process.wait(30)


class Gate(daemon.Gate, Candidate):
    """shardgate; its database app_session is in session mode."""

    startup_options = f"-c shardgate.tenant_id={TENANT}"

    def __init__(self, stage, prefix=(), name="shardgate", many_users=0, **options):
        self.prefix = prefix
        self.name = name
        sessions = [{"name": "app"}, {"name": "app_session", "server_database": "app", "pool_mode": "session"}]
        # A user of the file gets the user of the shard's connection string, app; these keep their own.
        users = [{"name": user_name(i + 1), "server_user": user_name(i + 1)} for i in range(many_users)]
        super().__init__(stage, users=users, databases=sessions, **{**GATE, "auth.file": stage.users, **options})
        self.pid = self.process.pid

    def start(self, ready=True):
        with open(self.log_path, "ab") as log:
            self.process = util.spawn([*self.prefix, daemon.DAEMON, "--config", self.path], stdout=log,
                                      stderr=subprocess.STDOUT, cwd=self.folder)
        if ready:
            self.wait_ready(600)
        return self

    environment = Candidate.environment
    session_database = Bouncer.session_database
