/*
 * A worker's thread and its mailbox.
 *
 * The kernel spreads connections over SO_REUSEPORT sockets by a hash, which is
 * uneven for the few connections of a pooled application. So whoever accepts a
 * connection hands it to the worker that has the fewest clients, by mailbox.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LISTENERS_MAX 64

struct worker {
    struct worker_shared *shared;
    unsigned index;
    pthread_t thread;
    bool started;
    struct loop *loop;
    struct pools *pools;
    struct sessions *sessions;
    int listen_fds[LISTENERS_MAX];
    struct listener *listeners[LISTENERS_MAX];
    unsigned listener_count;
    bool stopping, finished;
    atomic_uint clients; /* given to this worker and not gone; read by the others */
};

/* ---- messages -------------------------------------------------------------- */

struct message {
    struct post post;
    void (*handle)(struct worker *w, struct message *m);
    struct map *map;
    struct conf *conf;
    struct auth_users *users;
    int64_t tenant;
    bool failed;
    struct error error;
    struct cancel_key key;
    struct worker *from;
    int fd;
    struct peer_address peer;
};

static void on_message(struct post *p, void *ctx)
{
    struct message *m = container_of(p, struct message, post);
    m->handle(ctx, m);
    mem_free(m);
}

static struct message *message_new(void (*handle)(struct worker *w, struct message *m))
{
    struct message *m = mem_zalloc(sizeof *m);
    m->post.run = on_message;
    m->handle = handle;
    m->fd = -1;
    return m;
}

static bool send_message(struct worker *to, struct message *m)
{
    if (loop_post(to->loop, &m->post))
        return true;
    if (m->map)
        map_unref(m->map);
    if (m->conf)
        conf_unref(m->conf);
    if (m->users)
        auth_users_unref(m->users);
    if (m->fd >= 0)
        close(m->fd);
    mem_free(m);
    return false;
}

/* ---- clients ---------------------------------------------------------------- */

static void count_clients(struct worker *w)
{
    atomic_store_explicit(&w->clients, (unsigned)sessions_count(w->sessions), memory_order_relaxed);
}

static void take(struct worker *w, int fd, const struct peer_address *peer)
{
    sessions_accept(w->sessions, fd, peer);
    count_clients(w);
}

static void handle_client(struct worker *w, struct message *m)
{
    int fd = m->fd;
    m->fd = -1;
    if (w->stopping)
        close(fd);
    else
        take(w, fd, &m->peer);
}

static void on_accept(void *ctx, int fd, const struct peer_address *peer)
{
    struct worker *w = ctx, *best = w;
    count_clients(w);
    unsigned least = atomic_load_explicit(&w->clients, memory_order_relaxed);
    for (unsigned i = 0; i < w->shared->worker_count; i++) {
        struct worker *other = w->shared->workers[i];
        unsigned n = atomic_load_explicit(&other->clients, memory_order_relaxed);
        if (n < least) {
            least = n;
            best = other;
        }
    }
    if (best == w) {
        take(w, fd, peer);
        return;
    }
    struct message *m = message_new(handle_client);
    m->fd = fd;
    m->peer = *peer;
    /* Counted at once, so that a burst is spread and not all given to one. */
    atomic_fetch_add_explicit(&best->clients, 1, memory_order_relaxed);
    send_message(best, m);
}

/* ---- what the sessions ask for ------------------------------------------------ */

static void on_lookup(void *ctx, int64_t tenant)
{
    struct worker *w = ctx;
    w->shared->lookup(w->shared->ctx, w, tenant);
}

static void handle_cancel_heard(struct worker *w, struct message *m) { sessions_cancel_heard(w->sessions, m->key); }

static void cancel_heard(struct worker *from, struct cancel_key key)
{
    struct message *m = message_new(handle_cancel_heard);
    m->key = key;
    send_message(from, m);
}

static void handle_cancel(struct worker *w, struct message *m)
{
    sessions_cancel(w->sessions, m->key);
    cancel_heard(m->from, m->key);
}

static void on_cancel(void *ctx, unsigned worker, struct cancel_key key)
{
    struct worker *w = ctx;
    if (worker >= w->shared->worker_count) { /* a key that nobody gave out */
        cancel_heard(w, key);
        return;
    }
    struct message *m = message_new(handle_cancel);
    m->key = key;
    m->from = w;
    if (!send_message(w->shared->workers[worker], m))
        cancel_heard(w, key);
}

static void handle_finish(struct worker *w, struct message *m)
{
    (void)m;
    if (w->finished)
        return;
    w->finished = true;
    pools_close(w->pools); /* ends in on_pools_closed */
}

static void on_drained(void *ctx)
{
    struct worker *w = ctx;
    if (w->stopping)
        send_message(w, message_new(handle_finish)); /* not from within a session's end */
    else
        w->shared->drained(w->shared->ctx, w);
}

static bool on_parameters(void *ctx, char values[HEALTH_PARAMETERS][64])
{
    struct worker *w = ctx;
    return health_parameters(w->shared->health, values);
}

static bool on_pool_post(void *ctx, unsigned to_worker, struct post *p)
{
    struct worker *w = ctx;
    return to_worker < w->shared->worker_count && loop_post(w->shared->workers[to_worker]->loop, p);
}

static void on_pools_closed(void *ctx)
{
    struct worker *w = ctx;
    loop_stop(w->loop);
}

/* ---- what the control thread says ---------------------------------------------- */

static void handle_map(struct worker *w, struct message *m)
{
    if (!w->stopping) {
        pools_set_map(w->pools, m->map);
        sessions_map_changed(w->sessions);
    }
    map_unref(m->map);
}

static void handle_configure(struct worker *w, struct message *m)
{
    if (!w->stopping) {
        pools_configure(w->pools, m->conf);
        sessions_configure(w->sessions, m->conf, m->users);
    }
    conf_unref(m->conf);
    auth_users_unref(m->users);
}

static void handle_answer(struct worker *w, struct message *m)
{
    if (!w->stopping)
        sessions_tenant_answer(w->sessions, m->tenant, m->failed ? &m->error : NULL);
}

static void close_listeners(struct worker *w)
{
    for (unsigned i = 0; i < w->listener_count; i++)
        listener_stop(w->listeners[i]);
    w->listener_count = 0;
}

static void handle_close_listeners(struct worker *w, struct message *m)
{
    (void)m;
    close_listeners(w);
}

static void handle_drain(struct worker *w, struct message *m)
{
    (void)m;
    if (!w->stopping)
        sessions_drain(w->sessions);
}

static void handle_stop(struct worker *w, struct message *m)
{
    (void)m;
    if (w->stopping)
        return;
    w->stopping = true;
    close_listeners(w);
    sessions_shutdown(w->sessions); /* on_drained follows, at once if there are none */
}

/* ---- thread ---------------------------------------------------------------------- */

static void *run(void *arg)
{
    struct worker *w = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* signals are the control thread's */
    for (unsigned i = 0; i < w->listener_count; i++)
        w->listeners[i] = listener_start(w->loop, w->listen_fds[i], on_accept, w);
    loop_run(w->loop);
    return NULL;
}

struct worker *worker_new(struct worker_shared *shared, unsigned index, const struct conf *c, struct auth_users *users,
                          struct error *e)
{
    struct loop *loop = loop_new(e);
    if (!loop)
        return NULL;
    struct worker *w = mem_zalloc(sizeof *w);
    w->shared = shared;
    w->index = index;
    w->loop = loop;
    loop_set_context(loop, w);
    struct pools_hooks pools_hooks = {on_pool_post, w, on_pools_closed};
    w->pools = pools_new(loop, c, shared->permits, index, &pools_hooks);
    struct sessions_hooks hooks = {
        .lookup = on_lookup,
        .cancel = on_cancel,
        .drained = on_drained,
        .parameters = on_parameters,
        .ctx = w,
        .console = shared->console,
    };
    w->sessions = sessions_new(w->pools, c, users, shared->hub, index, &hooks);
    return w;
}

void worker_listen(struct worker *w, int fd)
{
    if (w->listener_count < LISTENERS_MAX)
        w->listen_fds[w->listener_count++] = fd;
    else
        close(fd);
}

bool worker_start(struct worker *w, struct error *e)
{
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0)
        return error_set(e, ERR_INTERNAL, "cannot start a worker thread: %s", strerror(rc));
    w->started = true;
    return true;
}

void worker_join(struct worker *w)
{
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = false;
}

void worker_free(struct worker *w)
{
    w->stopping = true; /* what is still in the mailbox is dropped */
    sessions_free(w->sessions);
    if (!w->finished)
        pools_close(w->pools); /* never ran */
    w->finished = true;
    loop_free(w->loop);
    mem_free(w);
}

void worker_set_map(struct worker *w, struct map *m)
{
    struct message *msg = message_new(handle_map);
    msg->map = map_ref(m);
    send_message(w, msg);
}

void worker_configure(struct worker *w, struct conf *c, struct auth_users *users)
{
    struct message *m = message_new(handle_configure);
    m->conf = conf_ref(c);
    m->users = auth_users_ref(users);
    send_message(w, m);
}

void worker_answer(struct worker *w, int64_t tenant, const struct error *e)
{
    struct message *m = message_new(handle_answer);
    m->tenant = tenant;
    m->failed = e != NULL;
    if (e)
        m->error = *e;
    send_message(w, m);
}

void worker_close_listeners(struct worker *w) { send_message(w, message_new(handle_close_listeners)); }
void worker_drain(struct worker *w) { send_message(w, message_new(handle_drain)); }
void worker_stop(struct worker *w) { send_message(w, message_new(handle_stop)); }

struct ops_worker worker_for_ops(struct worker *w)
{
    return (struct ops_worker){w->loop, w->pools, w->sessions, pools_counters(w->pools)};
}
