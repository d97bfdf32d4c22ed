#include "http_pages.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* Names come from the directory's database, which may be in any encoding. */
static json_t *text(const char *s)
{
    json_t *j = json_string(s);

    if (j)
        return j;
    char copy[400];
    str_copy(copy, sizeof(copy), str_from(s));
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    return json_string(copy);
}

static json_t *text_or_null(const char *s) { return s[0] ? text(s) : json_null(); }

static json_t *number(uint64_t n) { return json_integer((json_int_t)n); }

/* A class only: the page is open to all who can reach it. */
static json_t *error_class(const struct shard_view *s)
{
    switch (s->health) {
    case HEALTH_DOWN:
        return json_string("unreachable");
    case HEALTH_RECOVERY:
        return s->usable ? json_null() : json_string("in recovery");
    case HEALTH_UNKNOWN:
        return json_string("not probed yet");
    case HEALTH_UP:
        break;
    }
    return json_null();
}

static json_t *shard_json(const struct shard_view *s)
{
    json_t *j = json_object();

    json_object_set_new(j, "id", json_integer(s->id));
    json_object_set_new(j, "region", text(s->region));
    json_object_set_new(j, "datacenter", text(s->datacenter));
    json_object_set_new(j, "active", json_boolean(s->active));
    json_object_set_new(j, "primary", json_boolean(s->primary));
    json_object_set_new(j, "usable", json_boolean(s->usable));
    json_object_set_new(j, "state", json_string(health_state_name(s->health)));
    json_object_set_new(j, "latency_ms",
                        s->health == HEALTH_UP ? json_real((double)s->latency_us / 1000.0) : json_null());
    json_object_set_new(j, "error", error_class(s));
    return j;
}

static json_t *map_json(const struct instance_view *v)
{
    const struct map_view *m = &v->map;
    json_t *j = json_object();

    json_object_set_new(j, "loaded", json_boolean(m->loaded));
    json_object_set_new(j, "revision", number(m->revision));
    json_object_set_new(j, "generation", number(m->generation));
    json_object_set_new(j, "age_seconds", m->has_age ? json_real((double)m->age_ms / 1000.0) : json_null());
    json_object_set_new(j, "source", json_string(m->source));
    json_object_set_new(j, "state", json_string(directory_state_name(m->state)));
    json_object_set_new(j, "degraded", json_boolean(m->degraded));
    json_object_set_new(j, "last_error", text_or_null(m->last_error));
    json_object_set_new(j, "tenants", number(m->overrides));
    json_object_set_new(j, "shards", number(v->shard_count));
    return j;
}

static void dump(json_t *j, struct buf *out)
{
    char *s = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

    json_decref(j);
    if (!s) {
        out->failed = true;
        return;
    }
    buf_append(out, s, strlen(s));
    buf_append_byte(out, '\n');
    free(s);
}

static void set_identity(json_t *j, const struct instance_view *v)
{
    json_object_set_new(j, "instance", v->home_shard >= 0 ? json_integer(v->home_shard) : json_null());
    json_object_set_new(j, "region", text_or_null(v->region));
    json_object_set_new(j, "version", json_string(SHARDGATE_VERSION));
    json_object_set_new(j, "phase", json_string(phase_name(v->phase)));
    json_object_set_new(j, "ready", json_boolean(v->ready));
    json_object_set_new(j, "reason", text_or_null(v->reason));
}

unsigned http_render_ready(const struct instance_view *v, struct buf *out)
{
    json_t *j = json_object();

    set_identity(j, v);
    dump(j, out);
    return v->ready ? 200 : 503;
}

unsigned http_render_health(const struct instance_view *v, struct buf *out)
{
    json_t *j = json_object(), *shards = json_array();

    set_identity(j, v);
    json_object_set_new(j, "uptime_seconds", json_real((double)v->uptime_ms / 1000.0));
    json_object_set_new(j, "clients", number(v->clients));
    json_object_set_new(j, "clients_waiting", number(v->waiting));
    json_object_set_new(j, "workers", number(v->workers));
    json_object_set_new(j, "workers_responding", number(v->responding));
    json_object_set_new(j, "map", map_json(v));
    for (size_t i = 0; i < v->shard_count; i++) {
        json_t *s = shard_json(&v->shards[i]);
        json_object_set_new(s, "paused", json_boolean(v->shards[i].figures.paused));
        json_object_set_new(s, "server_connections", number(v->shards[i].figures.servers));
        json_array_append_new(shards, s);
    }
    json_object_set_new(j, "shards", shards);
    dump(j, out);
    return 200;
}

unsigned http_render_shard(const struct instance_view *v, int64_t shard, struct buf *out)
{
    const struct shard_view *s =
        shard >= INT16_MIN && shard <= INT16_MAX ? instance_view_shard(v, (int16_t)shard) : NULL;

    if (!s) {
        buf_append_str(out, STR("{\"error\": \"no such shard\"}\n"));
        return 404;
    }
    dump(shard_json(s), out);
    return s->usable ? 200 : 503;
}
