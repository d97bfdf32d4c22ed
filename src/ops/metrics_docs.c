#include "shardgate/ops.h"

static const char intro[] =
    "# Metrics\n"
    "\n"
    "`/metrics` of the HTTP server (`http.address`, `http.port`) gives these in the Prometheus text format. This page "
    "is\n"
    "generated: `shardgate --print-metrics-docs`.\n"
    "\n"
    "No metric carries a tenant. Those of a shard have the labels `shard` (its id) and `region`; `shardgate_up` has\n"
    "`version`, `home_shard` and `region`. Counters are sums over all worker threads since the start of the process;\n"
    "those of a shard begin anew when its connection string changes. Histograms are in seconds, with the bounds\n"
    "1 µs × 4ⁿ up to 268 s.\n"
    "\n"
    "| metric | type | labels | meaning |\n"
    "| --- | --- | --- | --- |\n";

static bool is_shard_metric(const struct metric_info *m)
{
    return m->type >= METRIC_SHARD_COUNTER || (str_starts(str_from(m->metric), STR("shard_")));
}

static const char *labels(const struct metric_info *m)
{
    if (str_eq(str_from(m->metric), STR("up")))
        return "`version`, `home_shard`, `region`";
    return is_shard_metric(m) ? "`shard`, `region`" : "";
}

bool ops_print_metrics_docs(struct buf *out)
{
    static const char *const types[] = {"counter", "gauge", "counter", "histogram"};
    size_t count;
    const struct metric_info *table = metric_table(&count);

    buf_append_str(out, str_from(intro));
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "| `shardgate_%s` | %s | %s | %s |\n", table[i].metric, types[table[i].type], labels(&table[i]),
                   table[i].help);
    return !out->failed;
}
