/*
 * Moving bytes between a client and what reads or answers it.
 *
 * Reading is level-triggered and one read an event: what does not fit the
 * scratch buffer raises another event. While a session waits, its client is
 * still watched, so that its leaving is noticed; what it sends meanwhile is kept
 * up to INPUT_HOLD_MAX, then it is no longer read.
 */
#include <string.h>

#include "session_internal.h"

void session_watch(struct session *s)
{
    if (s->state == SESSION_CLOSED)
        return;
    int events = s->out.len ? STREAM_WRITABLE : 0;
    bool blocked = session_blocked(s);
    if (s->state != SESSION_CLOSING && !(blocked && s->in.len >= INPUT_HOLD_MAX))
        events |= STREAM_READABLE;
    stream_watch(s->stream, events);
    if (s->server)
        stream_watch(&s->server->stream,
                     (s->out.len ? 0 : STREAM_READABLE) | (s->server->out.len ? STREAM_WRITABLE : 0));
}

static bool keep(struct buf *b, const struct iovec *iov, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t n = iov[i].iov_len;
        if (skip >= n) {
            skip -= n;
            continue;
        }
        if (!buf_append(b, (const char *)iov[i].iov_base + skip, n - skip))
            return false;
        skip = 0;
    }
    return true;
}

void session_write(struct session *s, const struct iovec *iov, int count)
{
    if (s->state == SESSION_CLOSED)
        return;
    size_t total = 0, sent = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total == 0)
        return;
    counter_add(s->owner->counters, COUNTER_CLIENT_BYTES_OUT, total);
    if (s->out.len == 0) {
        ssize_t n = stream_writev(s->stream, iov, count);
        if (n == STREAM_ERROR) {
            session_end(s, stream_error(s->stream));
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
        if (sent == total)
            return;
    }
    if (!keep(&s->out, iov, count, sent))
        session_end(s, "out of memory");
    else
        session_watch(s);
}

void session_reply(struct session *s)
{
    struct buf *reply = &s->owner->reply;
    if (reply->failed) {
        session_end(s, "out of memory");
    } else if (reply->len) {
        struct iovec iov = {reply->data + reply->off, reply->len};
        session_write(s, &iov, 1);
    }
    buf_consume(reply, reply->len);
    reply->failed = false;
}

/* The server's socket failed under a write. */
static bool lost(struct session *s)
{
    struct error e;
    error_clear(&e);
    error_set(&e, ERR_SERVER_LOST, "write to the shard: %s", stream_error(&s->server->stream));
    session_fail(s, &e);
    return false;
}

bool session_send(struct session *s, const char *data, size_t len)
{
    struct sessions *ss = s->owner;
    struct server *server = s->server;
    struct iovec iov[2];
    int count = 0;
    size_t total = ss->prefix.len + len, sent = 0;
    if (total == 0)
        return true;
    if (ss->prefix.len)
        iov[count++] = (struct iovec){ss->prefix.data + ss->prefix.off, ss->prefix.len};
    if (len)
        iov[count++] = (struct iovec){(char *)(uintptr_t)data, len};
    shard_add(node_stats(pool_node(server->pool)), SHARD_BYTES_OUT, total);
    if (server->out.len == 0) {
        ssize_t n = stream_writev(&server->stream, iov, count);
        if (n == STREAM_ERROR) {
            buf_consume(&ss->prefix, ss->prefix.len);
            return lost(s);
        }
        sent = n > 0 ? (size_t)n : 0;
    }
    bool kept = sent == total || keep(&server->out, iov, count, sent);
    buf_consume(&ss->prefix, ss->prefix.len);
    if (!kept) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "bytes for the shard");
        return false;
    }
    if (server->out.len)
        session_watch(s);
    return true;
}

bool session_flush_server(struct session *s)
{
    struct server *server = s->server;
    while (server->out.len) {
        struct iovec iov = {server->out.data + server->out.off, server->out.len};
        ssize_t n = stream_writev(&server->stream, &iov, 1);
        if (n == STREAM_ERROR)
            return lost(s);
        if (n <= 0)
            return true;
        buf_consume(&server->out, (size_t)n);
    }
    buf_release_if_empty(&server->out);
    return true;
}

static size_t consume(struct session *s, const char *p, size_t n)
{
    size_t used = 0;
    while (used < n && !session_blocked(s)) {
        ssize_t step;
        switch ((enum session_state)s->state) {
        case SESSION_STARTUP:
            step = session_startup_input(s, p + used, n - used);
            break;
        case SESSION_AUTH:
            step = session_login_input(s, p + used, n - used);
            break;
        case SESSION_CONSOLE:
            step = (ssize_t)session_console_input(s, p + used, n - used);
            break;
        default:
            step = (ssize_t)session_input(s, p + used, n - used);
            break;
        }
        if (step <= 0)
            break;
        used += (size_t)step;
    }
    return s->state >= SESSION_CLOSING ? n : used;
}

void session_resume(struct session *s)
{
    if (s->state >= SESSION_CLOSING)
        return;
    if (s->state == SESSION_AUTH && s->profile)
        session_welcome(s); /* was waiting for its first server */
    if (s->in.len) {
        /* Processing may end the session or replace `in`: take the bytes out first. */
        struct buf held = s->in;
        buf_init(&s->in, held.max);
        size_t used = consume(s, held.data + held.off, held.len);
        if (s->state < SESSION_CLOSING) {
            buf_consume(&held, used);
            buf_release_if_empty(&held);
            s->in = held;
        } else {
            buf_fini(&held);
        }
    }
    if (s->state < SESSION_CLOSING)
        session_watch(s);
}

static void flush_client(struct session *s)
{
    while (s->out.len) {
        struct iovec iov = {s->out.data + s->out.off, s->out.len};
        ssize_t n = stream_writev(s->stream, &iov, 1);
        if (n == STREAM_ERROR) {
            session_end(s, stream_error(s->stream));
            return;
        }
        if (n <= 0)
            return;
        buf_consume(&s->out, (size_t)n);
    }
    buf_release_if_empty(&s->out);
    if (s->state == SESSION_CLOSING)
        session_end(s, "refused");
    else
        session_resume(s); /* reads the server again, and what the client has sent */
}

static void read_client(struct session *s)
{
    struct sessions *ss = s->owner;
    char *scratch = ss->scratch;
    ssize_t n = stream_read(s->stream, scratch, ss->scratch_size);
    if (n == STREAM_AGAIN)
        return;
    if (n <= 0) {
        session_end(s, n == 0 ? "client disconnected" : stream_error(s->stream));
        return;
    }
    counter_add(ss->counters, COUNTER_CLIENT_BYTES_IN, (uint64_t)n);
    size_t got = (size_t)n, used = 0;
    if (s->in.len == 0 && !session_blocked(s))
        used = consume(s, scratch, got);
    if (s->state >= SESSION_CLOSING || used == got)
        return;
    bool was_empty = s->in.len == 0;
    if (!buf_append(&s->in, scratch + used, got - used)) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "a client's message");
        return;
    }
    if (!was_empty && !session_blocked(s))
        session_resume(s);
    else
        session_watch(s);
}

void on_client_ready(struct stream *stream, int events)
{
    struct session *s = stream->user;
    if (events & STREAM_WRITABLE)
        flush_client(s);
    if ((events & STREAM_READABLE) && s->state < SESSION_CLOSING)
        read_client(s);
}
