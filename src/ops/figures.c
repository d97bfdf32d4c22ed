#include "figures.h"

#include <string.h>

static uint64_t load(const _Atomic uint64_t *cell) { return atomic_load_explicit(cell, memory_order_relaxed); }

static struct shard_figures *next_slot(struct worker_figures *f)
{
    if (f->shard_count == f->shard_cap) {
        size_t cap = f->shard_cap ? f->shard_cap * 2 : 16;
        struct shard_figures *grown = mem_try_realloc(f->shards, cap * sizeof(*grown));
        if (!grown)
            return NULL;
        f->shards = grown;
        f->shard_cap = cap;
    }
    return memset(&f->shards[f->shard_count++], 0, sizeof(f->shards[0]));
}

static void on_node(void *ctx, const struct node_info *n)
{
    struct shard_figures *s = next_slot(ctx);

    if (!s)
        return;
    s->shard_id = n->shard_id;
    s->paused = n->paused;
    s->backing_off = n->backing_off;
    s->servers = n->servers;
    s->waiting = n->waiting;
    if (!n->stats)
        return;
    for (size_t i = 0; i < SHARD_COUNTER__COUNT; i++)
        s->v[i] = load(&n->stats->v[i]);
    for (size_t i = 0; i < SHARD_HISTOGRAM__COUNT; i++) {
        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++)
            s->h[i].bucket[b] = load(&n->stats->h[i].bucket[b]);
        s->h[i].sum_ns = load(&n->stats->h[i].sum_ns);
    }
}

void counters_sum(uint64_t sum[COUNTER__COUNT], const struct counters *c)
{
    for (size_t i = 0; c && i < COUNTER__COUNT; i++)
        sum[i] += load(&c->v[i]);
}

void worker_figures_collect(struct worker_figures *f, struct ops_worker *w)
{
    f->clients = sessions_count(w->sessions);
    f->waiting = sessions_waiting(w->sessions);
    f->active = pools_active(w->pools, SHARD_ALL);
    pools_each_node(w->pools, on_node, f);
}

void worker_figures_fini(struct worker_figures *f)
{
    mem_free(f->shards);
    memset(f, 0, sizeof(*f));
}

void shard_figures_add(struct shard_figures *sum, const struct shard_figures *f)
{
    sum->paused |= f->paused;
    sum->backing_off |= f->backing_off;
    sum->servers += f->servers;
    sum->waiting += f->waiting;
    for (size_t i = 0; i < SHARD_COUNTER__COUNT; i++)
        sum->v[i] += f->v[i];
    for (size_t i = 0; i < SHARD_HISTOGRAM__COUNT; i++) {
        for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++)
            sum->h[i].bucket[b] += f->h[i].bucket[b];
        sum->h[i].sum_ns += f->h[i].sum_ns;
    }
}

uint64_t histogram_figures_count(const struct histogram_figures *h)
{
    uint64_t n = 0;

    for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++)
        n += h->bucket[b];
    return n;
}
