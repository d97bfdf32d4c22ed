"""What load balancers and monitoring see."""
import json
import re
import subprocess

from harness import util
from harness.rawpg import query, raw_client

GATE = {"auth.type": "trust", "env": {"SHARD_ID": "2"}}


def test_livez(gate):
    assert gate.http("/livez")[0] == 200


def test_readyz(gate):
    status, body, _ = gate.http("/readyz")
    assert status == 200 and body


def test_healthz(gate):
    status, body, headers = gate.http("/healthz")
    assert status == 200 and "json" in headers["Content-Type"]
    page = json.loads(body)
    assert page["region"] == "DEU" and page["ready"] is True and page["instance"] == 2
    assert page["map"]["loaded"] is True and page["map"]["source"] == "directory"
    assert page["map"]["degraded"] is False and page["map"]["revision"] >= 1
    assert page["map"]["age_seconds"] >= 0
    util.eventually(lambda: [s["state"] for s in gate.health()["shards"]] == ["up"] * 3)
    assert [(s["id"], s["region"]) for s in page["shards"]] == [(1, "USA"), (2, "DEU"), (3, "SGP")]
    assert "password" not in body and "secret" not in body


def test_home_region_can_be_set(new_gate):
    gate = new_gate(env={"SHARD_ID": "2", "REGION": "SGP"}, **{"auth.type": "trust"})
    assert gate.health()["region"] == "SGP"
    assert any('region="SGP"' in name and name.startswith("shardgate_up{") for name in gate.metrics())


def test_readyz_wants_a_shard_of_its_region(new_gate, servers):
    """All shards of the region down: not ready; others up do not help."""
    gate = new_gate(env={"SHARD_ID": "3"}, **{"auth.type": "trust"})
    servers.shards[3].stop()
    try:
        util.eventually(lambda: gate.http("/readyz")[0] == 503)
        assert gate.http("/livez")[0] == 200
        assert gate.health()["ready"] is False
        assert gate.whoami(42) == "USA"
    finally:
        servers.shards[3].start()
    util.eventually(lambda: gate.http("/readyz")[0] == 200)


def test_shards(gate, servers):
    for number in (1, 2, 3):
        util.eventually(lambda n=number: gate.http(f"/shards/{n}")[0] == 200)
    for path in ("/shards/9", "/shards/x", "/shards/", "/shards/99999999999999999999", "/shards/1/2", "/shards/-1"):
        assert gate.http(path)[0] == 404, path
    servers.shards[3].stop()
    try:
        util.eventually(lambda: gate.http("/shards/3")[0] == 503)
        assert gate.http("/shards/1")[0] == 200
        (state,) = [s for s in gate.health()["shards"] if s["id"] == 3]
        assert state["state"] == "down" and state["usable"] is False
        assert gate.metric("shard_up", shard="3") == 0 and gate.metric("shard_up", shard="1") == 1
    finally:
        servers.shards[3].start()
    util.eventually(lambda: gate.http("/shards/3")[0] == 200)


def test_other_paths_and_methods(gate):
    assert gate.http("/")[0] == 404
    assert gate.http("/nothing")[0] == 404
    assert gate.http("/healthz/more")[0] == 404
    assert gate.http("/healthz", "POST")[0] == 405
    assert gate.http("/healthz", "HEAD")[0] == 200
    assert gate.http("/healthz?verbose=1")[0] == 200


def test_metrics_are_well_formed(gate):
    gate.whoami(42)
    status, body, headers = gate.http("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    sample = re.compile(r'^shardgate_[a-z0-9_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.eE+-]+(Inf|NaN)?$')
    helped, typed, seen = set(), {}, set()
    for line in body.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind = line.split()[2:4]
            assert name not in typed
            typed[name] = kind
        else:
            assert sample.match(line), line
            key = line.rpartition(" ")[0]
            assert key not in seen, f"twice: {key}"
            seen.add(key)
            base = re.sub(r"_(bucket|sum|count)$", "", key.partition("{")[0])
            assert base in typed or key.partition("{")[0] in typed, line
    assert helped == set(typed)
    assert set(typed.values()) <= {"counter", "gauge", "histogram"}
    assert "tenant=" not in body
    for name, kind in typed.items():
        assert kind != "counter" or name.endswith("_total"), name


def test_every_metric_of_the_table_is_there(gate):
    with open(f"{util.SOURCE}/include/shardgate/metrics.def") as f:
        names = re.findall(r'^(?:COUNTER|GAUGE|SHARD_COUNTER|SHARD_HISTOGRAM)\(\w+, "(\w+)"', f.read(), re.M)
    body = gate.http("/metrics")[1]
    missing = [n for n in names if f"# TYPE shardgate_{n} " not in body]
    assert len(names) > 30 and not missing


def test_histograms_add_up(gate):
    for _ in range(5):
        gate.whoami(1042)
    samples = gate.metrics()
    buckets = [(k, v) for k, v in samples.items()
               if k.startswith("shardgate_shard_query_seconds_bucket") and 'shard="2"' in k]
    assert len(buckets) == 16
    values = [v for _, v in buckets]
    assert values == sorted(values) and 'le="+Inf"' in buckets[-1][0]
    (count,) = [v for k, v in samples.items() if k.startswith("shardgate_shard_query_seconds_count") and 'shard="2"' in k]
    assert values[-1] == count >= 5


def test_counters_count(gate):
    names = ("clients_accepted_total", "logins_total", "refused_unknown_tenant_total", "refused_no_tenant_total")
    before = [gate.metric(n) for n in names]
    queries = gate.metric("shard_queries_total", shard="1")
    transactions = gate.metric("shard_transactions_total", shard="1")
    with raw_client(gate, 42) as raw:
        raw.ask("begin")
        raw.ask("select 1")
        raw.ask("select 2")
        raw.ask("commit")
        raw.ask("select 3")
        assert gate.metric("clients") >= 1
    gate.refusal(9999)
    gate.refusal()
    after = [gate.metric(n) for n in names]
    assert [a - b for a, b in zip(after, before)] == [3, 3, 1, 1]
    assert gate.metric("shard_transactions_total", shard="1") - transactions == 2
    assert 4 <= gate.metric("shard_queries_total", shard="1") - queries <= 5
    util.eventually(lambda: gate.metric("clients") == 0)


def test_bytes_are_counted(gate):
    before = gate.metric("client_sent_bytes_total"), gate.metric("client_received_bytes_total")
    with raw_client(gate, 42) as raw:
        raw.send(query("select repeat('x', 100000)")).until_ready()
        raw.send(query("select length('" + "y" * 50000 + "')")).until_ready()
    assert gate.metric("client_sent_bytes_total") - before[0] > 100000
    assert gate.metric("client_received_bytes_total") - before[1] > 50000


def test_curl(gate):
    done = subprocess.run(["curl", "-fsS", f"http://127.0.0.1:{gate.http_port}/healthz"], stdout=subprocess.PIPE,
                          text=True, timeout=20, check=True)
    assert json.loads(done.stdout)["ready"] is True


def test_the_page_answers_under_load(gate):
    from harness.load import Load, reader
    with Load(*[reader(gate, 42, "USA") for _ in range(8)]) as load:
        load.progress(5)
        for _ in range(20):
            assert gate.http("/readyz")[0] == 200
            assert gate.http("/metrics")[0] == 200
        assert not load.errors()


def test_bad_http(gate):
    import socket
    for data in (b"\0\0\0\x08\x04\xd2\x16\x2f", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000,
                 b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", gate.http_port), 10) as s:
            s.settimeout(10)
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                s.recv(1000)
            except OSError:
                pass  # closed by then, which is fine
    assert gate.http("/livez")[0] == 200
