/*
 * Look-ups of tenants that the map does not hold, on a connection of their own, so
 * that they wait for no load. One query is under way at a time and takes all that
 * have queued up meanwhile: under load the batches grow instead of the queue.
 *
 *   directory_lookup ─► in the map by now, look-ups off, known miss ─► told next turn
 *                    ─► the tenant is being asked for ─► joins
 *                    ─► queued ─► asked ─► found: published as learned ─► told
 *                                      └─► not found: a miss for negative_ttl ─► told
 *
 * A learned entry must not hide a later change. The query therefore returns the
 * revision of its snapshot: an answer older than the map is asked for again; a change
 * after it comes by a delta and wins. Without revisions the next full load corrects it.
 */
#include <inttypes.h>
#include <string.h>

#include "directory_private.h"

#define LOOKUPS_MAX 10000 /* tenants being asked for */
#define MISSES_MAX 10000
#define BATCH_MAX 1000
#define RETRY_MS 1000
#define STALE_MAX 5

struct lookup {
    UT_hash_handle hh;
    int64_t tenant;
    struct ilist node; /* lookups.queued or .asked */
    struct ilist waiters;
    bool found;
    int16_t shard;
};

struct waiter {
    struct ilist node; /* lookup.waiters or lookups.answers */
    int64_t tenant;
    void (*done)(void *ctx, int64_t tenant, bool found, const struct error *e);
    void *ctx;
    bool found;
    struct error error; /* code ERR_OK: none */
};

struct miss {
    UT_hash_handle hh;
    int64_t tenant;
    uint64_t until_ms;
    struct ilist node;
};

static void pump(struct directory *d);

/* ---- known misses ------------------------------------------------------------- */

static void forget(struct lookups *l, struct miss *m)
{
    HASH_DEL(l->misses, m);
    ilist_remove(&m->node);
    mem_free(m);
}

static bool known_miss(struct directory *d, int64_t tenant)
{
    struct lookups *l = &d->lookups;
    struct miss *m;

    HASH_FIND(hh, l->misses, &tenant, sizeof(tenant), m);
    if (m && m->until_ms <= loop_now_ms(d->loop)) {
        forget(l, m);
        m = NULL;
    }
    return m;
}

static void remember_miss(struct directory *d, int64_t tenant)
{
    struct lookups *l = &d->lookups;
    struct miss *m;

    if (d->conf->directory_negative_ttl == 0 || known_miss(d, tenant))
        return;
    if (HASH_COUNT(l->misses) >= MISSES_MAX)
        forget(l, container_of(ilist_first(&l->miss_order), struct miss, node));
    m = mem_zalloc(sizeof(*m));
    m->tenant = tenant;
    m->until_ms = loop_now_ms(d->loop) + (uint64_t)d->conf->directory_negative_ttl;
    HASH_ADD(hh, l->misses, tenant, sizeof(m->tenant), m);
    ilist_push_back(&l->miss_order, &m->node);
}

void lookups_forget_misses(struct directory *d)
{
    struct ilist *node;

    while ((node = ilist_first(&d->lookups.miss_order)))
        forget(&d->lookups, container_of(node, struct miss, node));
}

/* ---- answers --------------------------------------------------------------------- */

static void tell(struct waiter *w)
{
    w->done(w->ctx, w->tenant, w->found, w->error.code == ERR_OK ? NULL : &w->error);
    mem_free(w);
}

static void on_answer_timer(void *ctx)
{
    struct directory *d = ctx;
    struct ilist *node;

    while ((node = ilist_pop_front(&d->lookups.answers)))
        tell(container_of(node, struct waiter, node));
}

static void tell_later(struct directory *d, struct waiter *w, bool found, const struct error *e)
{
    w->found = found;
    if (e)
        w->error = *e;
    ilist_push_back(&d->lookups.answers, &w->node);
    timer_start(d->lookups.answer_timer, 0, 0);
}

/* Frees the look-up; its waiters are told when this turn's work is done. */
static void settle(struct directory *d, struct lookup *k, bool found, const struct error *e)
{
    struct ilist *node;

    ilist_remove(&k->node);
    HASH_DEL(d->lookups.all, k);
    while ((node = ilist_pop_front(&k->waiters)))
        tell_later(d, container_of(node, struct waiter, node), found, e);
    mem_free(k);
}

static void settle_all(struct directory *d, const struct error *e)
{
    struct lookups *l = &d->lookups;
    struct ilist *node;

    while ((node = ilist_first(&l->asked)) || (node = ilist_first(&l->queued)))
        settle(d, container_of(node, struct lookup, node), false, e);
}

static void fail(struct directory *d, const struct error *why)
{
    struct lookups *l = &d->lookups;

    l->error = *why;
    l->error.code = ERR_DIRECTORY;
    pqconn_close(l->conn);
    l->conn = NULL;
    l->connected = l->asking = false;
    l->stale = 0;
    l->retry_at_ms = loop_now_ms(d->loop) + RETRY_MS;
    counter_add(&d->counters, COUNTER_DIRECTORY_ERRORS, 1);
    log_event(LOG_WARN, "tenants cannot be looked up in the directory", log_err(&l->error));
    settle_all(d, &l->error);
}

/* ---- the answer of a query ---------------------------------------------------------- */

/* What the tenants found now have, on top of the map. False: e says why not. */
static bool publish(struct directory *d, struct error *e)
{
    struct map_builder *b = map_builder_delta(d->map, map_revision(d->map));
    struct map *m;
    size_t found = 0;

    ILIST_EACH (node, &d->lookups.asked) {
        struct lookup *k = container_of(node, struct lookup, node);

        if (k->found && map_override(d->map, k->tenant).kind == SLOT_NONE) {
            (void)map_builder_override(b, k->tenant, k->shard, MAP_LEARNED); /* finish tells a failure */
            found++;
        }
    }
    if (found == 0) {
        map_builder_free(b);
        return true;
    }
    m = map_builder_finish(b, d->map, (struct map_limits){100, 100}, e);
    if (!m)
        return false;
    directory_publish(d, m);
    log_event(LOG_INFO, "tenants learned", log_int("tenants", found), log_int("generation", map_generation(m)));
    return true;
}

static bool number(const struct pqresult *r, int row, int column, int64_t *out)
{
    const char *text = pqresult_value(r, row, column);

    return text && str_to_i64(str_from(text), out);
}

/* Notes what was found in the look-ups. `news`: a shard that the map does not know. */
static bool take_rows(struct directory *d, const struct pqresult *r, uint64_t *revision, bool *news)
{
    for (int i = 0; i < pqresult_rows(r); i++) {
        struct lookup *k;
        int64_t tenant, shard, at;

        if (!number(r, i, 2, &at))
            return false;
        *revision = (uint64_t)at;
        if (!pqresult_value(r, i, 0))
            continue; /* the row of the revision alone */
        if (!number(r, i, 0, &tenant) || !number(r, i, 1, &shard) || shard < 0 || shard > INT16_MAX)
            return false;
        HASH_FIND(hh, d->lookups.all, &tenant, sizeof(tenant), k);
        if (!k)
            continue;
        k->shard = (int16_t)shard;
        k->found = map_shard_by_id(d->map, k->shard);
        *news = *news || !k->found;
    }
    return true;
}

static void on_rows(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct directory *d = ctx;
    struct lookups *l = &d->lookups;
    struct ilist *node;
    uint64_t revision = 0;
    bool news = false;
    struct error why;

    l->asking = false;
    if (e) {
        fail(d, e);
        return;
    }
    if (!take_rows(d, r, &revision, &news)) {
        error_set(&why, ERR_DIRECTORY, "tenant_shard_map holds something that is not a tenant on a shard");
        fail(d, &why);
        return;
    }
    if (d->tracked && revision < map_revision(d->map)) { /* older than the map: once more */
        if (++l->stale > STALE_MAX) {
            error_set(&why, ERR_DIRECTORY, "look-ups see revision %" PRIu64 " and the map has %" PRIu64, revision,
                      map_revision(d->map));
            fail(d, &why); /* as by a standby that lags behind */
            return;
        }
        while ((node = ilist_pop_front(&l->asked)))
            ilist_push_back(&l->queued, node);
        pump(d);
        return;
    }
    l->stale = 0;
    news = news || (d->tracked && revision > map_revision(d->map));
    if (!publish(d, &why)) {
        fail(d, &why);
        return;
    }
    while ((node = ilist_first(&l->asked))) {
        struct lookup *k = container_of(node, struct lookup, node);
        bool found = map_lookup(d->map, k->tenant, NULL);

        if (!found && !news)
            remember_miss(d, k->tenant);
        settle(d, k, found, NULL);
    }
    on_answer_timer(d);
    if (news && !d->stopping)
        directory_poll_soon(d);
    if (!d->stopping)
        pump(d);
}

/* ---- asking ------------------------------------------------------------------------- */

static void ask(struct directory *d)
{
    struct lookups *l = &d->lookups;
    struct pqquery q = {.on_done = on_rows, .ctx = d, .timeout_ms = (uint64_t)d->conf->directory_timeout};
    struct buf sql, array;
    struct ilist *node;
    struct error e;
    const char *params[1];
    char comma = '{';

    buf_init(&sql, 0);
    buf_init(&array, 0);
    directory_sql_lookup(&sql, &d->names, d->tracked);
    for (int n = 0; n < BATCH_MAX && (node = ilist_pop_front(&l->queued)); n++) {
        struct lookup *k = container_of(node, struct lookup, node);

        k->found = false;
        buf_printf(&array, "%c%" PRId64, comma, k->tenant);
        comma = ',';
        ilist_push_back(&l->asked, node);
    }
    buf_append(&array, "}", 2);
    params[0] = buf_head(&array);
    l->asking = true;
    if (!pqconn_query(l->conn, buf_head(&sql), 1, params, &q)) {
        error_set(&e, ERR_DIRECTORY, "the connection for look-ups is gone");
        fail(d, &e);
    }
    buf_fini(&sql);
    buf_fini(&array);
}

/* Lost between queries: the next one connects anew. */
static void on_idle_event(void *ctx, const char *channel, const char *payload, const struct error *e)
{
    struct directory *d = ctx;

    (void)channel;
    (void)payload;
    if (!e)
        return;
    pqconn_close(d->lookups.conn);
    d->lookups.conn = NULL;
    d->lookups.connected = false;
}

static void on_connected(struct pqconn *c, void *ctx, const struct error *e)
{
    struct directory *d = ctx;

    if (e) {
        fail(d, e);
        return;
    }
    d->lookups.connected = true;
    pqconn_on_idle_event(c, on_idle_event, d);
    pump(d);
}

static void pump(struct directory *d)
{
    struct lookups *l = &d->lookups;

    if (ilist_empty(&l->queued) || l->asking)
        return;
    if (l->connected) {
        ask(d);
    } else if (!l->conn && loop_now_ms(d->loop) < l->retry_at_ms) {
        settle_all(d, &l->error);
    } else if (!l->conn) {
        struct pqconn_options o = {
            .conninfo = d->conf->directory_connection,
            .fallback_password = d->conf->directory_password,
            .application_name = "shardgate lookup",
            .timeout_ms = (uint64_t)d->conf->directory_timeout,
        };

        l->conn = pqconn_open(d->loop, &o, on_connected, d);
    }
}

static void enqueue(struct directory *d, struct waiter *w)
{
    struct lookups *l = &d->lookups;
    struct error e;
    struct lookup *k;

    HASH_FIND(hh, l->all, &w->tenant, sizeof(w->tenant), k);
    if (!k && HASH_COUNT(l->all) >= LOOKUPS_MAX) {
        error_set(&e, ERR_DIRECTORY, "%d tenants are being looked up already", LOOKUPS_MAX);
        tell_later(d, w, false, &e);
        return;
    }
    if (!k) {
        k = mem_zalloc(sizeof(*k));
        k->tenant = w->tenant;
        ilist_init(&k->waiters);
        HASH_ADD(hh, l->all, tenant, sizeof(k->tenant), k);
        ilist_push_back(&l->queued, &k->node);
        counter_add(&d->counters, COUNTER_MAP_MISSES, 1);
    }
    ilist_push_back(&k->waiters, &w->node);
    pump(d);
}

void lookups_init(struct directory *d)
{
    struct lookups *l = &d->lookups;

    ilist_init(&l->queued);
    ilist_init(&l->asked);
    ilist_init(&l->miss_order);
    ilist_init(&l->answers);
    l->answer_timer = timer_new(d->loop, on_answer_timer, d);
}

void lookups_reset(struct directory *d)
{
    struct lookups *l = &d->lookups;
    struct ilist *node;

    pqconn_close(l->conn);
    l->conn = NULL;
    l->connected = l->asking = false;
    l->retry_at_ms = 0;
    lookups_forget_misses(d);
    while ((node = ilist_pop_front(&l->asked)))
        ilist_push_back(&l->queued, node);
    pump(d);
}

void lookups_fini(struct directory *d, const struct error *e)
{
    struct lookups *l = &d->lookups;

    pqconn_close(l->conn);
    l->conn = NULL;
    settle_all(d, e);
    on_answer_timer(d);
    lookups_forget_misses(d);
    timer_free(l->answer_timer);
}

void directory_lookup(struct directory *d, int64_t tenant,
                      void (*done)(void *ctx, int64_t tenant, bool found, const struct error *e), void *ctx)
{
    struct waiter *w = mem_zalloc(sizeof(*w));
    struct error e;

    w->tenant = tenant;
    w->done = done;
    w->ctx = ctx;
    if (d->stopping) {
        /* No timer any more, and no one left to wait for it. */
        error_set(&w->error, ERR_SHUTTING_DOWN, "the directory is not followed any more");
        tell(w);
    } else if (!d->map) {
        error_set(&e, ERR_MAP_NOT_LOADED, "no map yet");
        tell_later(d, w, false, &e);
    } else if (map_lookup(d->map, tenant, NULL)) {
        tell_later(d, w, true, NULL);
    } else if (!d->conf->directory_lookup || known_miss(d, tenant)) {
        tell_later(d, w, false, NULL);
    } else {
        enqueue(d, w);
    }
}
