/*
 * Waiting for libpq's socket. Between two calls of PQconnectPoll libpq may close
 * its socket and open another, perhaps under the same number: nothing is polled
 * while libpq runs, and a poll handle lives no longer than its descriptor number.
 */
#include "pqconn_internal.h"

struct pqpoll {
    uv_poll_t handle;
    struct pqconn *conn; /* NULL: being closed */
    int fd, events;      /* events 0: stopped */
};

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct pqpoll *p = h->data;
    if (status < 0)
        p->events = 0;
    if (p->conn) /* libuv stops at an error; both bits let libpq find out which */
        pqconn_on_poll(p->conn, status < 0 ? UV_READABLE | UV_WRITABLE : events);
}

static bool open_poll(struct pqconn *c, int fd, struct error *e)
{
    struct pqpoll *p = mem_zalloc(sizeof(*p));
    int rc = fd < 0 ? UV_EBADF : uv_poll_init(&c->loop->uv, &p->handle, fd);
    if (rc != 0) {
        mem_free(p);
        return error_set(e, ERR_SHARD_UNREACHABLE, "cannot poll a server socket: %s", uv_strerror(rc));
    }
    p->handle.data = p;
    p->conn = c;
    p->fd = fd;
    c->poll = p;
    return true;
}

bool pqconn_poll(struct pqconn *c, int events, struct error *e)
{
    if (c->loop->ended) /* its handles are closed: whoever still asks is on the way out too */
        return events == 0 || error_set(e, ERR_SHUTTING_DOWN, "the event loop has ended");
    if (events == 0) {
        if (c->poll) {
            uv_poll_stop(&c->poll->handle);
            c->poll->events = 0;
        }
        return true;
    }
    int fd = PQsocket(c->pg);
    if (c->poll && c->poll->fd != fd)
        pqconn_poll_close(c);
    if (!c->poll && !open_poll(c, fd, e))
        return false;
    if (c->poll->events == events)
        return true;
    int rc = uv_poll_start(&c->poll->handle, events, on_poll);
    c->poll->events = rc == 0 ? events : 0;
    if (rc != 0)
        return error_set(e, ERR_SHARD_UNREACHABLE, "cannot poll a server socket: %s", uv_strerror(rc));
    return true;
}

void pqconn_poll_close(struct pqconn *c)
{
    struct pqpoll *p = c->poll;
    c->poll = NULL;
    if (!p)
        return;
    p->conn = NULL;
    loop_close_handle(c->loop, (uv_handle_t *)&p->handle, on_closed);
}
