"""Fixtures: each test file has servers of its own; a test may have a daemon of its own."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import util  # noqa: E402
from harness import daemon  # noqa: E402
from harness.servers import Servers  # noqa: E402

util.install_cleanup()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Lets a failing test show the end of the daemons' logs."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gate in getattr(item.module, "_gates", []):
            if os.path.exists(gate.log_path):
                report.sections.append((f"log of shardgate at port {gate.port}", gate.log()[-6000:]))


def _remember(request, gate):
    request.module.__dict__.setdefault("_gates", []).append(gate)
    return gate


@pytest.fixture(scope="module")
def servers():
    landscape = Servers()
    yield landscape
    landscape.close()
    util.cleanup()


@pytest.fixture(scope="module")
def gate(request, servers):
    """The file's own daemon; a file sets GATE = {...} for its options."""
    made = daemon.Gate(servers, start=False, **getattr(request.module, "GATE", {}))
    _remember(request, made)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def new_gate(request, servers):
    """A daemon for one test: new_gate(**options)."""
    made = []

    def make(*args, start=True, ready=True, landscape=None, **options):
        gate = daemon.Gate(landscape or servers, *args, start=False, **options)
        made.append(_remember(request, gate))
        if start:
            gate.start(ready)
        return gate
    yield make
    for gate in made:
        gate.stop()
    for gate in made:
        request.module._gates.remove(gate)


@pytest.fixture
def whole(servers):
    """The directory as it was, after tests that change it."""
    yield servers
    servers.dsql("delete from tenant_shard_map")
    servers.dsql("delete from shard_config where shard_id > 3")
    for number, low, high in ((1, 1, 999), (2, 1000, 1999), (3, 2000, 2999)):
        servers.dsql("update shard_config set is_active = true, min_tenant_id = %s, max_tenant_id = %s,"
                     " connection_string = %s where shard_id = %s",
                     (low, high, servers.conninfo(servers.shards[number]), number))
