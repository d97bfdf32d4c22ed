"""PostgreSQL clusters in a scratch folder: one template a run, then copies."""
import os
import shutil
import signal
import subprocess
import time

import psycopg

from . import util

CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
max_connections = {max_connections}
superuser_reserved_connections = 3
shared_buffers = 16MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
wal_level = replica
max_wal_senders = 4
max_wal_size = 64MB
min_wal_size = 4MB
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
log_line_prefix = '%m [%p] %u@%d %a '
client_connection_check_interval = 0
"""


class Cluster:
    """One server. Superuser over its Unix socket without a password; everybody
    else over TCP with SCRAM."""

    def __init__(self, root, name, template=None):
        self.name = name
        self.port = util.free_port()
        self.root = root
        self.data = os.path.join(root, name)
        self.log_path = os.path.join(root, f"{name}.log")
        self.superuser = util.postgres_user()
        self.process = None
        self.settings = {}
        if template:
            util.run(["cp", "-a", "--reflink=auto", template.data, self.data])
        else:
            util.run([f"{util.PG_BIN}/initdb", "-D", self.data, "-E", "UTF8", "--locale=C.UTF-8", "-N",
                      "--wal-segsize=1", "--auth-local=trust", "--auth-host=scram-sha-256",
                      "-U", self.superuser], as_postgres=True)
            with open(os.path.join(self.data, "pg_hba.conf"), "a") as f:
                f.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    def start(self, wait=True, max_connections=100, **settings):
        """Begins to start; with wait=False, call wait_ready() later."""
        assert self.process is None, f"{self.name} runs already"
        self.settings = {"max_connections": max_connections, **settings}
        extra = "".join(f"{k} = '{v}'\n" for k, v in settings.items())
        with open(os.path.join(self.data, "postgresql.auto.conf"), "w") as f:
            f.write(CONF.format(port=self.port, sockets=self.root, max_connections=max_connections) + extra)
        with open(self.log_path, "ab") as log:
            self.process = util.spawn([f"{util.PG_BIN}/postgres", "-D", self.data], as_postgres=True,
                                      stdout=log, stderr=subprocess.STDOUT, cwd="/")
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} did not start:\n{self.log()[-3000:]}")
            with self.connect("postgres"):
                return True
        util.eventually(ready, 60, f"start of {self.name}")

    def connect(self, dbname="app", **kw):
        """As superuser, straight to the server."""
        kw.setdefault("autocommit", True)
        return psycopg.connect(host=self.root, port=self.port, user=self.superuser, dbname=dbname,
                               connect_timeout=10, **kw)

    def sql(self, text, args=None, dbname="app"):
        """Runs one or more statements; returns the rows of the last, if any."""
        with self.connect(dbname) as c:
            cursor = c.execute(text, args)
            return cursor.fetchall() if cursor.description else []

    def load(self, path, dbname="app", **variables):
        """Runs an SQL file with psql."""
        argv = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.root, "-p", str(self.port),
                "-U", self.superuser, "-d", dbname]
        for name, value in variables.items():
            argv += ["-v", f"{name}={value}"]
        with open(path) as f:
            return util.run(argv, stdin=f, env={**os.environ, "PGOPTIONS": "--client-min-messages=warning"})

    def backends(self, where="true"):
        """Client backends of our test roles that match."""
        return self.sql("select pid, usename, state, query, application_name from pg_stat_activity"
                        f" where backend_type = 'client backend' and usename <> '{self.superuser}' and ({where})")

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    # ---- trouble ----

    def pids(self):
        return [self.process.pid, *util.children(self.process.pid)]

    def stop(self, signo=signal.SIGINT):
        """A fast stop by default; SIGQUIT is immediate."""
        if self.process is None:
            return
        self.resume()
        util.signal_quietly(self.process.pid, signo)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return
        self.process = None

    def kill(self):
        """All its processes at once, as if the machine had lost power."""
        util.signal_quietly(self.process.pid, signal.SIGSTOP)  # forks no more
        pids = self.pids()
        for signo in (signal.SIGSTOP, signal.SIGKILL):  # no last words
            for pid in pids:
                util.signal_quietly(pid, signo)
        self.process.wait(30)
        self.process = None
        util.eventually(lambda: not any(util.alive(pid) for pid in pids), 30, "end of every server process")

    def pause(self):
        """The kernel still takes connections and bytes; nobody answers."""
        for pid in self.pids():
            util.signal_quietly(pid, signal.SIGSTOP)

    def resume(self):
        if self.process:
            for pid in self.pids():
                util.signal_quietly(pid, signal.SIGCONT)

    def restart(self, **settings):
        self.stop()
        self.start(**{**self.settings, **settings})

    def remove(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.data, ignore_errors=True)


def start_all(clusters, **settings):
    for cluster in clusters:
        cluster.start(wait=False, **settings)
    for cluster in clusters:
        cluster.wait_ready()


def wait_for(seconds):
    """For load that must last; never in place of an assertion."""
    time.sleep(seconds)
