"""What a process costs: CPU by the scheduler's clock, memory, system calls, user instructions."""
import glob
import os
import re
import signal
import subprocess
import time

from harness import util

TICK = os.sysconf("SC_CLK_TCK")
WAITS = ("epoll_wait", "epoll_pwait", "poll")
RECEIVES = ("recvfrom", "recvmsg", "read", "readv")
SENDS = ("sendto", "sendmsg", "write", "writev")
CONTROLS = ("epoll_ctl",)
COUNTED = WAITS + RECEIVES + SENDS + CONTROLS
TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


# ---- CPU and memory ----

class Cpu:
    """Microseconds of CPU since it was made: total exactly, its parts by the
    kernel's sampling of user and system."""

    def __init__(self, pid):
        self.pid = pid
        self.start = self._read()

    def _read(self):
        total = 0
        for path in glob.glob(f"/proc/{self.pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass  # the thread has ended
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return total / 1000, int(fields[11]) * 1e6 / TICK, int(fields[12]) * 1e6 / TICK

    def used(self):
        """Total, user and system."""
        total, user, system = (now - then for now, then in zip(self._read(), self.start))
        if total <= 0:  # a kernel without schedstat
            total = user + system
        ticks = user + system
        share = user / ticks if ticks else 0.5
        return total, total * share, total * (1 - share)


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def settled_resident_bytes(pid):
    """When two looks agree."""
    last = -1
    for _ in range(20):
        now = resident_bytes(pid)
        if now == last:
            break
        last = now
        time.sleep(0.3)
    return last


# ---- system calls ----

def perf_counts_calls():
    """perf with the kernel's trace points: it costs the process next to nothing."""
    if not any(os.path.isdir(f"{path}/events/raw_syscalls") for path in TRACEFS):
        return False
    try:
        done = subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and "not supported" not in done.stderr


class SystemCalls:
    """Counts the system calls of a process, from when it is made to stop(). By perf if
    that works; else by strace, under which a process is much slower and so gets more
    done each time it wakes."""

    def __init__(self, pid, folder):
        self.path = os.path.join(folder, "calls")
        self.perf = perf_counts_calls()
        if self.perf:
            events = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in COUNTED)]
            argv = ["perf", "stat", "-x,", "-o", self.path, "-e", ",".join(events), "-p", str(pid)]
        else:
            argv = ["strace", "-c", "-f", "-qq", "-o", self.path, "-p", str(pid)]
        self.process = util.spawn(argv, stderr=subprocess.PIPE)
        time.sleep(0.25)
        if self.process.poll() is not None:
            raise AssertionError(f"{argv[0]} does not work here: {self.process.stderr.read().decode()[-300:]}")

    def stop(self):
        """Calls by kind."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        with open(self.path) as f:
            text = f.read()
        return grouped(read_perf(text) if self.perf else read_strace(text))


def read_perf(text):
    found = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            found[fields[2].rpartition("sys_enter")[2].lstrip("_") or "all"] = int(fields[0])
    return found


def read_strace(text):
    found = {"all": 0}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 5 and re.fullmatch(r"[0-9.]+", fields[0]) and fields[-1] != "total":
            found[fields[-1]] = int(fields[3])
            found["all"] += int(fields[3])
    return found


def grouped(found):
    kinds = {"wait": WAITS, "receive": RECEIVES, "send": SENDS, "epoll_ctl": CONTROLS}
    return {"all": found.get("all", 0),
            **{kind: sum(found.get(name, 0) for name in names) for kind, names in kinds.items()}}


# ---- user instructions ----

class Instructions:
    """Counts the instructions of a process that runs under callgrind; exact, and the
    same on any machine, where the processor's own counters are not to be had."""

    def __init__(self, as_postgres):
        self.folder = util.scratch_folder("cg")
        self.as_postgres = as_postgres
        if as_postgres:
            util.own_by_postgres(self.folder)
        # The thread that has work shall get to run, whatever the others do.
        self.prefix = ["valgrind", "-q", "--tool=callgrind", "--fair-sched=yes", "--compress-strings=no",
                       "--compress-pos=no", f"--callgrind-out-file={self.folder}/out"]

    def take(self, pid):
        """Instructions since the last time, and the file with the functions."""
        before = set(os.listdir(self.folder))
        util.run(["callgrind_control", "-d", str(pid)], as_postgres=self.as_postgres, timeout=300)

        def written():
            new = [name for name in os.listdir(self.folder) if name not in before]
            for name in new:
                with open(os.path.join(self.folder, name)) as f:
                    match = re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M)
                if match:
                    return int(match.group(1)) or -1, os.path.join(self.folder, name)
            return None
        count, path = util.eventually(written, 60, "callgrind's figures")
        return max(count, 0), path
