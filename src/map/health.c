/*
 * Shard health: each shard of the map is asked every health.probe_interval, give or
 * take a quarter, whether it is in recovery. One connection a shard is kept, so that a
 * probe is one round trip and a server that goes away is noticed at once.
 *
 *   WAITING ─timer, lost connection─► QUEUED ─► CONNECTING ─► ASKING ─► WAITING
 *                                        └──── kept ────────────▲
 *
 * At most PROBES_MAX probes run at a time; the others queue. UP needs a good answer: a
 * server that runs but refuses the probe's user or database is DOWN, and the error
 * says why, since sessions that come with the same string would fare no better. Connection
 * strings need user and dbname: there is no session here to take them from.
 *
 * A kept connection can outlive what it stands for: after a fail-over by DNS the old
 * server may still answer, in recovery. So it is closed when the answer is recovery,
 * and after KEEP_MS in any case.
 *
 * Everything runs on one loop. Other threads only read copies under the mutex; it is
 * held for the change of a status or of the set of probes, never during I/O.
 */
#include <pthread.h>
#include <string.h>

#include <uthash.h>

#include "map_private.h"

#define PROBES_MAX 64
#define KEEP_MS 600000
#define FIRST_SPREAD_MS 200

const char *const health_parameter_names[HEALTH_PARAMETERS] = {
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "default_transaction_read_only",
    "in_hot_standby",
};

enum probe_state { PROBE_WAITING, PROBE_QUEUED, PROBE_CONNECTING, PROBE_ASKING };

static const uint32_t allowed[] = {
    [PROBE_WAITING] = FSM_TO(PROBE_QUEUED),
    [PROBE_QUEUED] = FSM_TO(PROBE_CONNECTING) | FSM_TO(PROBE_ASKING) | FSM_TO(PROBE_WAITING),
    [PROBE_CONNECTING] = FSM_TO(PROBE_ASKING) | FSM_TO(PROBE_WAITING),
    [PROBE_ASKING] = FSM_TO(PROBE_WAITING) | FSM_TO(PROBE_CONNECTING),
};

struct probe {
    UT_hash_handle hh;
    int id; /* the hash's key */
    struct health *health;
    enum probe_state state;
    char *conninfo;
    struct pqconn *conn;
    bool kept; /* conn is from an earlier probe */
    uint64_t connected_ms;
    uint64_t asked_ns;
    struct timer *timer;
    struct ilist node;           /* health.queue while QUEUED */
    struct health_status status; /* under the mutex */
};

struct health {
    struct loop *loop;
    struct conf *conf;
    struct map_shards *shards; /* of the last map; NULL at first */
    struct probe *probes;      /* uthash by id; changes under the mutex */
    struct ilist queue;
    unsigned running; /* CONNECTING or ASKING */
    bool stopping;
    uint64_t random;
    pthread_mutex_t mutex;
    bool have_parameters; /* this and the next under the mutex */
    char parameters[HEALTH_PARAMETERS][64];
    struct reap reap;
};

static void start(struct probe *p);

static bool runs(enum probe_state s) { return s == PROBE_CONNECTING || s == PROBE_ASKING; }

/* State, place in the queue and the count of running probes change together. */
static void set_state(struct probe *p, enum probe_state to)
{
    struct health *h = p->health;

    if (!fsm_allows(allowed, p->state, to))
        log_event(LOG_ERROR, "shard probe: impossible move", log_int("from", p->state), log_int("to", to));
    h->running -= runs(p->state);
    h->running += runs(to);
    ilist_remove(&p->node);
    if (to == PROBE_QUEUED)
        ilist_push_back(&h->queue, &p->node);
    p->state = to;
}

static uint64_t jitter(struct health *h, uint64_t ms)
{
    h->random = h->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ms - ms / 4 + (h->random >> 33) % (ms / 2 + 1);
}

static void hang_up(struct probe *p)
{
    pqconn_close(p->conn);
    p->conn = NULL;
    p->kept = false;
}

static void run_queue(struct health *h)
{
    while (h->running < PROBES_MAX && !ilist_empty(&h->queue))
        start(container_of(ilist_first(&h->queue), struct probe, node));
}

/* ---- the result -------------------------------------------------------------- */

static void log_change(const struct probe *p, const struct health_status *s)
{
    enum log_level level = s->state == HEALTH_UP ? LOG_INFO : LOG_WARN;

    log_event(level, "shard state", log_int("shard", p->id), log_str("state", health_state_name(s->state)),
              log_str("error", s->error));
}

static void conclude(struct probe *p, enum health_state state, const struct error *e)
{
    struct health *h = p->health;
    struct health_status s = p->status; /* only this thread writes it */
    bool changed = s.state != state;

    s.state = state;
    s.checked_ms = loop_now_ms(h->loop);
    if (changed)
        s.changed_ms = s.checked_ms;
    s.latency_us = e ? 0 : (loop_now_ns(h->loop) - p->asked_ns) / 1000;
    str_copy(s.error, sizeof(s.error), str_from(e ? e->cause : ""));
    pthread_mutex_lock(&h->mutex);
    p->status = s;
    pthread_mutex_unlock(&h->mutex);
    if (changed)
        log_change(p, &s);
    if (state != HEALTH_UP || loop_now_ms(h->loop) - p->connected_ms > KEEP_MS)
        hang_up(p);
    p->kept = p->conn;
    set_state(p, PROBE_WAITING);
    timer_start(p->timer, jitter(h, (uint64_t)h->conf->health_interval), 0);
    run_queue(h);
}

static void learn_parameters(struct probe *p)
{
    struct health *h = p->health;

    pthread_mutex_lock(&h->mutex);
    for (size_t i = 0; i < HEALTH_PARAMETERS; i++) {
        const char *value = pqconn_parameter(p->conn, health_parameter_names[i]);

        str_copy(h->parameters[i], sizeof(h->parameters[i]), str_from(value ? value : ""));
    }
    h->have_parameters = true;
    pthread_mutex_unlock(&h->mutex);
}

/* ---- a probe -------------------------------------------------------------------- */

static void connect_now(struct probe *p);

static void on_answer(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct probe *p = ctx;
    const char *recovery = e || pqresult_rows(r) != 1 ? NULL : pqresult_value(r, 0, 0);
    struct error odd;

    if (e && p->kept) { /* it may have been restarted: a new connection tells */
        hang_up(p);
        connect_now(p);
    } else if (e) {
        conclude(p, HEALTH_DOWN, e);
    } else if (!recovery) {
        error_set(&odd, ERR_INTERNAL, "pg_is_in_recovery() gave no answer");
        conclude(p, HEALTH_DOWN, &odd);
    } else {
        conclude(p, *recovery == 't' ? HEALTH_RECOVERY : HEALTH_UP, NULL);
    }
}

static void ask(struct probe *p)
{
    struct health *h = p->health;
    struct pqquery q = {.on_done = on_answer, .ctx = p, .timeout_ms = (uint64_t)h->conf->health_timeout};
    struct error e;

    set_state(p, PROBE_ASKING);
    p->asked_ns = loop_now_ns(h->loop);
    if (pqconn_query(p->conn, "SELECT pg_is_in_recovery()", 0, NULL, &q))
        return;
    error_set(&e, ERR_SERVER_LOST, "the connection was lost");
    on_answer(p, NULL, &e);
}

/* The server has closed the kept connection, or broke: look at once. */
static void on_idle_event(void *ctx, const char *channel, const char *payload, const struct error *e)
{
    struct probe *p = ctx;

    (void)channel;
    (void)payload;
    if (!e)
        return;
    hang_up(p);
    if (p->state != PROBE_WAITING)
        return; /* its turn is coming */
    timer_stop(p->timer);
    set_state(p, PROBE_QUEUED);
    run_queue(p->health);
}

/* Sessions bring the user or database that the connection string leaves out; a probe
 * has none to bring. A server that refuses it for that is there all the same. */
static bool refused_for_lack_of_name(const struct probe *p, const struct error *e)
{
    struct pqinfo info;
    struct error ignored;
    error_clear(&ignored);
    if (!str_starts(str_from(e->sqlstate), STR("28")) && !str_starts(str_from(e->sqlstate), STR("3D")))
        return false;
    if (!pqinfo_parse(&info, p->conninfo, &ignored))
        return false;
    bool lacks = !info.user || !info.dbname;
    pqinfo_fini(&info);
    return lacks;
}

static void on_connected(struct pqconn *c, void *ctx, const struct error *e)
{
    struct probe *p = ctx;

    if (e) {
        conclude(p, refused_for_lack_of_name(p, e) ? HEALTH_UP : HEALTH_DOWN, e);
        return;
    }
    p->connected_ms = loop_now_ms(p->health->loop);
    learn_parameters(p);
    pqconn_on_idle_event(c, on_idle_event, p);
    ask(p);
}

static void connect_now(struct probe *p)
{
    struct pqconn_options o = {
        .conninfo = p->conninfo,
        .application_name = "shardgate health",
        .timeout_ms = (uint64_t)p->health->conf->health_timeout,
    };

    set_state(p, PROBE_CONNECTING);
    p->conn = pqconn_open(p->health->loop, &o, on_connected, p);
}

static void start(struct probe *p)
{
    if (p->conn)
        ask(p);
    else
        connect_now(p);
}

static void on_timer(void *ctx)
{
    struct probe *p = ctx;

    if (p->state != PROBE_WAITING)
        return;
    set_state(p, PROBE_QUEUED);
    run_queue(p->health);
}

/* ---- the set of probes ------------------------------------------------------------ */

static struct probe *find(const struct health *h, int id)
{
    struct probe *p;

    HASH_FIND_INT(h->probes, &id, p);
    return p;
}

static void remove_probe(struct health *h, struct probe *p)
{
    hang_up(p);
    if (p->state != PROBE_WAITING)
        set_state(p, PROBE_WAITING);
    timer_free(p->timer);
    pthread_mutex_lock(&h->mutex);
    HASH_DEL(h->probes, p);
    pthread_mutex_unlock(&h->mutex);
    mem_free_secret(p->conninfo, strlen(p->conninfo));
    mem_free(p);
}

static void add_probe(struct health *h, const struct map_shard *s)
{
    struct probe *p = mem_zalloc(sizeof(*p));

    p->id = s->id;
    p->health = h;
    p->conninfo = mem_strdup(s->conninfo);
    p->status.shard_id = s->id;
    p->timer = timer_new(h->loop, on_timer, p);
    pthread_mutex_lock(&h->mutex);
    HASH_ADD_INT(h->probes, id, p);
    pthread_mutex_unlock(&h->mutex);
    timer_start(p->timer, jitter(h, FIRST_SPREAD_MS / 2), 0);
}

static void free_health(struct reap *r)
{
    struct health *h = container_of(r, struct health, reap);

    pthread_mutex_destroy(&h->mutex);
    map_shards_unref(h->shards);
    conf_unref(h->conf);
    mem_free(h);
}

/* ---- doors -------------------------------------------------------------------------- */

const char *health_state_name(enum health_state s)
{
    static const char *const names[] = {"unknown", "up", "recovery", "down"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "unknown";
}

struct health *health_new(struct loop *l, const struct conf *c)
{
    struct health *h = mem_zalloc(sizeof(*h));

    h->loop = l;
    h->conf = conf_ref((struct conf *)c);
    h->random = clock_mono_ns();
    ilist_init(&h->queue);
    pthread_mutex_init(&h->mutex, NULL);
    return h;
}

void health_configure(struct health *h, const struct conf *c)
{
    struct conf *old = h->conf;

    h->conf = conf_ref((struct conf *)c);
    if (old->health_interval != c->health_interval)
        for (struct probe *p = h->probes; p; p = p->hh.next)
            if (p->state == PROBE_WAITING) /* the pause under way may be far too long */
                timer_start(p->timer, jitter(h, (uint64_t)c->health_interval), 0);
    conf_unref(old);
}

void health_set_map(struct health *h, struct map *m)
{
    struct probe *p, *following;

    if (h->shards == m->shards || h->stopping) /* most maps only bring tenants */
        return;
    HASH_ITER(hh, h->probes, p, following)
    {
        const struct map_shard *s = map_shard_by_id(m, (int16_t)p->id);

        if (!s || strcmp(s->conninfo, p->conninfo) != 0)
            remove_probe(h, p); /* another server is another probe */
    }
    for (size_t i = 0; i < map_shard_count(m); i++)
        if (!find(h, map_shard_at(m, i)->id))
            add_probe(h, map_shard_at(m, i));
    map_shards_unref(h->shards);
    h->shards = map_shards_ref(m->shards);
    run_queue(h);
}

void health_stop(struct health *h)
{
    struct probe *p, *following;

    if (h->stopping)
        return;
    h->stopping = true;
    HASH_ITER(hh, h->probes, p, following)
    remove_probe(h, p);
    h->reap.free = free_health;
    loop_reap(h->loop, &h->reap);
}

bool health_get(struct health *h, int16_t shard_id, struct health_status *out)
{
    const struct probe *p;

    pthread_mutex_lock(&h->mutex);
    p = find(h, shard_id);
    if (p)
        *out = p->status;
    pthread_mutex_unlock(&h->mutex);
    return p;
}

bool health_parameters(struct health *h, char values[HEALTH_PARAMETERS][64])
{
    bool have;

    pthread_mutex_lock(&h->mutex);
    have = h->have_parameters;
    if (have)
        memcpy(values, h->parameters, sizeof(h->parameters));
    pthread_mutex_unlock(&h->mutex);
    return have;
}
