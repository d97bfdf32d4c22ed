/*
 * What the kinds of streams share.
 */
#ifndef SHARDGATE_STREAM_INTERNAL_H
#define SHARDGATE_STREAM_INTERNAL_H

#include <uv.h>

#include "shardgate/net.h"

static inline uv_poll_t *stream_poll(struct stream *s) { return (uv_poll_t *)(void *)s->handle; }

/* Fills s and begins to poll s->fd; `on_poll` is libuv's callback with s as data. */
bool stream_poll_open(struct stream *s, struct loop *l, int fd, struct error *e) MUST_CHECK;
void stream_poll_start(struct stream *s, int events, uv_poll_cb on_poll);
/* Ends polling; s->closed follows. */
void stream_poll_close(struct stream *s);

/* Plain socket operations, for any stream with an fd. */
ssize_t stream_fd_read(struct stream *s, void *to, size_t len);
ssize_t stream_fd_write(struct stream *s, const struct iovec *iov, int count);
void stream_fd_watch(struct stream *s, int events);

#endif
