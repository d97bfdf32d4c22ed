/*
 * The close protocol of all streams, and polling.
 *
 * stream_close and stream_release set `closing`, stop events at once, and end in
 * one callback later; the memory of the stream is the owner's again from then.
 */
#include <string.h>

#include "loop_internal.h"
#include "stream_internal.h"

_Static_assert(sizeof(uv_poll_t) <= sizeof(((struct stream *)0)->handle), "struct stream.handle is too small");
_Static_assert((int)STREAM_READABLE == (int)UV_READABLE && (int)STREAM_WRITABLE == (int)UV_WRITABLE, "event bits");

static void on_poll_closed(uv_handle_t *h)
{
    struct stream *s = h->data;
    if (s->closed)
        s->closed(s);
}

bool stream_poll_open(struct stream *s, struct loop *l, int fd, struct error *e)
{
    s->loop = l;
    s->fd = fd;
    s->watching = 0;
    s->last_errno = 0;
    s->closing = false;
    s->closed = NULL;
    int rc = uv_poll_init(&l->uv, stream_poll(s), fd); /* also sets it non-blocking */
    if (rc != 0)
        return error_set(e, ERR_INTERNAL, "cannot poll a socket: %s", uv_strerror(rc));
    stream_poll(s)->data = s;
    return true;
}

void stream_poll_start(struct stream *s, int events, uv_poll_cb on_poll)
{
    /* libuv takes the descriptor out of epoll and adds it again: two system
     * calls, which is why owners leave READABLE armed. */
    if (s->loop->ended || uv_is_closing((uv_handle_t *)stream_poll(s)))
        return;
    if (events)
        uv_poll_start(stream_poll(s), events, on_poll);
    else
        uv_poll_stop(stream_poll(s));
}

void stream_poll_close(struct stream *s)
{
    if (!s->loop->ended && !uv_is_closing((uv_handle_t *)stream_poll(s)))
        uv_close((uv_handle_t *)stream_poll(s), on_poll_closed);
}

void stream_close(struct stream *s, void (*closed)(struct stream *s))
{
    if (s->closing)
        return;
    s->closing = true;
    s->closed = closed;
    s->watching = 0;
    s->ops->close(s);
}

void stream_release(struct stream *s, void (*released)(struct stream *s))
{
    if (s->closing)
        return;
    s->closing = true;
    s->closed = released;
    s->watching = 0;
    s->ops->release(s);
}

const char *stream_error(const struct stream *s)
{
    return s->last_errno ? strerror(s->last_errno) : "connection closed";
}
