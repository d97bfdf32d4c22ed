"""The configuration file: checked whole, explained precisely, reloaded all or nothing."""
import json
import os
import re
import signal
import socket
import subprocess

import psycopg
import pytest

from harness import util
from harness.daemon import DAEMON, Gate, cli, sqlstate
from harness.load import Load, reader

GATE = {"auth.type": "trust"}

MINIMAL = 'directory:\n  connection: "host=127.0.0.1 dbname=directory"\n'

BAD = {
    "unknown key": (MINIMAL + "lisen:\n  port: 1\n", 3, "lisen"),
    "unknown key below": (MINIMAL + "listen:\n  prot: 1\n", 4, "prot"),
    "wrong type": (MINIMAL + "listen:\n  port: many\n", 4, "integer"),
    "out of range": (MINIMAL + "listen:\n  port: 70000\n", 4, "65535"),
    "no unit": (MINIMAL + "timeout:\n  query_wait: 5\n", 4, "unit"),
    "unknown unit": (MINIMAL + "timeout:\n  query_wait: 5 parsec\n", 4, "unit"),
    "size without unit": (MINIMAL + "limits:\n  io_buffer: 262144\n", 4, "unit"),
    "unknown choice": (MINIMAL + "pool:\n  mode: statement\n", 4, "transaction"),
    "a list for a scalar": (MINIMAL + "listen:\n  port: [1, 2]\n", 4, "list"),
    "a section for a scalar": (MINIMAL + "listen:\n  port:\n    a: 1\n", 5, "section"),
    "a scalar for a section": (MINIMAL + "listen: 6432\n", 3, "section"),
    "not closed": (MINIMAL + "listen: [\n", None, ""),
    "tab": (MINIMAL + "listen:\n\tport: 1\n", 4, ""),
    "twice": (MINIMAL + "listen:\n  port: 1\n  port: 2\n", 5, "port"),
    "no directory": ("listen:\n  port: 6432\n", None, "directory.connection"),
    "environment": (MINIMAL + "pid_file: ${NO_SUCH_VARIABLE_HERE}\n", 3, "NO_SUCH_VARIABLE_HERE"),
    "user without name": (MINIMAL + "users:\n  - password: x\n", 4, "name"),
    "user twice": (MINIMAL + "users:\n  - name: a\n  - name: a\n", 5, "already"),
    "bad tenants": (MINIMAL + "users:\n  - name: a\n    tenants: [9-1]\n", 5, "tenant"),
    "binary": ("\x00\x01\x02\x03", None, ""),
    "a scalar": ("just words\n", 1, ""),
    "no such secret file": (MINIMAL + "  password_file: /nonexistent/secret\n", 3, "/nonexistent/secret"),
}


def check(text, env=None):
    path = os.path.join(util.scratch_folder("conf"), "shardgate.yaml")
    with open(path, "w") as f:
        f.write(text)
    return path, cli("--config", path, "--check-config", check=False, env=env)


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file(what):
    """File, line, column, and what was expected."""
    text, line, word = BAD[what]
    path, done = check(text)
    assert done.returncode != 0
    said = done.stderr + done.stdout
    assert path in said, said
    if line:
        assert re.search(rf"{re.escape(path)}:{line}:\d+", said), said
    assert word in said, said


def test_a_good_file():
    _, done = check(MINIMAL)
    assert done.returncode == 0, done.stderr


def test_all_problems_are_told():
    _, done = check(MINIMAL + "listen:\n  port: many\npool:\n  size: none\n")
    assert ":4:" in done.stderr + done.stdout and ":6:" in done.stderr + done.stdout


def test_files_that_cannot_be_read():
    for path in ("/nonexistent/shardgate.yaml", "/tmp", "/dev/null"):
        done = cli("--config", path, "--check-config", check=False)
        assert done.returncode != 0 and path in done.stderr + done.stdout, (path, done)


def test_the_files_of_the_project():
    names = [n for n in os.listdir(os.path.join(util.SOURCE, "config")) if n.endswith(".yaml")]
    assert len(names) >= 2
    for name in names:
        with open(os.path.join(util.SOURCE, "config", name)) as f:
            text = f.read()
        folder = util.scratch_folder("project")
        for secret in re.findall(r"_file: *\$\{SHARDGATE_SECRETS:-[^}]*\}/(\w+)", text):
            with open(os.path.join(folder, secret), "w") as f:
                f.write("word\n")
        plain = re.findall(r"^[^#\n]*\$\{(\w+)\}", text, re.M)
        path, done = check(text, {"SHARDGATE_SECRETS": folder, "SHARDGATE_STATE": folder, **{v: "x" for v in plain}})
        assert done.returncode == 0, done.stderr + done.stdout


def test_environment_and_secret_files():
    folder = util.scratch_folder("conf")
    secret = os.path.join(folder, "secret")
    with open(secret, "w") as f:
        f.write("hidden-word\n")
    text = ('directory:\n  connection: "host=${DIRECTORY_HOST} dbname=directory"\n'
            f"  password_file: {secret}\nlisten:\n  port: ${{LISTEN_PORT}}\n")
    _, done = check(text, {"DIRECTORY_HOST": "127.0.0.1", "LISTEN_PORT": "7000"})
    assert done.returncode == 0, done.stderr
    _, done = check(text, {"DIRECTORY_HOST": "127.0.0.1", "LISTEN_PORT": "70000"})
    assert done.returncode != 0 and ":5:" in done.stderr + done.stdout


def test_secrets_from_files_work(new_gate, servers):
    from harness.servers import DIRECTORY_PASSWORD
    gate = new_gate(start=False, **GATE)
    secret = os.path.join(gate.folder, "directory-password")
    with open(secret, "w") as f:
        f.write(DIRECTORY_PASSWORD + "\n")
    gate.set(**{"directory.password": None, "directory.password_file": secret})
    gate.start()
    assert gate.whoami(42) == "USA"


def test_the_printed_pages():
    docs = cli("--print-config-docs").stdout
    with open(os.path.join(util.SOURCE, "include/shardgate/options.def")) as f:
        names = re.findall(r'^OPTION_\w+\(\w+, "([\w.]+)"', f.read(), re.M)
    assert len(names) > 50
    for name in names:
        assert name.split(".")[-1] in docs, name
    assert "# " in cli("--print-metrics-docs").stdout
    assert re.search(r"\d+\.\d+\.\d+", cli("--version").stdout)
    assert "--check-config" in cli("--help").stdout


@pytest.mark.parametrize("argv", (("--bogus",), ("--config",), ("extra",), ("--lookup",), ("--config", "x", "--lookup")))
def test_wrong_usage(argv):
    done = cli(*argv, check=False)
    assert done.returncode != 0 and done.stderr.strip(), done


def refuses_to_start(gate):
    """Ends with status 1, not with that of a crash or of a sanitizer; returns the log."""
    gate.start(ready=False)
    status = gate.wait_exit(20)
    gate.process = None
    log = gate.log()
    assert "Sanitizer" not in log and "runtime error" not in log, log[-6000:]
    assert status == 1, (status, log[-6000:])
    return log


def test_a_bad_file_does_not_start(servers):
    gate = Gate(servers, start=False)
    gate.write("listen: [\n")
    assert gate.path in refuses_to_start(gate)


@pytest.mark.parametrize("option", ("listen.port", "http.port"))
def test_a_port_in_use_does_not_start(servers, option):
    """Another program's port; a second shardgate may share one on purpose, for an upgrade."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        gate = Gate(servers, start=False, **{**GATE, option: port})
        assert str(port) in refuses_to_start(gate)


def test_a_second_start_leaves_the_pid_file(new_gate, servers):
    """Started twice by mistake: the second one ends, the first one's file stays what it was."""
    gate = new_gate(start=False, **GATE)
    path = os.path.join(gate.folder, "pid")
    gate.set(pid_file=path)
    gate.start()
    second = Gate(servers, start=False, **{**GATE, "http.port": gate.http_port, "pid_file": path})
    assert str(gate.http_port) in refuses_to_start(second)
    with open(path) as f:
        assert f.read().strip() == str(gate.process.pid)
    assert gate.whoami(42) == "USA"


def test_an_upgrade_on_the_same_port(gate, new_gate):
    """The new one is started while the old one drains: nobody is refused in between."""
    old = new_gate(**{**GATE, "timeout.drain_delay": "2s", "timeout.shutdown": "10s"})
    new = new_gate(start=False, **{**GATE, "listen.port": old.port, "listen.unix_directory": None})
    new.port = old.port
    old.send_signal(signal.SIGTERM)
    new.start()
    assert old.wait_exit(20) == 0
    for tenant, shard in ((42, "USA"), (1042, "DEU")) * 5:
        assert new.whoami(tenant) == shard


def test_sighup_with_a_bad_file_keeps_the_old(new_gate):
    gate = new_gate(**GATE)
    with Load(reader(gate, 42, "USA"), reader(gate, 1042, "DEU")) as load:
        good = open(gate.path).read()
        for text in ("listen: [\n", good + "nonsense: 1\n", ""):
            since = len(gate.log())
            gate.write(text)
            gate.reload()
            gate.wait_log(re.escape(gate.path), since=since)
            load.progress(5)
        os.unlink(gate.path)
        since = len(gate.log())
        gate.reload()
        gate.wait_log(re.escape(gate.path), since=since)
        gate.write(good)
        gate.set(**{"limits.max_clients_per_user": 3})
        gate.reload()
        rows = lambda: {r["name"]: r["value"] for r in gate.console("SHOW CONFIG")}  # noqa: E731
        util.eventually(lambda: rows()["limits.max_clients_per_user"] == "3")
        assert not load.errors()


def test_options_that_need_a_restart_say_so(new_gate):
    gate = new_gate(**GATE)
    old = gate.port
    since = len(gate.log())
    gate.set(**{"listen.port": util.free_port(), "pool.size": 7})
    gate.reload()
    gate.wait_log("listen.port", since=since)
    rows = {r["name"]: r["value"] for r in gate.console("SHOW CONFIG")}
    util.eventually(lambda: {r["name"]: r["value"] for r in gate.console("SHOW CONFIG")}["pool.size"] == "7")
    assert rows["listen.port"] == str(old)
    assert gate.whoami(42) == "USA"


def in_session_mode(c):
    """Only there is the backend of the startup the one that answers."""
    return c.info.backend_pid == c.execute("select pg_backend_pid()").fetchone()[0]


def test_new_sessions_options(new_gate):
    """Old sessions keep what they began with; new ones get the new."""
    gate = new_gate(**{**GATE, "pool.mode": "transaction"})

    def new_is(session):
        with gate.connect(42) as c:
            return in_session_mode(c) == session

    with gate.connect(42) as transactions:
        assert not in_session_mode(transactions)
        gate.set(**{"pool.mode": "session"})
        gate.reload()
        util.eventually(lambda: new_is(session=True), what="session mode of new clients")
        with gate.connect(42) as held:
            gate.set(**{"pool.mode": "transaction"})
            gate.reload()
            util.eventually(lambda: new_is(session=False), what="transaction mode of new clients")
            held.execute("set work_mem = '9MB'")
            assert in_session_mode(held)
            assert held.execute("show work_mem").fetchone() == ("9MB",)
        assert not in_session_mode(transactions)
        assert gate.console("SHOW POOLS")


def test_the_mode_of_an_old_session_stays(new_gate):
    """After the reload too, a client of transaction mode gives its server back at COMMIT."""
    gate = new_gate(**{**GATE, "pool.mode": "transaction"})
    with gate.connect(42, application_name="early") as old:
        assert old.execute("select shard from whoami").fetchone() == ("USA",)
        gate.set(**{"pool.mode": "session"})
        gate.reload()
        with gate.connect(42):
            util.eventually(lambda: {r["name"]: r["value"] for r in gate.console("SHOW CONFIG")}["pool.mode"]
                            == "session")
        assert old.execute("select shard from whoami").fetchone() == ("USA",)
        (row,) = [r for r in gate.console("SHOW CLIENTS") if r["application"] == "early"]
        assert row["server"] in (None, "", "0"), row


def test_reload_options(new_gate):
    """Sessions that run take them at their next statement."""
    gate = new_gate(**{**GATE, "tenant.comment_key": "tenant_id"})
    with gate.connect() as old:
        assert old.execute("/* tenant_id=1042 */ select shard from whoami").fetchone() == ("DEU",)
        gate.set(**{"tenant.comment_key": "customer"})
        gate.reload()
        util.eventually(lambda: old.execute("/* customer=42 */ select shard from whoami").fetchone() == ("USA",))
        with pytest.raises(psycopg.Error) as caught:
            old.execute("/* tenant_id=1042 */ select shard from whoami")
        assert sqlstate(caught.value) == "SG001"


def test_pid_file(new_gate):
    gate = new_gate(start=False, **GATE)
    path = os.path.join(gate.folder, "pid")
    gate.set(pid_file=path)
    gate.start()
    assert open(path).read().strip() == str(gate.process.pid)
    gate.stop()
    assert not os.path.exists(path)


def test_log_formats(new_gate):
    gate = new_gate(**{**GATE, "log.format": "json", "log.level": "info"})
    gate.whoami(42)
    gate.stop()
    lines = [json.loads(line) for line in gate.log().splitlines()]
    assert any("42" in str(line.get("tenant", "")) or line for line in lines) and len(lines) > 3


def test_log_level_and_connections(new_gate):
    gate = new_gate(**{**GATE, "log.level": "warn"})
    gate.whoami(42)
    assert "app" not in gate.log()


def test_a_query_is_never_in_the_log(new_gate):
    gate = new_gate(**{**GATE, "log.level": "debug"})
    with gate.connect(42) as c:
        c.execute("select 'very-private-text'")
        c.execute("select %s", ("very-private-value",))
    gate.refusal(9999, sql="select 'very-private-text'")
    gate.stop()
    assert "very-private" not in gate.log()


def test_port_zero_takes_a_free_port(new_gate):
    gate = new_gate(start=False, **GATE)
    gate.set(**{"listen.port": 0, "http.port": 0})
    gate.start(ready=False)
    found = gate.wait_log(r"listening.*?\bport=(\d+)")
    http = gate.wait_log(r"http listening.*?\bport=(\d+)")
    gate.http_port = int(http.group(1))
    match = [m for m in re.finditer(r"^(?!.*http listening).*listening.*\bport=(\d+)", gate.log(), re.M)]
    assert found and match
    gate.port = int(match[0].group(1))
    gate.wait_ready()
    assert gate.whoami(42) == "USA"


def test_unix_socket_mode_and_removal(new_gate):
    gate = new_gate(**{**GATE, "listen.unix_mode": 700, "listen.addresses": []})
    path = os.path.join(gate.folder, f".s.PGSQL.{gate.port}")
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert gate.whoami(42, host=gate.folder) == "USA"
    gate.stop()
    assert not os.path.exists(path)
    # A socket left behind by a crash does not hinder the next start.
    gate.start()
    gate.process.kill()
    gate.process.wait()
    gate.process = None
    gate.start()
    assert gate.whoami(42, host=gate.folder) == "USA"


def test_systemd_socket_activation(new_gate):
    """LISTEN_FDS: the daemon takes the socket it is given."""
    gate = new_gate(start=False, **GATE)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(50)
        port = s.getsockname()[1]
        command = (f"import os; os.dup2({s.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid());"
                   "os.environ['LISTEN_FDS'] = '1';"
                   f"os.execv({DAEMON!r}, ['shardgate', '--config', {gate.path!r}])")
        with open(gate.log_path, "ab") as log:
            gate.process = util.spawn(["/usr/bin/python3", "-c", command], stdout=log, stderr=subprocess.STDOUT,
                                      pass_fds=(s.fileno(),))
    gate.port = port
    gate.wait_ready()
    assert gate.whoami(42) == "USA"


def test_systemd_notify(new_gate):
    path = os.path.join(util.scratch_folder("notify"), "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(30)
        gate = new_gate(env={"NOTIFY_SOCKET": path}, **GATE)
        said = s.recv(4096).decode()
        while "READY=1" not in said:
            said += s.recv(4096).decode()
        gate.stop()
        while "STOPPING=1" not in said:
            said += s.recv(4096).decode()
