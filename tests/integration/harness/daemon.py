"""The daemon under test: its file, its life, its log."""
import copy
import http.client
import json
import os
import re
import signal
import subprocess
import time

import psycopg
from psycopg.rows import dict_row

from . import servers as landscape
from . import util

DAEMON = os.path.join(util.BUILD, "shardgate")
CTL = os.path.join(util.BUILD, "shardgatectl")
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")
SANITIZERS = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1"
                    ":quarantine_size_mb=8",
    "LSAN_OPTIONS": "exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "exitcode=99:second_deadlock_stack=1",
}
PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*|-?[0-9]+|[0-9]+(ms|s|min|h|d|B|kB|MB|GB)")
WORDS = {"yes", "no", "true", "false", "null", "on", "off", "y", "n"}


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if PLAIN.fullmatch(value) and (value.lower() not in WORDS):
        return value
    return json.dumps(value)


def to_yaml(value, indent=""):
    """Enough YAML for a configuration: maps, lists of maps or scalars, scalars."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines += [f"{indent}{key}:", to_yaml(item, indent + "  ").rstrip("\n")]
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            lines.append(f"{indent}{key}:")
            for entry in item:
                body = to_yaml(entry, indent + "    ").rstrip("\n")
                lines.append(f"{indent}  - " + body.lstrip())
        elif isinstance(item, list):
            lines.append(f"{indent}{key}: [{', '.join(scalar(i) for i in item)}]")
        elif item is not None:
            lines.append(f"{indent}{key}: {scalar(item)}")
    return "\n".join(lines) + "\n"


def default_users():
    secret = landscape.CLIENT_PASSWORD
    return [{"name": name, "password": secret} for name in ("app", "other", "admin", "stats")]


class Gate:
    """One daemon. `options` are dotted names: {"timeout.query_wait": "2s"};
    `users` and `databases` are lists as in the file."""

    def __init__(self, servers, users=None, databases=None, env=None, start=True, ready=True, **options):
        self.servers = servers
        self.folder = util.scratch_folder("gate")
        self.port = util.free_port()
        self.http_port = util.free_port()
        self.path = os.path.join(self.folder, "shardgate.yaml")
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.env = dict(env or {})
        self.users = default_users() if users is None else users
        self.databases = databases
        self.options = {
            "listen.addresses": ["127.0.0.1"], "listen.port": self.port, "listen.unix_directory": self.folder,
            "workers": 2, "http.address": "127.0.0.1", "http.port": self.http_port,
            "admin.users": ["admin"], "admin.stats_users": ["stats"],
            "directory.connection": f"host=127.0.0.1 port={servers.directory.port}"
                                    f" dbname={servers.directory_name} user=shardgate",
            "directory.password": landscape.DIRECTORY_PASSWORD,
            "health.probe_interval": "500ms", "health.probe_timeout": "1s",
            "server.login_retry": "100ms", "server.connect_timeout": "3s",
            "timeout.shutdown": "5s", "log.level": "debug",
        }
        self.set(**options)
        if start:
            self.start(ready)

    # ---- the file ----

    def set(self, **options):
        """Changes options and writes the file; None removes one."""
        for name, value in options.items():
            name = name.replace("__", ".")
            if value is None:
                self.options.pop(name, None)
            else:
                self.options[name] = value
        self.write()

    def write(self, text=None):
        if text is None:
            tree = {}
            for name, value in self.options.items():
                node = tree
                *parents, leaf = name.split(".")
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[leaf] = value
            for name in ("users", "databases"):
                if getattr(self, name):
                    tree[name] = copy.deepcopy(getattr(self, name))
            text = to_yaml(tree)
        with open(self.path, "w") as f:
            f.write(text)

    # ---- its life ----

    def start(self, ready=True):
        with open(self.log_path, "ab") as log:
            self.process = util.spawn([DAEMON, "--config", self.path], stdout=log, stderr=subprocess.STDOUT,
                                      env={**os.environ, **SANITIZERS, **self.env})
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        def is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"shardgate ended with {self.process.returncode}:\n{self.log()[-6000:]}")
            return self.http("/readyz")[0] == 200
        util.eventually(is_ready, timeout, "readiness of shardgate")

    def wait_listening(self, timeout=60):
        def listens():
            if self.process.poll() is not None:
                raise SystemExit(f"shardgate ended with {self.process.returncode}:\n{self.log()[-6000:]}")
            return self.http("/livez")[0] == 200
        util.eventually(listens, timeout, "start of shardgate")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def send_signal(self, signo):
        os.kill(self.process.pid, signo)

    def reload(self):
        """SIGHUP; does not wait for the result."""
        self.send_signal(signal.SIGHUP)

    def wait_exit(self, timeout=60):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"shardgate still runs after {timeout} s\n{self.log()[-3000:]}") from None

    def stop(self, signo=signal.SIGINT, timeout=60):
        """Stops it and judges its end: status 0, no report, no secret in the log."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.send_signal(signo)
        try:
            status = self.wait_exit(timeout)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            self.process = None
            raise
        self.process = None
        self.judge(status)

    def judge(self, status):
        log = self.log()
        report = SANITIZER_REPORT.search(log)
        assert not report, f"sanitizer report:\n{log[report.start():report.start() + 8000]}"
        assert status == 0, f"exit status {status}\n{log[-6000:]}"
        for secret in landscape.PASSWORDS:
            assert secret not in log, "a password is in the log"

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, timeout=30, since=0):
        """Waits for a line that matches; returns the match."""
        regex = re.compile(pattern, re.M)
        return util.eventually(lambda: regex.search(self.log(), since), timeout, f"log line {pattern!r}")

    # ---- clients ----

    def parameters(self, tenant=None, user="app", dbname="app", **kw):
        options = kw.pop("options", "")
        if tenant is not None:
            options = f"-c shardgate.tenant_id={tenant} {options}".strip()
        made = {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname,
                "password": landscape.CLIENT_PASSWORD, "connect_timeout": 20, **kw}
        if options:
            made["options"] = options
        return made

    def connect(self, tenant=None, autocommit=True, row_factory=None, **kw):
        extra = {"row_factory": row_factory} if row_factory else {}
        threshold = kw.pop("prepare_threshold", None)  # named statements pin in transaction mode
        c = psycopg.connect(**self.parameters(tenant, **kw), autocommit=autocommit, **extra)
        c.prepare_threshold = threshold
        return c

    def whoami(self, tenant, **kw):
        with self.connect(tenant, **kw) as c:
            return c.execute("select shard from whoami").fetchone()[0]

    def refusal(self, tenant=None, sql="select shard from whoami", **kw):
        """The error that a client gets: at connect, or for its statement."""
        try:
            with self.connect(tenant, **kw) as c:
                rows = c.execute(sql).fetchall()
        except psycopg.Error as e:
            return e
        raise AssertionError(f"no error but {rows}")

    def environment(self, tenant=None, **kw):
        """For libpq's own programs."""
        made = self.parameters(tenant, **kw)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE",
                 "password": "PGPASSWORD", "options": "PGOPTIONS", "connect_timeout": "PGCONNECT_TIMEOUT"}
        return {**os.environ, **{names[k]: str(v) for k, v in made.items() if k in names}}

    def psql(self, sql, tenant=None, check=True, **kw):
        return util.run(["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-c", sql],
                        env=self.environment(tenant, **kw), check=check)

    # ---- its own pages ----

    def http(self, path, method="GET"):
        """Status, body and headers."""
        c = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            c.request(method, path)
            answer = c.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            c.close()

    def health(self):
        return json.loads(self.http("/healthz")[1])

    def metrics(self):
        """Sample name with labels -> value."""
        found = {}
        for line in self.http("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def metric(self, name, **labels):
        """Sum over the samples of a metric whose labels match."""
        total = 0.0
        for sample, value in self.metrics().items():
            base, _, rest = sample.partition("{")
            if base == f"shardgate_{name}" and all(f'{k}="{v}"' in rest for k, v in labels.items()):
                total += value
        return total

    def console(self, sql, user="admin", **kw):
        """One command by the simple protocol; rows as dictionaries."""
        with self.connect(dbname="shardgate", user=user, row_factory=dict_row, **kw) as c:
            cursor = psycopg.ClientCursor(c, row_factory=dict_row)
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    # ---- what it uses ----

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError(f"no {field}")


def sqlstate(error):
    """SQLSTATE of an error, also of one at connect, where psycopg has only text."""
    return error.sqlstate or (error.diag.sqlstate if error.diag else None)


def ctl(*argv, gate=None, check=True, **kw):
    env = gate.environment(user="admin", dbname="shardgate") if gate else dict(os.environ)
    return util.run([CTL, *argv], env={**env, **SANITIZERS}, check=check, **kw)


def cli(*argv, check=True, env=None, **kw):
    """Runs the daemon's program for one of its short commands."""
    return util.run([DAEMON, *argv], env={**os.environ, **SANITIZERS, **(env or {})}, check=check, **kw)


def load_for(seconds):
    time.sleep(seconds)
