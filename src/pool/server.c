/*
 * A server connection's states. server_move changes the state and the list
 * together; server_end is the one way out; server_finish is where all its ways meet.
 */
#include "pool_impl.h"

static const uint32_t allowed[SERVER_STATES] = {
    [SERVER_CONNECTING] = FSM_TO(SERVER_PROVING) | FSM_TO(SERVER_CLOSING),
    [SERVER_PROVING] = FSM_TO(SERVER_IDLE) | FSM_TO(SERVER_CLOSING),
    [SERVER_IDLE] = FSM_TO(SERVER_ACTIVE) | FSM_TO(SERVER_CLEANING) | FSM_TO(SERVER_MOVING) | FSM_TO(SERVER_CLOSING),
    [SERVER_ACTIVE] = FSM_TO(SERVER_IDLE) | FSM_TO(SERVER_CLEANING) | FSM_TO(SERVER_HELD) | FSM_TO(SERVER_CLOSING),
    [SERVER_CLEANING] = FSM_TO(SERVER_IDLE) | FSM_TO(SERVER_CLOSING),
    [SERVER_HELD] = FSM_TO(SERVER_IDLE) | FSM_TO(SERVER_CLEANING) | FSM_TO(SERVER_CLOSING),
    [SERVER_MOVING] = FSM_TO(SERVER_IDLE) | FSM_TO(SERVER_CLOSING),
};
#define BUSY (FSM_TO(SERVER_ACTIVE) | FSM_TO(SERVER_CLEANING) | FSM_TO(SERVER_HELD))
#define CONNECTING (FSM_TO(SERVER_CONNECTING) | FSM_TO(SERVER_PROVING))

/* From IDLE on it can be abandoned, cleaned and moved; what is new or moved in
 * becomes IDLE first, even if a waiter takes it at once. */
static inline unsigned in_set(uint32_t set, unsigned state) { return (set >> state) & 1u; }

static void free_server(struct reap *r) { mem_free(container_of(r, struct server, reap)); }

static inline void enter(struct server *s, enum server_state to)
{
    struct pool *p = s->pool;
    s->state = (uint8_t)to;
    p->count[to]++;
    ilist_push_front(&p->servers[to], &s->in_pool);
    p->node->busy += in_set(BUSY, to);
    p->node->connecting += in_set(CONNECTING, to);
}

static inline void leave(struct server *s, enum server_state from)
{
    struct pool *p = s->pool;
    p->count[from]--;
    ilist_remove(&s->in_pool);
    p->node->busy -= in_set(BUSY, from);
    p->node->connecting -= in_set(CONNECTING, from);
}

/* A defect of ours: named, and the move made, so that nobody hangs. */
static void complain(const struct server *s, enum server_state from, enum server_state to)
{
    log_event(LOG_ERROR, "server state", log_int("server", s->id), log_int("from", from), log_int("to", to));
}

/* Inlined with constants where it is hot: each transaction does it twice. */
static inline __attribute__((always_inline)) void shift(struct server *s, enum server_state from, enum server_state to)
{
    if (!fsm_allows(allowed, from, to))
        complain(s, from, to);
    leave(s, from);
    enter(s, to);
    if (to == SERVER_IDLE && s->pool->idle_listed != (1u << PERMIT_KINDS) - 1)
        groups_list_idle(s->pool);
}

static void on_closed(struct stream *stream)
{
    struct server *s = container_of(stream, struct server, stream);
    s->streaming = false;
    server_finish(s);
}

static void on_canceled(struct pqconn *c, void *ctx, bool sent)
{
    (void)c;
    struct server *s = ctx;
    s->canceling = false;
    counter_add(&s->pool->pools->counters, COUNTER_CANCELS_SENT, sent);
    if (s->state != SERVER_CLOSING)
        server_cancel_done(s);
}

/* Says good-bye, unless the bytes might end up inside a message that an owner
 * left unfinished. */
static void terminate(struct server *s)
{
    char x[WIRE_HEADER] = {'X', 0, 0, 0, 4};
    struct iovec iov = {x, sizeof(x)};
    if (s->streaming && s->state != SERVER_ACTIVE && s->out.len == 0)
        (void)stream_writev(&s->stream, &iov, 1);
}

static void log_end(const struct server *s, enum log_level level, const char *why)
{
    if (why)
        log_event(level, "server closed", log_int("shard", s->pool->node->shard_id),
                  log_str("database", s->pool->database), log_str("user", s->pool->user), log_int("server", s->id),
                  log_str("state", server_state_name(s->state)), log_str("cause", why));
}

void server_forget(struct server *s)
{
    struct pool *p = s->pool;
    leave(s, (enum server_state)s->state);
    p->total--;
    p->node->servers--;
    p->pools->server_count--;
    deadline_disarm(&s->limit);
    deadline_disarm(&s->idle);
    deadline_disarm(&s->lifetime);
    server_task_free(s);
    expect_clear(&s->expect);
    buf_fini(&s->out);
    buf_fini(&s->in);
    params_unref(p->pools, s->params);
    s->reap.free = free_server;
    loop_reap(p->pools->loop, &s->reap);
}

/* The stream is closed. A cancel request in flight is forgotten by the close. */
void server_finish(struct server *s)
{
    struct pool *p = s->pool;
    struct pools *ps = p->pools;
    if (s->conn)
        pqconn_close(s->conn);
    pool_hold(p);
    server_forget(s);
    groups_release(p);
    pool_refill_if_low(p);
    if (p->waiting && !p->blocked)
        pool_grow(p);
    pool_unref(p);
    pools_maybe_free(ps);
}

void server_move(struct server *s, enum server_state to)
{
    enum server_state from = (enum server_state)s->state;
    if (from == SERVER_IDLE && to == SERVER_ACTIVE)
        shift(s, SERVER_IDLE, SERVER_ACTIVE);
    else if (from == SERVER_ACTIVE && to == SERVER_IDLE)
        shift(s, SERVER_ACTIVE, SERVER_IDLE);
    else
        shift(s, from, to);
}

struct server *server_new(struct pool *p, enum server_state state)
{
    struct pools *ps = p->pools;
    struct server *s = mem_zalloc(sizeof(*s));
    s->pool = p;
    s->txn = 'I';
    s->id = (uint64_t)(ps->worker + 1) << 40 | ++ps->next_server_id;
    s->created_ms = s->used_ms = loop_now_ms(ps->loop);
    p->total++;
    p->node->servers++;
    ps->server_count++;
    enter(s, state);
    return s;
}

void server_end(struct server *s, enum log_level level, const char *why)
{
    if (s->state == SERVER_MOVING) {
        s->retire = true; /* when it has been released */
        return;
    }
    if (s->state == SERVER_CLOSING)
        return;
    log_end(s, level, why);
    terminate(s);
    server_move(s, SERVER_CLOSING);
    deadline_disarm(&s->limit);
    deadline_disarm(&s->idle);
    deadline_disarm(&s->lifetime);
    s->owner = NULL;
    if (s->streaming)
        stream_close(&s->stream, on_closed);
    else
        server_finish(s);
}

void server_arm_idle(struct server *s) { deadline_arm(&s->pool->pools->idle, &s->idle); }

void server_arm_lifetime(struct server *s)
{
    struct pools *ps = s->pool->pools;
    struct deadline_class *c = &ps->lifetime[pools_random(ps) % LIFETIME_STEPS];
    s->expires_ms = c->timeout_ms ? s->created_ms + c->timeout_ms : UINT64_MAX;
    deadline_arm(c, &s->lifetime);
}

void server_established(struct server *s)
{
    uint64_t expires_ms = s->expires_ms; /* of one that moved in */
    server_task_free(s);
    s->stream.ready = on_server_ready_idle;
    s->used_ms = s->arrived_ms = loop_now_ms(s->pool->pools->loop);
    server_arm_idle(s);
    server_arm_lifetime(s);
    if (expires_ms)
        s->expires_ms = expires_ms;
    pool_hold(s->pool);
    pool_refill_if_low(s->pool);
    pool_offer(s);
    pool_unref(s->pool);
}

/* An idle server may be due several looks later; see IDLE_LOOKS. */
void on_idle_look(struct deadline *d, void *pools)
{
    struct pools *ps = pools;
    struct server *s = container_of(d, struct server, idle);
    struct pool *p = s->pool;
    bool spare = p->unpooled || atomic_load(&p->group[PERMIT_POOL]->permit->used) > ps->conf->pool_min;
    uint64_t idle_ms = loop_now_ms(ps->loop) - s->used_ms;
    if (s->state == SERVER_IDLE && spare && idle_ms >= (uint64_t)ps->conf->server_idle_timeout)
        server_end(s, LOG_DEBUG, "idle timeout");
    else
        server_arm_idle(s);
}

void on_limit(struct deadline *d, void *pools)
{
    (void)pools;
    struct server *s = container_of(d, struct server, limit);
    struct error e;
    if (s->state != SERVER_PROVING) {
        if (++s->task->ticks >= CLEAN_TICKS) {
            server_end(s, LOG_WARN, "not usable again in time");
            return;
        }
        if (s->expect.count > 0)
            server_cancel(s);
        deadline_arm(&s->pool->pools->clean, &s->limit);
        return;
    }
    error_clear(&e);
    error_set(&e, ERR_SHARD_UNREACHABLE, "the new connection was not proven within server.connect_timeout");
    server_open_failed(s, &e);
}

void on_lifetime(struct deadline *d, void *pools)
{
    (void)pools;
    struct server *s = container_of(d, struct server, lifetime);
    if (s->state == SERVER_IDLE)
        server_end(s, LOG_DEBUG, "lifetime");
    else
        s->retire = true;
}

void server_checkin(struct server *s)
{
    struct pool *p = s->pool;
    s->owner = NULL;
    s->stream.ready = on_server_ready_idle;
    if (__builtin_expect(s->txn != 'I' || s->expect.count || s->out.len || s->in.len || s->in_left, 0)) {
        server_abandon(s, true);
        return;
    }
    s->used_ms = loop_now_ms(p->pools->loop);
    if (__builtin_expect(s->retire || p->unpooled || s->used_ms >= s->expires_ms, 0)) {
        server_move(s, SERVER_IDLE);
        server_end(s, LOG_DEBUG, p->unpooled ? "replication" : "retired");
        return;
    }
    if (s->out.data || s->in.data) {
        buf_release_if_empty(&s->out);
        buf_release_if_empty(&s->in);
    }
    if (s->expect.cap)
        expect_clear(&s->expect);
    s->failed = false;
    stream_watch(&s->stream, STREAM_READABLE);
    if (__builtin_expect(s->canceling || s->dirty || p->always_dirty, 0)) {
        server_clean(s);
        return;
    }
    pool_offer(s);
}

void server_close(struct server *s, const char *cause)
{
    if (s->state != SERVER_ACTIVE) {
        server_end(s, LOG_INFO, cause);
        return;
    }
    shard_add(node_stats(s->pool->node), SHARD_SERVERS_LOST, 1);
    server_end(s, LOG_WARN, cause);
}

void server_cancel(struct server *s)
{
    if (!s->canceling && s->state != SERVER_CLOSING)
        s->canceling = pqconn_cancel(s->conn, on_canceled, s);
}

int server_pid(const struct server *s) { return s->conn ? pqconn_pid(s->conn) : 0; }

void server_note_parameter(struct server *s, struct str name, struct str value)
{
    int which = param_find(name);
    if (which < 0)
        return;
    struct params *changed = params_with(s->pool->pools, s->params, (enum param)which, value);
    params_unref(s->pool->pools, s->params);
    s->params = changed;
}

bool server_may_move(enum server_state from, enum server_state to) { return fsm_allows(allowed, from, to); }

const char *server_state_name(enum server_state state)
{
    static const char *const names[SERVER_STATES] = {
        [SERVER_CONNECTING] = "connecting", [SERVER_PROVING] = "proving",   [SERVER_IDLE] = "idle",
        [SERVER_ACTIVE] = "active",         [SERVER_CLEANING] = "cleaning", [SERVER_HELD] = "held",
        [SERVER_MOVING] = "moving",         [SERVER_CLOSING] = "closing",
    };
    return (unsigned)state < SERVER_STATES ? names[state] : "?";
}
