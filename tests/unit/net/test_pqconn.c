/*
 * Server connections against a real PostgreSQL: connecting and its failures, TLS,
 * take-over, cancel. test_pqconn_query.c has the queries through libpq.
 */
#include "net_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static struct pg_temp pg;

struct client {
    struct loop *loop;
    struct pqconn *conn;
    bool done, ok;
    struct error error;
    /* taken */
    struct stream stream;
    char in[1 << 16];
    size_t len;
    size_t read_size; /* most bytes a read takes; 0: all */
    bool eof, closed, released;
    bool cancel_done, cancel_sent;
};

static void on_done(struct pqconn *conn, void *ctx, const struct error *e)
{
    struct client *c = ctx;
    assert_ptr_equal(conn, c->conn); /* so not before pqconn_open has returned */
    assert_false(c->done);
    c->done = true;
    c->ok = !e;
    if (e)
        c->error = *e;
}

static const char *tcp(const char *rest)
{
    static char text[512];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d %s", pg.port, rest);
    return text;
}

#define GOOD "user=app dbname=app password='s\\'ec\\\\ret'"

static void open_with(struct client *c, struct loop *l, const struct pqconn_options *o)
{
    memset(c, 0, sizeof(*c));
    c->loop = l;
    c->conn = pqconn_open(l, o, on_done, c);
    assert_non_null(c->conn);
    assert_false(c->done);
    WAIT_FOR(l, c->done);
}

static void open_client(struct client *c, struct loop *l, const char *conninfo)
{
    struct pqconn_options o = {.conninfo = conninfo, .timeout_ms = 5000};
    open_with(c, l, &o);
}

static void open_good(struct client *c, struct loop *l, const char *conninfo)
{
    open_client(c, l, conninfo);
    if (!c->ok)
        fail_msg("%s: %s", conninfo, c->error.cause);
}

/* ---- the raw side ---- */

static void on_ready(struct stream *s, int events)
{
    struct client *c = container_of(s, struct client, stream);
    if (!(events & STREAM_READABLE))
        return;
    size_t room = sizeof(c->in) - c->len;
    assert_true(room > 0);
    if (c->read_size && room > c->read_size)
        room = c->read_size;
    ssize_t n = stream_read(s, c->in + c->len, room);
    if (n > 0)
        c->len += (size_t)n;
    if (n == 0 || n == STREAM_ERROR) {
        c->eof = true;
        stream_watch(s, 0);
    }
}

static void on_closed(struct stream *s)
{
    container_of(s, struct client, stream)->closed = true;
}

static void on_released(struct stream *s)
{
    container_of(s, struct client, stream)->released = true;
}

static void take(struct client *c)
{
    c->stream.ready = on_ready;
    c->stream.closed = NULL;
    assert_true(pqconn_take(c->conn, &c->stream));
    assert_false(pqconn_take(c->conn, &c->stream));
}

/* A Query message in two pieces. */
static void send_query(struct client *c, const char *sql)
{
    uint32_t len = htonl((uint32_t)(4 + strlen(sql) + 1));
    char head[5] = {'Q'};
    memcpy(head + 1, &len, 4);
    struct iovec iov[2] = {{head, sizeof(head)}, {(char *)(uintptr_t)sql, strlen(sql) + 1}};
    assert_int_equal(stream_writev(&c->stream, iov, 2), (ssize_t)(strlen(sql) + 6));
}

static bool answered(const struct client *c)
{
    return c->len >= 6 && memcmp(c->in + c->len - 6, "Z\0\0\0\5", 5) == 0;
}

static bool contains(const struct client *c, const char *text)
{
    return memmem(c->in, c->len, text, strlen(text)) != NULL;
}

static void ask(struct client *c, const char *sql)
{
    c->len = 0;
    send_query(c, sql);
    WAIT_FOR(c->loop, answered(c));
}

static void close_taken(struct client *c)
{
    stream_close(&c->stream, on_closed);
    assert_false(c->closed);
    WAIT_FOR(c->loop, c->closed);
    pqconn_close(c->conn);
}

/* ---- connecting ---- */

static void connects_by_address_name_and_unix_socket(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    open_good(&c, l, tcp(GOOD));
    assert_true(pqconn_pid(c.conn) > 0);
    assert_true(pqconn_server_version(c.conn) >= 100000);
    assert_string_equal(pqconn_parameter(c.conn, "server_encoding"), pqconn_parameter(c.conn, "client_encoding"));
    assert_null(pqconn_parameter(c.conn, "no_such_parameter"));
    pqconn_close(c.conn);

    char text[256];
    snprintf(text, sizeof(text), "host=localhost port=%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "host=%s port=%d user=app", pg.folder, pg.port); /* dbname: the user's */
    open_good(&c, l, text);
    assert_false(pqconn_tls(c.conn));
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "postgresql://app:s%%27ec%%5Cret@127.0.0.1:%d/app", pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    loop_free(l);
}

static void a_host_list_is_tried_in_order(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[256];
    snprintf(text, sizeof(text), "host=no-such-host.invalid,127.0.0.1,localhost port=1,1,%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "hostaddr=127.0.0.1 host=name.of.certificate port=%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    open_client(&c, l, "host=a,b,c port=1,2 user=app");
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "2 port numbers to 3 hosts"));
    pqconn_close(c.conn);
    loop_free(l);
}

static void overrides_fallbacks_and_options_reach_the_server(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    struct pqconn_options o = {
        .conninfo = tcp("user=nobody options='-c work_mem=123kB -c statement_timeout=1s'"),
        .user = "app", .fallback_user = "nobody either", .fallback_dbname = "app", .fallback_password = "s'ec\\ret",
        .options = "-c statement_timeout=77s -c my.setting=a\\ b", .application_name = "it's \\me", .timeout_ms = 5000,
    };
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    assert_string_equal(pqconn_parameter(c.conn, "application_name"), "it's \\me");
    take(&c);
    ask(&c, "SELECT current_setting('work_mem'), current_setting('statement_timeout'), current_setting('my.setting'), user");
    assert_true(contains(&c, "123kB") && contains(&c, "77s") && contains(&c, "a b") && contains(&c, "app"));
    close_taken(&c);
    loop_free(l);
}

static void a_replication_connection_is_one(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[256];
    snprintf(text, sizeof(text), "host=%s port=%d user=postgres dbname=app", pg.folder, pg.port);
    struct pqconn_options o = {.conninfo = text, .replication_database = true, .timeout_ms = 5000};
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    take(&c);
    ask(&c, "IDENTIFY_SYSTEM");
    assert_true(contains(&c, "systemid") && contains(&c, "app"));
    close_taken(&c);
    o.replication_database = false;
    o.replication_physical = true;
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    take(&c);
    ask(&c, "IDENTIFY_SYSTEM");
    assert_true(contains(&c, "systemid"));
    ask(&c, "SELECT 1");
    assert_true(contains(&c, "C0A000") || contains(&c, "ERROR")); /* a physical walsender knows no SQL */
    close_taken(&c);
    loop_free(l);
}

static void expect_failure(struct loop *l, const char *conninfo, enum err_code code, const char *sqlstate, const char *text)
{
    struct client c;
    open_client(&c, l, conninfo);
    assert_false(c.ok);
    assert_int_equal(c.error.code, code);
    assert_string_equal(error_sqlstate(&c.error), sqlstate);
    if (!strstr(error_text(&c.error), text) && !strstr(c.error.cause, text))
        fail_msg("\"%s\" / \"%s\" lacks \"%s\"", error_text(&c.error), c.error.cause, text);
    assert_null(strchr(c.error.cause, '\n'));
    assert_null(strstr(c.error.cause, "wrong-secret"));
    assert_false(pqconn_query(c.conn, "SELECT 1", 0, NULL, &(struct pqquery){.timeout_ms = 1}));
    assert_false(pqconn_cancel(c.conn, NULL, NULL));
    pqconn_close(c.conn);
}

static void failures_carry_the_servers_own_words(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    char text[256];
    expect_failure(l, tcp("user=app dbname=app password=wrong-secret"), ERR_SHARD_UNREACHABLE, "28P01",
                   "password authentication failed for user \"app\"");
    snprintf(text, sizeof(text), "host=%s port=%d user=app dbname=nowhere", pg.folder, pg.port);
    expect_failure(l, text, ERR_SHARD_UNREACHABLE, "3D000", "database \"nowhere\" does not exist");
    snprintf(text, sizeof(text), "host=%s port=%d user=app options='-c no.such.thing=1 -c nonsense'", pg.folder, pg.port);
    expect_failure(l, text, ERR_SHARD_UNREACHABLE, "42601", "nonsense");
    expect_failure(l, tcp("user=app dbname=app"), ERR_SHARD_UNREACHABLE, "08006", "no password");
    expect_failure(l, "host=127.0.0.1 port=1 user=app", ERR_SHARD_UNREACHABLE, "08006", "refused");
    expect_failure(l, "host=no-such-host.invalid user=app", ERR_SHARD_UNREACHABLE, "08006", "cannot resolve");
    expect_failure(l, "host=/no/such/folder user=app", ERR_SHARD_UNREACHABLE, "08006", "No such file");
    expect_failure(l, "hots=x password=wrong-secret", ERR_CONFIG, "F0000", "invalid connection string");
    expect_failure(l, "password=a wrong-secret", ERR_CONFIG, "F0000", "invalid connection string");
    expect_failure(l, "service=x", ERR_CONFIG, "F0000", "service");
    expect_failure(l, "host=127.0.0.1 sslmode=verify-full user=app", ERR_SHARD_UNREACHABLE, "08006", "sslrootcert");
    loop_free(l);
}

/* A listening socket that answers nothing, or one message and no more. */
struct fake_server {
    int fd, port, accepted;
    const char *answer;
    size_t answer_len;
    struct listener *listener;
};

static void on_fake_accept(void *ctx, int fd, const struct peer_address *peer)
{
    (void)peer;
    struct fake_server *f = ctx;
    f->accepted = fd;
    if (f->answer) /* libpq reads it after it has sent its startup packet */
        assert_int_equal(send(fd, f->answer, f->answer_len, 0), (ssize_t)f->answer_len);
}

static void fake_start(struct fake_server *f, struct loop *l, const char *answer, size_t len)
{
    struct error e;
    memset(f, 0, sizeof(*f));
    f->accepted = -1;
    f->answer = answer;
    f->answer_len = len;
    f->fd = listen_tcp("127.0.0.1", &f->port, 16, false, &e);
    f->listener = listener_start(l, f->fd, on_fake_accept, f);
}

static void fake_stop(struct fake_server *f)
{
    listener_stop(f->listener);
    if (f->accepted >= 0)
        close(f->accepted);
}

static void a_silent_server_times_out(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    char text[128];
    fake_start(&f, l, NULL, 0);
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app", f.port);
    struct pqconn_options o = {.conninfo = text, .timeout_ms = 100};
    uint64_t from = clock_mono_ns();
    open_with(&c, l, &o);
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "timed out after 100 ms"));
    assert_string_equal(error_sqlstate(&c.error), "08006");
    assert_in_range((clock_mono_ns() - from) / 1000000, 95, 3000);
    pqconn_close(c.conn);
    fake_stop(&f);
    loop_free(l);
}

static void a_starting_server_is_told_apart(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    static const char answer[] = "E\0\0\0\x47SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0Fx.c\0L1\0Rr\0";
    char bytes[sizeof(answer)];
    memcpy(bytes, answer, sizeof(answer));
    bytes[4] = (char)(sizeof(answer) - 1); /* with the literal's own NUL as terminator of the fields */
    fake_start(&f, l, bytes, sizeof(answer));
    char text[128];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    open_client(&c, l, text);
    assert_false(c.ok);
    assert_int_equal(c.error.code, ERR_SHARD_STARTING);
    assert_string_equal(error_text(&c.error), "the database system is starting up");
    pqconn_close(c.conn);
    fake_stop(&f);
    loop_free(l);
}

static void bytes_behind_the_greeting_refuse_the_take_over(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    static const char greeting[] = "R\0\0\0\x08\0\0\0\0" "K\0\0\0\x0c\0\0\0\1\0\0\0\2" "Z\0\0\0\x05I";
    fake_start(&f, l, greeting, sizeof(greeting) - 1);
    char text[128];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    open_good(&c, l, text);
    take(&c); /* nothing behind it: fine */
    close_taken(&c);
    close(f.accepted);

    open_good(&c, l, text);
    assert_int_equal(send(f.accepted, "N", 1, 0), 1);
    usleep(2000);
    assert_false(pqconn_take(c.conn, &c.stream));
    pqconn_close(c.conn);
    close(f.accepted);

    open_good(&c, l, text);
    close(f.accepted);
    f.accepted = -1;
    usleep(2000);
    assert_false(pqconn_take(c.conn, &c.stream)); /* gone already */
    pqconn_close(c.conn);
    fake_stop(&f);
    loop_free(l);
}

static void nothing_comes_from_the_environment(void **state)
{
    (void)state;
    static const char *const variables[] = {
        "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGOPTIONS", "PGAPPNAME",
        "PGSSLMODE", "PGREQUIRESSL", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI",
        "PGSSLCOMPRESSION", "PGREQUIREPEER", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGGSSENCMODE",
        "PGKRBSRVNAME", "PGGSSLIB", "PGCONNECT_TIMEOUT", "PGCLIENTENCODING", "PGTARGETSESSIONATTRS", "PGCHANNELBINDING",
    };
    struct loop *l = new_loop();
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        setenv(variables[i], "nonsense", 1);
    struct client c;
    open_good(&c, l, tcp(GOOD));
    assert_string_equal(pqconn_parameter(c.conn, "application_name"), "");
    pqconn_close(c.conn);
    setenv("PGPASSWORD", "s'ec\\ret", 1);
    open_client(&c, l, tcp("user=app dbname=app"));
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "no password"));
    pqconn_close(c.conn);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    loop_free(l);
}

static void the_service_and_session_variables_are_gone(void **state)
{
    (void)state; /* main set them before the first loop */
    assert_null(getenv("PGSERVICE"));
    assert_null(getenv("PGDATESTYLE"));
    assert_null(getenv("PGTZ"));
    assert_non_null(getenv("PGSERVICEFILE")); /* harmless without PGSERVICE, and perhaps the configuration's */
}

static void a_connection_closed_while_connecting_calls_nobody(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    static const char *const hosts[] = {"localhost", "127.0.0.1", "no-such-host.invalid"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        for (int turns = 0; turns < 6; turns++) {
            char text[128];
            struct client c = {.loop = l};
            snprintf(text, sizeof(text), "host=%s port=%d " GOOD, hosts[i], pg.port);
            struct pqconn_options o = {.conninfo = text, .timeout_ms = 5000};
            c.conn = pqconn_open(l, &o, on_done, &c);
            for (int n = 0; n < turns && !c.done; n++) {
                loop_turn(l);
                usleep(300);
            }
            bool done = c.done;
            pqconn_close(c.conn);
            for (int n = 0; n < 5; n++) {
                loop_turn(l);
                usleep(200);
            }
            assert_true(c.done == done);
        }
    loop_free(l);
}

/* ---- TLS and take-over ---- */

static void tls_verifies_by_name_and_carries_raw_bytes(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[400];
    snprintf(text, sizeof(text), "host=localhost port=%d " GOOD " sslmode=verify-full sslrootcert=%s/server.crt", pg.port, pg.folder);
    open_good(&c, l, text);
    assert_true(pqconn_tls(c.conn));
    take(&c);
    ask(&c, "SELECT 40 + 2, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_true(contains(&c, "42") && contains(&c, "t"));
    close_taken(&c);
    snprintf(text, sizeof(text), "host=other.name hostaddr=127.0.0.1 port=%d " GOOD " sslmode=verify-full sslrootcert=%s/server.crt",
             pg.port, pg.folder);
    expect_failure(l, text, ERR_SHARD_UNREACHABLE, "08006", "does not match host name \"other.name\"");
    loop_free(l);
}

static void bytes_inside_a_tls_record_are_not_forgotten(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    open_good(&c, l, tcp(GOOD " sslmode=require"));
    take(&c);
    c.read_size = 100; /* far less than a record */
    ask(&c, "SELECT repeat('x', 40000)");
    assert_true(c.len > 40000);
    /* Held back by its owner in mid-record, then wanted again. */
    c.len = 0;
    send_query(&c, "SELECT repeat('y', 10000)");
    WAIT_FOR(l, c.len > 0);
    stream_watch(&c.stream, 0);
    size_t held = c.len;
    usleep(5000);
    for (int i = 0; i < 5; i++)
        loop_turn(l);
    assert_true(c.len == held);
    assert_false(answered(&c));
    stream_watch(&c.stream, STREAM_READABLE);
    WAIT_FOR(l, answered(&c));
    close_taken(&c);
    loop_free(l);
}

/* Sends a statement of 8 MiB, far more than the socket takes at once. */
static void send_large(struct client *c, size_t size)
{
    char *message = malloc(size + 6);
    size_t pos = 0, total = size + 6;
    int small = 16384;
    setsockopt(c->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    uint32_t len = htonl((uint32_t)(size + 5));
    message[0] = 'Q';
    memcpy(message + 1, &len, 4);
    memset(message + 5, ' ', size);
    memcpy(message + 5, "SELECT 'large'", 14);
    message[size + 5] = '\0';
    c->len = 0;
    int refused = 0;
    while (pos < total) {
        struct iovec iov[2] = {{message + pos, (total - pos) / 2}, {message + pos + (total - pos) / 2, (total - pos + 1) / 2}};
        ssize_t n = stream_writev(&c->stream, iov, 2);
        if (n == STREAM_AGAIN) {
            refused++;
            stream_watch(&c->stream, STREAM_READABLE | STREAM_WRITABLE);
            loop_turn(c->loop);
        } else if (n < 0) {
            fail_msg("%s", stream_error(&c->stream));
        } else {
            pos += (size_t)n;
        }
    }
    assert_true(refused > 0);
    stream_watch(&c->stream, STREAM_READABLE);
    free(message);
    WAIT_FOR(c->loop, answered(c));
    assert_true(contains(c, "large"));
}

static void large_writes_resume_where_they_stopped(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    static const char *const modes[] = {"sslmode=disable", "sslmode=require"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct client c;
        char text[256];
        snprintf(text, sizeof(text), GOOD " %s", modes[i]);
        open_good(&c, l, tcp(text));
        assert_true(pqconn_tls(c.conn) == (i == 1));
        take(&c);
        send_large(&c, 8 << 20);
        close_taken(&c);
    }
    loop_free(l);
}

static void kill_backend(struct loop *l, int pid)
{
    struct client killer;
    char text[256];
    snprintf(text, sizeof(text), "host=%s port=%d user=postgres dbname=app", pg.folder, pg.port);
    open_good(&killer, l, text);
    take(&killer);
    snprintf(text, sizeof(text), "SELECT pg_terminate_backend(%d)", pid);
    ask(&killer, text);
    close_taken(&killer);
}

static void a_killed_backend_ends_the_stream(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    static const char *const modes[] = {GOOD " sslmode=disable", GOOD " sslmode=require"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct client c;
        open_good(&c, l, tcp(modes[i]));
        take(&c);
        kill_backend(l, pqconn_pid(c.conn));
        WAIT_FOR(l, c.eof);
        assert_true(contains(&c, "57P01"));
        close_taken(&c);
    }
    loop_free(l);
}

static void closing_a_taken_connection_sends_nothing(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    struct fake_server f;
    static const char greeting[] = "R\0\0\0\x08\0\0\0\0" "K\0\0\0\x0c\0\0\0\1\0\0\0\2" "Z\0\0\0\x05I";
    fake_start(&f, l, greeting, sizeof(greeting) - 1);
    char text[128], got[1024];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    open_good(&c, l, text);
    take(&c);
    assert_true(recv(f.accepted, got, sizeof(got), 0) > 0); /* the startup packet */
    struct iovec half = {"Q\0\0\0\x10SELE", 9};
    assert_int_equal(stream_writev(&c.stream, &half, 1), 9);
    close_taken(&c);
    usleep(5000);
    assert_int_equal(recv(f.accepted, got, sizeof(got), 0), 9); /* and no X behind it */
    assert_int_equal(recv(f.accepted, got, sizeof(got), 0), 0);
    fake_stop(&f);
    loop_free(l);
}

/* ---- cancel ---- */

static void on_cancelled(struct pqconn *conn, void *ctx, bool sent)
{
    struct client *c = ctx;
    assert_ptr_equal(conn, c->conn);
    c->cancel_done = true;
    c->cancel_sent = sent;
}

static void a_cancel_stops_the_query(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    open_good(&c, l, tcp(GOOD));
    take(&c);
    send_query(&c, "SELECT pg_sleep(30)");
    usleep(20000);
    assert_true(pqconn_cancel(c.conn, on_cancelled, &c));
    assert_false(pqconn_cancel(c.conn, on_cancelled, &c)); /* one at a time */
    assert_false(c.cancel_done);
    WAIT_FOR(l, c.cancel_done && answered(&c));
    assert_true(c.cancel_sent);
    assert_true(contains(&c, "57014"));
    /* Closed while one is in flight: nobody is called. */
    c.cancel_done = false;
    assert_true(pqconn_cancel(c.conn, on_cancelled, &c));
    close_taken(&c);
    usleep(20000);
    loop_turn(l);
    loop_free(l);
    assert_false(c.cancel_done);
}

/* ---- another loop ---- */

struct arrival {
    struct post post;
    struct client *client;
};

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void on_there_closed(struct stream *s)
{
    struct client *c = container_of(s, struct client, stream);
    pqconn_close(c->conn);
    loop_stop(s->loop);
}

static void on_there_ready(struct stream *s, int events)
{
    struct client *c = container_of(s, struct client, stream);
    on_ready(s, events);
    if (answered(c) || c->eof)
        stream_close(s, on_there_closed);
}

static void on_arrival(struct post *p, void *ctx)
{
    (void)ctx;
    struct client *c = container_of(p, struct arrival, post)->client;
    take(c);
    c->stream.ready = on_there_ready;
    send_query(c, "SELECT 'second loop'");
}

static void a_connection_moves_to_another_loop(void **state)
{
    (void)state;
    static const char *const modes[] = {GOOD " sslmode=disable", GOOD " sslmode=require"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct loop *here = new_loop(), *there = new_loop();
        struct client c;
        open_good(&c, here, tcp(modes[i]));
        take(&c);
        ask(&c, "SELECT 'first loop'");
        stream_release(&c.stream, on_released);
        WAIT_FOR(here, c.released);
        pqconn_move(c.conn, there);
        c.loop = there;
        c.len = 0;
        struct arrival a = {.post.run = on_arrival, .client = &c};
        pthread_t thread;
        pthread_create(&thread, NULL, run_loop, there);
        assert_true(loop_post(there, &a.post));
        pthread_join(thread, NULL);
        assert_true(contains(&c, "second loop"));
        loop_free(here);
        loop_free(there);
    }
}

static int start_server(void **state)
{
    (void)state;
    return pg_temp_start(&pg);
}

static int stop_server(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

int main(void)
{
    setenv("PGSERVICE", "nonsense", 1);
    setenv("PGSERVICEFILE", "/nonsense", 1);
    setenv("PGDATESTYLE", "nonsense", 1);
    setenv("PGTZ", "nonsense", 1);
    net_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_by_address_name_and_unix_socket),
        cmocka_unit_test(a_host_list_is_tried_in_order),
        cmocka_unit_test(overrides_fallbacks_and_options_reach_the_server),
        cmocka_unit_test(a_replication_connection_is_one),
        cmocka_unit_test(failures_carry_the_servers_own_words),
        cmocka_unit_test(a_silent_server_times_out),
        cmocka_unit_test(a_starting_server_is_told_apart),
        cmocka_unit_test(bytes_behind_the_greeting_refuse_the_take_over),
        cmocka_unit_test(nothing_comes_from_the_environment),
        cmocka_unit_test(the_service_and_session_variables_are_gone),
        cmocka_unit_test(a_connection_closed_while_connecting_calls_nobody),
        cmocka_unit_test(tls_verifies_by_name_and_carries_raw_bytes),
        cmocka_unit_test(bytes_inside_a_tls_record_are_not_forgotten),
        cmocka_unit_test(large_writes_resume_where_they_stopped),
        cmocka_unit_test(a_killed_backend_ends_the_stream),
        cmocka_unit_test(closing_a_taken_connection_sends_nothing),
        cmocka_unit_test(a_cancel_stops_the_query),
        cmocka_unit_test(a_connection_moves_to_another_loop),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
