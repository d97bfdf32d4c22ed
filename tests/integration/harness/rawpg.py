"""The protocol byte by byte: a test reads as the conversation on the wire."""
import hashlib
import socket
import struct
import time

VERSION_3_0 = 196608
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102


class Closed(Exception):
    """The other side closed the connection."""


class Deadline(Exception):
    """No whole message in time."""


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def packet(body):
    """A startup-phase packet: length word and body."""
    return struct.pack(">I", len(body) + 4) + body


def msg(kind, body=b""):
    return kind.encode() + packet(body)


def startup_packet(version=VERSION_3_0, **params):
    body = struct.pack(">I", version)
    for key, value in params.items():
        body += cstr(key.replace("__", ".")) + cstr(value)
    return packet(body + b"\0")


def query(sql):
    return msg("Q", cstr(sql))


def parse(sql, name="", types=()):
    return msg("P", cstr(name) + cstr(sql) + struct.pack(">H", len(types)) +
               b"".join(struct.pack(">I", t) for t in types))


def bind(values=(), statement="", portal="", binary_results=False):
    body = cstr(portal) + cstr(statement) + struct.pack(">H", 0) + struct.pack(">H", len(values))
    for v in values:
        if v is None:
            body += struct.pack(">i", -1)
        else:
            v = v if isinstance(v, bytes) else str(v).encode()
            body += struct.pack(">i", len(v)) + v
    body += struct.pack(">HH", 1, 1) if binary_results else struct.pack(">H", 0)
    return msg("B", body)


def describe(kind="P", name=""):
    return msg("D", kind.encode() + cstr(name))


def close(kind="S", name=""):
    return msg("C", kind.encode() + cstr(name))


def execute(portal="", rows=0):
    return msg("E", cstr(portal) + struct.pack(">I", rows))


def sync():
    return msg("S")


def flush():
    return msg("H")


def terminate():
    return msg("X")


def function_call(oid, *values):
    body = struct.pack(">IHH", oid, 0, len(values))
    for v in values:
        v = str(v).encode()
        body += struct.pack(">i", len(v)) + v
    return msg("F", body + struct.pack(">H", 0))


def cancel_packet(pid, key):
    return packet(struct.pack(">II", CANCEL_REQUEST, pid) + (key if isinstance(key, bytes) else struct.pack(">I", key)))


def extended(sql, values=(), statement="", types=()):
    """Parse, Bind, Describe, Execute; no Sync."""
    return parse(sql, statement, types) + bind(values, statement) + describe() + execute()


class Message:
    def __init__(self, kind, body):
        self.kind = kind
        self.body = body

    def __repr__(self):
        if self.kind in "EN" and self.body[:1] != b"":
            return f"{self.kind}{self.fields()}"
        return f"{self.kind}{self.body[:60]!r}"

    def fields(self):
        """Of ErrorResponse and NoticeResponse: letter -> text."""
        found = {}
        for part in self.body.split(b"\0"):
            if part:
                found[chr(part[0])] = part[1:].decode(errors="replace")
        return found

    @property
    def code(self):
        return self.fields().get("C")

    def row(self):
        """Of DataRow: the values as text."""
        count = struct.unpack(">H", self.body[:2])[0]
        at, values = 2, []
        for _ in range(count):
            size = struct.unpack(">i", self.body[at:at + 4])[0]
            at += 4
            if size < 0:
                values.append(None)
            else:
                values.append(self.body[at:at + size].decode(errors="replace"))
                at += size
        return values

    def strings(self):
        return [s.decode() for s in self.body.split(b"\0")[:-1]]


class Raw:
    """A client without any knowledge of what it says."""

    def __init__(self, port, host="127.0.0.1", timeout=20):
        self.timeout = timeout
        if host.startswith("/"):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.sock = socket.create_connection((host, port), timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.parameters = {}
        self.key = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def close(self):
        self.sock.close()

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))
        return self

    def dribble(self, data, step=1, pause=0.0):
        """Sends in small pieces, each in a packet of its own."""
        for i in range(0, len(data), step):
            self.sock.sendall(data[i:i + step])
            if pause:
                time.sleep(pause)
        return self

    def _fill(self, want, deadline):
        while len(self.buffer) < want:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Deadline(f"wanted {want} bytes, have {self.buffer[:80]!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                continue
            except ConnectionError as e:
                raise Closed(str(e)) from None
            if not data:
                raise Closed(f"after {self.buffer[:80]!r}")
            self.buffer += data

    def byte(self, timeout=None):
        """One byte: the answer to SSLRequest."""
        self._fill(1, time.monotonic() + (timeout or self.timeout))
        one, self.buffer = self.buffer[:1], self.buffer[1:]
        return one

    def read(self, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        self._fill(5, deadline)
        size = struct.unpack(">I", self.buffer[1:5])[0] + 1
        self._fill(size, deadline)
        message = Message(chr(self.buffer[0]), self.buffer[5:size])
        self.buffer = self.buffer[size:]
        return message

    def expect(self, kinds, timeout=None):
        """Reads as many messages as `kinds` has letters; they must be those.
        'ParameterStatus' and notices count like any other."""
        got = [self.read(timeout) for _ in kinds]
        assert "".join(m.kind for m in got) == kinds, f"wanted {kinds}, got {got}"
        return got

    def until_ready(self, timeout=None):
        """All messages up to and with ReadyForQuery."""
        got = []
        while not got or got[-1].kind != "Z":
            got.append(self.read(timeout))
        return got

    def kinds_until_ready(self, timeout=None):
        return "".join(m.kind for m in self.until_ready(timeout))

    def ask(self, sql, timeout=None):
        """A simple query; rows as lists of text. An error is raised as AssertionError."""
        got = self.send(query(sql)).until_ready(timeout)
        errors = [m for m in got if m.kind == "E"]
        assert not errors, errors
        return [m.row() for m in got if m.kind == "D"]

    def expect_error(self, code, timeout=None, closed=None):
        """Reads up to an ErrorResponse with this SQLSTATE; `closed` says whether
        the connection must end after it."""
        while True:
            message = self.read(timeout)
            if message.kind == "E":
                break
        assert message.code == code, f"wanted {code}, got {message}"
        if closed:
            self.expect_close(timeout)
        return message

    def expect_close(self, timeout=None):
        """No more messages: the other side closes."""
        try:
            message = self.read(timeout)
        except Closed:
            return
        raise AssertionError(f"not closed but {message}")

    def login(self, password=None, expect_ready=True, **params):
        """Startup and authentication (trust, cleartext, md5) to ReadyForQuery."""
        self.send(startup_packet(**params))
        while True:
            message = self.read()
            if message.kind == "R":
                self._authenticate(message.body, params["user"], password)
            elif message.kind == "S":
                name, value = message.strings()
                self.parameters[name] = value
            elif message.kind == "K":
                self.key = (struct.unpack(">I", message.body[:4])[0], message.body[4:])
            elif message.kind == "Z":
                return self
            elif message.kind == "E":
                raise AssertionError(f"login refused: {message}")
            elif message.kind not in "Nv":
                raise AssertionError(f"unexpected at login: {message}")

    def _authenticate(self, body, user, password):
        kind = struct.unpack(">I", body[:4])[0]
        if kind == 0:
            return
        if kind == 3:
            self.send(msg("p", cstr(password)))
        elif kind == 5:
            inner = hashlib.md5((password + user).encode()).hexdigest().encode()
            self.send(msg("p", cstr("md5" + hashlib.md5(inner + body[4:8]).hexdigest())))
        else:
            raise AssertionError(f"authentication {kind} is not for this client; use auth.type trust")


def raw_client(gate, tenant=None, user="app", database="app", **params):
    """Logged in under auth.type trust (or password, md5)."""
    from .servers import CLIENT_PASSWORD
    if tenant is not None:
        params["options"] = f"-c shardgate.tenant_id={tenant}"
    return Raw(gate.port).login(password=CLIENT_PASSWORD, user=user, database=database, **params)
