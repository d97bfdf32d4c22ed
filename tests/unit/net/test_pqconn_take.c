/*
 * Server connections taken over as streams, plain and TLS, against a real PostgreSQL;
 * cancel; moving to another loop.
 */
#include "pqconn_test.h"

/* ---- TLS and take-over ---- */

static void bytes_behind_the_greeting_refuse_the_take_over(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    fake_start(&f, l, GREETING, sizeof(GREETING) - 1);
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

static void tls_verifies_by_name_and_carries_raw_bytes(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[400];
    snprintf(text, sizeof(text), "host=localhost port=%d " GOOD " sslmode=verify-full sslrootcert=%s/server.crt",
             pg.port, pg.folder);
    open_good(&c, l, text);
    assert_true(pqconn_tls(c.conn));
    take(&c);
    ask(&c, "SELECT 40 + 2, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_true(contains(&c, "42") && contains(&c, "t"));
    close_taken(&c);
    snprintf(text, sizeof(text),
             "host=other.name hostaddr=127.0.0.1 port=%d " GOOD " sslmode=verify-full sslrootcert=%s/server.crt",
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

/* Sends a statement far larger than what the socket takes at once. */
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
        struct iovec iov[2] = {{message + pos, (total - pos) / 2},
                               {message + pos + (total - pos) / 2, (total - pos + 1) / 2}};
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
        send_large(&c, 1 << 20);
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
    fake_start(&f, l, GREETING, sizeof(GREETING) - 1);
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

static void a_cancel_that_cannot_be_sent_says_so(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    struct fake_server f;
    fake_start(&f, l, GREETING, sizeof(GREETING) - 1);
    char text[128];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    open_good(&c, l, text);
    take(&c);
    listener_stop(f.listener); /* nobody listens any more */
    assert_true(pqconn_cancel(c.conn, on_cancelled, &c));
    WAIT_FOR(l, c.cancel_done);
    assert_false(c.cancel_sent);
    close_taken(&c);
    close(f.accepted);
    loop_free(l);
}

/* The kernel takes the cancel connection, and nobody answers it. */
static void a_silent_server_holds_up_nothing(void **state)
{
    (void)state;
    enum { CLIENTS = 12 };
    struct loop *l = new_loop();
    struct client c[CLIENTS];
    struct fake_server f;
    int accepted[CLIENTS];
    fake_start(&f, l, GREETING, sizeof(GREETING) - 1);
    char text[128];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    for (int i = 0; i < CLIENTS; i++) {
        open_good(&c[i], l, text);
        take(&c[i]);
        accepted[i] = f.accepted;
    }
    f.answer = NULL;
    for (int i = 0; i < CLIENTS; i++)
        assert_true(pqconn_cancel(c[i].conn, on_cancelled, &c[i]));
    struct client named; /* its name is looked up on the thread pool */
    snprintf(text, sizeof(text), "host=localhost port=%d " GOOD, pg.port);
    open_good(&named, l, text);
    pqconn_close(named.conn);
    for (int i = 0; i < CLIENTS; i++) {
        assert_false(c[i].cancel_done);
        close_taken(&c[i]);
    }
    listener_stop(f.listener); /* the cancel connections it has taken stay open */
    uint64_t begun = clock_mono_ns();
    loop_free(l);
    assert_true(clock_mono_ns() - begun < UINT64_C(10) * 1000000000);
    for (int i = 0; i < CLIENTS; i++)
        close(accepted[i]);
    close(f.accepted);
}

static void connections_left_at_the_end_are_freed_afterwards(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct loop *l = new_loop();
        struct client taken, c = {.loop = l};
        open_good(&taken, l, tcp(GOOD));
        take(&taken);
        char text[128];
        snprintf(text, sizeof(text), "host=%s port=%d " GOOD, hosts[i], pg.port);
        struct pqconn_options o = {.conninfo = text, .timeout_ms = 5000};
        c.conn = pqconn_open(l, &o, on_done, &c);
        loop_stop(l);
        loop_run(l);
        stream_close(&taken.stream, on_closed);
        pqconn_close(taken.conn);
        pqconn_close(c.conn);
        loop_free(l);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_behind_the_greeting_refuse_the_take_over),
        cmocka_unit_test(tls_verifies_by_name_and_carries_raw_bytes),
        cmocka_unit_test(bytes_inside_a_tls_record_are_not_forgotten),
        cmocka_unit_test(large_writes_resume_where_they_stopped),
        cmocka_unit_test(a_killed_backend_ends_the_stream),
        cmocka_unit_test(closing_a_taken_connection_sends_nothing),
        cmocka_unit_test(a_cancel_stops_the_query),
        cmocka_unit_test(a_cancel_that_cannot_be_sent_says_so),
        cmocka_unit_test(a_silent_server_holds_up_nothing),
        cmocka_unit_test(connections_left_at_the_end_are_freed_afterwards),
        cmocka_unit_test(a_connection_moves_to_another_loop),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
