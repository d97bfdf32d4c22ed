"""Load through pgbench: throughput, latency, CPU, system calls, user instructions, many pools."""
import os
import time

import pgbench
import probe
import stage as scene
from harness import util

# Name, pgbench protocol, clients, session mode. "prepared" is measured in session mode: in
# transaction mode this PgBouncer cannot carry named statements, and shardgate pins them.
WORKLOADS = (
    ("simple, 8 clients", "simple", 8, False),
    ("simple, 64 clients", "simple", 64, False),
    ("extended, 8 clients", "extended", 8, False),
    ("extended, 64 clients", "extended", 64, False),
    ("prepared, session mode, 8 clients", "prepared", 8, True),
)


def at_most(limit):
    return lambda f: f.value() <= limit


def ratio_at_most(limit):
    return lambda f: f.ratio() <= limit


def database(candidate, session):
    return candidate.session_database() if session else "app"


def warm_up(candidates, session=True):
    for c in candidates:
        pgbench.run(c, "simple", 64, transactions=20)
        if session:
            pgbench.run(c, "simple", 8, transactions=20, dbname=c.session_database())


def open_poolers(stage, two_workers=True):
    gates = [scene.Gate(stage)]
    if two_workers:
        gates.append(scene.Gate(stage, name="shardgate, 2 workers", workers=2))
    return [scene.Direct(stage), scene.Bouncer(stage), *gates]


def load_figures(book, name):
    cpu = f"CPU a transaction, {name}"
    target = "≤ 1 × PgBouncer"
    figures = {
        "tps": book.figure(f"tps: {name}", f"transactions a second, {name}", "", True),
        "average": book.figure(f"average: {name}", f"latency, average, {name}", "", True),
        "p50": book.figure(f"p50: {name}", f"latency, p50, {name}", "", True),
        "p99": book.figure(f"p99: {name}", f"latency, p99, {name}", "", True),
        "cpu": book.figure(f"cpu: {name}", cpu, "", True, target, ratio_at_most(1)),
        "user": book.figure(f"user: {name}", "— of it in user mode", "", True),
        "system": book.figure(f"system: {name}", "— of it in the kernel", "", True),
    }
    return figures


def measure_load(figures, candidate, protocol, clients, session, seconds):
    cpu = probe.Cpu(candidate.pid) if candidate.pid else None
    got = pgbench.run(candidate, protocol, clients, seconds=seconds, dbname=database(candidate, session),
                      sampling=0.2)
    values = {"tps": got.tps, "average": got.average_us, "p50": got.percentile(0.5), "p99": got.percentile(0.99)}
    if cpu:
        values.update(zip(("cpu", "user", "system"), (part / got.transactions for part in cpu.used())))
    for key, value in values.items():
        figures[key].add(candidate.name, value)


def throughput(book, stage, plan):
    """Workloads × candidates, in turns."""
    candidates = open_poolers(stage)
    warm_up(candidates)
    for _ in range(plan.rounds):
        for name, protocol, clients, session in WORKLOADS:
            figures = load_figures(book, name)
            for c in candidates:
                measure_load(figures, c, protocol, clients, session, plan.seconds)
    scaling = book.figure("workers", "2 workers ÷ 1, transactions a second, simple, 64 clients", "×", False,
                          "≥ 1.7", lambda f: f.value() >= 1.7)
    tps = book.figures["tps: simple, 64 clients"].rounds
    for one, two in zip(tps["shardgate"], tps["shardgate, 2 workers"]):
        scaling.add("shardgate", two / one)
    book.note("Times and rates are multiples of PgBouncer's of the same round; the median of the rounds. "
              "The pool holds 16 server connections.")
    book.note("With 2 workers, the load generator and PostgreSQL share the same cores: look at CPU a transaction.")
    for c in candidates:
        c.stop()


# ---- system calls ----

def counted_run(candidate, protocol, clients, session, folder, **length):
    calls = probe.SystemCalls(candidate.pid, folder)
    got = pgbench.run(candidate, protocol, clients, dbname=database(candidate, session), **length)
    return calls.stop(), got.transactions


def calls_a_transaction(candidate, protocol, clients, session, seconds, folder):
    """Two runs of different length: logins and ends of clients cancel out."""
    short, few = counted_run(candidate, protocol, clients, session, folder, transactions=5)
    long, many = counted_run(candidate, protocol, clients, session, folder, seconds=seconds)
    return {kind: max(0, long[kind] - short[kind]) / (many - few) for kind in long}


def system_calls(book, stage, plan):
    folder = util.scratch_folder("calls")
    candidates = open_poolers(stage, two_workers=False)[1:]
    warm_up(candidates)
    limits = {"simple, 8 clients": 4.5, "simple, 64 clients": 4.2}
    for _ in range(plan.few_rounds):
        for name, protocol, clients, session in WORKLOADS:
            limit = limits.get(name)
            figures = {"all": book.figure(f"calls: {name}", f"system calls a transaction, {name}", "", False,
                                          f"≤ {limit}" if limit else None, at_most(limit) if limit else None)}
            for kind in ("receive", "send", "wait", "epoll_ctl"):
                sends = kind == "send" and protocol == "prepared"
                figures[kind] = book.figure(f"calls {kind}: {name}", f"— {kind}", "", False,
                                            "≤ 2" if sends else None, at_most(2.05) if sends else None)
            for c in candidates:
                got = calls_a_transaction(c, protocol, clients, session, plan.seconds, folder)
                for kind, figure in figures.items():
                    figure.add(c.name, got[kind])
    if not probe.perf_counts_calls():
        book.note("System calls were counted by strace, which slows the process down: it then does more each time "
                  "it wakes, and the counts are lower than they would be.")
    for c in candidates:
        c.stop()


# ---- user instructions, and many pools ----

def idle_clients_of_many_users(candidate, count):
    """One client a user, each of which has run a query; its pool exists from then on."""
    clients = []
    for i in range(count):
        raw = candidate.client(scene.user_name(i + 1))
        raw.ask("select 1")
        clients.append(raw)
    return clients


def wait_for_idle_servers(stage):
    """Until the poolers have closed the connections of the many users."""
    left = "select count(*) from pg_stat_activity where usename ~ '^u[0-9]'"
    util.eventually(lambda: stage.control.execute(left).fetchone()[0] < 5, 120, "the end of idle connections", 0.5)


def instructions_a_transaction(tool, candidate, protocol, clients, transactions):
    """Two runs again, so that logins cancel out."""
    counts = []
    for each in (5, 5 + transactions):
        tool.take(candidate.pid)
        pgbench.run(candidate, protocol, clients, transactions=each)
        counts.append(tool.take(candidate.pid)[0])
    return (counts[1] - counts[0]) / (transactions * clients)


def instructions(book, stage, plan):
    """Under callgrind: user instructions, with few pools and with many."""
    made = []
    for kind, as_postgres in ((scene.Bouncer, True), (scene.Gate, False)):
        tool = probe.Instructions(as_postgres)
        extra = {"server_idle_timeout": 2} if as_postgres else {"server.idle_timeout": "2s", "many_users": plan.pools}
        made.append((tool, kind(stage, prefix=tool.prefix, **extra)))
    cases = (("simple", 1), ("simple", 8), ("simple", 64), ("extended", 8))
    for pools, limit in ((1, 2500), (plan.pools, 2600)):
        clients = [idle_clients_of_many_users(c, pools) for _, c in made] if pools > 1 else []
        if clients:
            wait_for_idle_servers(stage)
        for protocol, count in cases:
            for tool, c in made:
                pgbench.run(c, protocol, count, transactions=20)
                few = "few pools" if pools == 1 else f"{pools:,} pools"
                name = f"user instructions a transaction, {few}, {protocol}, {count} client{'s' * (count > 1)}"
                figure = book.figure(f"instructions: {pools} {protocol} {count}", name, "", False,
                                     f"≤ {limit:,}" if protocol == "simple" else None,
                                     at_most(limit) if protocol == "simple" else None, digits=0)
                figure.add(c.name, instructions_a_transaction(tool, c, protocol, count,
                                                              plan.counted // count))
        for raw in (raw for some in clients for raw in some):
            raw.close()
    book.note("User instructions were counted by callgrind, exactly; under it a process is slow, so with more than one "
              "client it handles several events each time it wakes.")
    for _, c in made:
        c.stop()


def pools(book, stage, plan):
    """The same load, by one user, while 2,000 users' pools exist."""
    made = [scene.Bouncer(stage, server_idle_timeout=2),
            scene.Gate(stage, many_users=plan.pools, **{"server.idle_timeout": "2s"})]
    parts = ("CPU", "user CPU", "system CPU")
    values = {}
    warm_up(made, session=False)
    held = []
    for stage_of in ("few", "many"):
        if stage_of == "many":
            held = [idle_clients_of_many_users(c, plan.pools) for c in made]
            wait_for_idle_servers(stage)
            time.sleep(1)
        for _ in range(plan.rounds):
            for c in made:
                cpu = probe.Cpu(c.pid)
                got = pgbench.run(c, "simple", 8, seconds=plan.seconds)
                values.setdefault((stage_of, c.name), []).append([x / got.transactions for x in cpu.used()])
    name = f"with {plan.pools:,} pools"
    for i, part in enumerate(parts):
        target = ("≤ 0.2 × PgBouncer", ratio_at_most(0.2)) if i == 1 else ()
        absolute = book.figure(f"pools {part}", f"{part} a transaction {name}, simple, 8 clients", "", True, *target)
        growth = book.figure(f"pools growth {part}", "— as a multiple of that with few pools", "×", False)
        for c in made:
            for few, many in zip(values[("few", c.name)], values[("many", c.name)]):
                absolute.add(c.name, many[i])
                if few[i]:
                    growth.add(c.name, many[i] / few[i])
    for raw in (raw for some in held for raw in some):
        raw.close()
    for c in made:
        c.stop()
