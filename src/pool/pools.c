/*
 * All pools of one worker: their life, configuration and map.
 */
#include "pool_impl.h"

static void free_pools(struct reap *r)
{
    struct pools *ps = container_of(r, struct pools, reap);
    mem_free(ps);
}

static void init_classes(struct pools *ps)
{
    struct loop *l = ps->loop;
    deadline_class_init(&ps->wait, l, 0, on_waiter_expired, ps);
    deadline_class_init(&ps->reserve, l, 0, on_reserve, ps);
    deadline_class_init(&ps->refill, l, REFILL_MS, on_refill, ps);
    deadline_class_init(&ps->idle, l, 0, on_idle_look, ps);
    deadline_class_init(&ps->prove, l, 0, on_limit, ps);
    deadline_class_init(&ps->clean, l, CLEAN_TICK_MS, on_limit, ps);
    for (unsigned i = 0; i < LIFETIME_STEPS; i++)
        deadline_class_init(&ps->lifetime[i], l, 0, on_lifetime, ps);
    for (unsigned i = 0; i < BACKOFF_STEPS; i++)
        deadline_class_init(&ps->backoff[i], l, 0, on_backoff_end, ps);
}

static void fini_classes(struct pools *ps)
{
    struct deadline_class *const single[] = {&ps->wait, &ps->reserve, &ps->refill, &ps->idle, &ps->prove, &ps->clean};
    for (unsigned i = 0; i < ARRAY_LEN(single); i++)
        deadline_class_fini(single[i]);
    for (unsigned i = 0; i < LIFETIME_STEPS; i++)
        deadline_class_fini(&ps->lifetime[i]);
    for (unsigned i = 0; i < BACKOFF_STEPS; i++)
        deadline_class_fini(&ps->backoff[i]);
}

static void set_timeouts(struct pools *ps)
{
    const struct conf *c = ps->conf;
    uint64_t idle = (uint64_t)c->server_idle_timeout, lifetime = (uint64_t)c->server_lifetime;
    ps->wait.timeout_ms = (uint64_t)c->query_wait_timeout;
    ps->reserve.timeout_ms = (uint64_t)c->pool_reserve_timeout;
    ps->idle.timeout_ms = idle ? idle / IDLE_LOOKS + 1 : 0;
    ps->prove.timeout_ms = (uint64_t)c->server_connect_timeout;
    for (unsigned i = 0; i < LIFETIME_STEPS; i++)
        ps->lifetime[i].timeout_ms = lifetime ? lifetime - lifetime / 10 * i / LIFETIME_STEPS : 0;
    for (unsigned i = 0; i < BACKOFF_STEPS; i++)
        ps->backoff[i].timeout_ms = (uint64_t)c->server_login_retry << i;
}

/* Every pool of live and retired nodes; fn may not end pools. */
static void each_pool(struct pools *ps, void (*fn)(struct pool *p))
{
    struct ilist *const lists[] = {&ps->live, &ps->retired};
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        ILIST_EACH (link, lists[i]) {
            struct node *n = container_of(link, struct node, in_list);
            ILIST_EACH (in_node, &n->all)
                fn(container_of(in_node, struct pool, in_node));
        }
    }
}

static void configure_pool(struct pool *p)
{
    groups_set_limits(p);
    for (unsigned state = SERVER_IDLE; state < SERVER_MOVING; state++) {
        ILIST_EACH (link, &p->servers[state]) {
            struct server *s = container_of(link, struct server, in_pool);
            server_arm_idle(s);
            server_arm_lifetime(s);
        }
    }
    pool_refill_if_low(p);
}

static void free_stats(struct pools *ps)
{
    for (size_t i = 0; i < ps->stats.size; i++) {
        for (struct hash_node *h = ps->stats.slots[i], *next; h; h = next) {
            next = h->next;
            mem_free(container_of(h, struct node_stats, node));
        }
    }
    hash_index_fini(&ps->stats);
}

static void retire_nodes(struct pools *ps)
{
    struct ilist todo, *link;
    ilist_init(&todo);
    while ((link = ilist_pop_front(&ps->retired)))
        ilist_push_back(&todo, link);
    while ((link = ilist_pop_front(&todo))) {
        ilist_push_back(&ps->retired, link);
        node_retire(container_of(link, struct node, in_list));
    }
}

/* What pools_close does in the end, when nothing is open any more. */
static void fini(struct pools *ps)
{
    permits_attach(ps->permits, ps->worker, NULL, ps->loop);
    fini_classes(ps);
    hash_index_fini(&ps->settings);
    hash_index_fini(&ps->params);
    hash_index_fini(&ps->nodes);
    hash_index_fini(&ps->index);
    free_stats(ps);
    buf_fini(&ps->scratch);
    if (ps->map)
        map_unref(ps->map);
    conf_unref(ps->conf);
    struct pools_hooks hooks = ps->hooks;
    ps->reap.free = free_pools;
    loop_reap(ps->loop, &ps->reap);
    if (hooks.closed)
        hooks.closed(hooks.ctx);
}

uint64_t pools_random(struct pools *ps)
{
    ps->random ^= ps->random << 13;
    ps->random ^= ps->random >> 7;
    ps->random ^= ps->random << 17;
    return ps->random;
}

void pools_maybe_free(struct pools *ps)
{
    if (ps->closing == POOLS_CLOSED && !ps->server_count && !ps->pool_count && !ps->turn_posted) {
        ps->closing = POOLS_GONE;
        fini(ps);
    }
}

struct pools *pools_new(struct loop *l, const struct conf *c, struct permits *permits, unsigned worker,
                        const struct pools_hooks *hooks)
{
    struct pools *ps = mem_zalloc(sizeof(*ps));
    ps->loop = l;
    ps->conf = conf_ref((struct conf *)(uintptr_t)c);
    ps->permits = permits;
    ps->worker = worker;
    ps->others = ~(UINT64_C(1) << worker);
    ps->generation = 1;
    if (hooks)
        ps->hooks = *hooks;
    ps->random = (clock_mono_ns() ^ (uint64_t)(uintptr_t)ps) | 1;
    ilist_init(&ps->live);
    ilist_init(&ps->retired);
    ilist_init(&ps->failing);
    ps->turn.run = on_turn_end;
    init_classes(ps);
    set_timeouts(ps);
    permits_attach(permits, worker, ps, l);
    return ps;
}

void pools_close(struct pools *ps)
{
    struct ilist *link;
    ps->closing = POOLS_CLOSING;
    while ((link = ilist_first(&ps->live)))
        node_unlist(container_of(link, struct node, in_list));
    each_pool(ps, pool_end_active);
    retire_nodes(ps);
    ps->closing = POOLS_CLOSED;
    pools_maybe_free(ps);
}

void pools_configure(struct pools *ps, const struct conf *c)
{
    struct conf *old = ps->conf;
    ps->conf = conf_ref((struct conf *)(uintptr_t)c);
    conf_unref(old);
    ps->generation++;
    set_timeouts(ps);
    each_pool(ps, configure_pool);
}

void pools_set_map(struct pools *ps, struct map *m)
{
    struct map *old = ps->map;
    ps->map = map_ref(m);
    ps->generation++;
    for (size_t i = 0; i < map_shard_count(m); i++) {
        const struct map_shard *shard = map_shard_at(m, i);
        struct node *n = node_find(ps, shard->id);
        bool paused = n ? n->paused : ps->paused_all;
        if (n && !node_is(n, shard)) {
            node_unlist(n);
            n = NULL;
        }
        if (!n) {
            n = node_new(ps, shard);
            n->paused = paused;
        }
        n->seen = ps->generation;
    }
    ILIST_EACH (link, &ps->live) {
        struct node *n = container_of(link, struct node, in_list);
        if (n->seen != ps->generation)
            node_unlist(n);
    }
    if (old)
        map_unref(old);
    retire_nodes(ps);
}

struct map *pools_map(const struct pools *ps) { return ps->map; }

uint64_t pools_generation(const struct pools *ps) { return ps->generation; }

struct loop *pools_loop(const struct pools *ps) { return ps->loop; }

struct counters *pools_counters(struct pools *ps) { return &ps->counters; }
