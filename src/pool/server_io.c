/*
 * Reading a server while it is no client's: proving, cleaning, held, idle.
 *
 * Small messages are given whole to the task; DataRows (unless the task wants
 * them), COPY data and anything larger than MESSAGE_MAX are skipped as they
 * stream by, so an abandoned query of any size is drained in bounded memory.
 */
#include <string.h>

#include "pool_impl.h"

#define MESSAGE_MAX 65536u
#define READ_CHUNK 16384u
#define READS_A_TURN 16u /* then others get their turn; the event is level-triggered */

/* Idle, and a message came: anything but an announcement means the end. */
static void idle_message(struct server *s, char type, struct str body)
{
    if (server_async_message(s, type, body))
        return;
    if (type != 'E') {
        server_end(s, LOG_WARN, "unexpected message from an idle server");
        return;
    }
    struct wire_error we;
    char why[240] = "malformed error";
    if (wire_parse_error(body, &we))
        str_copy(why, sizeof(why), we.message);
    server_end(s, LOG_WARN, why);
}

static bool wanted(const struct server *s, const struct wire_header *h)
{
    if (h->size > MESSAGE_MAX || h->type == 'd')
        return false;
    return h->type != 'D' || (s->task && s->task->rows);
}

/* Looks at whole messages at the start of d; returns the bytes used up. */
static size_t scan(struct server *s, struct str d)
{
    size_t at = 0;
    while (at < d.len && s->state != SERVER_CLOSING) {
        size_t left = d.len - at;
        if (s->in_left) {
            size_t n = left < s->in_left ? left : s->in_left;
            s->in_left -= (uint32_t)n;
            at += n;
            continue;
        }
        struct wire_header h;
        ssize_t r = wire_header(d.ptr + at, left, &h);
        if (r == WIRE_MORE)
            break;
        if (r == WIRE_BAD) {
            server_end(s, LOG_WARN, "malformed message from the shard");
            break;
        }
        if (!wanted(s, &h)) {
            s->in_left = h.size;
            continue;
        }
        if (left < h.size)
            break;
        struct str body = {d.ptr + at + WIRE_HEADER, h.size - WIRE_HEADER};
        at += h.size;
        if (s->task)
            s->task->message(s, h.type, body);
        else
            idle_message(s, h.type, body);
    }
    return s->state == SERVER_CLOSING ? d.len : at;
}

static void flush(struct server *s)
{
    while (s->out.len) {
        struct iovec iov = {(char *)(uintptr_t)buf_head(&s->out), s->out.len};
        ssize_t n = stream_writev(&s->stream, &iov, 1);
        if (n == STREAM_ERROR) {
            server_end(s, LOG_WARN, stream_error(&s->stream));
            return;
        }
        if (n <= 0)
            break;
        buf_consume(&s->out, (size_t)n);
    }
    buf_release_if_empty(&s->out);
    stream_watch(&s->stream, STREAM_READABLE | (s->out.len ? STREAM_WRITABLE : 0));
}

/* All that came has been looked at: is the task over? */
static void settle(struct server *s)
{
    bool whole = s->in.len == 0 && s->in_left == 0;
    if (s->state == SERVER_CLOSING)
        return;
    if (s->task && s->task->finished && whole)
        s->task->end(s);
    else if (s->state == SERVER_IDLE && !whole)
        server_settle(s);
}

void server_feed(struct server *s, const char *data, size_t len)
{
    bool held = s->in.len > 0;
    if (held && !buf_append(&s->in, data, len)) {
        server_end(s, LOG_WARN, "out of memory");
        return;
    }
    struct str d = held ? buf_str(&s->in) : (struct str){data, len};
    size_t used = scan(s, d);
    if (held)
        buf_consume(&s->in, used);
    else if (used < d.len && !buf_append(&s->in, d.ptr + used, d.len - used))
        server_end(s, LOG_WARN, "out of memory");
    if (s->in.data)
        buf_release_if_empty(&s->in);
}

static void lost(struct server *s, ssize_t n)
{
    const char *why = n == 0 ? "the shard closed the connection" : stream_error(&s->stream);
    if (s->state == SERVER_PROVING) {
        struct error e;
        error_clear(&e);
        error_set(&e, ERR_SHARD_UNREACHABLE, "%s while a new connection was proven", why);
        server_open_failed(s, &e);
    } else {
        server_end(s, LOG_WARN, why);
    }
}

void on_server_ready_idle(struct stream *stream, int events)
{
    struct server *s = container_of(stream, struct server, stream);
    char chunk[READ_CHUNK];
    if (events & STREAM_WRITABLE)
        flush(s);
    if (!(events & STREAM_READABLE))
        return;
    for (unsigned i = 0; i < READS_A_TURN && s->state != SERVER_CLOSING; i++) {
        ssize_t n = stream_read(&s->stream, chunk, sizeof(chunk));
        if (n == STREAM_AGAIN)
            break;
        if (n <= 0) {
            lost(s, n);
            return;
        }
        server_feed(s, chunk, (size_t)n);
        if ((size_t)n < sizeof(chunk) && stream_pending(&s->stream) == 0)
            break;
    }
    settle(s);
}

bool server_async_message(struct server *s, char type, struct str body)
{
    struct str name, value;
    if (type == 'S' && wire_parse_parameter_status(body, &name, &value))
        server_note_parameter(s, name, value);
    return type == 'S' || type == 'N';
}

void server_note_error(struct server *s, struct str body)
{
    struct wire_error we;
    struct server_task *t = s->task;
    str_copy(t->error_state, sizeof(t->error_state), STR("XX000"));
    str_copy(t->error_text, sizeof(t->error_text), STR("malformed error"));
    if (wire_parse_error(body, &we)) {
        str_copy(t->error_state, sizeof(t->error_state), we.sqlstate);
        str_copy(t->error_text, sizeof(t->error_text), we.message);
    }
}

void server_task_begin(struct server *s, void (*message)(struct server *, char, struct str),
                       void (*end)(struct server *))
{
    server_task_free(s);
    s->task = mem_zalloc(sizeof(*s->task));
    s->task->message = message;
    s->task->end = end;
    s->stream.ready = on_server_ready_idle;
}

void server_task_free(struct server *s)
{
    mem_free(s->task);
    s->task = NULL;
}

bool server_send(struct server *s, struct buf *b)
{
    bool ok = !b->failed && buf_append(&s->out, buf_head(b), b->len);
    buf_fini(b);
    if (!ok)
        server_end(s, LOG_WARN, "out of memory");
    else
        flush(s);
    return s->state != SERVER_CLOSING;
}
