"""Scratch folders, child processes and ports that are gone when the run ends."""
import atexit
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("SHARDGATE_SOURCE") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("SHARDGATE_BUILD") or os.path.join(SOURCE, "build", "debug")
PG_BIN = os.environ.get("SHARDGATE_PG_BIN", "/usr/lib/postgresql/15/bin")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_processes = []
_folders = []
_ports = set()


def eventually(check, timeout=30.0, what=None, every=0.05):
    """Returns the first true result of `check`; assertion errors and connection
    errors count as "not yet". Fails with the last reason after `timeout`."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            result = check()
            if result:
                return result
            last = f"last result: {result!r}"
        except Exception as e:  # noqa: BLE001 - the reason is reported below
            last = f"last error: {type(e).__name__}: {e}"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'condition'} not met within {timeout} s; {last}")
        time.sleep(every)


def free_port():
    """A port nobody listens on, outside the range the kernel takes for clients."""
    generator = random.Random(os.urandom(8))
    for _ in range(1000):
        port = generator.randrange(15000, 32000)
        if port in _ports:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports.add(port)
        return port
    raise RuntimeError("no free port between 15000 and 32000")


def postgres_user():
    """PostgreSQL refuses to run as root; root runs it as `postgres`."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def scratch_folder(prefix="sg"):
    path = tempfile.mkdtemp(prefix=f"{prefix}-")
    _folders.append(path)
    if os.geteuid() == 0:
        os.chmod(path, 0o755)
    return path


def own_by_postgres(path):
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def spawn(argv, *, as_postgres=False, **kw):
    """A child that dies with us, even if we are killed with SIGKILL."""
    if as_postgres and os.geteuid() == 0:
        kw.update(user="postgres", group="postgres", extra_groups=[])
    kw.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen(argv, preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), **kw)
    _processes.append(process)
    return process


def run(argv, *, as_postgres=False, check=True, timeout=120, **kw):
    if as_postgres and os.geteuid() == 0:
        kw.update(user="postgres", group="postgres", extra_groups=[])
        kw.setdefault("cwd", "/")
    result = subprocess.run(argv, stdin=kw.pop("stdin", subprocess.DEVNULL if "input" not in kw else None),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **kw)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}\nexit status {result.returncode}\n"
                             f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
    return result


def children(pid):
    """Process ids of the direct children of `pid`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(name))
    return found


def alive(pid):
    """Runs, or will when it is told to go on; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def signal_quietly(pid, signo):
    try:
        os.kill(pid, signo)
    except ProcessLookupError:
        pass


def cleanup():
    """Ends what is left: for teardown, atexit and signals. Idempotent."""
    for process in _processes:
        if process.poll() is None:
            signal_quietly(process.pid, signal.SIGCONT)
            signal_quietly(process.pid, signal.SIGQUIT)
    deadline = time.monotonic() + 5
    for process in _processes:
        if process.poll() is None:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    _processes.clear()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


def _on_signal(signo, _frame):
    cleanup()
    sys.stderr.write(f"tests ended by signal {signo}\n")
    os._exit(128 + signo)


def install_cleanup():
    atexit.register(cleanup)
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, _on_signal)
