/*
 * pool: server connections of one worker, and the process-wide permits that
 * bound them. A pool is (shard node × database × server user × startup settings).
 *
 *   permits      process-wide counters by shard, shard+database+user, database
 *                and user; any thread
 *   pools        all pools of one worker; all that follows is of its thread
 *   node         this worker's view of one shard of the map: back-off, pause,
 *                statistics
 *   pool         idle servers (LIFO), waiters (FIFO)
 *   server       one connection: made by libpq, proven, then raw bytes
 */
#ifndef SHARDGATE_POOL_H
#define SHARDGATE_POOL_H

#include "shardgate/base.h"
#include "shardgate/conf.h"
#include "shardgate/map.h"
#include "shardgate/net.h"
#include "shardgate/wire.h"

/* ---- permits ------------------------------------------------------------ */

struct permits; /* shared by all workers; created before, freed after them */
struct permits *permits_new(unsigned workers);
void permits_free(struct permits *p);

/* ---- settings: startup parameters of server connections, interned -------- */

enum settings_replication { REPLICATION_NONE, REPLICATION_DATABASE, REPLICATION_PHYSICAL };

struct setting {
    struct str name, value;
};
/* Immutable; equal settings of one worker are one object. */
struct settings {
    unsigned refs;
    unsigned count;
    enum settings_replication replication;
    struct str options;     /* as libpq's `options`: " -c name=value …" */
    struct setting items[]; /* sorted by name, names lower case */
};

/* ---- params: what a server reports by ParameterStatus, interned ----------- */

enum param {
    PARAM_CLIENT_ENCODING, /* from here: a client may change it and we re-apply it */
    PARAM_DATESTYLE,
    PARAM_TIMEZONE,
    PARAM_INTERVALSTYLE,
    PARAM_APPLICATION_NAME,
    PARAM_STANDARD_STRINGS,
    PARAM_SETTABLE, /* count of those */
    PARAM_SERVER_VERSION = PARAM_SETTABLE,
    PARAM_SERVER_ENCODING,
    PARAM_IS_SUPERUSER,
    PARAM_SESSION_AUTHORIZATION,
    PARAM_INTEGER_DATETIMES,
    PARAM_READ_ONLY,        /* default_transaction_read_only */
    PARAM_HOT_STANDBY,      /* in_hot_standby */
    PARAM_SEARCH_PATH,      /* reported since PostgreSQL 18 */
    PARAM_SCRAM_ITERATIONS, /* since 16 */
    PARAM__COUNT
};
extern const char *const param_names[PARAM__COUNT]; /* as PostgreSQL spells them */
int param_find(struct str name);                    /* without case; -1: not one of them */

/* Immutable; equal sets of one worker are one object, so that "nothing differs"
 * is a comparison of two pointers. A value with ptr NULL was never reported. */
struct params {
    unsigned refs;
    struct str value[PARAM__COUNT];
};

/* ---- pools -------------------------------------------------------------- */

struct pools;
struct node;
struct pool;
struct server;

/* How a worker hands an idle connection to another that starves: the worker
 * posts `p` to worker `to`'s loop. */
struct pools_hooks {
    bool (*post)(void *ctx, unsigned to_worker, struct post *p);
    void *ctx;
    void (*closed)(void *ctx); /* pools_close is through; may be NULL */
};
struct pools *pools_new(struct loop *l, const struct conf *c, struct permits *permits, unsigned worker,
                        const struct pools_hooks *hooks);
/* Closes all servers; frees itself later on the loop. No waiter may be left. */
void pools_close(struct pools *ps);
void pools_configure(struct pools *ps, const struct conf *c);
/* A new map: nodes of shards that are gone or whose connection string changed
 * are retired: idle servers close, active ones close at checkin, waiters are told
 * to look their tenant up again (see struct waiter). */
void pools_set_map(struct pools *ps, struct map *m);
struct map *pools_map(const struct pools *ps); /* borrowed; NULL before the first */
/* Changes with every pools_set_map and pools_configure: what a session caches of
 * a look-up (its pool) is good while this stands. */
uint64_t pools_generation(const struct pools *ps);
struct loop *pools_loop(const struct pools *ps);
struct counters *pools_counters(struct pools *ps); /* the worker's */

/* Interning; each returns a reference for the caller. */
struct settings *settings_get(struct pools *ps, const struct setting *items, unsigned count,
                              enum settings_replication r);
void settings_unref(struct pools *ps, struct settings *s);
struct params *params_get(struct pools *ps, const struct str value[PARAM__COUNT]);
struct params *params_with(struct pools *ps, const struct params *base, enum param which, struct str value);
static inline struct params *params_ref(struct params *p)
{
    p->refs++;
    return p;
}
void params_unref(struct pools *ps, struct params *p);

struct pool_key {
    const struct map_shard *shard;     /* of pools_map */
    struct str database, user;         /* the client's; what the connection string names wins */
    struct str password;               /* for the server; used where the string has none; ptr NULL: none */
    bool forced_database, forced_user; /* configured server_database / server_user: win over the string */
    struct settings *settings;
    enum conf_pool_mode mode;           /* transaction or session */
    int64_t size;                       /* permits for shard+database+user; 0: pool.size */
    int64_t database_limit, user_limit; /* max_server_connections; 0: none */
};
/* Finds or makes the pool; a reference for the caller. O(1). */
struct pool *pool_get(struct pools *ps, const struct pool_key *key);
void pool_unref(struct pool *p);
struct node *pool_node(const struct pool *p);
int16_t node_shard_id(const struct node *n);
struct shard_stats *node_stats(struct node *n);
/* The params a fresh server of this pool reported, or NULL: for the welcome. Borrowed. */
struct params *pool_params(const struct pool *p);
enum conf_pool_mode pool_mode(const struct pool *p);

/* ---- checkout ----------------------------------------------------------- */

struct waiter {
    struct ilist node;
    struct deadline deadline;
    struct pool *pool; /* NULL: not waiting */
    uint64_t since_ns;
    /* Exactly once for a queued waiter, never from within pool_checkout. s: the
     * server, active and owned by the caller. Else e tells why (its code:
     * QUEUE_TIMEOUT, POOL_PAUSED_TIMEOUT, SHARD_UNREACHABLE, SHARD_STARTING, or
     * a server's own error); both NULL: the pool was retired, look up again. */
    void (*done)(struct waiter *w, struct server *s, const struct error *e);
};
/* An idle server at once (now ACTIVE; LIFO), or NULL: the waiter is queued. While
 * the node is in back-off and the pool has no server, the waiter is still queued
 * and fails with the last error at the end of this turn. */
struct server *pool_checkout(struct pool *p, struct waiter *w);
void waiter_cancel(struct waiter *w); /* idempotent */

/* ---- server ------------------------------------------------------------- */

/*
 *              permit        proof ok           checkout
 *  (new) -> CONNECTING -> PROVING -> IDLE ----------------> ACTIVE
 *               |            |       | ^ ^                   |  checkin
 *               |            |       | | |                   |
 *               |            |       | | +------ clean ------+
 *               |            |       v | |                   |
 *               |            |    MOVING |                   |   (between workers: it arrives as MOVING)
 *               |            |           +-- CLEANING <------+   (reset, rollback, drain after abandon;
 *               |            |           |      ^            |    also IDLE with half a message)
 *               |            |           +---- HELD <--------+   (a cancel is in flight)
 *               v            v                               v
 *             CLOSING <----------------------------------- (any)
 */
enum server_state {
    SERVER_CONNECTING,
    SERVER_PROVING,
    SERVER_IDLE,
    SERVER_ACTIVE,
    SERVER_CLEANING,
    SERVER_HELD,
    SERVER_MOVING,
    SERVER_CLOSING,
};
const char *server_state_name(enum server_state s);

/* What is expected back from a server, in order: one entry for each message
 * sent that is answered. The session fills and empties it (see session/relay);
 * it lives here because servers are few and clients are many. */
struct expect {
    uint8_t kind;   /* frontend message type: Q F P B D E C S */
    uint8_t action; /* enum expect_action */
};
enum expect_action {
    EXPECT_FORWARD,
    EXPECT_SKIP,   /* answers to a statement of ours: dropped; it must not fail */
    EXPECT_REFUSE, /* the same, but it is meant to fail (see session_refuse) */
};
struct expect_queue {
    struct expect *items; /* ring; NULL while small */
    struct expect inline_items[8];
    uint32_t head, count, cap; /* cap 0 means the inline ring of 8 */
    uint32_t ready_pending;    /* entries that end in ReadyForQuery: Q F S */
};
bool expect_push(struct expect_queue *q, uint8_t kind, uint8_t action); /* false: out of memory or past 1 M */
static inline struct expect *expect_head(struct expect_queue *q)
{
    struct expect *ring = q->cap ? q->items : q->inline_items;
    return q->count ? &ring[q->head] : NULL;
}
void expect_pop(struct expect_queue *q);
void expect_clear(struct expect_queue *q);

/* What server connections in transaction mode are called until a client's name is set. */
#define POOL_APPLICATION_NAME "shardgate"

struct server {
    struct stream stream; /* while ACTIVE: `ready` and `owner` are the session's */
    struct pool *pool;
    struct pqconn *conn;
    void *owner; /* while ACTIVE */
    struct params *params;
    struct buf out; /* bytes the socket did not take; owner flushes while ACTIVE */
    /* Where the reader stands in the server's byte stream; the owner keeps both
     * while ACTIVE so that server_abandon can go on from there. `in` is the start
     * of a message that is not whole yet and was not passed on (at least a part of
     * its header); in_left is what is still to come of a message whose head was
     * passed on already. At checkin both are empty. */
    struct buf in;
    uint32_t in_left;
    bool in_skip; /* the owner's: what in_left counts is dropped, not passed on */
    struct expect_queue expect;
    uint8_t state;  /* enum server_state */
    char txn;       /* 'I', 'T', 'E': last ReadyForQuery */
    bool dirty;     /* holds a session's state: reset before reuse */
    bool retire;    /* close at checkin: lifetime, RECONNECT, map change */
    bool canceling; /* a cancel request is in flight; at its end `ready` is called with no event, if active */
    bool failed;    /* extended protocol: errored, server skips to Sync */
    uint64_t id;    /* for SHOW SERVERS and logs */
    /* private to pool from here */
    bool streaming;        /* stream is open, or closing */
    struct ilist in_pool;  /* pool->servers[state] */
    struct deadline limit; /* for proving and cleaning */
    struct deadline idle;  /* looks every so often whether it was idle too long */
    struct deadline lifetime;
    uint64_t created_ms, arrived_ms, used_ms, expires_ms;
    struct server_task *task; /* what reads its answers while no client does */
    struct reap reap;
};

/* Back to the pool: at 'I' with nothing expected and `out` empty. May hand it to
 * a waiter at once: its `done` runs before this returns. */
void server_checkin(struct server *s);
/* The client has gone while the server was in a transaction or a query. whole:
 * the last message sent to it was complete. Cancels what runs, drains what is
 * expected, rolls back, resets if dirty, and reuses; closes if it cannot or if
 * it takes too long. Always rids the caller of the server. */
void server_abandon(struct server *s, bool whole);
/* Lost or unusable: closes; the caller is rid of it. cause is for the log, once. */
void server_close(struct server *s, const char *cause);
/* Cancels what runs on it now, for its owner; the server is not reused before
 * the request is through. Counts CANCELS_SENT. */
void server_cancel(struct server *s);
int server_pid(const struct server *s);
/* Takes in a ParameterStatus: updates s->params. */
void server_note_parameter(struct server *s, struct str name, struct str value);

/* ---- operating ---------------------------------------------------------- */

#define SHARD_ALL INT32_MIN
/* PAUSE: checkouts queue; RESUME: they go on; RECONNECT: idle servers close,
 * active ones at checkin. shard: an id or SHARD_ALL. False: no such shard. */
bool pools_pause(struct pools *ps, int32_t shard);
bool pools_resume(struct pools *ps, int32_t shard);
bool pools_reconnect(struct pools *ps, int32_t shard);
unsigned pools_active(const struct pools *ps, int32_t shard); /* servers ACTIVE or CLEANING now */

struct pool_info {
    int16_t shard_id;
    const char *database, *user;
    enum conf_pool_mode mode;
    unsigned waiting, active, idle, connecting, other; /* clients waiting; servers */
    uint64_t oldest_wait_ms;
    bool paused;
};
void pools_each(struct pools *ps, void (*fn)(void *ctx, const struct pool_info *i), void *ctx);
struct server_info {
    uint64_t id;
    int16_t shard_id;
    const char *database, *user, *state;
    int pid;
    bool tls, dirty;
    uint64_t age_ms, idle_ms;
    void *owner;
};
void pools_each_server(struct pools *ps, void (*fn)(void *ctx, const struct server_info *i), void *ctx);
struct node_info {
    int16_t shard_id;
    bool paused, backing_off;
    unsigned servers, waiting;
    const struct shard_stats *stats;
    const char *last_error;
};
void pools_each_node(struct pools *ps, void (*fn)(void *ctx, const struct node_info *i), void *ctx);

#endif
