"""The benchmark: what tests/bench/run does once everything is built and installed."""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
os.environ.setdefault("SHARDGATE_SOURCE", SOURCE)
os.environ.setdefault("SHARDGATE_BUILD", os.path.join(SOURCE, "build", "release"))

import stage as scene  # noqa: E402 - after the folders are known
import client_sections  # noqa: E402
import data_sections  # noqa: E402
import load_sections  # noqa: E402
import results  # noqa: E402
from harness import util  # noqa: E402

SECTIONS = {
    "throughput": load_sections.throughput,
    "syscalls": load_sections.system_calls,
    "instructions": load_sections.instructions,
    "pools": load_sections.pools,
    "idle": client_sections.idle,
    "connections": client_sections.connections,
    "transfer": data_sections.transfer,
    "map": data_sections.map_section,
    "reload": data_sections.reload_section,
}


class Plan:
    """How much of everything."""

    def __init__(self, options):
        size = "quick" if options.quick else "full" if options.full else "usual"
        pick = lambda quick, usual, full: {"quick": quick, "usual": usual, "full": full}[size]  # noqa: E731
        self.name = size
        # Many short turns: neighbours on the machine then disturb all candidates alike.
        self.rounds = options.rounds or pick(1, 7, 11)
        self.seconds = options.seconds or pick(1, 2, 4)
        self.few_rounds = min(self.rounds, pick(1, 3, 5))
        self.reload_seconds = pick(2, 10, 20)
        self.transfers = pick(1, 3, 5)
        self.idle_clients = pick(1000, 5000, 5000)
        self.pools = pick(200, 2000, 2000)
        self.counted = pick(400, 2000, 4000)
        self.map_tenants = options.map_tenants or pick(1000000, 10000000, 10000000)
        self.daemon_tenants = options.daemon_tenants or pick(100000, 1000000, 10000000)


def options_of(argv):
    p = argparse.ArgumentParser(prog="tests/bench/run", description="shardgate beside PgBouncer and a direct "
                                "connection, in one run on one machine. Ends with 1 only if a measurement failed.")
    p.add_argument("--quick", action="store_true", help="a smoke run of two or three minutes, whose figures mean little")
    p.add_argument("--full", action="store_true", help="longer, and a daemon with 10 million tenants")
    p.add_argument("--only", metavar="SECTION,...", help="of: " + ", ".join(SECTIONS))
    p.add_argument("--rounds", type=int, metavar="N", help="rounds, in which the candidates take turns")
    p.add_argument("--seconds", type=int, metavar="N", help="length of one load")
    p.add_argument("--map-tenants", type=int, metavar="N", help="overrides of the map in memory")
    p.add_argument("--daemon-tenants", type=int, metavar="N", help="overrides in the directory of a daemon")
    p.add_argument("--output", metavar="FILE", default=os.path.join(SOURCE, "build", "bench.json"),
                   help="all values of all rounds, as JSON (build/bench.json)")
    p.add_argument("--markdown", action="store_true",
                   help="measure nothing: print the table of FILE for docs/benchmarks.md")
    options = p.parse_args(argv)
    options.sections = options.only.split(",") if options.only else list(SECTIONS)
    for name in options.sections:
        if name not in SECTIONS:
            p.error(f"no section {name}; there are {', '.join(SECTIONS)}")
    return options


def first_line(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def machine():
    """Named by what it is, not by whose."""
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)", f.read())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    commit = first_line("git", "-c", "safe.directory=*", "-C", SOURCE, "rev-parse", "--short", "HEAD")
    return {"processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "memory": f"{memory:.0f} GiB", "kernel": f"Linux {platform.release().split('-')[0]}",
            "PostgreSQL": first_line(f"{util.PG_BIN}/postgres", "--version").split()[2],
            "PgBouncer": first_line("/usr/sbin/pgbouncer", "--version").split()[-1],
            "shardgate": f"{first_line(scene.daemon.DAEMON, '--version').split()[-1]}, commit {commit}"}


def run_sections(book, stage, plan, names):
    for name in names:
        begun = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        try:
            SECTIONS[name](book, stage, plan)
            print(f"{time.monotonic() - begun:.0f} s", flush=True)
        except (Exception, SystemExit) as e:  # noqa: BLE001 - the other sections still run
            book.failures.append({"section": name, "error": f"{type(e).__name__}: {e}"[:2000]})
            print("failed", flush=True)
            traceback.print_exc()


def main():
    options = options_of(sys.argv[1:])
    if options.markdown:
        with open(options.output) as f:
            print(results.markdown(json.load(f)))
        return 0
    util.install_cleanup()
    plan = Plan(options)
    limit = scene.raise_descriptor_limit()
    if plan.idle_clients + 1000 > limit:
        print(f"only {limit} descriptors are allowed: fewer idle clients")
        plan.idle_clients = limit // 2
    book = results.Book()
    load = os.getloadavg()[0]
    print(f"servers ... ({plan.rounds} rounds, {plan.seconds} s each; load average of the machine before: {load:.1f})",
          flush=True)
    stage = scene.Stage()
    try:
        run_sections(book, stage, plan, options.sections)
    finally:
        stage.close()
        util.cleanup()
    data = results.document(book, {**machine(), "load average before the run": f"{load:.1f}"}, vars(plan))
    results.save(options.output, data)
    print("\n" + results.text_table(data["figures"]) + "\n")
    for note in book.notes:
        print(f"- {note}")
    for failure in book.failures:
        print(f"failed: {failure['section']}: {failure['error']}")
    print(f"\n{len(data['figures'])} figures in {os.path.relpath(options.output)}")
    return 1 if book.failures else 0


sys.exit(main())
