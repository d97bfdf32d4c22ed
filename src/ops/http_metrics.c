/*
 * Prometheus text exposition, version 0.0.4: a HELP and a TYPE line, then the
 * samples, for every row of metrics.def in its order.
 */
#include "http_pages.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum gauge {
#define GAUGE(name, metric, help) GAUGE_##name,
#include "shardgate/metrics.def"
    GAUGE__COUNT
};

/* Label values: backslash, quote and newline are escaped; regions and versions
 * hold none of the others that matter. */
static void put_label(struct buf *out, const char *name, const char *value, const char *before)
{
    buf_printf(out, "%s%s=\"", before, name);
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_append_byte(out, '\\');
        if (*p == '\n')
            buf_append_str(out, STR("\\n"));
        else
            buf_append_byte(out, (uint8_t)*p);
    }
    buf_append_byte(out, '"');
}

static void put_shard_labels(struct buf *out, const struct shard_view *s)
{
    buf_printf(out, "{shard=\"%d\"", s->id);
    put_label(out, "region", s->region, ",");
}

static void put_up(struct buf *out, const struct instance_view *v)
{
    char home[16] = "";

    if (v->home_shard >= 0)
        snprintf(home, sizeof(home), "%d", v->home_shard);
    buf_append_str(out, STR("shardgate_up"));
    put_label(out, "version", SHARDGATE_VERSION, "{");
    put_label(out, "home_shard", home, ",");
    put_label(out, "region", v->region, ",");
    buf_append_str(out, STR("} 1\n"));
}

/* One figure of the instance; NAN where there is none. */
static double instance_gauge(const struct instance_view *v, enum gauge g)
{
    switch (g) {
    case GAUGE_READY:
        return v->ready;
    case GAUGE_CLIENTS:
        return v->clients;
    case GAUGE_CLIENTS_WAITING:
        return (double)v->waiting;
    case GAUGE_WORKERS:
        return v->workers;
    case GAUGE_WORKERS_RESPONDING:
        return v->responding;
    case GAUGE_MAP_REVISION:
        return (double)v->map.revision;
    case GAUGE_MAP_AGE:
        return v->map.has_age ? (double)v->map.age_ms / 1000.0 : (double)NAN;
    case GAUGE_MAP_DEGRADED:
        return v->map.degraded;
    case GAUGE_MAP_TENANTS:
        return (double)v->map.overrides;
    case GAUGE_MAP_SHARDS:
        return (double)v->shard_count;
    case GAUGE_MAP_BYTES:
        return (double)v->map.bytes;
    case GAUGE_UP:
    case GAUGE_SHARD_UP:
    case GAUGE_SHARD_PAUSED:
    case GAUGE_SHARD_SERVERS:
    case GAUGE__COUNT:
        break;
    }
    return (double)NAN;
}

static bool is_shard_gauge(enum gauge g)
{
    return g == GAUGE_SHARD_UP || g == GAUGE_SHARD_PAUSED || g == GAUGE_SHARD_SERVERS;
}

static unsigned shard_gauge(const struct shard_view *s, enum gauge g)
{
    if (g == GAUGE_SHARD_UP)
        return s->health == HEALTH_UP || s->health == HEALTH_RECOVERY;
    return g == GAUGE_SHARD_PAUSED ? s->figures.paused : s->figures.servers;
}

static void put_gauge(struct buf *out, const struct instance_view *v, const struct metric_info *m, enum gauge g)
{
    if (g == GAUGE_UP) {
        put_up(out, v);
        return;
    }
    if (!is_shard_gauge(g)) {
        double value = instance_gauge(v, g);
        if (!isnan(value))
            buf_printf(out, "shardgate_%s %.17g\n", m->metric, value);
        return;
    }
    for (size_t i = 0; i < v->shard_count; i++) {
        buf_printf(out, "shardgate_%s", m->metric);
        put_shard_labels(out, &v->shards[i]);
        buf_printf(out, "} %u\n", shard_gauge(&v->shards[i], g));
    }
}

static void put_shard_counter(struct buf *out, const struct instance_view *v, const struct metric_info *m, size_t id)
{
    for (size_t i = 0; i < v->shard_count; i++) {
        buf_printf(out, "shardgate_%s", m->metric);
        put_shard_labels(out, &v->shards[i]);
        buf_printf(out, "} %" PRIu64 "\n", v->shards[i].figures.v[id]);
    }
}

static void put_histogram(struct buf *out, const char *metric, const struct shard_view *s,
                          const struct histogram_figures *h)
{
    uint64_t below = 0;

    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        below += h->bucket[b];
        buf_printf(out, "shardgate_%s_bucket", metric);
        put_shard_labels(out, s);
        if (b + 1 < HISTOGRAM_BUCKETS)
            buf_printf(out, ",le=\"%.9g\"} %" PRIu64 "\n", (double)histogram_bound_ns(b) / 1e9, below);
        else
            buf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", below);
    }
    buf_printf(out, "shardgate_%s_sum", metric);
    put_shard_labels(out, s);
    buf_printf(out, "} %.9f\n", (double)h->sum_ns / 1e9);
    buf_printf(out, "shardgate_%s_count", metric);
    put_shard_labels(out, s);
    buf_printf(out, "} %" PRIu64 "\n", below);
}

static const char *type_name(enum metric_type t)
{
    if (t == METRIC_GAUGE)
        return "gauge";
    return t == METRIC_SHARD_HISTOGRAM ? "histogram" : "counter";
}

unsigned http_render_metrics(const struct instance_view *v, struct buf *out)
{
    size_t count, seen[METRIC_SHARD_HISTOGRAM + 1] = {0};
    const struct metric_info *table = metric_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct metric_info *m = &table[i];
        size_t id = seen[m->type]++; /* the table has each type in the order of its enum */

        buf_printf(out, "# HELP shardgate_%s %s\n# TYPE shardgate_%s %s\n", m->metric, m->help, m->metric,
                   type_name(m->type));
        if (m->type == METRIC_COUNTER)
            buf_printf(out, "shardgate_%s %" PRIu64 "\n", m->metric, v->counters[id]);
        else if (m->type == METRIC_GAUGE)
            put_gauge(out, v, m, (enum gauge)id);
        else if (m->type == METRIC_SHARD_COUNTER)
            put_shard_counter(out, v, m, id);
        else
            for (size_t s = 0; s < v->shard_count; s++)
                put_histogram(out, m->metric, &v->shards[s], &v->shards[s].figures.h[id]);
    }
    return 200;
}
