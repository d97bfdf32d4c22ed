"""What clients cost that come, stay and go: memory while idle, logins."""
import multiprocessing
import os
import socket
import time

import pgbench
import probe
import stage as scene

WARM_CLIENTS = 300


# ---- idle memory ----

def open_clients(candidate, count):
    return [candidate.client() for _ in range(count)]


def idle(book, stage, plan):
    """Resident memory of the process for each client that is logged in and silent. The first
    clients, whose queries warm the pools and buffers, are not counted."""
    login = book.figure("idle", f"resident bytes an idle client, {plan.idle_clients:,} logged in", "", False,
                        "≤ 1,024", lambda f: f.value() <= 1024, digits=0)
    used = book.figure("idle used", "— after each has run a query", "", False, "≤ 1,024",
                       lambda f: f.value() <= 1024, digits=0)
    left = book.figure("idle left", "— still resident when all have gone", "", False, digits=0)
    for make in (scene.Bouncer, scene.Gate):
        candidate = make(stage)
        warm = open_clients(candidate, WARM_CLIENTS)
        for raw in warm:
            raw.ask("select 1")
        start = probe.settled_resident_bytes(candidate.pid)
        clients = open_clients(candidate, plan.idle_clients)
        time.sleep(1)
        login.add(candidate.name, (probe.settled_resident_bytes(candidate.pid) - start) / plan.idle_clients)
        for raw in clients:
            raw.ask("select 1")
        time.sleep(1)
        used.add(candidate.name, (probe.settled_resident_bytes(candidate.pid) - start) / plan.idle_clients)
        for raw in clients:
            raw.close()
        time.sleep(1)
        left.add(candidate.name, max(0, probe.settled_resident_bytes(candidate.pid) - start) / plan.idle_clients)
        for raw in warm:
            raw.close()
        candidate.stop()


# ---- connections ----

def connect_for(port, packet, seconds, results):
    """Logs in and out until time is up."""
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 20) as s:
            s.sendall(packet)
            data = b""
            while data[-6:-1] != b"Z\0\0\0\5":
                more = s.recv(65536)
                if not more:
                    raise ConnectionError("closed in the login")
                data += more
            s.sendall(b"X\0\0\0\4")
        count += 1
    results.put(count)


def raw_connections(candidate, seconds):
    """Logins in all, by two processes."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=connect_for, args=(candidate.port, candidate.startup(), seconds, results))
               for _ in range(2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if any(w.exitcode != 0 for w in workers):
        raise pgbench.Failed(f"a client of {candidate.name} could not log in")
    return sum(results.get() for _ in workers)


def measure_connections(book, name, candidate, run):
    """run() gives the number of connections and their rate."""
    rate = book.figure(f"connections: {name}", f"connections a second, {name}", "", True)
    cpu = book.figure(f"connection cpu: {name}", "— CPU a connection", "", True)
    before = probe.Cpu(candidate.pid) if candidate.pid else None
    count, per_second = run()
    rate.add(candidate.name, per_second)
    if before:
        cpu.add(candidate.name, before.used()[0] / count)


def with_pgbench(candidate, seconds):
    got = pgbench.run(candidate, "simple", 8, seconds=seconds, reconnect=True)
    return got.transactions, got.tps


def with_sockets(candidate, seconds):
    count = raw_connections(candidate, seconds)
    return count, count / seconds


def connections(book, stage, plan):
    plain = [scene.Bouncer(stage), scene.Gate(stage), scene.Gate(stage, name="shardgate, 2 workers", workers=2)]
    scram = [scene.Bouncer(stage, auth_type="scram-sha-256"),
             scene.Gate(stage, **{"auth.type": "scram-sha-256"}),
             scene.Gate(stage, name="shardgate, 2 workers", **{"auth.type": "scram-sha-256", "workers": 2})]
    direct = scene.Direct(stage)
    for c in plain + scram:
        pgbench.run(c, "simple", 64, transactions=2)
    for _ in range(plan.rounds):
        for name, run, candidates in (("trust, one query each (pgbench -C)", with_pgbench, [direct, *plain]),
                                      ("trust, log in and leave", with_sockets, [direct, *plain]),
                                      ("SCRAM, one query each (pgbench -C)", with_pgbench, scram)):
            for c in candidates:
                measure_connections(book, name, c, lambda: run(c, plan.seconds))
    book.note("Logging in directly costs PostgreSQL a new process. With SCRAM the client's own key derivation takes "
              f"most of the machine's {os.cpu_count()} cores.")
    for c in plain + scram:
        c.stop()
