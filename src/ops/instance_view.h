/*
 * instance_view: what the instance looks like at one moment, as plain data.
 * Every page and every SHOW is a rendering of it. Built on the control thread.
 */
#ifndef SHARDGATE_OPS_INSTANCE_VIEW_H
#define SHARDGATE_OPS_INSTANCE_VIEW_H

#include "shardgate/ops.h"

#include "figures.h"
#include "gather.h"

struct shard_view {
    int16_t id;
    char region[4];
    char datacenter[33];
    bool primary, active, has_range;
    int64_t min, max;
    enum health_state health;
    bool usable; /* active, and the last probe found what the configuration requires */
    bool checked;
    uint64_t checked_ago_ms, latency_us;
    char error[200]; /* for operators who have logged in, not for HTTP */
    struct shard_figures figures;
};
struct map_view {
    bool loaded, degraded, has_age;
    enum directory_state state;
    char source[16];
    uint64_t revision, generation, age_ms, reloads, failures, load_ms;
    size_t overrides, bytes;
    char last_error[320];
};
struct instance_view {
    int home_shard; /* -1: none */
    char region[4]; /* "": none */
    uint64_t uptime_ms;
    enum ops_phase phase;
    bool ready;
    char reason[160]; /* why not ready; "" if it is */
    struct map_view map;
    struct shard_view *shards; /* by id */
    size_t shard_count;
    unsigned clients;
    size_t waiting;
    unsigned workers, responding;
    uint64_t counters[COUNTER__COUNT];
};

const char *phase_name(enum ops_phase p);
/* g: answers of gather_figures, or NULL where worker figures are not needed. */
struct instance_view *instance_view_new(const struct ops_env *env, const struct gather *g);
void instance_view_free(struct instance_view *v);
const struct shard_view *instance_view_shard(const struct instance_view *v, int16_t id);
/* The pure parts, for tests: sort by id, then add, then judge. */
void instance_view_sort(struct instance_view *v);
void instance_view_add(struct instance_view *v, const struct worker_figures *f);
void instance_view_judge(struct instance_view *v);

#endif
