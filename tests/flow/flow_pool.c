/*
 * The pool as a test plays it: the functions of pool.h that sessions call. The
 * test says which servers there are and sees what becomes of them. What sessions
 * promise about a server (nothing expected at checkin, its stream left alone
 * afterwards) is checked here. Interning of parameters and settings, and the
 * queue of expected replies, are the real ones: params.c, settings.c, expect.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "flow.h"

#include "pool_impl.h"

#define SHARDS 5

static void must(bool holds, const char *what)
{
    if (!holds)
        flow_fail(__FILE__, __LINE__, "the session broke its word to the pool: %s", what);
}

static struct peer *peer_of(struct server *s) { return container_of(s, struct peer, server); }

static struct flow *flow_of(const struct pools *ps) { return ps->hooks.ctx; }

/* ---- a server's stream: what is done to it is done to the memory behind it ---- */

static struct peer *peer_of_stream(struct stream *s) { return peer_of(container_of(s, struct server, stream)); }

static ssize_t script_read(struct stream *s, void *to, size_t len)
{
    struct peer *p = peer_of_stream(s);
    must(p->fate == FATE_LINKED, "reads a server that is not its own");
    ssize_t n = stream_read(&p->memory.stream, to, len);
    s->last_errno = p->memory.stream.last_errno;
    return n;
}

static ssize_t script_write(struct stream *s, const struct iovec *iov, int count)
{
    struct peer *p = peer_of_stream(s);
    must(p->fate == FATE_LINKED, "writes to a server that is not its own");
    ssize_t n = stream_writev(&p->memory.stream, iov, count);
    s->last_errno = p->memory.stream.last_errno;
    return n;
}

static void script_watch(struct stream *s, int events)
{
    struct peer *p = peer_of_stream(s);
    must(p->fate == FATE_LINKED, "watches a server that is not its own");
    s->watching = events;
    p->memory.stream.watching = events;
}

static void script_close(struct stream *s)
{
    (void)s;
    must(false, "closes a server's stream");
}

static const struct stream_ops script_ops = {
    .read = script_read,
    .write = script_write,
    .watch = script_watch,
    .close = script_close,
    .release = script_close,
};

static void on_memory_ready(struct stream *memory, int events)
{
    struct peer *p = container_of(memory, struct peer, memory.stream);
    p->server.stream.ready(&p->server.stream, events);
}

/* ---- servers ------------------------------------------------------------------- */

static struct str value_of(const struct settings *s, const char *name, struct str otherwise)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (str_eq_nocase(s->items[i].name, str_from(name)))
            return s->items[i].value;
    }
    return otherwise;
}

/* What a fresh server of the pool reports, the pool's settings in effect. */
static struct params *fresh_params(struct pools *ps, const struct settings *settings)
{
    static const char *const usual[PARAM__COUNT] = {
        [PARAM_CLIENT_ENCODING] = "UTF8",      [PARAM_DATESTYLE] = "ISO, MDY",   [PARAM_TIMEZONE] = "Etc/UTC",
        [PARAM_INTERVALSTYLE] = "postgres",    [PARAM_APPLICATION_NAME] = "",    [PARAM_STANDARD_STRINGS] = "on",
        [PARAM_SERVER_VERSION] = "15.0",       [PARAM_SERVER_ENCODING] = "UTF8", [PARAM_IS_SUPERUSER] = "off",
        [PARAM_SESSION_AUTHORIZATION] = "app", [PARAM_INTEGER_DATETIMES] = "on", [PARAM_READ_ONLY] = "off",
        [PARAM_HOT_STANDBY] = "off",
    };
    struct str list[PARAM__COUNT];
    for (int i = 0; i < PARAM__COUNT; i++)
        list[i] = usual[i] ? value_of(settings, param_names[i], str_from(usual[i])) : (struct str){0};
    return params_get(ps, list);
}

static void give_away(struct server *s, enum server_fate fate, enum server_state state)
{
    struct peer *p = peer_of(s);
    must(p->fate == FATE_LINKED, "gives back a server that is not its own");
    must(!s->owner, "gives a server back and owns it still");
    p->fate = fate;
    p->dirty_at_end = s->dirty;
    s->state = (uint8_t)state;
    p->memory.stream.ready = NULL;
    s->stream.watching = p->memory.stream.watching = STREAM_READABLE;
    if (fate == FATE_FREE)
        return;
    expect_clear(&s->expect);
    buf_fini(&s->out);
    buf_fini(&s->in);
}

static void hand(struct peer *p, struct pool *pool)
{
    struct server *s = &p->server;
    must(p->fate == FATE_FREE, "test hands out a server twice");
    s->pool = pool;
    if (p->fresh) {
        params_unref(pool->pools, s->params);
        s->params = params_ref(pool->params);
        p->fresh = false;
    }
    s->state = SERVER_ACTIVE;
    s->owner = NULL;
    p->fate = FATE_LINKED;
    p->memory.stream.ready = on_memory_ready;
}

void pool_script_offer(struct peer *p)
{
    struct flow *f = p->flow;
    for (unsigned i = 0; i < f->pool_count && p->fate == FATE_FREE; i++) {
        struct pool *pool = f->pool_list[i];
        struct ilist *first = ilist_first(&pool->waiters);
        if (pool->node->shard_id != p->shard || !first)
            continue;
        struct waiter *w = container_of(first, struct waiter, node);
        ilist_remove(first);
        w->pool = NULL;
        hand(p, pool);
        w->done(w, &p->server, NULL);
        return;
    }
}

void pool_script_refuse(struct flow *f, int16_t shard, enum err_code code)
{
    struct error e;
    error_clear(&e);
    error_set(&e, code, "as the test wants");
    for (unsigned i = 0; i < f->pool_count; i++) {
        struct ilist *first = ilist_first(&f->pool_list[i]->waiters);
        if (f->pool_list[i]->node->shard_id != shard || !first)
            continue;
        struct waiter *w = container_of(first, struct waiter, node);
        ilist_remove(first);
        w->pool = NULL;
        w->done(w, NULL, code ? &e : NULL);
        return;
    }
    must(false, "nobody waits for this shard");
}

unsigned pool_script_waiting(const struct flow *f, int16_t shard)
{
    unsigned count = 0;
    for (unsigned i = 0; i < f->pool_count; i++) {
        if (f->pool_list[i]->node->shard_id == shard) {
            ILIST_EACH (node, &f->pool_list[i]->waiters)
                count++;
        }
    }
    return count;
}

void pool_script_init(struct flow *f)
{
    struct pools *ps = f->pools = mem_zalloc(sizeof *ps);
    ps->loop = f->loop;
    ps->conf = f->conf;
    ps->hooks.ctx = f;
    ps->generation = 1;
}

/* A server that is to be talked to; its stream stands before the memory's. */
struct peer *server(struct flow *f, int16_t shard)
{
    if (f->peer_count == PEERS_MAX)
        flow_fail(__FILE__, __LINE__, "too many peers");
    struct peer *p = f->peers[f->peer_count] = mem_zalloc(sizeof *p);
    p->flow = f;
    p->shard = shard;
    p->fresh = true;
    p->fate = FATE_FREE;
    stream_memory_open(&p->memory, f->loop);
    if (f->trickle)
        p->memory.write_room = 3;
    buf_init(&p->pending, 0);
    struct server *s = &p->server;
    s->stream.ops = &script_ops;
    s->stream.loop = f->loop;
    s->stream.watching = STREAM_READABLE;
    s->state = SERVER_IDLE;
    s->txn = 'I';
    s->id = ++f->peer_count;
    struct settings none = {0};
    s->params = fresh_params(f->pools, &none);
    pool_script_offer(p);
    settle(f);
    return p;
}

void pool_script_fini(struct flow *f)
{
    struct pools *ps = f->pools;
    for (unsigned i = 0; i < f->peer_count; i++) {
        struct peer *p = f->peers[i];
        if (p->is_client)
            continue;
        must(p->fate != FATE_LINKED, "keeps a server after its end");
        params_unref(ps, p->server.params);
        expect_clear(&p->server.expect);
        buf_fini(&p->server.in);
        buf_fini(&p->server.out);
    }
    for (unsigned i = 0; i < f->pool_count; i++) {
        struct pool *pool = f->pool_list[i];
        must(pool->refs == 0, "keeps a reference to a pool");
        must(ilist_empty(&pool->waiters), "waits after its end");
        params_unref(ps, pool->params);
        settings_unref(ps, pool->settings);
        mem_free(pool->node->stats);
        mem_free(pool->node);
        mem_free(pool->database);
        mem_free(pool->user);
        mem_free(pool);
    }
    must(ps->params.count == 0, "keeps a reference to params");
    must(ps->settings.count == 0, "keeps a reference to settings");
    hash_index_fini(&ps->params);
    hash_index_fini(&ps->settings);
    mem_free(ps);
}

/* ---- pool.h ----------------------------------------------------------------------- */

struct map *pools_map(const struct pools *ps) { return flow_of(ps)->map; }
uint64_t pools_generation(const struct pools *ps) { return ps->generation; }
struct loop *pools_loop(const struct pools *ps) { return ps->loop; }
struct counters *pools_counters(struct pools *ps) { return &ps->counters; }

static void note_key(struct flow *f, const struct pool_key *key)
{
    f->last_key = *key;
    str_copy(f->last_database, sizeof f->last_database, key->database);
    str_copy(f->last_user, sizeof f->last_user, key->user);
    str_copy(f->last_options, sizeof f->last_options, key->settings->options);
}

struct pool *pool_get(struct pools *ps, const struct pool_key *key)
{
    struct flow *f = flow_of(ps);
    note_key(f, key);
    for (unsigned i = 0; i < f->pool_count; i++) {
        struct pool *p = f->pool_list[i];
        if (p->node->shard_id == key->shard->id && p->settings == key->settings && p->mode == key->mode &&
            str_eq(str_from(p->database), key->database) && str_eq(str_from(p->user), key->user)) {
            p->refs++;
            return p;
        }
    }
    if (f->pool_count == ARRAY_LEN(f->pool_list))
        flow_fail(__FILE__, __LINE__, "too many pools");
    struct pool *p = f->pool_list[f->pool_count++] = mem_zalloc(sizeof *p);
    p->pools = ps;
    p->refs = 1;
    p->mode = key->mode;
    p->settings = key->settings;
    p->settings->refs++;
    p->database = str_dup(key->database);
    p->user = str_dup(key->user);
    p->params = fresh_params(ps, key->settings);
    ilist_init(&p->waiters);
    p->node = mem_zalloc(sizeof *p->node);
    p->node->shard_id = key->shard->id;
    p->node->stats = mem_zalloc(sizeof *p->node->stats);
    return p;
}

void pool_unref(struct pool *p)
{
    must(p->refs > 0, "lets go of a pool twice");
    p->refs--;
}

struct node *pool_node(const struct pool *p) { return p->node; }
int16_t node_shard_id(const struct node *n) { return n->shard_id; }
struct shard_stats *node_stats(struct node *n) { return &n->stats->stats; }
struct params *pool_params(const struct pool *p) { return p->params; }
enum conf_pool_mode pool_mode(const struct pool *p) { return p->mode; }

struct server *pool_checkout(struct pool *pool, struct waiter *w)
{
    struct flow *f = flow_of(pool->pools);
    must(!w->pool, "waits twice");
    for (unsigned i = f->peer_count; i > 0; i--) {
        struct peer *p = f->peers[i - 1];
        if (!p->is_client && p->shard == pool->node->shard_id && p->fate == FATE_FREE) {
            hand(p, pool);
            return &p->server;
        }
    }
    w->pool = pool;
    w->since_ns = loop_now_ns(pool->pools->loop);
    ilist_push_back(&pool->waiters, &w->node);
    return NULL;
}

void waiter_cancel(struct waiter *w)
{
    if (!w->pool)
        return;
    ilist_remove(&w->node);
    w->pool = NULL;
}

void server_checkin(struct server *s)
{
    must(s->expect.count == 0, "gives a server back that owes an answer");
    must(s->txn == 'I', "gives a server back in a transaction");
    must(s->out.len == 0 && s->in.len == 0 && s->in_left == 0, "gives a server back in the middle of a message");
    give_away(s, FATE_FREE, SERVER_IDLE);
    if (s->dirty) { /* the real pool resets it: back to what the pool's servers report */
        s->dirty = false;
        params_unref(s->pool->pools, s->params);
        s->params = params_ref(s->pool->params);
        return;
    }
    pool_script_offer(peer_of(s));
}

void server_abandon(struct server *s, bool whole)
{
    give_away(s, whole ? FATE_ABANDONED_WHOLE : FATE_ABANDONED_CUT, SERVER_CLEANING);
}

void server_close(struct server *s, const char *cause)
{
    must(cause && *cause, "closes a server without a cause");
    give_away(s, FATE_CLOSED, SERVER_CLOSING);
}

void server_cancel(struct server *s)
{
    must(peer_of(s)->fate == FATE_LINKED, "cancels on a server that is not its own");
    peer_of(s)->cancels++;
}

int server_pid(const struct server *s) { return 7000 + (int)s->id; }

void server_note_parameter(struct server *s, struct str name, struct str value)
{
    int which = param_find(name);
    if (which < 0)
        return;
    struct params *now = params_with(s->pool->pools, s->params, (enum param)which, value);
    params_unref(s->pool->pools, s->params);
    s->params = now;
}
