"""Clients in threads that count what they see."""
import subprocess
import threading
import time

import psycopg

from . import util


class Worker(threading.Thread):
    """Calls step(worker) until stopped; `count` counts the good ones, `errors`
    holds the psycopg errors, `failures` anything else."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step = step
        self.count = 0
        self.errors = []
        self.failures = []
        self.slowest = 0.0
        self.stopping = threading.Event()
        self.connection = None

    def run(self):
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                self.step(self)
                self.count += 1
            except psycopg.Error as e:
                # Without its frames, which would keep connections open.
                self.errors.append((time.monotonic(), e.with_traceback(None)))
                self._drop()
                time.sleep(0.02)
            except Exception as e:  # noqa: BLE001 - shown by check()
                self.failures.append(e)
                self._drop()
            self.slowest = max(self.slowest, time.monotonic() - begun)
        self._drop()

    def _drop(self):
        if self.connection is not None:
            try:
                self.connection.close()
            except psycopg.Error:
                pass
            self.connection = None


class Load:
    """A group of workers; as context manager it stops and checks them."""

    def __init__(self, *steps):
        self.workers = [Worker(step) for step in steps]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, kind, *_):
        for worker in self.workers:
            worker.stopping.set()
        for worker in self.workers:
            worker.join(60)
        if kind is None:
            assert not any(w.is_alive() for w in self.workers), "a client hangs"
            failures = [f for w in self.workers for f in w.failures]
            assert not failures, failures[:5]

    def progress(self, each=5, timeout=30):
        """Waits until every worker has done `each` more steps."""
        before = [w.count for w in self.workers]
        util.eventually(lambda: all(w.count >= b + each for w, b in zip(self.workers, before)), timeout,
                        "progress of every client")

    def errors(self):
        return [e for w in self.workers for _, e in w.errors]


def reader(gate, tenant, want, **kw):
    """A step: one look at the shard's name, over a connection that is kept."""
    def step(worker):
        if worker.connection is None:
            worker.connection = gate.connect(tenant, **kw)
        got = worker.connection.execute("select shard from whoami").fetchone()[0]
        assert got == want, f"tenant {tenant} was answered by {got}, not {want}"
    return step


class Pgbench:
    """pgbench in the background; result() waits and returns its text."""

    def __init__(self, gate, tenant, seconds, clients=8, protocol="simple", *more):
        self.process = util.spawn(
            ["pgbench", "-n", "-M", protocol, "-c", str(clients), "-j", "1", "-T", str(seconds), *more],
            env=gate.environment(tenant), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self, timeout=120):
        out, _ = self.process.communicate(timeout=timeout)
        return out

    def assert_clean(self, timeout=120):
        out = self.result(timeout)
        assert self.process.returncode == 0 and "number of failed transactions: 0 " in out, out
        assert "error" not in out.lower() and "aborted" not in out.lower(), out
        return out
