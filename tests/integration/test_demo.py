"""The demo: every claim holds, it can be ended, and it leaves nothing behind."""
import glob
import os
import re
import signal
import subprocess
import tempfile

import pytest

from harness import util

RUN = os.path.join(util.SOURCE, "config/demo/run")


def environment():
    scratch = util.scratch_folder("demo")
    os.chmod(scratch, 0o755)
    return {**os.environ, "TMPDIR": scratch, "ASAN_OPTIONS": "detect_leaks=1"}, scratch


def arguments():
    return [RUN, "--build", util.BUILD, "--port", str(util.free_port()), "--http-port", str(util.free_port())]


def nothing_left(scratch):
    assert glob.glob(f"{scratch}/*") == []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                assert scratch.encode() not in f.read(), f"process {pid} is left"
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_check():
    env, scratch = environment()
    done = util.run([*arguments(), "--check"], env=env, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    counts = re.fullmatch(r"(\d+) passed, 0 failed", last)
    assert counts and int(counts.group(1)) >= 15, last
    assert "\x1b" not in done.stdout
    nothing_left(scratch)


@pytest.mark.parametrize("signo", (signal.SIGINT, signal.SIGTERM))
def test_it_stays_until_told_to_end(signo):
    env, scratch = environment()
    process = util.spawn(arguments(), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         start_new_session=True)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "until Ctrl-C" in line:
            break
    else:
        raise AssertionError("".join(lines))
    assert not any("FAIL" in line for line in lines), "".join(lines)
    os.killpg(process.pid, signo)
    process.stdout.close()
    assert process.wait(60) == 128 + signo
    nothing_left(scratch)


def test_a_failure_leaves_nothing_either():
    """A build folder with a daemon that ends at once."""
    env, scratch = environment()
    with tempfile.TemporaryDirectory() as build:
        program = os.path.join(build, "shardgate")
        with open(program, "w") as f:
            f.write("#!/bin/sh\necho this is why >&2\nexit 3\n")
        os.chmod(program, 0o755)
        done = util.run([RUN, "--build", build, "--check"], env=env, check=False, timeout=120)
    assert done.returncode != 0
    assert "error:" in done.stderr and "this is why" in done.stderr, done.stderr
    nothing_left(scratch)


def test_a_port_in_use_is_told():
    import socket
    env, scratch = environment()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = util.run([RUN, "--build", util.BUILD, "--port", str(port), "--check"], env=env, check=False)
    assert done.returncode != 0 and str(port) in done.stderr
    nothing_left(scratch)
