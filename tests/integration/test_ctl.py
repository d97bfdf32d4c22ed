"""shardgatectl: the console for people and scripts."""
import json

import pytest

from harness import util
from harness.daemon import CTL, ctl

GATE = {"auth.type": "scram-sha-256"}

READ = {"status": "map", "shards": "USA", "pools": "shard", "clients": "application", "tenant 1042": "DEU"}


@pytest.mark.parametrize("command", READ)
def test_reading(gate, command):
    gate.whoami(42)
    out = ctl(*command.split(), gate=gate).stdout
    assert READ[command].lower() in out.lower(), out


@pytest.mark.parametrize("command", READ)
def test_reading_as_json(gate, command):
    out = ctl("--json", *command.split(), gate=gate).stdout
    parsed = json.loads(out)
    assert parsed, out


def test_json_of_shards(gate):
    text = ctl("--json", "shards", gate=gate).stdout
    page = json.loads(text)
    rows = page if isinstance(page, list) else next(v for v in page.values() if isinstance(v, list))
    assert [r["region"] for r in rows] == ["USA", "DEU", "SGP"]
    assert "secret" not in text


def test_tenant(gate, whole):
    whole.assign(77, 3)
    util.eventually(lambda: "override" in ctl("tenant", "77", gate=gate).stdout)
    out = ctl("tenant", "77", gate=gate).stdout
    assert "SGP" in out
    out = json.loads(ctl("--json", "tenant", "1042", gate=gate).stdout)
    row = out[0] if isinstance(out, list) else out
    assert row["why"] == "range" and str(row["shard"]) == "2"


def test_reload(gate, whole):
    whole.assign(78, 2)
    ctl("reload", gate=gate)
    assert gate.whoami(78) == "DEU"


def test_reload_that_is_refused(gate):
    good = open(gate.path).read()
    gate.write("listen: [\n")
    try:
        done = ctl("reload", gate=gate, check=False)
        assert done.returncode != 0 and "refused" in done.stderr, done
    finally:
        gate.write(good)
    ctl("reload", gate=gate)


def test_pause_and_resume(gate):
    ctl("pause", "1", gate=gate)
    assert gate.metric("shard_paused", shard="1") == 1
    assert gate.whoami(1042) == "DEU"
    ctl("resume", "1", gate=gate)
    assert gate.metric("shard_paused", shard="1") == 0
    assert gate.whoami(42) == "USA"
    ctl("pause", gate=gate)
    ctl("resume", gate=gate)
    assert gate.whoami(42) == "USA"


def test_drain(new_gate):
    gate = new_gate(**GATE)
    ctl("drain", gate=gate)
    util.eventually(lambda: gate.http("/readyz")[0] == 503)
    assert gate.running()


def test_over_the_unix_socket(gate):
    env = gate.environment(user="admin", dbname="shardgate", host=gate.folder)
    done = util.run([CTL, "status"], env=env)
    assert done.stdout


@pytest.mark.parametrize("argv", ((), ("frobnicate",), ("tenant",), ("tenant", "abc"), ("--bogus", "status"),
                                  ("pause", "x"), ("status", "more")))
def test_wrong_usage(gate, argv):
    done = ctl(*argv, gate=gate, check=False)
    assert done.returncode != 0 and done.stderr.strip(), done
    assert "Sanitizer" not in done.stderr


def test_help_and_version(gate):
    out = ctl("--help").stdout
    for command in ("status", "tenant", "reload", "pause", "resume", "drain", "shards", "pools", "clients", "--json"):
        assert command in out
    assert "shardgatectl" in ctl("--version").stdout


def test_nobody_there():
    done = util.run([CTL, "status"], check=False,
                    env={"PGHOST": "127.0.0.1", "PGPORT": str(util.free_port()), "PGUSER": "admin", "PATH": "/usr/bin"})
    assert done.returncode != 0 and "refused" in done.stderr, done


def test_wrong_password(gate):
    env = {**gate.environment(user="admin", dbname="shardgate"), "PGPASSWORD": "wrong"}
    done = util.run([CTL, "status"], check=False, env=env)
    assert done.returncode != 0 and "authentication failed" in done.stderr


def test_no_right(gate):
    env = gate.environment(user="stats", dbname="shardgate")
    assert util.run([CTL, "shards"], env=env).stdout
    done = util.run([CTL, "drain"], check=False, env=env)
    assert done.returncode != 0 and "permission denied" in done.stderr
