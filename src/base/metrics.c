#include "shardgate/base.h"

#define METRIC_LAST_BOUNDED (HISTOGRAM_BUCKETS - 2)

static const struct metric_info table[] = {
#define COUNTER(name, metric, help) {METRIC_COUNTER, metric, help},
#define GAUGE(name, metric, help) {METRIC_GAUGE, metric, help},
#define SHARD_COUNTER(name, metric, help) {METRIC_SHARD_COUNTER, metric, help},
#define SHARD_HISTOGRAM(name, metric, help) {METRIC_SHARD_HISTOGRAM, metric, help},
#include "shardgate/metrics.def"
};

uint64_t histogram_bound_ns(unsigned bucket)
{
    return bucket > METRIC_LAST_BOUNDED ? UINT64_MAX : UINT64_C(1000) << (2 * bucket);
}

void histogram_observe(struct histogram *h, uint64_t ns)
{
    /* The bucket whose bound, 1 µs × 4^i, is the first that holds ns. */
    uint64_t us = ns / 1000 + (ns % 1000 != 0);
    unsigned bucket = us <= 1 ? 0 : (65u - (unsigned)__builtin_clzll(us - 1)) / 2;
    if (bucket >= HISTOGRAM_BUCKETS)
        bucket = HISTOGRAM_BUCKETS - 1;
    counter_cell_add(&h->bucket[bucket], 1);
    counter_cell_add(&h->sum_ns, ns);
}

const struct metric_info *metric_table(size_t *count)
{
    *count = ARRAY_LEN(table);
    return table;
}
