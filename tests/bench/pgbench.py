"""pgbench, and what it says."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

COUNT = re.compile(r"number of transactions actually processed: (\d+)")
FAILED = re.compile(r"number of failed transactions: ([1-9]\d*)")
RATE = re.compile(r"^tps = ([0-9.]+)", re.M)
LATENCY = re.compile(r"latency average = ([0-9.]+) ms")


class Failed(Exception):
    """A measurement that did not run."""


class Result:
    """Of one run: transactions, a second, and latencies in microseconds."""

    def __init__(self, text, latencies):
        if FAILED.search(text) or not COUNT.search(text) or "aborted" in text:
            raise Failed(f"pgbench: {text[-600:]}")
        self.transactions = int(COUNT.search(text).group(1))
        if not self.transactions:
            raise Failed(f"pgbench did nothing: {text[-600:]}")
        self.tps = float(RATE.search(text).group(1))
        self.average_us = float(LATENCY.search(text).group(1)) * 1000
        self.latencies = sorted(latencies)

    def percentile(self, share):
        if not self.latencies:
            raise Failed("pgbench wrote no latencies")
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]


def read_latencies(prefix):
    """The third column: microseconds of one transaction, with what it waited behind its schedule."""
    for path in glob.glob(prefix + ".*"):
        with open(path) as f:
            for line in f:
                fields = line.split()
                if len(fields) >= 6 and fields[2].isdigit():
                    yield int(fields[2])


def run(candidate, protocol="simple", clients=8, seconds=None, transactions=None, dbname="app", user="app",
        reconnect=False, rate=None, sampling=None):
    """pgbench -S through the candidate. `sampling`: share of transactions whose latency is kept."""
    argv = ["pgbench", "-n", "-S", "-M", protocol, "-c", str(clients), "-j", str(min(2, clients))]
    argv += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
    if reconnect:
        argv.append("-C")
    if rate:
        argv += ["-R", str(rate)]
    folder = tempfile.mkdtemp(prefix="bench-log-")
    try:
        if sampling:
            argv += ["-l", f"--log-prefix={folder}/log"] + ([f"--sampling-rate={sampling}"] if sampling < 1 else [])
        done = subprocess.run(argv, env=candidate.environment(user, dbname), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=(seconds or 0) + 300)
        if done.returncode != 0:
            raise Failed(f"pgbench through {candidate.name}: {done.stdout[-800:]}")
        return Result(done.stdout, read_latencies(os.path.join(folder, "log")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
