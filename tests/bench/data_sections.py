"""Much data: large results, large maps, and load while a map is read anew."""
import json
import os
import subprocess
import threading
import time

import pgbench
import probe
import stage as scene
from harness import util
from harness.rawpg import query

MIB = 1 << 20
READY = b"Z\0\0\0\5I"
RESULTS = (("rows of 1 kB", 1000, 200000), ("rows of 8 kB", 8192, 25000))
BIG = "big"
BARE = "bare"


# ---- large results ----

def receive(candidate, sql):
    """Bytes and seconds of one result, read as fast as it comes."""
    raw = candidate.client()
    raw.ask("select 1")
    raw.sock.settimeout(60)
    buffer = bytearray(MIB)
    total, tail = 0, b""
    start = time.monotonic()
    raw.send(query(sql))
    while tail != READY:
        size = raw.sock.recv_into(buffer)
        if not size:
            raise pgbench.Failed(f"{candidate.name} closed in a result")
        total += size
        tail = (tail + bytes(buffer[max(0, size - 6):size]))[-6:]
    seconds = time.monotonic() - start
    raw.close()
    return total, seconds


def transfer(book, stage, plan):
    candidates = [scene.Direct(stage), scene.Bouncer(stage), scene.Gate(stage)]
    for _ in range(plan.few_rounds):
        for name, size, rows in RESULTS:
            rate = book.figure(f"transfer: {name}", f"bytes a second of a result, {name}", "", True)
            user = book.figure(f"transfer user: {name}", "— user CPU a MiB", "", True)
            # Kernel instructions are 2.1 M and at most 0.6 M in the design; here their time stands in.
            system = book.figure(f"transfer system: {name}", "— kernel CPU a MiB", "", True, "≤ 0.29 × PgBouncer",
                                 lambda f: f.ratio() <= 0.29)
            for c in candidates:
                cpu = probe.Cpu(c.pid) if c.pid else None
                total, seconds = 0, 0
                for _ in range(plan.transfers):
                    got = receive(c, f"select repeat('x', {size}) from generate_series(1, {rows})")
                    total, seconds = total + got[0], seconds + got[1]
                rate.add(c.name, total / seconds)
                if cpu:
                    _, user_us, system_us = cpu.used()
                    user.add(c.name, user_us / total * MIB)
                    system.add(c.name, system_us / total * MIB)
    book.note("Instructions in the kernel could not be counted on this machine; kernel CPU time stands in, "
              "with the target 0.6 M ÷ 2.1 M = 0.29.")
    for c in candidates:
        c.stop()


# ---- the map ----

def bench_in_c(book, plan):
    tenants = plan.map_tenants
    done = util.run([os.path.join(util.BUILD, "tests", "map_bench"), str(tenants)], timeout=600)
    got = json.loads(done.stdout)
    name = f"map of {tenants:,} overrides"

    def add(key, title, unit, field, target=None, met=None, scale=1, digits=1):
        figure = book.figure(f"map {key}", f"{name}: {title}", unit, False, target, met, digits)
        figure.add("shardgate", got[field] * scale)
    add("bytes", "memory an override", "bytes", "bytes_per_override", "≤ 24", lambda f: f.value() <= 24)
    add("lookup", "look-up, any tenant", "ns", "lookup_random_ns", "< 100", lambda f: f.value() < 100)
    add("dependent", "look-up that waits for the one before", "ns", "lookup_dependent_ns", "< 100",
        lambda f: f.value() < 100)
    add("missing", "look-up of an unknown tenant", "ns", "lookup_missing_ns", "< 100", lambda f: f.value() < 100)
    add("hot", "look-up among 10,000 tenants", "ns", "lookup_hot_ns", "< 100", lambda f: f.value() < 100)
    add("build", "build from rows", "s", "load_seconds", digits=2)
    add("delta", "a change of 1,000 overrides", "ms", "delta_of_1000_ms", digits=2)


def gate_on(stage, dbname, **options):
    return scene.Gate(stage, **{
        "directory.connection": f"host=127.0.0.1 port={stage.cluster.port} dbname={dbname} user=shardgate",
        "directory.max_tenant_loss": 100, **options})


def big_directory(stage, plan, dbname, bare=False):
    """Made by the first section that needs it."""
    if not stage.cluster.sql("select 1 from pg_database where datname = %s", (dbname,), dbname="postgres"):
        stage.fill_directory(dbname, plan.daemon_tenants, bare=bare)


def daemon_map(book, stage, plan):
    """Start with a large directory: time to readiness, and memory beside a small one."""
    small = scene.Gate(stage)
    base = probe.settled_resident_bytes(small.pid)
    small.stop()
    begun = time.monotonic()
    gate = gate_on(stage, BIG)
    seconds = time.monotonic() - begun
    name = f"daemon with {plan.daemon_tenants:,} overrides"
    book.figure("map start", f"{name}: start until ready", "s", False).add("shardgate", seconds)
    time.sleep(1)
    figure = book.figure("map resident", f"{name}: resident memory an override", "bytes", False, "≤ 24",
                         lambda f: f.value() <= 24, digits=1)
    figure.add("shardgate", (probe.settled_resident_bytes(gate.pid) - base) / plan.daemon_tenants)
    assert gate.metric("map_tenants") == plan.daemon_tenants, "the daemon does not hold the whole map"
    gate.stop()


def map_section(book, stage, plan):
    bench_in_c(book, plan)
    big_directory(stage, plan, BIG)
    daemon_map(book, stage, plan)


# ---- load while the map is read anew ----

class EverySecond(threading.Thread):
    """Calls act() each second until stopped."""

    def __init__(self, act):
        super().__init__(daemon=True)
        self.act, self.ending, self.count, self.error = act, threading.Event(), 0, None

    def run(self):
        try:
            while not self.ending.wait(1):
                self.act()
                self.count += 1
        except Exception as e:  # noqa: BLE001 - raised again by stop()
            self.error = e

    def stop(self):
        self.ending.set()
        self.join(120)
        if self.error:
            raise self.error


def copy_out(stage, dbname):
    """What a full load costs PostgreSQL, without any shardgate."""
    subprocess.run(["psql", "-X", "-q", *stage.psql_arguments(dbname), "-c",
                    "copy tenant_shard_map (tenant_id, shard_id) to stdout (format binary)"],
                   stdout=subprocess.DEVNULL, check=True)


def change_and_hup(stage, gate, dbname):
    """An override goes back and forth, so that every map is a new one."""
    stage.cluster.sql("update tenant_shard_map set region_code = case region_code when 'USA' then 'DEU' else 'USA' end"
                      " where tenant_id = 77; delete from tenant_shard_map where tenant_id = 78;", dbname=dbname)
    stage.cluster.sql("insert into tenant_shard_map (tenant_id, shard_id) values (78, 1)", dbname=dbname)
    gate.reload()


def loaded(gate, rate, seconds, act):
    """p99 in microseconds at a fixed rate, and the reloads in that time."""
    before = gate.metric("map_reloads_total")
    disturber = EverySecond(act) if act else None
    if disturber:
        disturber.start()
    try:
        got = pgbench.run(gate, "simple", 8, seconds=seconds, rate=rate, sampling=1)
    finally:
        if disturber:
            disturber.stop()
    return got.percentile(0.99), gate.metric("map_reloads_total") - before


def reload_section(book, stage, plan):
    big_directory(stage, plan, BIG)
    big_directory(stage, plan, BARE, bare=True)
    name = f"p99 while a map of {plan.daemon_tenants:,} is reloaded every second"
    cases = (("delta", "directory.sql", BIG), ("whole", "bare tables, read whole", BARE))
    for key, title, dbname in cases:
        gate = gate_on(stage, dbname)
        quiet = pgbench.run(gate, "simple", 8, seconds=3)
        rate = int(quiet.tps * 0.25)
        figure = book.figure(f"reload {key}", f"{name} ({title}) ÷ p99 without", "×", False, "≤ 1.2",
                             lambda f: f.value() <= 1.2)
        count = book.figure(f"reloads {key}", "— maps published meanwhile", "", False, digits=0)
        control = book.figure(f"reload control {key}",
                              "— p99 while psql alone reads the rows every second ÷ p99 without", "×", False)
        for _ in range(plan.few_rounds):
            base, _ = loaded(gate, rate, plan.reload_seconds, None)
            read, _ = loaded(gate, rate, plan.reload_seconds, lambda: copy_out(stage, dbname))
            p99, reloads = loaded(gate, rate, plan.reload_seconds, lambda: change_and_hup(stage, gate, dbname))
            if reloads < 1:
                raise pgbench.Failed("no map was loaded during the run")
            figure.add("shardgate", p99 / base)
            control.add("shardgate", read / base)
            count.add("shardgate", reloads)
        gate.stop()
    stage.drop_directory(BARE)
    book.note("The reload rows are at a quarter of the greatest rate, so that a pause would show in p99. "
              "The row with psql shows what the reading alone costs on a machine whose cores are shared.")
