/*
 * figures: one worker's counters and node statistics as plain numbers, so that
 * they can be added up and printed away from its thread.
 */
#ifndef SHARDGATE_OPS_FIGURES_H
#define SHARDGATE_OPS_FIGURES_H

#include "shardgate/ops.h"

struct histogram_figures {
    uint64_t bucket[HISTOGRAM_BUCKETS]; /* not cumulative */
    uint64_t sum_ns;
};
struct shard_figures {
    int16_t shard_id;
    bool paused, backing_off;
    unsigned servers, waiting;
    uint64_t v[SHARD_COUNTER__COUNT];
    struct histogram_figures h[SHARD_HISTOGRAM__COUNT];
};
struct worker_figures {
    size_t clients, waiting;
    unsigned active; /* servers */
    struct shard_figures *shards;
    size_t shard_count, shard_cap;
};

void counters_sum(uint64_t sum[COUNTER__COUNT], const struct counters *c); /* any thread */
/* On the worker's thread. */
void worker_figures_collect(struct worker_figures *f, struct ops_worker *w);
void worker_figures_fini(struct worker_figures *f);
/* Adds statistics and flags; shard_id stays. */
void shard_figures_add(struct shard_figures *sum, const struct shard_figures *f);
uint64_t histogram_figures_count(const struct histogram_figures *h);

#endif
