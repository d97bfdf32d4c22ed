/*
 * A plain socket.
 *
 * Errors and hang-ups reach `ready` as READABLE whatever is watched, so that the
 * owner's read sees them. Polling is level-triggered: an owner that watches
 * READABLE and neither reads nor unwatches is called again on every turn.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_internal.h"
#include "stream_internal.h"

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct stream *s = h->data;
    if (status < 0) {
        /* EPOLLERR; libuv has stopped the handle. There may be bytes before the
         * error, and an owner reads once an event: keep polling until it closes. */
        events = s->watching | STREAM_READABLE;
        stream_poll_start(s, s->watching, on_poll);
    }
    s->ready(s, events);
}

static void fd_close(struct stream *s)
{
    stream_poll_close(s); /* no longer polled, so the descriptor may be closed at once */
    close(s->fd);
    s->fd = -1;
}

static const struct stream_ops fd_ops = {
    .read = stream_fd_read,
    .write = stream_fd_write,
    .watch = stream_fd_watch,
    .close = fd_close,
    .release = stream_poll_close,
};

ssize_t stream_fd_read(struct stream *s, void *to, size_t len)
{
    ssize_t n;
    do
        n = recv(s->fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return STREAM_AGAIN;
    s->last_errno = errno;
    return STREAM_ERROR;
}

ssize_t stream_fd_write(struct stream *s, const struct iovec *iov, int count)
{
    ssize_t n;
    do {
        if (count == 1) {
            n = send(s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
            n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
        }
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return STREAM_AGAIN;
    s->last_errno = errno;
    return STREAM_ERROR;
}

void stream_fd_watch(struct stream *s, int events)
{
    s->watching = events;
    if (!s->loop->ended)
        stream_poll_start(s, events, on_poll);
}

bool stream_open_fd(struct stream *s, struct loop *l, int fd, struct error *e)
{
    s->ops = &fd_ops;
    s->impl = NULL;
    if (!stream_poll_open(s, l, fd, e)) {
        close(fd);
        s->fd = -1;
        s->closing = true;
        return false;
    }
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0) /* fails on a Unix socket */
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    stream_fd_watch(s, STREAM_READABLE);
    return true;
}
