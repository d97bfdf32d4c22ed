/*
 * One load: a poll that finds news, or a reload.
 *
 *   IDLE ─► POLL ─(unchanged)─► IDLE
 *             │ news
 *   IDLE ───► BEGIN ─► SHARDS ─► COPY ─► COMMIT ─► BUILD (thread pool) ─► IDLE
 *
 * BEGIN to COMMIT is one read-only snapshot. Rows go into a builder as they come, which
 * is cheap; making the tables of them is done off the loop. Where the directory keeps
 * revisions, BEGIN also reads the one of the snapshot and with it decides whether
 * the changes since the map's revision are enough.
 *
 * What is wrong with the rows is noted and refuses the map, but the connection stays;
 * what is wrong with the connection or a statement ends in directory_failed, which
 * closes it and drops the load.
 */
#include <inttypes.h>
#include <string.h>

#include "directory_private.h"

static void run(struct directory *d, enum load_step step, const char *sql, uint64_t timeout_ms);

static void finish(struct directory *d)
{
    struct load *l = &d->load;

    map_builder_free(l->builder);
    map_unref(l->old);
    map_unref(l->built);
    l->builder = NULL;
    l->old = l->built = NULL;
    l->step = LOAD_IDLE;
}

static void refuse(struct directory *d, const struct error *e)
{
    if (!d->load.refused) { /* the first reason */
        d->load.refused = true;
        d->load.error = *e;
    }
}

/* ---- building (thread pool, then the loop) ----------------------------------- */

static void on_build(struct work *w)
{
    struct load *l = container_of(w, struct load, work);
    struct map_builder *b = l->builder;

    l->builder = NULL;
    l->built = map_builder_finish(b, l->old, l->limits, &l->error);
    l->same = l->built && l->old && l->full && !l->forced && map_revision(l->old) == map_revision(l->built) &&
              map_same(l->old, l->built);
}

/* The connection may have gone in the meantime: what it brought is still good. */
static void on_built(struct work *w)
{
    struct load *l = container_of(w, struct load, work);
    struct directory *d = container_of(l, struct directory, load);
    struct map *m = l->built;
    bool same = l->same;

    l->built = NULL;
    finish(d);
    if (d->stopping) {
        map_unref(m);
    } else if (l->abandoned) {
        map_unref(m);
        directory_next(d);
    } else if (!m) {
        directory_load_refused(d, &l->error);
    } else {
        str_copy(d->origin, sizeof(d->origin), str_from(l->origin));
        if (same) {
            map_unref(m);
            directory_load_unchanged(d);
        } else {
            directory_load_published(d, m);
        }
    }
    directory_work_end(d);
}

static void build(struct directory *d)
{
    struct load *l = &d->load;
    struct error e;

    l->step = LOAD_BUILD;
    l->limits = (struct map_limits){d->conf->directory_max_shard_loss, d->conf->directory_max_tenant_loss};
    l->work.run = on_build;
    l->work.done = on_built;
    error_clear(&l->error);
    directory_work_begin(d);
    if (!work_submit(d->loop, &l->work)) {
        error_set(&e, ERR_DIRECTORY, "no thread to build the map");
        finish(d);
        directory_work_end(d);
        directory_failed(d, &e);
    }
}

/* ---- rows --------------------------------------------------------------------- */

static bool bool_of(const char *text) { return text && *text == '1'; }

static bool range_of(struct map_shard *s, const char *min, const char *max, struct error *e)
{
    if (!min != !max)
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d has only half a range: %s_tenant_id is NULL",
                         s->id, min ? "max" : "min");
    s->has_range = min;
    if (min && !(str_to_i64(str_from(min), &s->min) && str_to_i64(str_from(max), &s->max)))
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d has a range that is not numbers", s->id);
    return true;
}

static bool add_shard(struct directory *d, const struct pqresult *r, int row, struct error *e)
{
    struct map_shard s = {0};
    const char *id = pqresult_value(r, row, 0), *region = pqresult_value(r, row, 1);
    const char *datacenter = pqresult_value(r, row, 2), *conninfo = pqresult_value(r, row, 3);
    int64_t number;

    if (!id || !str_to_i64(str_from(id), &number) || number < INT16_MIN || number > INT16_MAX)
        return error_set(e, ERR_MAP_INVALID, "shard_config: a shard_id is not a smallint");
    s.id = (int16_t)number;
    if (!str_copy(s.region, sizeof(s.region), str_from(region ? region : "")))
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d: region_code is longer than 3 bytes", s.id);
    str_copy(s.datacenter, sizeof(s.datacenter), str_from(datacenter ? datacenter : "")); /* for people */
    s.primary = bool_of(pqresult_value(r, row, 4));
    s.active = bool_of(pqresult_value(r, row, 5));
    if (!range_of(&s, pqresult_value(r, row, 6), pqresult_value(r, row, 7), e))
        return false;
    s.conninfo = conninfo ? mem_strdup(conninfo) : NULL;
    bool ok = map_builder_shard(d->load.builder, &s, e);
    if (s.conninfo)
        mem_free_secret(s.conninfo, strlen(s.conninfo));
    return ok;
}

static bool on_row(void *ctx, const struct copy_row *row)
{
    struct directory *d = ctx;
    struct load *l = &d->load;
    struct error e;
    bool ok;

    if (row->no_shard && l->full) {
        error_set(&e, ERR_MAP_INVALID, "tenant_shard_map: tenant %" PRId64 " has no shard_id", row->tenant);
        refuse(d, &e);
        return true;
    }
    ok = row->no_shard ? map_builder_remove(l->builder, row->tenant)
                       : map_builder_override(l->builder, row->tenant, row->shard, MAP_OVERRIDE);
    if (!ok)
        error_set(&l->error, ERR_OUT_OF_MEMORY, "no memory for the tenants of the directory");
    return ok;
}

static bool on_copy(void *ctx, const char *data, size_t len)
{
    struct directory *d = ctx;

    return copy_reader_feed(&d->load.reader, data, len, &d->load.error);
}

/* ---- the transaction ------------------------------------------------------------ */

static void commit(struct directory *d) { run(d, LOAD_COMMIT, "COMMIT", (uint64_t)d->conf->directory_timeout); }

/* revision, deltas_from. False: not as it should be. */
static bool read_revision(const struct pqresult *r, uint64_t *revision, uint64_t *deltas_from, struct error *e)
{
    const char *a = pqresult_rows(r) == 1 ? pqresult_value(r, 0, 0) : NULL;
    const char *b = a ? pqresult_value(r, 0, 1) : NULL;

    if (!a || !b || !str_to_u64(str_from(a), revision) || !str_to_u64(str_from(b), deltas_from))
        return error_set(e, ERR_DIRECTORY, "shard_map_revision does not hold one row of numbers");
    return true;
}

static void after_poll(struct directory *d, const struct pqresult *r)
{
    uint64_t revision = 0, deltas_from = 0;
    struct error e;

    d->load.step = LOAD_IDLE;
    if (!read_revision(r, &revision, &deltas_from, &e))
        directory_failed(d, &e);
    else if (d->map && revision == map_revision(d->map))
        directory_load_unchanged(d);
    else if (revision == d->refused_revision)
        directory_load_refused(d, NULL);
    else
        load_start(d, false, false);
}

static bool delta_is_enough(const struct directory *d, uint64_t revision, uint64_t deltas_from)
{
    return d->map && !d->from_cache && *d->origin && strcmp(d->origin, d->new_origin) == 0 &&
           map_revision(d->map) <= revision && map_revision(d->map) >= deltas_from && map_revision(d->map) > 0;
}

static void after_begin(struct directory *d, const struct pqresult *r)
{
    struct load *l = &d->load;
    uint64_t deltas_from = 0;
    struct error e;
    struct buf sql;

    if (d->tracked && !read_revision(r, &l->revision, &deltas_from, &e)) {
        directory_failed(d, &e);
        return;
    }
    if (!d->tracked || !delta_is_enough(d, l->revision, deltas_from))
        l->full = true;
    l->old = d->map ? map_ref(d->map) : NULL;
    if (l->full) {
        l->builder = map_builder_new(l->revision);
        map_builder_reserve(l->builder, l->old ? map_override_count(l->old) : 0);
    } else {
        l->builder = map_builder_delta(l->old, l->revision);
    }
    buf_init(&sql, 0);
    directory_sql_shards(&sql, &d->names);
    run(d, LOAD_SHARDS, buf_head(&sql), (uint64_t)d->conf->directory_timeout);
    buf_fini(&sql);
}

static void after_shards(struct directory *d, const struct pqresult *r)
{
    struct load *l = &d->load;
    struct error e;
    struct buf sql;

    if (pqresult_rows(r) == 0) { /* a delta would take it as unchanged */
        error_set(&e, ERR_MAP_INVALID, "shard_config has no shard");
        refuse(d, &e);
    }
    for (int i = 0; i < pqresult_rows(r) && !l->refused; i++)
        if (!add_shard(d, r, i, &e))
            refuse(d, &e);
    if (l->refused) {
        commit(d);
        return;
    }
    copy_reader_init(&l->reader, on_row, d);
    buf_init(&sql, 0);
    if (l->full)
        directory_sql_overrides(&sql, &d->names);
    else
        directory_sql_delta(&sql, &d->names, map_revision(l->old));
    run(d, LOAD_COPY, buf_head(&sql), (uint64_t)d->conf->directory_load_timeout);
    buf_fini(&sql);
}

static void after_copy(struct directory *d)
{
    struct error e;

    if (!copy_reader_ended(&d->load.reader)) {
        error_set(&e, ERR_DIRECTORY, "the copy of tenant_shard_map has no end");
        directory_failed(d, &e);
        return;
    }
    commit(d);
}

static void after_commit(struct directory *d)
{
    struct error e = d->load.error;

    if (!d->load.refused) {
        build(d);
        return;
    }
    finish(d);
    directory_load_refused(d, &e);
}

static void on_done(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct directory *d = ctx;
    struct load *l = &d->load;

    if (e) {
        /* A reader that gave up knows better why. */
        struct error why = l->step == LOAD_COPY && l->error.code != ERR_OK && !l->refused ? l->error : *e;

        directory_failed(d, &why);
        return;
    }
    switch (l->step) {
    case LOAD_POLL:
        after_poll(d, r);
        break;
    case LOAD_BEGIN:
        after_begin(d, r);
        break;
    case LOAD_SHARDS:
        after_shards(d, r);
        break;
    case LOAD_COPY:
        after_copy(d);
        break;
    case LOAD_COMMIT:
        after_commit(d);
        break;
    case LOAD_IDLE:
    case LOAD_BUILD:
        break;
    }
}

static void run(struct directory *d, enum load_step step, const char *sql, uint64_t timeout_ms)
{
    struct pqquery q = {.on_copy = on_copy, .on_done = on_done, .ctx = d, .timeout_ms = timeout_ms};
    struct error e;

    d->load.step = step;
    if (pqconn_query(d->conn, sql, 0, NULL, &q))
        return;
    error_set(&e, ERR_DIRECTORY, "the connection to the directory is gone");
    directory_failed(d, &e);
}

void load_poll(struct directory *d)
{
    struct buf sql;

    buf_init(&sql, 0);
    directory_sql_poll(&sql, &d->names);
    run(d, LOAD_POLL, buf_head(&sql), (uint64_t)d->conf->directory_timeout);
    buf_fini(&sql);
}

void load_start(struct directory *d, bool full, bool forced)
{
    struct load *l = &d->load;
    struct buf sql;

    l->full = full;
    l->forced = forced;
    l->refused = l->abandoned = false;
    l->revision = 0;
    l->started_ms = loop_now_ms(d->loop);
    str_copy(l->origin, sizeof(l->origin), str_from(d->new_origin));
    error_clear(&l->error);
    buf_init(&sql, 0);
    directory_sql_begin(&sql, &d->names, d->tracked);
    run(d, LOAD_BEGIN, buf_head(&sql), (uint64_t)d->conf->directory_timeout);
    buf_fini(&sql);
}

void load_drop(struct directory *d)
{
    if (d->load.step != LOAD_BUILD) /* on_built finishes that */
        finish(d);
}
