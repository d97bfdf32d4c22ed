"""Proof of who a client is: every mechanism, every kind of secret, no oracle."""
import hashlib
import base64
import hmac
import os

import psycopg
import pytest

from harness import util
from harness.rawpg import Closed, Raw, cstr, msg, packet, startup_packet
from harness.servers import CLIENT_PASSWORD


def scram_verifier(password, iterations=4096):
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = lambda b: base64.b64encode(b).decode()  # noqa: E731
    return f"SCRAM-SHA-256${iterations}:{b64(salt)}${b64(stored)}:{b64(server)}"


def md5_secret(user, password):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


USERS = [
    {"name": "app", "password": CLIENT_PASSWORD},
    {"name": "hashed", "password": md5_secret("hashed", CLIENT_PASSWORD)},
    {"name": "scrammed", "password": scram_verifier(CLIENT_PASSWORD)},
    {"name": "admin", "password": CLIENT_PASSWORD},
    {"name": "nopassword"},
]
# auth.type -> users who can log in with a password.
ABLE = {
    "trust": ("app", "hashed", "scrammed", "nopassword"),
    "password": ("app", "hashed", "scrammed"),
    "md5": ("app", "hashed", "scrammed"),
    "scram-sha-256": ("app", "scrammed"),
}


@pytest.fixture(scope="module", params=ABLE)
def typed(request, servers):
    from harness.daemon import Gate
    made = Gate(servers, users=USERS, **{"auth.type": request.param})
    request.module.__dict__.setdefault("_gates", []).append(made)
    yield made
    made.stop()


def refusal(gate, **kw):
    with pytest.raises(psycopg.OperationalError) as caught:
        gate.connect(42, **kw)
    return str(caught.value)


def test_login(typed):
    for user in ABLE[typed.options["auth.type"]]:
        assert typed.whoami(42, user=user) == "USA", user


def test_wrong_password(typed):
    if typed.options["auth.type"] == "trust":
        assert typed.whoami(42, password="anything") == "USA"
        return
    for user in ("app", "hashed", "scrammed", "nopassword"):
        text = refusal(typed, user=user, password="wrong")
        assert "authentication failed" in text, (user, text)


def test_unknown_user_looks_like_a_wrong_password(typed):
    """Not for trust, which has no password to be wrong."""
    unknown = refusal(typed, user="nobody", password="wrong")
    if typed.options["auth.type"] == "trust":
        return
    known = refusal(typed, user="app", password="wrong")
    assert unknown.replace("nobody", "app") == known


def test_empty_password(typed):
    if typed.options["auth.type"] == "trust":
        return
    done = util.run(["psql", "-X", "-w", "-c", "select 1"],
                    env={**typed.environment(42), "PGPASSWORD": ""}, check=False)
    assert done.returncode != 0


def test_the_conversation_is_the_same_for_unknown_users(typed):
    """Kinds of message and the mechanism offered, up to the client's answer: an unknown name looks
    like one of the users, drawn by the name, and always like the same one."""
    def offered(user):
        with Raw(typed.port) as raw:
            raw.send(startup_packet(user=user, database="app"))
            message = raw.read()
            return message.kind, message.body[:4], len(message.body)
    if typed.options["auth.type"] != "trust":
        real = {offered(user) for user in ABLE[typed.options["auth.type"]]}
        for name in ("nobody", "nobody2", "somebody", "App", "x" * 63):
            assert offered(name) in real and offered(name) == offered(name)


def test_codes_of_failed_logins(new_gate):
    gate = new_gate(users=USERS, **{"auth.type": "password"})
    for user, password in (("app", "wrong"), ("nobody", "wrong"), ("nopassword", "x")):
        with Raw(gate.port) as raw:
            raw.send(startup_packet(user=user, database="app"))
            raw.expect("R")
            raw.send(msg("p", cstr(password)))
            fields = raw.expect_error("28P01", closed=True).fields()
            assert fields["M"].startswith("authentication failed") or "authentication failed" in fields["M"]
            assert "H" in fields
    failures = gate.metric("login_failures_total")
    assert failures == 3


def test_a_login_that_is_not_finished(new_gate):
    """Gone after the challenge; a message of another kind; an answer that is too large."""
    gate = new_gate(users=USERS, **{"auth.type": "scram-sha-256"})
    with Raw(gate.port) as raw:
        raw.send(startup_packet(user="app", database="app")).expect("R")
    for answer in (msg("Q", b"select 1\0"), msg("X"), b"p" + packet(b"x" * 100000)):
        with Raw(gate.port) as raw:
            raw.send(startup_packet(user="app", database="app")).expect("R")
            raw.send(answer)
            try:
                message = raw.read()
                assert message.kind == "E" and message.code in ("08P01", "28P01"), message
            except Closed:
                assert answer == msg("X")
    assert gate.whoami(42) == "USA"


@pytest.mark.parametrize("first", (
    b"SCRAM-SHA-256\0" + b"\0\0\0\x05n,,n=", b"SCRAM-SHA-1\0\0\0\0\0",
    b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=" + b"x" * 200, b"SCRAM-SHA-256", b"",
    b"SCRAM-SHA-256-PLUS\0\0\0\0\x0ap=tls,,n=,r=a", b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=\xff\xfe\x01\x02"))
def test_sasl_that_cannot_be(new_gate_scram, first):
    with Raw(new_gate_scram.port) as raw:
        raw.send(startup_packet(user="app", database="app")).expect("R")
        raw.send(msg("p", first))
        message = raw.read()
        assert message.kind == "E" and message.code in ("08P01", "28P01", "0A000"), message
        raw.expect_close()


@pytest.fixture(scope="module")
def new_gate_scram(request, servers):
    from harness.daemon import Gate
    made = Gate(servers, users=USERS, **{"auth.type": "scram-sha-256"})
    yield made
    made.stop()


def test_sasl_without_first_data(new_gate_scram):
    """Length -1: an empty challenge asks for it, as PostgreSQL does."""
    with Raw(new_gate_scram.port) as raw:
        raw.send(startup_packet(user="app", database="app")).expect("R")
        raw.send(msg("p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"))
        (challenge,) = raw.expect("R")
        assert challenge.body == b"\0\0\0\x0b"


def test_auth_file(new_gate):
    folder = util.scratch_folder("auth")
    path = os.path.join(folder, "userlist.txt")
    lines = [f'"filed" "{CLIENT_PASSWORD}"', f'"filed ""quoted"" user" "{CLIENT_PASSWORD}"',
             f'"app" "{md5_secret("app", "not this")}"', f'"verified" "{scram_verifier(CLIENT_PASSWORD)}"']
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    gate = new_gate(users=USERS, **{"auth.type": "scram-sha-256", "auth.file": path})
    for user in ("filed", 'filed "quoted" user', "verified", "app"):
        assert gate.whoami(42, user=user) == "USA", user
    with open(path, "w") as f:
        f.write(f'"later" "{CLIENT_PASSWORD}"\n')
    gate.reload()
    util.eventually(lambda: gate.whoami(42, user="later") == "USA")
    assert "authentication failed" in refusal(gate, user="filed")


def test_users_change_on_reload(new_gate):
    gate = new_gate(users=USERS, **{"auth.type": "scram-sha-256"})
    with gate.connect(42) as old:
        gate.users = [{"name": "app", "password": "other-word"}, {"name": "fresh", "password": CLIENT_PASSWORD}]
        gate.write()
        gate.reload()
        util.eventually(lambda: gate.whoami(42, user="fresh") == "USA")
        assert "authentication failed" in refusal(gate)
        assert gate.whoami(42, password="other-word") == "USA"
        assert old.execute("select shard from whoami").fetchone() == ("USA",)


def test_passwords_that_need_preparation(new_gate):
    """SASLprep: a soft hyphen is nothing, a no-break space is a space."""
    gate = new_gate(users=[{"name": "app", "password": "I\u00adX"}, {"name": "space", "password": "a\u00a0b"}],
                    **{"auth.type": "scram-sha-256"})
    assert gate.whoami(42, password="IX") == "USA"
    assert gate.whoami(42, user="space", password="a b") == "USA"


def test_server_user_and_password(new_gate, whole):
    """Where the connection string names no user, the client's user goes to the shard."""
    from harness.servers import SHARD_PASSWORD
    whole.dsql("update shard_config set connection_string = %s where shard_id = 1",
               (whole.conninfo(whole.shards[1], user=None, password=None),))
    gate = new_gate(users=[
        {"name": "other", "password": SHARD_PASSWORD},
        {"name": "web", "password": CLIENT_PASSWORD, "server_user": "app", "server_password": SHARD_PASSWORD}],
        **{"auth.type": "scram-sha-256"})
    with gate.connect(42, user="other", password=SHARD_PASSWORD) as c:
        assert c.execute("select current_user").fetchone() == ("other",)
    with gate.connect(42, user="web") as c:
        assert c.execute("select current_user").fetchone() == ("app",)


def test_limited_tenants(new_gate):
    gate = new_gate(users=[{"name": "app", "password": CLIENT_PASSWORD, "tenants": ["40-45", "1042"]}])
    assert gate.whoami(42) == "USA" and gate.whoami(1042) == "DEU"
    for tenant in (39, 46, 1041, 2042):
        assert "may not act for this tenant" in str(gate.refusal(tenant))


def test_admin_needs_its_password(new_gate):
    gate = new_gate(users=USERS, **{"auth.type": "scram-sha-256"})
    assert gate.console("SHOW VERSION")
    with pytest.raises(psycopg.OperationalError):
        gate.console("SHOW VERSION", password="wrong")
    with pytest.raises(psycopg.OperationalError):
        gate.console("SHOW VERSION", user="app")
