/*
 * SHOW commands whose rows come from the workers: rows are written in each
 * worker's thread, figures are added up here.
 */
#include "console.h"

#include "instance_view.h"
#include "ops_state.h"

/* ---- rows of one worker, in its thread -------------------------------------- */

static void on_pool(void *ctx, const struct pool_info *i)
{
    struct gather_part *p = ctx;
    struct console_row row = {.count = 0};

    row_uint(&row, p->worker);
    row_int(&row, i->shard_id);
    row_text(&row, i->database);
    row_text(&row, i->user);
    row_text(&row, i->mode == CONF_MODE_SESSION ? "session" : "transaction");
    row_uint(&row, i->waiting);
    row_uint(&row, i->active);
    row_uint(&row, i->idle);
    row_uint(&row, i->connecting);
    row_uint(&row, i->other);
    row_uint(&row, i->oldest_wait_ms);
    row_bool(&row, i->paused);
    row_put(&row, &p->rows);
}

static void on_client(void *ctx, const struct session_info *i)
{
    struct gather_part *p = ctx;
    struct console_row row = {.count = 0};

    row_uint(&row, i->id);
    row_uint(&row, p->worker);
    row_text(&row, i->user);
    row_text(&row, i->database);
    row_text(&row, i->address);
    row_uint(&row, i->port);
    row_text(&row, i->application);
    row_text(&row, i->state);
    if (i->has_tenant)
        row_int(&row, i->tenant);
    else
        row_null(&row);
    row_text(&row, i->has_tenant ? i->source : NULL);
    if (i->shard_id >= 0)
        row_int(&row, i->shard_id);
    else
        row_null(&row);
    if (i->server_id)
        row_uint(&row, i->server_id);
    else
        row_null(&row);
    row_text(&row, i->pinned);
    row_uint(&row, i->connected_ms);
    row_uint(&row, i->wait_ms);
    row_put(&row, &p->rows);
}

static void on_server(void *ctx, const struct server_info *i)
{
    struct gather_part *p = ctx;
    struct console_row row = {.count = 0};

    row_uint(&row, i->id);
    row_uint(&row, p->worker);
    row_int(&row, i->shard_id);
    row_text(&row, i->database);
    row_text(&row, i->user);
    row_text(&row, i->state);
    row_int(&row, i->pid);
    row_bool(&row, i->tls);
    row_bool(&row, i->dirty);
    row_uint(&row, i->age_ms);
    row_uint(&row, i->idle_ms);
    row_put(&row, &p->rows);
}

static void collect_pools(struct gather_part *p, struct ops_worker *w) { pools_each(w->pools, on_pool, p); }

static void collect_clients(struct gather_part *p, struct ops_worker *w) { sessions_each(w->sessions, on_client, p); }

static void collect_servers(struct gather_part *p, struct ops_worker *w) { pools_each_server(w->pools, on_server, p); }

/* ---- on the control thread --------------------------------------------------- */

static void on_rows(struct gather *g, void *ctx)
{
    console_put_parts(ctx, g);
    console_done(ctx, NULL);
}

static void put_worker(struct buf *out, const struct gather_part *p)
{
    struct console_row row = {.count = 0};
    uint64_t servers = 0;

    row_uint(&row, p->worker);
    row_bool(&row, p->answered);
    if (p->answered) {
        for (size_t i = 0; i < p->figures.shard_count; i++)
            servers += p->figures.shards[i].servers;
        row_uint(&row, p->figures.clients);
        row_uint(&row, p->figures.waiting);
        row_uint(&row, servers);
        row_uint(&row, p->figures.active);
    } else {
        for (int i = 0; i < 4; i++)
            row_null(&row);
    }
    row_put(&row, out);
}

static void on_workers(struct gather *g, void *ctx)
{
    for (unsigned i = 0; i < g->count; i++)
        put_worker(console_out(ctx), &g->parts[i]);
    console_done(ctx, NULL);
}

static void put_shard(struct buf *out, const struct shard_view *s)
{
    struct console_row row = {.count = 0};

    row_int(&row, s->id);
    row_text(&row, s->region);
    row_text(&row, s->datacenter);
    row_bool(&row, s->primary);
    row_bool(&row, s->active);
    if (s->has_range) {
        row_int(&row, s->min);
        row_int(&row, s->max);
    } else {
        row_null(&row);
        row_null(&row);
    }
    row_text(&row, health_state_name(s->health));
    row_bool(&row, s->usable);
    if (s->health == HEALTH_UP)
        row_milli(&row, s->latency_us);
    else
        row_null(&row);
    if (s->checked)
        row_milli(&row, s->checked_ago_ms);
    else
        row_null(&row);
    row_bool(&row, s->figures.paused);
    row_bool(&row, s->figures.backing_off);
    row_uint(&row, s->figures.servers);
    row_uint(&row, s->figures.waiting);
    row_text(&row, s->error[0] ? s->error : NULL);
    row_put(&row, out);
}

static void put_average(struct console_row *row, const struct histogram_figures *h)
{
    uint64_t count = histogram_figures_count(h);

    if (count)
        row_milli(row, h->sum_ns / count / 1000);
    else
        row_null(row);
}

static void put_stats(struct buf *out, const struct shard_view *s)
{
    struct console_row row = {.count = 0};

    row_int(&row, s->id);
    row_text(&row, s->region);
    for (size_t i = 0; i < SHARD_COUNTER__COUNT; i++)
        row_uint(&row, s->figures.v[i]);
    put_average(&row, &s->figures.h[SHARD_QUERY_TIME]);
    put_average(&row, &s->figures.h[SHARD_WAIT_TIME]);
    row_put(&row, out);
}

static void put_shards(struct gather *g, struct console_run *r,
                       void (*put)(struct buf *out, const struct shard_view *s))
{
    struct instance_view *v = instance_view_new(&r->ops->env, g);

    for (size_t i = 0; i < v->shard_count; i++)
        put(console_out(r), &v->shards[i]);
    instance_view_free(v);
    console_note_missing(r, g);
    console_done(r, NULL);
}

static void on_shards(struct gather *g, void *ctx) { put_shards(g, ctx, put_shard); }

static void on_stats(struct gather *g, void *ctx) { put_shards(g, ctx, put_stats); }

void console_show_pools(struct console_run *r) { console_ask(r, collect_pools, on_rows); }

void console_show_clients(struct console_run *r) { console_ask(r, collect_clients, on_rows); }

void console_show_servers(struct console_run *r) { console_ask(r, collect_servers, on_rows); }

void console_show_workers(struct console_run *r) { console_ask(r, gather_figures, on_workers); }

void console_show_shards(struct console_run *r) { console_ask(r, gather_figures, on_shards); }

void console_show_stats(struct console_run *r) { console_ask(r, gather_figures, on_stats); }
