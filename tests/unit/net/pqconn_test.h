/*
 * What the tests of server connections share: a PostgreSQL of their own, a client
 * that connects and speaks raw protocol, and a scripted server.
 */
#ifndef SHARDGATE_PQCONN_TEST_H
#define SHARDGATE_PQCONN_TEST_H

#include "net_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
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

static inline void on_done(struct pqconn *conn, void *ctx, const struct error *e)
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

static inline void open_with(struct client *c, struct loop *l, const struct pqconn_options *o)
{
    memset(c, 0, sizeof(*c));
    c->loop = l;
    c->conn = pqconn_open(l, o, on_done, c);
    assert_non_null(c->conn);
    assert_false(c->done);
    WAIT_FOR(l, c->done);
}

static inline void open_client(struct client *c, struct loop *l, const char *conninfo)
{
    struct pqconn_options o = {.conninfo = conninfo, .timeout_ms = 5000};
    open_with(c, l, &o);
}

static inline void open_good(struct client *c, struct loop *l, const char *conninfo)
{
    open_client(c, l, conninfo);
    if (!c->ok)
        fail_msg("%s: %s", conninfo, c->error.cause);
}

/* ---- the raw side ---- */

static inline void on_ready(struct stream *s, int events)
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

static inline void on_closed(struct stream *s) { container_of(s, struct client, stream)->closed = true; }

static inline void on_released(struct stream *s) { container_of(s, struct client, stream)->released = true; }

static inline void take(struct client *c)
{
    c->stream.ready = on_ready;
    c->stream.closed = NULL;
    assert_true(pqconn_take(c->conn, &c->stream));
    assert_false(pqconn_take(c->conn, &c->stream));
}

/* A Query message in two pieces. */
static inline void send_query(struct client *c, const char *sql)
{
    uint32_t len = htonl((uint32_t)(4 + strlen(sql) + 1));
    char head[5] = {'Q'};
    memcpy(head + 1, &len, 4);
    struct iovec iov[2] = {{head, sizeof(head)}, {(char *)(uintptr_t)sql, strlen(sql) + 1}};
    assert_int_equal(stream_writev(&c->stream, iov, 2), (ssize_t)(strlen(sql) + 6));
}

static inline bool answered(const struct client *c)
{
    return c->len >= 6 && memcmp(c->in + c->len - 6, "Z\0\0\0\5", 5) == 0;
}

static inline bool contains(const struct client *c, const char *text)
{
    return memmem(c->in, c->len, text, strlen(text)) != NULL;
}

static inline void ask(struct client *c, const char *sql)
{
    c->len = 0;
    send_query(c, sql);
    WAIT_FOR(c->loop, answered(c));
}

static inline void close_taken(struct client *c)
{
    stream_close(&c->stream, on_closed);
    assert_false(c->closed);
    WAIT_FOR(c->loop, c->closed);
    pqconn_close(c->conn);
}

static inline void expect_failure(struct loop *l, const char *conninfo, enum err_code code, const char *sqlstate,
                                  const char *text)
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

/* A listening socket that answers nothing, or one message and no more. */
struct fake_server {
    int fd, port, accepted;
    const char *answer;
    size_t answer_len;
    struct listener *listener;
};

static inline void on_fake_accept(void *ctx, int fd, const struct peer_address *peer)
{
    (void)peer;
    struct fake_server *f = ctx;
    f->accepted = fd;
    if (f->answer) /* libpq reads it after it has sent its startup packet */
        assert_int_equal(send(fd, f->answer, f->answer_len, 0), (ssize_t)f->answer_len);
}

static inline void fake_start(struct fake_server *f, struct loop *l, const char *answer, size_t len)
{
    struct error e;
    memset(f, 0, sizeof(*f));
    f->accepted = -1;
    f->answer = answer;
    f->answer_len = len;
    f->fd = listen_tcp("127.0.0.1", &f->port, 16, false, &e);
    f->listener = listener_start(l, f->fd, on_fake_accept, f);
}

static inline void fake_stop(struct fake_server *f)
{
    listener_stop(f->listener);
    if (f->accepted >= 0)
        close(f->accepted);
}

/* ReadyForQuery after trust authentication, and a cancel key. */
#define GREETING                  \
    "R\0\0\0\x08\0\0\0\0"         \
    "K\0\0\0\x0c\0\0\0\1\0\0\0\2" \
    "Z\0\0\0\x05I"

static inline int start_server(void **state)
{
    (void)state;
    return pg_temp_start(&pg);
}

static inline int stop_server(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

#endif
