/*
 * A worker's view of one shard of the map. A shard whose connection string
 * changes becomes a new node; the old one is retired with its pools.
 */
#include <string.h>

#include "pool_impl.h"

static uint64_t hash_id(int16_t shard_id) { return hash_bytes(0, &shard_id, sizeof(shard_id)); }

static struct node_stats *stats_of(struct pools *ps, int16_t shard_id)
{
    for (struct hash_node *h = hash_index_first(&ps->stats, hash_id(shard_id)); h; h = hash_index_next(h)) {
        struct node_stats *s = container_of(h, struct node_stats, node);
        if (s->shard_id == shard_id)
            return s;
    }
    struct node_stats *s = mem_zalloc(sizeof(*s));
    s->shard_id = shard_id;
    hash_index_add(&ps->stats, &s->node, hash_id(shard_id));
    return s;
}

/* Calls fn for each pool of `list`; fn may end pools and start others. */
static void each_pool(struct ilist *list, size_t offset, void (*fn)(struct pool *p, const void *arg), const void *arg)
{
    struct ilist todo, *link;
    ilist_init(&todo);
    while ((link = ilist_pop_front(list)))
        ilist_push_back(&todo, link);
    while ((link = ilist_pop_front(&todo))) {
        ilist_push_back(list, link);
        struct pool *p = (struct pool *)(void *)((char *)link - offset);
        pool_hold(p);
        fn(p, arg);
        pool_unref(p);
    }
}

static void grow_pool(struct pool *p, const void *arg)
{
    (void)arg;
    pool_grow(p);
}

static void fail_pool(struct pool *p, const void *e) { pool_open_failed(p, e, false); }

static void retire_pool(struct pool *p, const void *arg)
{
    (void)arg;
    pool_retire(p);
}

static void reconnect_pool(struct pool *p, const void *arg)
{
    (void)arg;
    pool_reconnect(p);
}

static void serve_pool(struct pool *p, const void *arg)
{
    (void)arg;
    pool_serve(p);
    pool_grow(p);
}

struct node *node_find(struct pools *ps, int16_t shard_id)
{
    for (struct hash_node *h = hash_index_first(&ps->nodes, hash_id(shard_id)); h; h = hash_index_next(h)) {
        struct node *n = container_of(h, struct node, in_index);
        if (n->shard_id == shard_id)
            return n;
    }
    return NULL;
}

struct node *node_new(struct pools *ps, const struct map_shard *shard)
{
    struct node *n = mem_zalloc(sizeof(*n));
    n->pools = ps;
    n->shard_id = shard->id;
    n->conninfo = mem_strdup(shard->conninfo);
    n->paused = ps->paused_all;
    n->stats = stats_of(ps, shard->id);
    n->backoff.node = n;
    ilist_init(&n->all);
    ilist_init(&n->queued);
    hash_index_add(&ps->nodes, &n->in_index, hash_id(shard->id));
    ilist_push_back(&ps->live, &n->in_list);
    return n;
}

void node_unlist(struct node *n)
{
    hash_index_remove(&n->pools->nodes, &n->in_index);
    ilist_remove(&n->in_list);
    ilist_push_back(&n->pools->retired, &n->in_list);
}

void node_retire(struct node *n)
{
    if (n->retired)
        return;
    each_pool(&n->all, offsetof(struct pool, in_node), retire_pool, NULL);
    n->retired = true;
    node_maybe_free(n);
}

void node_maybe_free(struct node *n)
{
    if (!n->retired || n->servers || !ilist_empty(&n->all))
        return;
    ilist_remove(&n->in_list);
    backoff_clear(&n->backoff);
    if (n->parsed)
        pqinfo_fini(&n->info);
    mem_free_secret(n->conninfo, strlen(n->conninfo));
    mem_free(n);
}

bool node_is(const struct node *n, const struct map_shard *shard) { return strcmp(n->conninfo, shard->conninfo) == 0; }

void node_pause(struct node *n, bool paused)
{
    n->paused = paused;
    if (!paused)
        each_pool(&n->queued, offsetof(struct pool, in_queued), serve_pool, NULL);
}

void node_reconnect(struct node *n) { each_pool(&n->all, offsetof(struct pool, in_node), reconnect_pool, NULL); }

bool node_parse(struct node *n, struct error *e)
{
    if (!n->parsed)
        n->parsed = pqinfo_parse(&n->info, n->conninfo, e);
    return n->parsed;
}

void node_opened(struct node *n)
{
    bool was_failing = n->backoff.failures > 0;
    backoff_clear(&n->backoff);
    if (was_failing) {
        log_event(LOG_INFO, "shard reached again", log_int("shard", n->shard_id));
        node_grow(n);
    }
}

void node_failed(struct node *n, const struct error *e)
{
    each_pool(&n->queued, offsetof(struct pool, in_queued), fail_pool, e);
}

void node_grow(struct node *n) { each_pool(&n->queued, offsetof(struct pool, in_queued), grow_pool, NULL); }

int16_t node_shard_id(const struct node *n) { return n->shard_id; }

struct shard_stats *node_stats(struct node *n) { return &n->stats->stats; }
