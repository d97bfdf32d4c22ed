/*
 * Accepts connections. Out of descriptors or memory, it stops accepting for a
 * moment: the pending connection stays in the queue, and a level-triggered poll
 * would spin on it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_internal.h"

enum { ACCEPT_BATCH = 64, PAUSE_MS = 100 };

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    struct timer *pause;
    int fd;
    bool stopped;
    void (*on_accept)(void *ctx, int fd, const struct peer_address *peer);
    void *ctx;
};

static void describe_peer(struct peer_address *peer, const struct sockaddr_storage *a)
{
    const void *ip = NULL;
    int family = a->ss_family;
    memset(peer, 0, sizeof(*peer));
    if (family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        ip = &in->sin_addr;
        peer->port = ntohs(in->sin_port);
    } else if (family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
        ip = &in6->sin6_addr;
        peer->port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) { /* so that limits by address see one spelling */
            family = AF_INET;
            ip = &in6->sin6_addr.s6_addr[12];
        }
    }
    if (!ip || !inet_ntop(family, ip, peer->text, sizeof(peer->text))) {
        str_copy(peer->text, sizeof(peer->text), STR("unix"));
        peer->local = true;
    }
}

static void on_poll(uv_poll_t *h, int status, int events);

static void on_pause_over(void *ctx)
{
    struct listener *li = ctx;
    uv_poll_start(&li->poll, UV_READABLE, on_poll);
}

static void pause_accepting(struct listener *li, int why)
{
    log_event(LOG_ERROR, "cannot accept", log_str("error", strerror(why)), log_int("pause_ms", PAUSE_MS));
    uv_poll_stop(&li->poll);
    timer_start(li->pause, PAUSE_MS, 0);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)events;
    struct listener *li = h->data;
    if (status < 0) {
        pause_accepting(li, -status);
        return;
    }
    for (int i = 0; i < ACCEPT_BATCH && !li->stopped; i++) {
        struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof(a);
        int fd = accept4(li->fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct peer_address peer;
            describe_peer(&peer, &a);
            li->on_accept(li->ctx, fd, &peer); /* may stop the listener */
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(li, errno);
            return;
        } /* else the connection's own trouble (ECONNABORTED and the like) */
    }
}

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

struct listener *listener_start(struct loop *l, int fd,
                                void (*on_accept)(void *ctx, int fd, const struct peer_address *peer), void *ctx)
{
    struct listener *li = mem_zalloc(sizeof(*li));
    if (uv_poll_init(&l->uv, &li->poll, fd) != 0) {
        mem_free(li);
        return NULL;
    }
    li->poll.data = li;
    li->loop = l;
    li->fd = fd;
    li->on_accept = on_accept;
    li->ctx = ctx;
    li->pause = timer_new(l, on_pause_over, li);
    uv_poll_start(&li->poll, UV_READABLE, on_poll);
    return li;
}

void listener_stop(struct listener *li)
{
    if (!li)
        return;
    li->stopped = true;
    timer_free(li->pause);
    int fd = li->fd;
    loop_close_handle(li->loop, (uv_handle_t *)&li->poll, on_closed); /* li may be gone */
    close(fd);
}
