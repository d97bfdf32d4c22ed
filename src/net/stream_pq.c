/*
 * The socket of a libpq connection as a stream.
 *
 * After take-over libpq only keeps the memory: the socket, and with TLS the SSL
 * object with libpq's own BIO below it, are read and written here. libpq parsed
 * the server's greeting up to ReadyForQuery; see pqconn_take for what may have
 * come behind it.
 *
 * With TLS a record may hold more bytes than one read takes. epoll does not know
 * of them, so while the owner watches READABLE the loop calls it again.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "pqconn_internal.h"
#include "stream_internal.h"

enum { RECORD = 16384 };

static struct pqconn *conn_of(const struct stream *s) { return s->impl; }

/* ---- TLS ---- */

static void on_tls_poll(uv_poll_t *h, int status, int events);

static void poll_as_needed(struct stream *s)
{
    const struct pqconn *c = conn_of(s);
    int events = s->watching;
    if ((s->watching & STREAM_READABLE) && c->read_wants_write)
        events |= UV_WRITABLE;
    if ((s->watching & STREAM_WRITABLE) && c->write_wants_read)
        events |= UV_READABLE;
    if (!s->loop->ended)
        stream_poll_start(s, events, on_tls_poll);
}

static void want(struct stream *s, bool *flag, bool value)
{
    if (*flag != value) {
        *flag = value;
        if (!s->closing)
            poll_as_needed(s);
    }
}

static size_t tls_pending(const struct stream *s)
{
    int n = SSL_pending(conn_of(s)->ssl);
    return n > 0 ? (size_t)n : 0;
}

static void read_rest_later(struct stream *s)
{
    if (!s->closing && (s->watching & STREAM_READABLE) && tls_pending(s) > 0)
        loop_later(s->loop, &conn_of(s)->later);
}

static void on_later(struct later *w)
{
    struct stream *s = container_of(w, struct pqconn, later)->stream;
    if (!s || s->closing || !(s->watching & STREAM_READABLE) || tls_pending(s) == 0)
        return;
    s->ready(s, STREAM_READABLE);
    read_rest_later(s);
}

static void on_tls_poll(uv_poll_t *h, int status, int events)
{
    struct stream *s = h->data;
    const struct pqconn *c = conn_of(s);
    int ready = events & s->watching;
    if (status < 0) {
        ready = s->watching | STREAM_READABLE;
        poll_as_needed(s); /* libuv has stopped; see stream_fd.c */
    }
    if ((events & UV_WRITABLE) && c->read_wants_write)
        ready |= s->watching & STREAM_READABLE;
    if ((events & UV_READABLE) && c->write_wants_read)
        ready |= s->watching & STREAM_WRITABLE;
    if (ready)
        s->ready(s, ready);
    read_rest_later(s);
}

/* What SSL_read or SSL_write said instead of a count. */
static ssize_t not_now(struct stream *s, int error, bool reading)
{
    struct pqconn *c = conn_of(s);
    int saved = errno;
    switch (error) {
    case SSL_ERROR_WANT_READ:
        want(s, reading ? &c->read_wants_write : &c->write_wants_read, !reading);
        return STREAM_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        want(s, reading ? &c->read_wants_write : &c->write_wants_read, reading);
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        if (reading)
            return 0;
        break;
    case SSL_ERROR_SYSCALL:
        if (reading && saved == 0)
            return 0; /* the server went without saying so */
        s->last_errno = saved ? saved : EPIPE;
        return STREAM_ERROR;
    case SSL_ERROR_SSL:
        if (reading && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return 0;
        break;
    default:
        break;
    }
    s->last_errno = EPROTO;
    return STREAM_ERROR;
}

static ssize_t tls_read(struct stream *s, void *to, size_t len)
{
    SSL *ssl = conn_of(s)->ssl;
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(ssl, to, len, &n);
    if (rc == 1) {
        want(s, &conn_of(s)->read_wants_write, false);
        return (ssize_t)n;
    }
    return not_now(s, SSL_get_error(ssl, rc), true);
}

/* Small pieces go out as one record. A retry after STREAM_AGAIN may be at another
 * address (moving write buffer) but begins with the same bytes. */
static ssize_t tls_write(struct stream *s, const struct iovec *iov, int count)
{
    SSL *ssl = conn_of(s)->ssl;
    char record[RECORD];
    const void *from = iov[0].iov_base;
    size_t len = iov[0].iov_len, n = 0;
    if (count > 1 && len < RECORD) {
        from = record;
        len = 0;
        for (int i = 0; i < count && len < RECORD; i++) {
            size_t part = iov[i].iov_len < RECORD - len ? iov[i].iov_len : RECORD - len;
            memcpy(record + len, iov[i].iov_base, part);
            len += part;
        }
    }
    if (len == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(ssl, from, len, &n);
    if (rc == 1) {
        want(s, &conn_of(s)->write_wants_read, false);
        return (ssize_t)n;
    }
    return not_now(s, SSL_get_error(ssl, rc), false);
}

static void tls_watch(struct stream *s, int events)
{
    s->watching = events;
    poll_as_needed(s);
    read_rest_later(s);
}

/* ---- both ---- */

static void pq_close(struct stream *s)
{
    struct pqconn *c = conn_of(s);
    loop_later_cancel(s->loop, &c->later);
    c->stream = NULL;
    stream_poll_close(s); /* the descriptor stays open: PQfinish closes it */
}

static const struct stream_ops plain_ops = {
    .read = stream_fd_read,
    .write = stream_fd_write,
    .watch = stream_fd_watch,
    .close = pq_close,
    .release = pq_close,
};

static const struct stream_ops tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .watch = tls_watch,
    .pending = tls_pending,
    .close = pq_close,
    .release = pq_close,
};

/* ---- take-over ---- */

/* Nothing may wait behind the greeting. libpq hides how much its buffer holds: a
 * whole message in it is parsed by PQisBusy (and lost harmlessly, as libpq keeps
 * ParameterStatus), of a part of one the rest is most likely in the socket. */
static bool is_quiet(struct pqconn *c)
{
    if (PQisBusy(c->pg) || PQstatus(c->pg) != CONNECTION_OK)
        return false;
    PGnotify *n = PQnotifies(c->pg);
    PQfreemem(n);
    if (n)
        return false;
    char byte;
    ssize_t got;
    if (c->ssl) {
        /* Session tickets and the like may wait in the socket: ask for data. */
        size_t count;
        ERR_clear_error();
        errno = 0;
        int rc = SSL_peek_ex(c->ssl, &byte, 1, &count);
        return rc != 1 && SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ;
    }
    do
        got = recv(PQsocket(c->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static bool is_unix_socket(int fd)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(a);
    return getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.ss_family == AF_UNIX;
}

/* Finds the SSL object; false: bytes would go out in the clear that must not. */
static bool find_tls(struct pqconn *c)
{
    c->ssl = NULL;
    if (!PQsslInUse(c->pg))
        return !c->tls_required || is_unix_socket(PQsocket(c->pg)); /* libpq does not use TLS there */
    c->ssl = PQsslStruct(c->pg, "OpenSSL");
    if (!c->ssl)
        return false;
    SSL_set_mode(c->ssl,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return true;
}

bool pqconn_take(struct pqconn *c, struct stream *s)
{
    bool first = c->state == PQCONN_READY;
    if (!first && (c->state != PQCONN_TAKEN || c->stream))
        return false;
    if (PQsocket(c->pg) < 0 || (first && (!find_tls(c) || !is_quiet(c))))
        return false;
    struct error e;
    pqconn_poll_close(c);
    timer_free(c->timer);
    c->timer = NULL;
    loop_later_cancel(c->loop, &c->later);
    s->ops = c->ssl ? &tls_ops : &plain_ops;
    s->impl = c;
    if (!stream_poll_open(s, c->loop, PQsocket(c->pg), &e)) {
        s->closing = true;
        return false;
    }
    if (first)
        pqconn_set_state(c, PQCONN_TAKEN);
    c->stream = s;
    c->later.run = on_later;
    c->read_wants_write = c->write_wants_read = false;
    s->ops->watch(s, STREAM_READABLE);
    return true;
}

void pqconn_move(struct pqconn *c, struct loop *to) { c->loop = to; }
