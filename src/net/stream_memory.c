/*
 * A stream without a socket, for tests that play a peer byte by byte.
 */
#include <errno.h>
#include <string.h>

#include "loop_internal.h"
#include "stream_internal.h"

_Static_assert(sizeof(struct reap) <= sizeof(((struct stream *)0)->handle), "struct stream.handle is too small");

static struct stream_memory *memory_of(struct stream *s) { return container_of(s, struct stream_memory, stream); }

static ssize_t fail(struct stream *s)
{
    s->last_errno = ECONNRESET;
    return STREAM_ERROR;
}

static ssize_t memory_read(struct stream *s, void *to, size_t len)
{
    struct stream_memory *m = memory_of(s);
    if (m->broken)
        return fail(s);
    if (m->in.len == 0)
        return m->eof ? 0 : STREAM_AGAIN;
    size_t n = len < m->in.len ? len : m->in.len;
    if (m->read_chunk && n > m->read_chunk)
        n = m->read_chunk;
    memcpy(to, buf_head(&m->in), n);
    buf_consume(&m->in, n);
    return (ssize_t)n;
}

static ssize_t memory_write(struct stream *s, const struct iovec *iov, int count)
{
    struct stream_memory *m = memory_of(s);
    if (m->broken)
        return fail(s);
    size_t written = 0;
    for (int i = 0; i < count && m->write_room > 0; i++) {
        size_t n = iov[i].iov_len < m->write_room ? iov[i].iov_len : m->write_room;
        if (!buf_append(&m->out, iov[i].iov_base, n))
            return fail(s);
        m->write_room -= n;
        written += n;
    }
    return written > 0 ? (ssize_t)written : STREAM_AGAIN;
}

static void memory_watch(struct stream *s, int events) { s->watching = events; }

static void on_reaped(struct reap *r)
{
    struct stream *s = container_of(r, struct stream, handle);
    if (s->closed)
        s->closed(s);
}

static void memory_close(struct stream *s)
{
    struct reap *r = (struct reap *)(void *)s->handle;
    r->free = on_reaped;
    loop_reap(s->loop, r);
}

static const struct stream_ops memory_ops = {
    .read = memory_read,
    .write = memory_write,
    .watch = memory_watch,
    .close = memory_close,
    .release = memory_close,
};

static int events_due(const struct stream_memory *m)
{
    int events = 0;
    if (m->in.len > 0 || m->eof || m->broken)
        events |= STREAM_READABLE;
    if (m->write_room > 0 || m->broken)
        events |= STREAM_WRITABLE;
    return events & m->stream.watching;
}

void stream_memory_open(struct stream_memory *m, struct loop *l)
{
    memset(m, 0, sizeof(*m));
    buf_init(&m->in, 0);
    buf_init(&m->out, 0);
    m->write_room = SIZE_MAX;
    m->stream.ops = &memory_ops;
    m->stream.loop = l;
    m->stream.fd = -1;
    m->stream.watching = STREAM_READABLE;
}

void stream_memory_step(struct stream_memory *m)
{
    int events;
    while (!m->stream.closing && m->stream.ready && (events = events_due(m))) {
        size_t in = m->in.len, out = m->out.len;
        int watching = m->stream.watching;
        m->stream.ready(&m->stream, events);
        if (in == m->in.len && out == m->out.len && watching == m->stream.watching)
            break; /* it made no use of it: a real loop would spin */
    }
}

void stream_memory_fini(struct stream_memory *m)
{
    buf_fini(&m->in);
    buf_fini(&m->out);
}
