/*
 * session: the clients of one worker. Login, tenant, relay.
 *
 *   session_hub   process-wide: cancel keys, client limits; any thread
 *   sessions      all sessions of one worker; its thread only
 *   session       one client connection; private to the room
 */
#ifndef SHARDGATE_SESSION_H
#define SHARDGATE_SESSION_H

#include "shardgate/base.h"
#include "shardgate/auth.h"
#include "shardgate/conf.h"
#include "shardgate/map.h"
#include "shardgate/net.h"
#include "shardgate/pool.h"

/* ---- process-wide -------------------------------------------------------- */

struct session_hub;
struct session_hub *session_hub_new(void);
void session_hub_free(struct session_hub *h);
unsigned session_hub_clients(const struct session_hub *h); /* of all workers; any thread */

/* ---- the admin console, which the ops room provides ----------------------- */

/* One command. Allocated by the session; run gives it back through done. */
struct console_call {
    char *text; /* NUL-terminated, owned */
    const char *user;
    bool admin, stats; /* the user's rights */
    struct loop *loop; /* where done must be called; never from within run */
    struct buf reply;  /* DataRow… CommandComplete, or ErrorResponse: wire messages */
    void (*done)(struct console_call *c);
    void *owner;
};
struct console_ops {
    /* Any worker's thread. Appends RowDescription (or NoData, if `no_data`, for a
     * command without rows; nothing otherwise). False with e for a bad command. */
    bool (*describe)(void *ctx, const char *text, bool no_data, struct buf *out, struct error *e);
    void (*run)(void *ctx, struct console_call *c);
    void *ctx;
};

/* ---- what a worker's sessions need from above ------------------------------ */

/* What a CancelRequest names: a session by its id, or else by a key of ours. */
struct cancel_key {
    uint64_t session_id; /* 0: by pid and key */
    uint32_t pid, key;
    uint64_t requester; /* the session that asks: sessions_cancel_heard */
};

struct sessions_hooks {
    /* Asks the directory for a tenant; sessions_tenant_answer follows, later. */
    void (*lookup)(void *ctx, int64_t tenant);
    /* A cancel request for a session of `worker` (maybe this one; any number may
     * come in): sessions_cancel on its thread, then sessions_cancel_heard on this one. */
    void (*cancel)(void *ctx, unsigned worker, struct cancel_key key);
    /* All sessions are gone after sessions_drain. */
    void (*drained)(void *ctx);
    /* Reported parameters learned from any shard, or false. */
    bool (*parameters)(void *ctx, char values[HEALTH_PARAMETERS][64]);
    void *ctx;
    struct console_ops console;
};

struct sessions;
struct sessions *sessions_new(struct pools *pools, const struct conf *c, struct auth_users *users,
                              struct session_hub *hub, unsigned worker, const struct sessions_hooks *hooks);
void sessions_free(struct sessions *ss); /* none may be left */
void sessions_configure(struct sessions *ss, const struct conf *c, struct auth_users *users);
/* A new client connection; owns fd. */
void sessions_accept(struct sessions *ss, int fd, const struct peer_address *peer);
/* The same over a stream the caller made, for tests: the stream's memory stays the caller's. */
struct session;
struct session *sessions_attach(struct sessions *ss, struct stream *stream, const struct peer_address *peer);
/* After the map has changed: sessions that wait for a look-up, or for a server of a shard
 * that is their tenant's no longer, try again. */
void sessions_map_changed(struct sessions *ss);
void sessions_tenant_answer(struct sessions *ss, int64_t tenant,
                            const struct error *e); /* e NULL: asked; found or not */
void sessions_cancel(struct sessions *ss, struct cancel_key key);
/* The one who asked is let go: whoever has seen its connection close knows that the
 * request strikes nothing that is sent from then on. */
void sessions_cancel_heard(struct sessions *ss, struct cancel_key key);
/* Stops taking clients: new ones and idle ones get 57P01, transactions may end. */
void sessions_drain(struct sessions *ss);
/* Ends all sessions with 57P01 now. */
void sessions_shutdown(struct sessions *ss);
bool sessions_kill(struct sessions *ss, uint64_t session_id); /* false: not here */
size_t sessions_count(const struct sessions *ss);
size_t sessions_waiting(const struct sessions *ss);

struct session_info {
    uint64_t id;
    const char *user, *database, *address, *application;
    uint16_t port;
    const char *state; /* "login", "idle", "active", "waiting", "in transaction", … */
    bool has_tenant;
    int64_t tenant;
    const char *source; /* of the tenant */
    int shard_id;       /* -1: none now */
    uint64_t server_id; /* 0: none now */
    const char *pinned; /* why, or NULL */
    uint64_t connected_ms, wait_ms;
};
void sessions_each(struct sessions *ss, void (*fn)(void *ctx, const struct session_info *i), void *ctx);

#endif
