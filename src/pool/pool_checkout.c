/*
 * From a client's wish to a server, and back.
 *
 * The fast path is the first lines of pool_checkout and of pool_offer: an idle
 * server is there and nobody waits; a server comes back and nobody wants it.
 * Each is a move between two lists of the pool and a look at the permits' bits.
 *
 * Else a client queues. Its server is the first of: one that comes back, one that
 * this pool opens (pool_grow), one that another worker gives. A pool whose shard
 * is in back-off and that has no server left fails its waiters, at the end of the
 * turn if they have only just come.
 */
#include "pool_impl.h"

/* since_ns is 0 from here on: no longer one of the pool's waiters. */
static void uncount(struct waiter *w)
{
    struct pool *p = w->pool;
    ilist_remove(&w->node);
    deadline_disarm(&w->deadline);
    w->since_ns = 0;
    p->node->waiting--;
    if (--p->waiting == 0) {
        ilist_remove(&p->in_queued);
        deadline_disarm(&p->reserve);
        if (p->blocked)
            groups_wanted(p);
    }
}

static void dequeue(struct waiter *w)
{
    if (w->since_ns)
        uncount(w);
    ilist_remove(&w->node);
    w->pool = NULL;
}

static void enqueue(struct pool *p, struct waiter *w)
{
    struct pools *ps = p->pools;
    w->pool = p;
    w->since_ns = loop_now_ns(ps->loop);
    ilist_push_back(&p->waiters, &w->node);
    deadline_arm(&ps->wait, &w->deadline);
    p->node->waiting++;
    if (p->waiting++ == 0)
        ilist_push_back(&p->node->queued, &p->in_queued);
    shard_add(node_stats(p->node), SHARD_WAITS, 1);
}

static struct waiter *first_waiter(const struct pool *p)
{
    struct ilist *first = ilist_first(&p->waiters);
    return first ? container_of(first, struct waiter, node) : NULL;
}

/* s is ACTIVE and nobody's. */
static void hand(struct server *s, struct waiter *w)
{
    struct pool *p = s->pool;
    histogram_observe(&node_stats(p->node)->h[SHARD_WAIT_TIME], loop_now_ns(p->pools->loop) - w->since_ns);
    dequeue(w);
    w->done(w, s, NULL);
}

static void give_away(struct server *s, int worker, struct permit *permit)
{
    if (s->state != SERVER_IDLE)
        server_move(s, SERVER_IDLE);
    server_give(s, (unsigned)worker, permit);
}

static void arm_reserve(struct pool *p)
{
    const struct conf *c = p->pools->conf;
    if (c->pool_reserve && c->pool_reserve_timeout && p->waiting && !ilist_linked(&p->reserve.node))
        deadline_arm(&p->pools->reserve, &p->reserve);
}

static void close_for_another(struct server *s)
{
    if (s->state != SERVER_IDLE)
        server_move(s, SERVER_IDLE);
    server_end(s, LOG_DEBUG, "another pool needs its permit");
}

static bool nothing_will_serve(const struct pool *p)
{
    return pool_busy(p) + pool_connecting(p) + p->count[SERVER_IDLE] == 0;
}

void pool_grow(struct pool *p)
{
    if (p->waiting == 0 || p->node->paused || p->retired || p->pools->closing) {
        groups_wanted(p);
        return;
    }
    /* After failures one at a time, until one succeeds. */
    unsigned most = p->backoff.failures || p->node->backoff.failures ? 1 : CONNECTS_MAX;
    while (p->waiting > pool_connecting(p) + p->count[SERVER_CLEANING] + p->count[SERVER_HELD]) {
        if (pool_backing_off(p, NULL)) {
            groups_wanted(p);
            if (nothing_will_serve(p))
                pool_fail_later(p);
            return;
        }
        if (pool_connecting(p) >= most || (p->node->backoff.failures && p->node->connecting >= CONNECTS_MAX)) {
            groups_wanted(p);
            return; /* their end comes back here */
        }
        if (!groups_acquire(p)) {
            arm_reserve(p);
            return;
        }
        server_open(p);
    }
    groups_wanted(p);
}

void pool_serve(struct pool *p)
{
    struct waiter *w;
    struct ilist *idle;
    pool_hold(p);
    while (!p->node->paused && (w = first_waiter(p)) && (idle = ilist_first(&p->servers[SERVER_IDLE]))) {
        struct server *s = container_of(idle, struct server, in_pool);
        server_move(s, SERVER_ACTIVE);
        hand(s, w);
    }
    pool_unref(p);
}

void pool_offer(struct server *s)
{
    struct pool *p = s->pool;
    struct permit *permit;
    int worker;
    if (__builtin_expect(s->retire || p->retired || p->pools->closing, 0)) {
        if (s->state != SERVER_IDLE)
            server_move(s, SERVER_IDLE);
        server_end(s, LOG_DEBUG, "retired");
        return;
    }
    bool starving = groups_others(p) && !p->unpooled;
    if (__builtin_expect(p->waiting && !p->node->paused, 0)) {
        if (starving && (worker = groups_claim(s, false, &permit)) >= 0) {
            give_away(s, worker, permit);
            pool_grow(p);
            return;
        }
        if (p->pools->starved && groups_must_yield(p)) {
            close_for_another(s);
            return;
        }
        if (s->state != SERVER_ACTIVE) {
            if (s->state != SERVER_IDLE)
                server_move(s, SERVER_IDLE);
            server_move(s, SERVER_ACTIVE);
        }
        hand(s, first_waiter(p));
        return;
    }
    /* Ours first: two workers could else pass it to and fro. */
    if (__builtin_expect(p->pools->starved && groups_starve_here(p), 0))
        close_for_another(s);
    else if (starving && (worker = groups_claim(s, true, &permit)) >= 0)
        give_away(s, worker, permit);
    else if (s->state != SERVER_IDLE)
        server_move(s, SERVER_IDLE);
}

void pool_fail(struct pool *p, const struct error *e)
{
    struct error copy = {0};
    if (e)
        copy = *e;            /* a callback may lead to the next failure */
    struct ilist todo, *link; /* aside: one that is told may queue again */
    struct waiter *w;
    ilist_init(&todo);
    while ((w = first_waiter(p))) {
        uncount(w);
        ilist_push_back(&todo, &w->node);
    }
    pool_hold(p);
    while ((link = ilist_first(&todo))) {
        w = container_of(link, struct waiter, node);
        dequeue(w);
        w->done(w, NULL, e ? &copy : NULL);
    }
    pool_unref(p);
}

void pool_open_failed(struct pool *p, const struct error *e, bool full)
{
    /* A full shard still serves whom it has let in. */
    unsigned left = pool_busy(p) + p->count[SERVER_IDLE] + (full ? pool_connecting(p) : 0);
    if (p->waiting && left == 0 && !p->node->paused)
        pool_fail(p, e);
}

void pool_fail_later(struct pool *p)
{
    struct pools *ps = p->pools;
    if (!ilist_linked(&p->in_failing))
        ilist_push_back(&ps->failing, &p->in_failing);
    if (!ps->turn_posted)
        ps->turn_posted = loop_post(ps->loop, &ps->turn);
}

void on_turn_end(struct post *post, void *ctx)
{
    (void)ctx;
    struct pools *ps = container_of(post, struct pools, turn);
    struct ilist todo, *link;
    ps->turn_posted = false;
    ilist_init(&todo);
    while ((link = ilist_pop_front(&ps->failing)))
        ilist_push_back(&todo, link);
    while ((link = ilist_pop_front(&todo))) {
        struct pool *p = container_of(link, struct pool, in_failing);
        const struct error *last;
        if (p->retired)
            pool_fail(p, NULL);
        else if (pool_backing_off(p, &last) && nothing_will_serve(p) && !p->node->paused)
            pool_fail(p, last);
        else
            pool_grow(p);
    }
    pools_maybe_free(ps);
}

void pool_refill_if_low(struct pool *p)
{
    struct pools *ps = p->pools;
    if (p->used && ps->conf->pool_min && !p->retired && !ps->closing && !p->unpooled &&
        atomic_load_explicit(&p->group[PERMIT_POOL]->permit->used, memory_order_relaxed) < ps->conf->pool_min &&
        !ilist_linked(&p->refill.node))
        deadline_arm(&ps->refill, &p->refill);
}

void on_refill(struct deadline *d, void *pools)
{
    struct pool *p = container_of(d, struct pool, refill);
    (void)pools;
    if (!pool_backing_off(p, NULL) && !p->node->paused && pool_connecting(p) == 0 &&
        atomic_load(&p->group[PERMIT_POOL]->permit->used) < p->pools->conf->pool_min && groups_try(p))
        server_open(p);
    pool_refill_if_low(p);
}

void on_reserve(struct deadline *d, void *pools)
{
    (void)pools;
    struct pool *p = container_of(d, struct pool, reserve);
    pool_grow(p);
    arm_reserve(p);
}

void on_waiter_expired(struct deadline *d, void *pools)
{
    (void)pools;
    struct waiter *w = container_of(d, struct waiter, deadline);
    struct pool *p = w->pool;
    struct error e;
    error_clear(&e);
    if (p->node->paused)
        error_set(&e, ERR_POOL_PAUSED_TIMEOUT, "shard %d is paused", p->node->shard_id);
    else
        error_set(&e, ERR_QUEUE_TIMEOUT, "shard %d, database %s: %u servers in use, %u clients wait", p->node->shard_id,
                  p->database, pool_busy(p), p->waiting);
    shard_add(node_stats(p->node), SHARD_QUEUE_TIMEOUTS, 1);
    pool_hold(p);
    dequeue(w);
    w->done(w, NULL, &e);
    pool_unref(p);
}

struct server *pool_checkout(struct pool *p, struct waiter *w)
{
    struct ilist *idle = ilist_first(&p->servers[SERVER_IDLE]);
    if (__builtin_expect(idle && p->waiting == 0 && !p->node->paused, 1)) {
        struct server *s = container_of(idle, struct server, in_pool);
        server_move(s, SERVER_ACTIVE);
        return s;
    }
    enqueue(p, w);
    p->used = true;
    if (p->blocked)
        arm_reserve(p);
    else if (p->retired)
        pool_fail_later(p);
    else
        pool_grow(p);
    return NULL;
}

void waiter_cancel(struct waiter *w)
{
    struct pool *p = w->pool;
    if (!p)
        return;
    dequeue(w);
    pool_maybe_free(p);
}
