/*
 * Private to the pool room: its objects, and what its files give each other.
 *
 *   pools ── node (shard) ── pool ── server
 *      └──── group (this worker's view of a permit)
 *
 * A session may be called back (waiter.done) only from server_checkin, from a
 * server's own I/O event, from a deadline, from the end of the turn, and from
 * pools_set_map and pools_resume; never from what opens or closes a server.
 */
#ifndef SHARDGATE_POOL_IMPL_H
#define SHARDGATE_POOL_IMPL_H

#include "hash_index.h"
#include "permits.h"
#include "shardgate/pool.h"

#define CONNECTS_MAX 4u /* of a pool in flight, so that a burst is no storm */
/* An abandoned or dirty server has this long to get usable again, looked at each
 * second: a cancel request that came before its statement is repeated then. */
#define CLEAN_TICK_MS 1000u
#define CLEAN_TICKS 10u
#define REFILL_MS 250u    /* how soon a pool below pool.min_size is filled */
#define IDLE_LOOKS 8u     /* looks at an idle server within server.idle_timeout */
#define LIFETIME_STEPS 8u /* lifetimes are shorter by up to a tenth in steps */
#define QUANTUM_MS 5u     /* a worker keeps a server so long before it goes to one that has none */
#define YIELD_MS 100u     /* a pool's clients wait so much longer than another's before it yields */
#define BACKOFF_STEPS 5u  /* × 1, 2, 4, 8, 16 */
#define SERVER_STATES (SERVER_CLOSING + 1u)

/* ---- back-off: backoff.c ---------------------------------------------------- */

/* After a failed connection nothing is tried for a while. Of a node (the shard is
 * down) or of one pool (this database or user is refused). */
struct backoff {
    unsigned failures; /* in a row; 0: none */
    uint64_t until_ms;
    struct error *last;   /* NULL when failures is 0 */
    struct deadline wake; /* not before until_ms */
    struct node *node;    /* the owner: one of the two */
    struct pool *pool;
};
bool backoff_now(const struct backoff *b, struct pools *ps);
void backoff_fail(struct backoff *b, struct pools *ps, const struct error *e);
void backoff_clear(struct backoff *b);
void on_backoff_end(struct deadline *d, void *pools);

/* ---- group: permit_group.c --------------------------------------------------- */

struct group {
    struct permit *permit;
    struct pools *pools;
    unsigned refs;        /* pools */
    struct ilist starved; /* pools that wait for a permit of it, FIFO: pool.in_starved */
    struct ilist idle;    /* pools that had an idle server: pool.in_idle[kind]. Those that have
                           * none any longer are dropped when met, so that taking and giving
                           * back a server touches no list but its pool's. */
};
void groups_join(struct pool *p);
void groups_leave(struct pool *p);
void groups_set_limits(struct pool *p);
/* A permit of each kind for one more server. False: the pool is starving now and
 * will be grown again when there is room. */
bool groups_acquire(struct pool *p);
/* The same without waiting. */
bool groups_try(struct pool *p);
void groups_release(struct pool *p);   /* a server of it is gone */
void groups_wanted(struct pool *p);    /* has no waiters any longer: does not starve */
void groups_list_idle(struct pool *p); /* has an idle server, and is not in all lists of such */
/* Worker to which s must go although waiters want it here, or, with `spare`, may
 * go since nobody does; -1: none. Its bit is cleared: send it something
 * (server_give). */
int groups_claim(const struct server *s, bool spare, struct permit **which);
struct server *group_idle_server(struct group *g); /* any; NULL: none here */
/* p has waiters; but those of another of our pools that starves for what p holds
 * have waited much longer. */
bool groups_must_yield(const struct pool *p);
/* One of our own pools starves for what an idle server of p holds. */
bool groups_starve_here(const struct pool *p);
void group_serve(struct group *g);                    /* a message for it has come: grow what starves */
void group_tell(struct pools *ps, struct permit *pm); /* there is room: nudge one other worker */
static inline uint64_t groups_others(const struct pool *p);

/* ---- node: node.c ------------------------------------------------------------- */

struct node_stats { /* by shard id; outlives the nodes of one id */
    struct hash_node node;
    int16_t shard_id;
    struct shard_stats stats;
};
struct node {
    struct hash_node in_index; /* pools->nodes, unless retired */
    struct ilist in_list;      /* pools->live or pools->retired */
    struct pools *pools;
    struct node_stats *stats;
    char *conninfo;
    struct pqinfo info; /* parsed when first needed */
    bool parsed, paused, retired;
    int16_t shard_id;
    unsigned servers;    /* in all states */
    unsigned busy;       /* ACTIVE, CLEANING, HELD */
    unsigned connecting; /* CONNECTING, PROVING */
    unsigned waiting;    /* clients */
    uint64_t seen;       /* map generation: see pools_set_map */
    struct ilist all;    /* pools: pool.in_node */
    struct ilist queued; /* pools with waiters: pool.in_queued */
    struct backoff backoff;
};
struct node *node_find(struct pools *ps, int16_t shard_id);
struct node *node_new(struct pools *ps, const struct map_shard *shard);
/* Gone from the map: not found any longer, then (when all new nodes are there)
 * its pools are retired. Frees itself with the last of them. */
void node_unlist(struct node *n);
void node_retire(struct node *n);
void node_maybe_free(struct node *n);
bool node_is(const struct node *n, const struct map_shard *shard); /* reached in the same way */
void node_pause(struct node *n, bool paused);
void node_reconnect(struct node *n);
/* Parses the connection string once; false if it cannot be parsed. */
bool node_parse(struct node *n, struct error *e);
void node_opened(struct node *n);                        /* a connection succeeded */
void node_failed(struct node *n, const struct error *e); /* in back-off now: fails waiters that nothing will serve */
void node_grow(struct node *n);

/* ---- pool: pool.c, pool_checkout.c --------------------------------------------- */

struct pool {
    struct ilist waiters;                /* FIFO */
    struct ilist servers[SERVER_STATES]; /* by state; IDLE: the last used first */
    unsigned count[SERVER_STATES];
    unsigned waiting, total; /* waiters; servers in all states */
    struct node *node;
    struct pools *pools;
    struct group *group[PERMIT_KINDS];
    const _Atomic uint64_t *starving[PERMIT_KINDS]; /* of each group's permit: read at each checkin */
    bool unpooled;                                  /* replication: a server serves one client */
    bool always_dirty;                              /* session mode */
    bool retired;                                   /* not found any longer: closes as it empties */
    bool used;                                      /* has been checked out: pool.min_size applies */
    uint8_t idle_listed;                            /* bit k: linked in group[k]->idle */
    struct group *blocked;                          /* the group it starves for */
    struct ilist in_starved, in_idle[PERMIT_KINDS];
    struct ilist in_node, in_queued, in_failing;
    struct deadline reserve; /* its clients have waited for pool.reserve_timeout */
    struct deadline refill;  /* below pool.min_size */
    unsigned refs;
    struct params *params; /* of the first fresh server */
    struct settings *settings;
    struct hash_node in_index;
    struct str id; /* content that makes it the same pool, in every worker */
    char *database, *user, *password;
    bool forced_database, forced_user;
    enum conf_pool_mode mode;
    int64_t size, database_limit, user_limit; /* 0: the default, none, none */
    struct backoff backoff;
};
static inline void pool_hold(struct pool *p) { p->refs++; }
struct pool *pool_by_id(struct pools *ps, struct str id);
void pool_maybe_free(struct pool *p);
void pool_retire(struct pool *p); /* waiters are sent away */
void pool_reconnect(struct pool *p);
void pool_end_active(struct pool *p); /* whoever owns them */
bool pool_backing_off(const struct pool *p, const struct error **last);

static inline unsigned pool_connecting(const struct pool *p)
{
    return p->count[SERVER_CONNECTING] + p->count[SERVER_PROVING];
}
/* Servers that will come back. */
static inline unsigned pool_busy(const struct pool *p)
{
    return p->count[SERVER_ACTIVE] + p->count[SERVER_CLEANING] + p->count[SERVER_HELD];
}

/* Opens what waiters need, as far as permits, back-off and pause let it. */
void pool_grow(struct pool *p);
/* s is usable (ACTIVE with no owner, PROVING, CLEANING, HELD or MOVING done): to a
 * waiter, to a worker that starves, or idle. */
void pool_offer(struct server *s);
void pool_serve(struct pool *p); /* idle servers to waiters: after a pause */
/* Fails its waiters now; e NULL: sends them away to look up again. */
void pool_fail(struct pool *p, const struct error *e);
/* A server could not be opened: fails the waiters that nothing will serve. */
void pool_open_failed(struct pool *p, const struct error *e, bool full);
void pool_fail_later(struct pool *p);
void pool_refill_if_low(struct pool *p);
void on_waiter_expired(struct deadline *d, void *pools);
void on_reserve(struct deadline *d, void *pools);
void on_refill(struct deadline *d, void *pools);
void on_turn_end(struct post *post, void *ctx);

/* ---- server ---------------------------------------------------------------------- */

/* What reads a server's answers while no client does. */
struct server_task {
    /* One message; DataRow only if it asked for rows. */
    void (*message)(struct server *s, char type, struct str body);
    /* finished, and all that was read has been looked at. */
    void (*end)(struct server *s);
    bool rows, finished;
    bool cancel_again; /* abandoned while a cancel request was in flight */
    uint8_t phase;
    uint8_t ticks;       /* of CLEAN_TICKS */
    char error_state[6]; /* SQLSTATE of the last ErrorResponse, or "" */
    char error_text[200];
    char value[3][128]; /* columns of the last row, for the proof */
    bool has[3];
    struct handover *handover; /* while MOVING away */
};

/* server.c: the one place where a server changes its state and its list. */
void server_move(struct server *s, enum server_state to);
bool server_may_move(enum server_state from, enum server_state to);
struct server *server_new(struct pool *p, enum server_state state);
/* An orderly end in any state, without counting it as lost. why may be NULL. */
void server_end(struct server *s, enum log_level level, const char *why);
void server_established(struct server *s); /* fresh and proven, or arrived from another worker */
void on_server_ready_idle(struct stream *stream, int events);
void on_limit(struct deadline *d, void *pools);
void on_idle_look(struct deadline *d, void *pools);
void on_lifetime(struct deadline *d, void *pools);
void server_arm_idle(struct server *s);
void server_arm_lifetime(struct server *s);
void server_finish(struct server *s); /* its stream is closed: frees it and its permits */
void server_forget(struct server *s); /* out of its pool, freed at the end of the turn; the permits stay taken */

/* server_connect.c. The permits are taken. */
void server_open(struct pool *p);
void server_open_failed(struct server *s, const struct error *e);

/* server_prove.c */
void server_prove(struct server *s);

/* server_clean.c */
void server_clean(struct server *s);  /* ACTIVE, PROVING, HELD: reset, then offer */
void server_settle(struct server *s); /* IDLE with half a message: until it is whole */
void server_cancel_done(struct server *s);

/* server_io.c */
bool server_send(struct server *s, struct buf *b); /* consumes b; false: s has been ended */
void server_task_begin(struct server *s, void (*message)(struct server *, char, struct str),
                       void (*end)(struct server *));
void server_task_free(struct server *s);
void server_feed(struct server *s, const char *data, size_t len);
/* Messages that may come at any time: true if it was one and has been dealt with. */
bool server_async_message(struct server *s, char type, struct str body);
void server_note_error(struct server *s, struct str body);

/* server_handover.c: s is IDLE; `permit`: for which the worker starves. */
void server_give(struct server *s, unsigned to_worker, struct permit *permit);
/* Messages between workers: permit_message.c. False: the worker has ended. */
bool nudge_send(struct pools *ps, struct permit *pm, unsigned to, bool beg);

/* ---- pools: pools.c ------------------------------------------------------------------ */

struct pools {
    struct loop *loop;
    struct conf *conf;
    struct permits *permits;
    unsigned worker;
    uint64_t others; /* bits of the other workers */
    struct pools_hooks hooks;
    struct map *map;
    uint64_t generation;
    struct counters counters;
    struct hash_index settings, params, nodes, stats, index; /* index: pools by id */
    struct ilist live, retired;                              /* nodes */
    struct buf scratch;                                      /* for a pool's id */
    struct ilist failing;                                    /* pools whose waiters fail at the end of the turn */
    struct post turn;
    bool turn_posted, paused_all;
    enum { POOLS_OPEN, POOLS_CLOSING, POOLS_CLOSED, POOLS_GONE } closing;
    unsigned pool_count, server_count;
    unsigned starved; /* pools of this worker that starve */
    uint64_t next_server_id, random;
    struct deadline_class wait, reserve, refill, idle, prove, clean;
    struct deadline_class lifetime[LIFETIME_STEPS], backoff[BACKOFF_STEPS];
    struct reap reap;
};
uint64_t pools_random(struct pools *ps);
void pools_maybe_free(struct pools *ps);

static inline uint64_t groups_others(const struct pool *p)
{
    uint64_t any = atomic_load_explicit(p->starving[PERMIT_POOL], memory_order_relaxed) |
                   atomic_load_explicit(p->starving[PERMIT_DATABASE], memory_order_relaxed) |
                   atomic_load_explicit(p->starving[PERMIT_USER], memory_order_relaxed) |
                   atomic_load_explicit(p->starving[PERMIT_SHARD], memory_order_relaxed);
    return any & p->pools->others;
}

#endif
