/*
 * Cancel requests. PQcancel connects, writes and waits for the server to close,
 * all blocking and without a limit: a frozen host holds it as long as it is frozen.
 * So it has threads of its own, not those of the loop's thread pool, on which
 * logins and name look-ups wait: up to LANE_THREADS for each target, started when
 * there is something to send. What is more waits in the target's lane.
 *
 * A request is a copy of what is needed (PGcancel), so that the connection itself
 * may go on or be closed. The threads are detached: when the loop ends they get a
 * moment to send what is left, and what hangs then is left to itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pqconn_internal.h"

enum { LANE_THREADS = 4, STACK_SIZE = 512 * 1024, END_LIMIT_S = 2 };

struct pqcancel {
    struct post post;
    struct pqcancel *next; /* in its lane */
    struct pqconn *conn;   /* of the loop's thread; NULL: closed meanwhile */
    PGcancel *request;
    bool sent;
    char why[256];
    void (*done)(struct pqconn *c, void *ctx, bool sent);
    void *ctx;
};

struct lane {
    struct lane *next;
    struct cancels *owner;
    unsigned threads; /* freed with the last */
    struct pqcancel *first, *last;
    char target[];
};

struct cancels {
    pthread_mutex_t lock;
    pthread_cond_t idle; /* nothing is open */
    struct loop *loop;   /* NULL: has ended */
    struct lane *lanes;
    unsigned open; /* requests queued and being sent */
    unsigned refs; /* the loop, and each thread */
};

static void request_free(struct pqcancel *k)
{
    PQfreeCancel(k->request);
    mem_free(k);
}

static void on_sent(struct post *p, void *ctx)
{
    struct pqcancel *k = container_of(p, struct pqcancel, post);
    (void)ctx;
    k->why[strcspn(k->why, "\n")] = '\0';
    if (!k->sent)
        log_event(LOG_WARN, "cancel request failed", log_str("cause", k->why));
    if (k->conn) {
        k->conn->cancel = NULL;
        k->done(k->conn, k->ctx, k->sent);
    }
    request_free(k);
}

/* ---- lanes; all under the lock ---- */

static struct lane *lane_of(struct cancels *c, const PGconn *pg)
{
    char target[512];
    const char *address = PQhostaddr(pg), *host = PQhost(pg), *port = PQport(pg);
    snprintf(target, sizeof(target), "%s %s %s", address ? address : "", port ? port : "", host ? host : "");
    for (struct lane *l = c->lanes; l; l = l->next)
        if (strcmp(l->target, target) == 0)
            return l;
    struct lane *l = mem_zalloc(sizeof(*l) + strlen(target) + 1);
    memcpy(l->target, target, strlen(target) + 1);
    l->owner = c;
    l->next = c->lanes;
    c->lanes = l;
    return l;
}

static void lane_free(struct lane *l)
{
    struct lane **link = &l->owner->lanes;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    mem_free(l);
}

static void lane_put(struct lane *l, struct pqcancel *k)
{
    if (l->last)
        l->last->next = k;
    else
        l->first = k;
    l->last = k;
    l->owner->open++;
}

static struct pqcancel *lane_take(struct lane *l)
{
    struct pqcancel *k = l->first;
    if (k) {
        l->first = k->next;
        if (!l->first)
            l->last = NULL;
    }
    return k;
}

/* Unlocks. */
static void unref(struct cancels *c)
{
    bool last = --c->refs == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->idle);
    mem_free(c);
}

static void *run_lane(void *arg)
{
    struct lane *l = arg;
    struct cancels *c = l->owner;
    struct pqcancel *k;
    pthread_mutex_lock(&c->lock);
    while ((k = lane_take(l))) {
        if (c->loop) {
            pthread_mutex_unlock(&c->lock);
            k->sent = PQcancel(k->request, k->why, sizeof(k->why)) == 1;
            pthread_mutex_lock(&c->lock);
        }
        if (!c->loop || !loop_post(c->loop, &k->post))
            request_free(k);
        if (--c->open == 0)
            pthread_cond_signal(&c->idle);
    }
    if (--l->threads == 0)
        lane_free(l);
    unref(c);
    return NULL;
}

static bool start_thread(struct lane *l)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    sigfillset(&all); /* signals are the control thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, run_lane, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return false;
    l->threads++;
    l->owner->refs++;
    return true;
}

/* ---- of the loop's thread ---- */

static struct cancels *cancels_of(struct loop *l)
{
    pthread_condattr_t attr;
    if (l->cancels)
        return l->cancels;
    struct cancels *c = mem_zalloc(sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->idle, &attr);
    pthread_condattr_destroy(&attr);
    c->loop = l;
    c->refs = 1;
    return l->cancels = c;
}

void cancels_close(struct loop *l)
{
    struct cancels *c = l->cancels;
    struct timespec until;
    if (!c)
        return;
    l->cancels = NULL;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_LIMIT_S;
    pthread_mutex_lock(&c->lock);
    while (c->open && pthread_cond_timedwait(&c->idle, &c->lock, &until) != ETIMEDOUT)
        ;
    c->loop = NULL;
    unref(c);
}

void pqconn_cancel_detach(struct pqconn *c)
{
    if (c->cancel)
        c->cancel->conn = NULL;
    c->cancel = NULL;
}

bool pqconn_cancel(struct pqconn *c, void (*done)(struct pqconn *c, void *ctx, bool sent), void *ctx)
{
    if (c->cancel || (c->state != PQCONN_TAKEN && c->state != PQCONN_QUERY && c->state != PQCONN_READY) ||
        c->loop->ended)
        return false;
    PGcancel *request = PQgetCancel(c->pg);
    if (!request)
        return false;
    struct pqcancel *k = mem_zalloc(sizeof(*k));
    k->post.run = on_sent;
    k->conn = c;
    k->request = request;
    k->done = done;
    k->ctx = ctx;
    struct cancels *all = cancels_of(c->loop);
    pthread_mutex_lock(&all->lock);
    struct lane *lane = lane_of(all, c->pg);
    bool ok = lane->threads == LANE_THREADS || start_thread(lane) || lane->threads > 0;
    if (ok)
        lane_put(lane, k);
    else
        lane_free(lane);
    pthread_mutex_unlock(&all->lock);
    if (ok)
        c->cancel = k;
    else
        request_free(k);
    return ok;
}
