/*
 * What operators do to pools, and see of them. Walks all; not for the data path.
 */
#include "pool_impl.h"

/* Calls fn for the nodes meant; false: there is none. */
static bool each_node(struct pools *ps, int32_t shard, void (*fn)(struct node *n, bool flag), bool flag)
{
    if (shard != SHARD_ALL) {
        struct node *n = shard >= INT16_MIN && shard <= INT16_MAX ? node_find(ps, (int16_t)shard) : NULL;
        if (n)
            fn(n, flag);
        return n;
    }
    /* fn may lead to a new map: not a walk, but a list that is worked off. */
    struct ilist todo, *link;
    ilist_init(&todo);
    while ((link = ilist_pop_front(&ps->live)))
        ilist_push_back(&todo, link);
    while ((link = ilist_pop_front(&todo))) {
        ilist_push_back(&ps->live, link);
        fn(container_of(link, struct node, in_list), flag);
    }
    return true;
}

static void reconnect(struct node *n, bool flag)
{
    (void)flag;
    node_reconnect(n);
}

static void fill(struct pool_info *i, const struct pool *p, uint64_t now_ms)
{
    const struct ilist *first = ilist_first(&p->waiters);
    *i = (struct pool_info){
        .shard_id = p->node->shard_id,
        .database = p->database,
        .user = p->user,
        .mode = p->mode,
        .waiting = p->waiting,
        .active = p->count[SERVER_ACTIVE],
        .idle = p->count[SERVER_IDLE],
        .connecting = pool_connecting(p),
        .paused = p->node->paused,
    };
    i->other = p->total - i->active - i->idle - i->connecting;
    if (first) {
        uint64_t since_ms = container_of(first, struct waiter, node)->since_ns / 1000000;
        i->oldest_wait_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    }
}

static void report_servers(const struct pool *p, uint64_t now_ms, void (*fn)(void *ctx, const struct server_info *i),
                           void *ctx)
{
    for (unsigned state = 0; state < SERVER_STATES; state++) {
        ILIST_EACH (link, &p->servers[state]) {
            const struct server *s = container_of(link, struct server, in_pool);
            struct server_info i = {
                .id = s->id,
                .shard_id = p->node->shard_id,
                .database = p->database,
                .user = p->user,
                .state = server_state_name((enum server_state)state),
                .pid = s->streaming ? server_pid(s) : 0,
                .tls = s->streaming && pqconn_tls(s->conn),
                .dirty = s->dirty,
                .age_ms = now_ms - s->created_ms,
                .idle_ms = state == SERVER_IDLE ? now_ms - s->used_ms : 0,
                .owner = s->owner,
            };
            fn(ctx, &i);
        }
    }
}

bool pools_pause(struct pools *ps, int32_t shard)
{
    if (shard == SHARD_ALL)
        ps->paused_all = true;
    return each_node(ps, shard, node_pause, true);
}

bool pools_resume(struct pools *ps, int32_t shard)
{
    if (shard == SHARD_ALL)
        ps->paused_all = false;
    return each_node(ps, shard, node_pause, false);
}

bool pools_reconnect(struct pools *ps, int32_t shard) { return each_node(ps, shard, reconnect, false); }

unsigned pools_active(const struct pools *ps, int32_t shard)
{
    const struct ilist *const lists[] = {&ps->live, &ps->retired};
    unsigned busy = 0;
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        ILIST_EACH (link, lists[i]) {
            const struct node *n = container_of(link, struct node, in_list);
            if (shard == SHARD_ALL || n->shard_id == shard)
                busy += n->busy;
        }
    }
    return busy;
}

void pools_each(struct pools *ps, void (*fn)(void *ctx, const struct pool_info *i), void *ctx)
{
    const struct ilist *const lists[] = {&ps->live, &ps->retired};
    uint64_t now_ms = loop_now_ms(ps->loop);
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        ILIST_EACH (link, lists[i]) {
            ILIST_EACH (in_node, &container_of(link, struct node, in_list)->all) {
                struct pool_info info;
                fill(&info, container_of(in_node, struct pool, in_node), now_ms);
                fn(ctx, &info);
            }
        }
    }
}

void pools_each_server(struct pools *ps, void (*fn)(void *ctx, const struct server_info *i), void *ctx)
{
    const struct ilist *const lists[] = {&ps->live, &ps->retired};
    uint64_t now_ms = loop_now_ms(ps->loop);
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        ILIST_EACH (link, lists[i]) {
            ILIST_EACH (in_node, &container_of(link, struct node, in_list)->all)
                report_servers(container_of(in_node, struct pool, in_node), now_ms, fn, ctx);
        }
    }
}

void pools_each_node(struct pools *ps, void (*fn)(void *ctx, const struct node_info *i), void *ctx)
{
    ILIST_EACH (link, &ps->live) {
        struct node *n = container_of(link, struct node, in_list);
        const struct error *last = n->backoff.last;
        struct node_info i = {
            .shard_id = n->shard_id,
            .paused = n->paused,
            .backing_off = backoff_now(&n->backoff, ps),
            .servers = n->servers,
            .waiting = n->waiting,
            .stats = node_stats(n),
            .last_error = !last            ? ""
                          : last->cause[0] ? last->cause
                                           : error_text(last),
        };
        fn(ctx, &i);
    }
}
