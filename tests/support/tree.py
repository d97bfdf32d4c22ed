"""What the checks in tests/check share: the files of the tree and a report."""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True

ROOMS = ("base", "wire", "sql", "conf", "net", "auth", "map", "route", "pool", "session", "ops")


class Report:
    """Collects complaints; finish() prints them and exits."""

    def __init__(self, name):
        self.name = name
        self.complaints = []

    def complain(self, where, what):
        self.complaints.append(f"{where}: {what}")

    def finish(self, summary):
        for complaint in self.complaints:
            print(complaint)
        if self.complaints:
            print(f"{self.name}: {len(self.complaints)} complaint(s)")
            sys.exit(1)
        print(f"{self.name}: {summary}")
        sys.exit(0)


def arguments():
    """The folders every check is called with: source and build."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} SOURCE_DIR BUILD_DIR")
    source, build = (os.path.abspath(a) for a in sys.argv[1:])
    if not os.path.isfile(os.path.join(source, "CMakeLists.txt")):
        sys.exit(f"{source} is not the source tree")
    return source, build


def tracked_files(source):
    """Paths that belong to the project: what git knows, or, where there is no
    git, all but build output."""
    try:
        listing = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", source, "ls-files", "-z"],
            capture_output=True, check=True)
        names = [n for n in listing.stdout.decode().split("\0") if n]
        return sorted(n for n in names if os.path.isfile(os.path.join(source, n)))
    except (OSError, subprocess.CalledProcessError):
        return sorted(walk(source, "."))


def walk(source, *tops, ends=("",)):
    """Files under the folders, whether git knows them yet or not."""
    for top in tops:
        for folder, folders, names in os.walk(os.path.join(source, top)):
            folders[:] = sorted(f for f in folders if f not in (".git", "build", "__pycache__", ".pytest_cache"))
            for name in sorted(names):
                if name.endswith(tuple(ends)):
                    yield os.path.relpath(os.path.join(folder, name), source)


def read(source, path):
    with open(os.path.join(source, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def without_comments(text):
    """C text with comments and the insides of literals blanked, lines kept."""
    token = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

    def blank(match):
        found = match.group(0)
        if found[0] == '"':
            return '"' + " " * (len(found) - 2) + '"'
        return re.sub(r"[^\n]", " ", found)

    return token.sub(blank, text)


def libraries(build):
    """Room to its static library, for those that are built."""
    paths = {room: os.path.join(build, f"libshardgate_{room}.a") for room in ROOMS}
    return {room: path for room, path in paths.items() if os.path.isfile(path)}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
