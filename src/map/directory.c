/*
 * Following the directory: connect, load the map, hear of changes, and come back
 * after failures. The map that was good last stays in use whatever happens.
 *
 *            directory_start
 *   OFF ───────────────────────► CONNECTING ◄──────────────────┐
 *    ▲                             │     │                      │ timer
 *    │                   connected │     │ failed               │
 *    │ directory_stop              ▼     └────────────────► FAILED
 *    │ (from any)      LOADING ◄────────► FOLLOWING             ▲
 *    └───────────         │   full load       │                 │
 *                         └───────────────────┴── failed, lost ─┘
 *
 * LOADING is a full load; FOLLOWING polls and reads deltas. News that arrive while one
 * of these runs (poll_wanted, waiting requests) are taken up when it has ended: there is
 * one conversation with the directory at a time, beside look-ups, which have a
 * connection of their own (directory_lookup.c).
 *
 * A map is built off the loop (directory_load.c). If the connection goes while that runs,
 * the build goes on and its map is published; a new connection waits for it.
 */
#include <string.h>

#include "directory_private.h"

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 15000
/* News by a look-up ask for a poll at most this often. */
#define POLL_SOON_MS 1000

static const uint32_t allowed[] = {
    [DIRECTORY_OFF] = FSM_TO(DIRECTORY_CONNECTING),
    [DIRECTORY_CONNECTING] =
        FSM_TO(DIRECTORY_LOADING) | FSM_TO(DIRECTORY_FOLLOWING) | FSM_TO(DIRECTORY_FAILED) | FSM_TO(DIRECTORY_OFF),
    [DIRECTORY_LOADING] = FSM_TO(DIRECTORY_FOLLOWING) | FSM_TO(DIRECTORY_FAILED) | FSM_TO(DIRECTORY_OFF),
    [DIRECTORY_FOLLOWING] = FSM_TO(DIRECTORY_LOADING) | FSM_TO(DIRECTORY_FAILED) | FSM_TO(DIRECTORY_OFF),
    [DIRECTORY_FAILED] = FSM_TO(DIRECTORY_CONNECTING) | FSM_TO(DIRECTORY_OFF),
};

static void connect_now(struct directory *d);
static void follow(struct directory *d);

static void set_state(struct directory *d, enum directory_state to)
{
    if (d->state == to)
        return;
    if (!fsm_allows(allowed, d->state, to))
        log_event(LOG_ERROR, "directory: impossible move", log_str("from", directory_state_name(d->state)),
                  log_str("to", directory_state_name(to)));
    d->state = to;
}

uint64_t directory_jitter(struct directory *d, uint64_t ms)
{
    d->random = d->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ms - ms / 4 + (d->random >> 33) % (ms / 2 + 1);
}

/* ---- requests for a reload ------------------------------------------------------ */

static void answer(struct ilist *list, const struct error *e)
{
    struct ilist mine, *node;

    /* Away from the list first: a callback may ask again. */
    ilist_init(&mine);
    while ((node = ilist_pop_front(list)))
        ilist_push_back(&mine, node);
    while ((node = ilist_pop_front(&mine))) {
        struct reload_request *r = container_of(node, struct reload_request, node);

        if (r->done)
            r->done(r->ctx, e);
        mem_free(r);
    }
}

static void serve_waiting(struct directory *d)
{
    struct ilist *node;

    while ((node = ilist_pop_front(&d->waiting)))
        ilist_push_back(&d->serving, node);
}

/* ---- failures --------------------------------------------------------------------- */

static void note_failure(struct directory *d, const char *event, const struct error *e)
{
    /* Bare tables are read again at each poll: the same refusal is told once. */
    bool again = d->troubled && str_eq(str_from(d->last_error), str_from(e->cause));

    d->troubled = true;
    str_copy(d->last_error, sizeof(d->last_error), str_from(e->cause));
    log_event(again ? LOG_DEBUG : LOG_ERROR, event, log_err(e));
}

static void disconnect(struct directory *d)
{
    pqconn_close(d->conn);
    d->conn = NULL;
    d->follow_wanted = false;
    load_drop(d);
}

/* Closes the connection, whatever it was doing, and tries again later. */
void directory_failed(struct directory *d, const struct error *why)
{
    struct error e = *why; /* it may be the load's */
    bool loading = d->load.step > LOAD_POLL && d->load.step < LOAD_BUILD;

    if (e.code == ERR_SHARD_UNREACHABLE || e.code == ERR_SERVER_LOST || e.code == ERR_SHARD_STARTING)
        e.code = ERR_DIRECTORY; /* net speaks of shards; the texts are the server's */
    disconnect(d);
    counter_add(&d->counters, COUNTER_DIRECTORY_ERRORS, 1);
    if (loading || !ilist_empty(&d->waiting)) {
        d->failures++;
        counter_add(&d->counters, COUNTER_MAP_RELOAD_FAILURES, 1);
    }
    note_failure(d, "the directory cannot be read", &e);
    set_state(d, DIRECTORY_FAILED);
    timer_start(d->timer, directory_jitter(d, d->backoff_ms), 0);
    d->backoff_ms = d->backoff_ms * 2 < BACKOFF_MAX_MS ? d->backoff_ms * 2 : BACKOFF_MAX_MS;
    if (d->load.step != LOAD_BUILD)
        answer(&d->serving, &e);
    answer(&d->waiting, &e);
}

/* ---- what follows a load or a poll -------------------------------------------------- */

static void next_poll(struct directory *d)
{
    timer_start(d->timer, directory_jitter(d, (uint64_t)d->conf->directory_poll), 0);
}

/* The conversation has paused: take up what came meanwhile. */
void directory_next(struct directory *d)
{
    if (d->state == DIRECTORY_CONNECTING && d->follow_wanted) {
        d->follow_wanted = false;
        follow(d);
        return;
    }
    if (d->state != DIRECTORY_LOADING && d->state != DIRECTORY_FOLLOWING)
        return; /* an orphaned build has ended */
    set_state(d, DIRECTORY_FOLLOWING);
    d->backoff_ms = BACKOFF_FIRST_MS;
    next_poll(d);
    if (!ilist_empty(&d->waiting) || d->poll_wanted)
        follow(d);
}

static void note_success(struct directory *d)
{
    if (d->troubled)
        log_event(LOG_INFO, "the directory is followed again");
    d->troubled = false;
    d->from_cache = false;
    d->last_error[0] = '\0';
    d->refused_revision = 0;
    d->confirmed_ms = loop_now_ms(d->loop);
}

void directory_publish(struct directory *d, struct map *m)
{
    struct map *before = d->map;

    map_set_generation(m, before ? map_generation(before) + 1 : 1);
    d->map = m;
    d->events.on_map(d->events.ctx, m);
    map_unref(before);
}

void directory_load_published(struct directory *d, struct map *m)
{
    bool whole = d->load.full;
    uint64_t took = loop_now_ms(d->loop) - d->load.started_ms;

    if (whole)
        d->load_ms = took;
    d->reloads++;
    counter_add(&d->counters, COUNTER_MAP_RELOADS, 1);
    note_success(d);
    lookups_forget_misses(d);
    directory_publish(d, m);
    log_event(whole ? LOG_INFO : LOG_DEBUG, "map published", log_str("from", whole ? "full load" : "delta"),
              log_int("revision", map_revision(m)), log_int("generation", map_generation(m)),
              log_int("shards", map_shard_count(m)), log_int("overrides", map_override_count(m)), log_int("ms", took));
    cache_map_changed(d, whole);
    if (whole)
        answer(&d->serving, NULL);
    directory_next(d);
}

void directory_load_unchanged(struct directory *d)
{
    note_success(d);
    answer(&d->serving, NULL);
    directory_next(d);
}

/* e NULL: what was refused before has not changed. */
void directory_load_refused(struct directory *d, const struct error *why)
{
    if (why) {
        struct error e = *why;

        d->failures++;
        counter_add(&d->counters, COUNTER_MAP_RELOAD_FAILURES, 1);
        d->refused_revision = d->load.revision;
        note_failure(d, "map refused, the old one stays", &e);
        answer(&d->serving, &e);
    }
    directory_next(d);
}

/* ---- following ------------------------------------------------------------------------ */

static bool same_origin(const struct directory *d) { return *d->origin && strcmp(d->origin, d->new_origin) == 0; }

/* Begins whatever is due on a connection that is ready and idle. */
static void follow(struct directory *d)
{
    bool asked = !ilist_empty(&d->waiting);

    d->poll_wanted = false;
    d->polled_ms = loop_now_ms(d->loop);
    timer_stop(d->timer);
    if (asked || !d->map || d->from_cache || (d->tracked && !same_origin(d))) {
        serve_waiting(d);
        set_state(d, DIRECTORY_LOADING);
        load_start(d, true, asked);
        return;
    }
    set_state(d, DIRECTORY_FOLLOWING);
    if (d->tracked)
        load_poll(d);
    else
        load_start(d, true, false);
}

static bool idle(const struct directory *d) { return d->state == DIRECTORY_FOLLOWING && d->load.step == LOAD_IDLE; }

void directory_poll_soon(struct directory *d)
{
    if (loop_now_ms(d->loop) - d->polled_ms < POLL_SOON_MS)
        return;
    if (idle(d))
        follow(d);
    else
        d->poll_wanted = true;
}

static void on_timer(void *ctx)
{
    struct directory *d = ctx;

    if (d->state == DIRECTORY_FAILED)
        connect_now(d);
    else if (idle(d))
        follow(d);
}

static void on_idle_event(void *ctx, const char *channel, const char *payload, const struct error *e)
{
    struct directory *d = ctx;

    (void)channel;
    (void)payload; /* the revision; the poll reads it in a snapshot */
    if (e)
        directory_failed(d, e);
    else if (idle(d))
        follow(d);
    else
        d->poll_wanted = true;
}

/* ---- connecting ------------------------------------------------------------------------- */

static void ask(struct directory *d, const char *sql, int count, const char *const *params,
                void (*on_done)(void *ctx, const struct pqresult *r, const struct error *e))
{
    struct pqquery q = {.on_done = on_done, .ctx = d, .timeout_ms = (uint64_t)d->conf->directory_timeout};
    struct error e;

    if (pqconn_query(d->conn, sql, count, params, &q))
        return;
    error_set(&e, ERR_DIRECTORY, "the connection to the directory is gone");
    directory_failed(d, &e);
}

static void ready(struct directory *d)
{
    log_event(LOG_INFO, "directory connected", log_int("pid", pqconn_pid(d->conn)),
              log_str("changes", d->tracked ? "by revision" : "by reading all"));
    pqconn_on_idle_event(d->conn, on_idle_event, d);
    if (d->load.step == LOAD_BUILD)
        d->follow_wanted = true;
    else
        follow(d);
}

/* A directory that cannot LISTEN (a standby, a pooler between) is polled only. */
static void on_listen(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct directory *d = ctx;

    (void)r;
    if (e)
        log_event(LOG_WARN, "the directory does not notify, it is polled", log_err(e));
    ready(d);
}

static bool is_true(const char *text) { return text && *text == 't'; }

static void on_detect(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct directory *d = ctx;
    struct error missing;

    if (e) {
        directory_failed(d, e);
        return;
    }
    if (!is_true(pqresult_value(r, 0, 0))) {
        error_set(&missing, ERR_DIRECTORY, "the directory has no %s or no %s", d->names.config, d->names.tenants);
        directory_failed(d, &missing);
        return;
    }
    d->tracked = is_true(pqresult_value(r, 0, 1));
    if (d->tracked && d->conf->directory_notify)
        ask(d, "LISTEN shardgate_map", 0, NULL, on_listen);
    else
        ready(d);
}

/* Where the functions are not allowed, each new connection means a full load. */
static void on_origin(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct directory *d = ctx;
    const char *params[] = {d->names.config, d->names.tenants, d->names.revision, d->names.removed};
    const char *origin = e || pqresult_rows(r) != 1 ? NULL : pqresult_value(r, 0, 0);

    if (!str_copy(d->new_origin, sizeof(d->new_origin), str_from(origin ? origin : "")))
        d->new_origin[0] = '\0';
    ask(d, directory_sql_detect, (int)ARRAY_LEN(params), params, on_detect);
}

static void on_connected(struct pqconn *c, void *ctx, const struct error *e)
{
    struct directory *d = ctx;

    (void)c;
    if (e)
        directory_failed(d, e);
    else
        ask(d, directory_sql_origin, 0, NULL, on_origin);
}

static void connect_now(struct directory *d)
{
    struct pqconn_options o = {
        .conninfo = d->conf->directory_connection,
        .fallback_password = d->conf->directory_password,
        .application_name = "shardgate directory",
        .timeout_ms = (uint64_t)d->conf->directory_timeout,
    };

    timer_stop(d->timer);
    set_state(d, DIRECTORY_CONNECTING);
    d->conn = pqconn_open(d->loop, &o, on_connected, d);
}

/* ---- end ----------------------------------------------------------------------------------- */

static void free_directory(struct reap *r)
{
    struct directory *d = container_of(r, struct directory, reap);

    map_unref(d->map);
    directory_names_fini(&d->names);
    conf_unref(d->conf);
    mem_free(d);
}

void directory_work_begin(struct directory *d) { d->works++; }

void directory_work_end(struct directory *d)
{
    if (--d->works > 0 || !d->stopping)
        return;
    d->reap.free = free_directory;
    loop_reap(d->loop, &d->reap);
}

/* ---- doors --------------------------------------------------------------------------------- */

const char *directory_state_name(enum directory_state s)
{
    static const char *const names[] = {"off", "connecting", "loading", "following", "failed"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "unknown";
}

struct directory *directory_new(struct loop *l, const struct conf *c, const struct directory_events *ev)
{
    struct directory *d = mem_zalloc(sizeof(*d));

    d->loop = l;
    d->conf = conf_ref((struct conf *)c);
    d->events = *ev;
    d->backoff_ms = BACKOFF_FIRST_MS;
    d->random = clock_mono_ns();
    directory_names_init(&d->names, c->directory_schema);
    d->timer = timer_new(l, on_timer, d);
    ilist_init(&d->waiting);
    ilist_init(&d->serving);
    lookups_init(d);
    return d;
}

void directory_start(struct directory *d)
{
    cache_start_reading(d);
    connect_now(d);
}

void directory_stop(struct directory *d)
{
    struct error e;

    if (d->stopping)
        return;
    directory_work_begin(d); /* until the end of this function */
    d->stopping = true;
    error_set(&e, ERR_SHUTTING_DOWN, "the directory is not followed any more");
    disconnect(d);
    set_state(d, DIRECTORY_OFF);
    timer_free(d->timer);
    lookups_fini(d, &e);
    cache_stop(d);
    answer(&d->serving, &e);
    answer(&d->waiting, &e);
    directory_work_end(d);
}

static bool differs(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") != 0; }

void directory_configure(struct directory *d, const struct conf *c)
{
    struct conf *old = d->conf;
    bool elsewhere = differs(old->directory_connection, c->directory_connection) ||
                     differs(old->directory_password, c->directory_password) ||
                     differs(old->directory_schema, c->directory_schema);
    bool again = elsewhere || old->directory_notify != c->directory_notify;
    bool caches = differs(old->directory_cache, c->directory_cache);

    d->conf = conf_ref((struct conf *)c);
    conf_unref(old);
    if (d->stopping || d->state == DIRECTORY_OFF)
        return;
    if (caches && d->map && !d->from_cache)
        cache_map_changed(d, true);
    if (elsewhere) {
        directory_names_fini(&d->names);
        directory_names_init(&d->names, c->directory_schema);
        d->origin[0] = '\0'; /* what is there is not known: read all */
        d->refused_revision = 0;
        d->load.abandoned = true;
        lookups_reset(d);
    }
    if (again) {
        /* Requests being served are served by the next load. */
        if (d->load.step != LOAD_BUILD || d->load.abandoned)
            while (!ilist_empty(&d->serving))
                ilist_push_front(&d->waiting, ilist_pop_front(&d->serving));
        disconnect(d);
        d->backoff_ms = BACKOFF_FIRST_MS;
        set_state(d, DIRECTORY_FAILED);
        connect_now(d);
    } else if (idle(d)) {
        next_poll(d); /* the interval may have changed */
    }
}

void directory_reload(struct directory *d, void (*done)(void *ctx, const struct error *e), void *ctx)
{
    struct reload_request *r = mem_zalloc(sizeof(*r));

    r->done = done;
    r->ctx = ctx;
    ilist_push_back(&d->waiting, &r->node);
    if (d->state == DIRECTORY_FAILED)
        connect_now(d);
    else if (idle(d))
        timer_start(d->timer, 0, 0); /* later, so that done is not called in here */
}

void directory_status(const struct directory *d, struct directory_status *out)
{
    memset(out, 0, sizeof(*out));
    out->state = d->state;
    out->loaded = d->map;
    out->degraded = d->map && (d->from_cache || d->troubled || d->state == DIRECTORY_FAILED);
    str_copy(out->source, sizeof(out->source), str_from(!d->map ? "none" : d->from_cache ? "cache" : "directory"));
    out->revision = d->map ? map_revision(d->map) : 0;
    out->generation = d->map ? map_generation(d->map) : 0;
    out->confirmed_ms = d->confirmed_ms;
    out->reloads = d->reloads;
    out->failures = d->failures;
    out->load_ms = d->load_ms;
    str_copy(out->last_error, sizeof(out->last_error), str_from(d->last_error));
}

const struct counters *directory_counters(const struct directory *d) { return &d->counters; }
