/*
 * A worker's view of the permits its pools need: which pools starve, and which
 * may have an idle server to spare. The essay is in permits.c.
 */
#include <string.h>

#include "pool_impl.h"

static struct group *join(struct pools *ps, enum permit_kind kind, struct str key, int64_t limit)
{
    struct permit *pm = permit_get(ps->permits, kind, key, limit);
    struct group *g = pm->worker[ps->worker].group;
    if (g) {
        permit_unref(ps->permits, pm); /* g holds one */
    } else {
        g = mem_zalloc(sizeof(*g));
        g->permit = pm;
        g->pools = ps;
        ilist_init(&g->starved);
        ilist_init(&g->idle);
        pm->worker[ps->worker].group = g;
    }
    g->refs++;
    return g;
}

static void leave(struct group *g)
{
    if (--g->refs > 0)
        return;
    struct pools *ps = g->pools;
    g->permit->worker[ps->worker].group = NULL;
    permit_unref(ps->permits, g->permit);
    mem_free(g);
}

static int64_t limit_of(const struct pool *p, enum permit_kind kind)
{
    const struct conf *c = p->pools->conf;
    switch (kind) {
    case PERMIT_POOL:
        return p->size ? p->size : c->pool_size;
    case PERMIT_DATABASE:
        return p->database_limit ? p->database_limit : PERMIT_NO_LIMIT;
    case PERMIT_USER:
        return p->user_limit ? p->user_limit : PERMIT_NO_LIMIT;
    default:
        return c->pool_max_per_shard;
    }
}

static void block(struct pool *p, struct group *g)
{
    p->blocked = g;
    p->pools->starved++;
    ilist_push_back(&g->starved, &p->in_starved);
}

static struct group *unblock(struct pool *p)
{
    struct group *g = p->blocked;
    if (g) {
        ilist_remove(&p->in_starved);
        p->blocked = NULL;
        p->pools->starved--;
    }
    return g;
}

static void unmark_if_fed(struct group *g)
{
    if (g && ilist_empty(&g->starved))
        permit_unmark(g->permit, g->pools->worker);
}

/* Since when the pool's first client has waited; it has one. */
static uint64_t first_since(const struct pool *p)
{
    return container_of(p->waiters.next, struct waiter, node)->since_ns;
}

/* The reserve is for a pool whose first client has waited long enough. */
static int64_t reserve_of(const struct pool *p)
{
    const struct conf *c = p->pools->conf;
    if (c->pool_reserve == 0 || p->waiting == 0)
        return 0;
    uint64_t since_ms = first_since(p) / 1000000;
    return loop_now_ms(p->pools->loop) >= since_ms + (uint64_t)c->pool_reserve_timeout ? c->pool_reserve : 0;
}

static unsigned try_all(struct pool *p, int64_t extra)
{
    struct permit *pm[PERMIT_KINDS];
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        pm[k] = p->group[k]->permit;
    unsigned k = permit_try_all(pm, p->pools->worker, extra);
    for (unsigned j = 0; k < PERMIT_KINDS && j < k; j++)
        group_tell(p->pools, pm[j]); /* it may have been held for a moment */
    return k;
}

/* Asks every holder for an idle server. */
static void beg(struct group *g)
{
    struct pools *ps = g->pools;
    for (unsigned w = 0; w < permits_workers(ps->permits); w++) {
        if (w != ps->worker && atomic_load(&g->permit->worker[w].held) > 0)
            nudge_send(ps, g->permit, w, true);
    }
}

void groups_join(struct pool *p)
{
    struct pools *ps = p->pools;
    struct buf key;
    buf_init(&key, 0);
    buf_printf(&key, "%d", p->node->shard_id);
    buf_append(&key, p->node->conninfo, strlen(p->node->conninfo) + 1);
    p->group[PERMIT_SHARD] = join(ps, PERMIT_SHARD, buf_str(&key), limit_of(p, PERMIT_SHARD));
    buf_append(&key, p->database, strlen(p->database) + 1);
    buf_append(&key, p->user, strlen(p->user) + 1);
    p->group[PERMIT_POOL] = join(ps, PERMIT_POOL, buf_str(&key), limit_of(p, PERMIT_POOL));
    buf_fini(&key);
    p->group[PERMIT_DATABASE] = join(ps, PERMIT_DATABASE, str_from(p->database), limit_of(p, PERMIT_DATABASE));
    p->group[PERMIT_USER] = join(ps, PERMIT_USER, str_from(p->user), limit_of(p, PERMIT_USER));
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        p->starving[k] = &p->group[k]->permit->starving;
}

void groups_leave(struct pool *p)
{
    groups_wanted(p);
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        ilist_remove(&p->in_idle[k]);
        leave(p->group[k]);
    }
}

void groups_set_limits(struct pool *p)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_set_limit(p->group[k]->permit, limit_of(p, (enum permit_kind)k));
    if (p->blocked)
        group_serve(p->blocked);
}

bool groups_try(struct pool *p) { return try_all(p, 0) == PERMIT_KINDS; }

bool groups_acquire(struct pool *p)
{
    struct group *before = unblock(p);
    int64_t extra = reserve_of(p);
    unsigned k;
    while ((k = try_all(p, extra)) < PERMIT_KINDS) {
        struct group *g = p->group[k];
        struct server *spare = group_idle_server(g);
        if (spare) { /* its closing serves the group */
            block(p, g);
            server_end(spare, LOG_DEBUG, "another pool needs its permit");
            break;
        }
        bool fresh = permit_mark(g->permit, p->pools->worker);
        if (!fresh || !permit_has_room(g->permit, k == PERMIT_POOL ? extra : 0)) {
            block(p, g);
            if (fresh)
                beg(g);
            break;
        }
        unmark_if_fed(g); /* what was released meanwhile need not be told to us */
    }
    if (before != p->blocked)
        unmark_if_fed(before);
    return k == PERMIT_KINDS;
}

void groups_release(struct pool *p)
{
    struct pools *ps = p->pools;
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_release(p->group[k]->permit, ps->worker);
    pool_hold(p);
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        struct group *g = p->group[k];
        struct permit *pm = g->permit;
        uint64_t others = permit_others_starving(pm, ps->worker);
        if (others && permit_held(pm, ps->worker) >= permit_share(pm, others)) {
            /* Their turn. Marked first, so that they pass on what they do not need. */
            if (!ilist_empty(&g->starved))
                permit_mark(pm, ps->worker);
            group_tell(ps, pm);
        } else {
            group_serve(g);
            group_tell(ps, pm);
        }
    }
    p->refs--;
}

void groups_wanted(struct pool *p) { unmark_if_fed(unblock(p)); }

void groups_list_idle(struct pool *p)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        if (!(p->idle_listed & (1u << k)))
            ilist_push_back(&p->group[k]->idle, &p->in_idle[k]);
    }
    p->idle_listed = (1u << PERMIT_KINDS) - 1;
}

struct server *group_idle_server(struct group *g)
{
    enum permit_kind k = g->permit->kind;
    struct ilist *node;
    while ((node = ilist_first(&g->idle))) {
        struct pool *p = container_of(node, struct pool, in_idle[k]);
        struct ilist *idle = &p->servers[SERVER_IDLE];
        ilist_remove(node);
        if (!ilist_empty(idle)) {
            ilist_push_back(&g->idle, node); /* another's turn next */
            return container_of(idle->prev, struct server, in_pool);
        }
        p->idle_listed &= (uint8_t) ~(1u << k);
    }
    return NULL;
}

/* The starving worker that holds fewest. */
static unsigned poorest(const struct permit *pm, uint64_t starving)
{
    unsigned best = (unsigned)__builtin_ctzll(starving);
    for (; starving; starving &= starving - 1) {
        unsigned w = (unsigned)__builtin_ctzll(starving);
        if (permit_held(pm, w) < permit_held(pm, best))
            best = w;
    }
    return best;
}

int groups_claim(const struct server *s, bool spare, struct permit **which)
{
    struct pool *p = s->pool;
    unsigned self = p->pools->worker;
    bool settled = loop_now_ms(p->pools->loop) >= s->arrived_ms + QUANTUM_MS;
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        struct permit *pm = *which = p->group[k]->permit;
        uint64_t others = permit_others_starving(pm, self);
        if (!others)
            continue;
        unsigned w = poorest(pm, others);
        int64_t has = permit_held(pm, w);
        if ((spare || has + 1 < permit_held(pm, self) || (has == 0 && settled)) && permit_unmark(pm, w))
            return (int)w;
    }
    return -1;
}

bool groups_must_yield(const struct pool *p)
{
    uint64_t mine = first_since(p);
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        const struct ilist *first = ilist_first(&p->group[k]->starved);
        if (first && first_since(container_of(first, struct pool, in_starved)) + YIELD_MS * UINT64_C(1000000) < mine)
            return true;
    }
    return false;
}

bool groups_starve_here(const struct pool *p)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        if (!ilist_empty(&p->group[k]->starved))
            return true;
    }
    return false;
}

void group_serve(struct group *g)
{
    struct ilist *first;
    g->refs++; /* growing may fail and free a pool */
    while (!g->pools->closing && (first = ilist_first(&g->starved))) {
        struct pool *p = container_of(first, struct pool, in_starved);
        unblock(p);
        pool_grow(p);
        if (p->blocked == g) { /* still exhausted: p keeps its place */
            ilist_remove(&p->in_starved);
            ilist_push_front(&g->starved, &p->in_starved);
            break;
        }
    }
    unmark_if_fed(g);
    leave(g);
}

void group_tell(struct pools *ps, struct permit *pm)
{
    int w;
    while (permit_has_room(pm, 0) && (w = permit_claim(pm, ps->worker)) >= 0) {
        if (nudge_send(ps, pm, (unsigned)w, false))
            return;
    }
}
