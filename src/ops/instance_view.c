#include "instance_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_id(const void *a, const void *b)
{
    const struct shard_view *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void copy_text(char *to, size_t size, const char *from) { str_copy(to, size, str_from(from)); }

static void read_health(struct shard_view *s, const struct ops_env *env, uint64_t now, bool require_primary)
{
    struct health_status h;

    if (!env->health || !health_get(env->health, s->id, &h))
        return;
    s->health = h.state;
    s->checked = h.checked_ms != 0;
    s->checked_ago_ms = now > h.checked_ms ? now - h.checked_ms : 0;
    s->latency_us = h.latency_us;
    copy_text(s->error, sizeof(s->error), h.error);
    s->usable = s->active && (h.state == HEALTH_UP || (h.state == HEALTH_RECOVERY && !require_primary));
}

static void read_shards(struct instance_view *v, const struct ops_env *env, const struct map *m, const struct conf *c,
                        uint64_t now)
{
    v->shard_count = map_shard_count(m);
    v->shards = mem_zalloc((v->shard_count ? v->shard_count : 1) * sizeof(v->shards[0]));
    for (size_t i = 0; i < v->shard_count; i++) {
        const struct map_shard *from = map_shard_at(m, i);
        struct shard_view *s = &v->shards[i];

        s->id = s->figures.shard_id = from->id;
        copy_text(s->region, sizeof(s->region), from->region);
        copy_text(s->datacenter, sizeof(s->datacenter), from->datacenter);
        s->primary = from->primary;
        s->active = from->active;
        s->has_range = from->has_range;
        s->min = from->min;
        s->max = from->max;
        read_health(s, env, now, c->server_require_primary);
    }
    instance_view_sort(v);
}

static void read_map(struct map_view *to, const struct ops_env *env, const struct map *m, uint64_t now)
{
    struct directory_status d = {0};

    copy_text(to->source, sizeof(to->source), "none");
    if (env->directory) {
        directory_status(env->directory, &d);
        to->state = d.state;
        to->degraded = d.degraded;
        to->reloads = d.reloads;
        to->failures = d.failures;
        to->load_ms = d.load_ms;
        to->has_age = d.confirmed_ms != 0;
        to->age_ms = to->has_age && now > d.confirmed_ms ? now - d.confirmed_ms : 0;
        copy_text(to->source, sizeof(to->source), d.source);
        copy_text(to->last_error, sizeof(to->last_error), d.last_error);
    }
    to->loaded = m != NULL;
    if (m) {
        to->revision = map_revision(m);
        to->generation = map_generation(m);
        to->overrides = map_override_count(m);
        to->bytes = map_bytes(m);
    }
}

static void read_workers(struct instance_view *v, const struct ops_env *env, const struct gather *g)
{
    v->workers = env->worker_count;
    for (unsigned i = 0; i < env->worker_count; i++)
        counters_sum(v->counters, env->workers[i].counters);
    if (env->directory)
        counters_sum(v->counters, directory_counters(env->directory));
    for (unsigned i = 0; g && i < g->count; i++) {
        if (g->parts[i].answered)
            instance_view_add(v, &g->parts[i].figures);
    }
}

/* The configured region, else the home shard's. */
static void read_home(struct instance_view *v, const struct conf *c)
{
    v->home_shard = c->home_shard;
    copy_text(v->region, sizeof(v->region), c->region);
    const struct shard_view *home = c->home_shard >= 0 ? instance_view_shard(v, c->home_shard) : NULL;
    if (!v->region[0] && home)
        copy_text(v->region, sizeof(v->region), home->region);
}

const char *phase_name(enum ops_phase p)
{
    switch (p) {
    case OPS_STARTING:
        return "starting";
    case OPS_RUNNING:
        return "running";
    case OPS_DRAINING:
        return "draining";
    case OPS_STOPPING:
        return "stopping";
    }
    return "unknown";
}

const struct shard_view *instance_view_shard(const struct instance_view *v, int16_t id)
{
    struct shard_view key = {.id = id};

    return v->shard_count ? bsearch(&key, v->shards, v->shard_count, sizeof(key), by_id) : NULL;
}

void instance_view_sort(struct instance_view *v)
{
    if (v->shard_count)
        qsort(v->shards, v->shard_count, sizeof(v->shards[0]), by_id);
}

void instance_view_add(struct instance_view *v, const struct worker_figures *f)
{
    v->responding++;
    v->waiting += f->waiting;
    for (size_t i = 0; i < f->shard_count; i++) {
        const struct shard_view *s = instance_view_shard(v, f->shards[i].shard_id);
        if (s) /* else a node whose shard has left the map */
            shard_figures_add(&v->shards[s - v->shards].figures, &f->shards[i]);
    }
}

void instance_view_judge(struct instance_view *v)
{
    bool usable = false;

    for (size_t i = 0; i < v->shard_count; i++)
        usable |= v->shards[i].usable && (!v->region[0] || strcmp(v->shards[i].region, v->region) == 0);
    v->reason[0] = '\0';
    if (v->phase != OPS_RUNNING)
        snprintf(v->reason, sizeof(v->reason), "the instance is %s", phase_name(v->phase));
    else if (!v->map.loaded)
        snprintf(v->reason, sizeof(v->reason), "the shard map is not loaded");
    else if (!usable && v->region[0])
        snprintf(v->reason, sizeof(v->reason), "no shard of region %s is usable", v->region);
    else if (!usable)
        snprintf(v->reason, sizeof(v->reason), "no shard is usable");
    v->ready = !v->reason[0];
}

struct instance_view *instance_view_new(const struct ops_env *env, const struct gather *g)
{
    struct instance_view *v = mem_zalloc(sizeof(*v));
    const struct conf *c = env->conf(env->ctx);
    const struct map *m = env->map(env->ctx);
    uint64_t now = loop_now_ms(env->control);
    uint64_t started = env->started_ms(env->ctx);

    v->uptime_ms = now > started ? now - started : 0;
    v->phase = env->phase(env->ctx);
    v->clients = env->hub ? session_hub_clients(env->hub) : 0;
    read_map(&v->map, env, m, now);
    if (m)
        read_shards(v, env, m, c, now);
    read_home(v, c);
    read_workers(v, env, g);
    instance_view_judge(v);
    return v;
}

void instance_view_free(struct instance_view *v)
{
    mem_free(v->shards);
    mem_free(v);
}
