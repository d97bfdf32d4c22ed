/*
 * auth: who may log in, and the proof. Mechanisms are exchange functions of
 * (state, input): no sockets, no waiting. A doomed exchange (unknown user,
 * wrong kind of secret) runs to its end and looks the same from outside.
 */
#ifndef SHARDGATE_AUTH_H
#define SHARDGATE_AUTH_H

#include "shardgate/base.h"
#include "shardgate/conf.h"

enum auth_secret { AUTH_SECRET_NONE, AUTH_SECRET_PLAIN, AUTH_SECRET_MD5, AUTH_SECRET_SCRAM };

struct auth_user {
    struct str name;
    enum auth_secret kind;
    struct str secret;                                      /* as stored */
    const char *server_user;                                /* NULL: not set */
    const char *server_password;                            /* NULL: not set; a plain secret serves where it is */
    const struct conf_range *tenants;                       /* sorted, disjoint */
    size_t tenant_count;                                    /* 0: any tenant */
    enum conf_pool_mode mode;                               /* CONF_MODE_DEFAULT: not set */
    int64_t max_clients, max_server_connections, pool_size; /* 0: not set */
    bool admin, stats;                                      /* from admin.users, admin.stats_users */
};

/* All users: immutable, shared by threads, ref-counted. */
struct auth_users;
/* From users of the file and auth.file (errors name its line). The users of the
 * YAML file win over the auth file's; one without a password there takes its
 * secret from the auth file. Everything is copied: c may go. */
struct auth_users *auth_users_load(const struct conf *c, struct error *e) MUST_CHECK;
struct auth_users *auth_users_ref(struct auth_users *u);
void auth_users_unref(struct auth_users *u);
const struct auth_user *auth_users_find(const struct auth_users *u, struct str name); /* O(1); NULL */
size_t auth_users_count(const struct auth_users *u);
bool auth_user_may(const struct auth_user *user, int64_t tenant); /* O(log ranges) */

/* One login. Begin writes the first Authentication message to `reply`. */
enum auth_step {
    AUTH_CONTINUE, /* send reply (may be empty), wait for the next 'p' message */
    AUTH_DERIVE,   /* call auth_derive on a pool thread, then auth_resume */
    AUTH_OK,       /* proven; reply holds what comes before AuthenticationOk (SASLFinal) */
    AUTH_FAIL,     /* e is AUTH_FAILED; its cause, for the log only, tells why. Malformed messages,
                    * whoever sends them, are PROTOCOL; also OUT_OF_MEMORY and INTERNAL */
};
#define AUTH_INPUT_MAX 65536u /* bytes of a 'p' message's body: read no more than this (and fail at more) */
struct auth_exchange;
/* user NULL (or without a fitting secret): a mock exchange that must fail.
 * name: what was looked up (after a user pattern took the tenant off), also when
 * it was not found: the salts shown to unknown users depend on it.
 * `users` is referenced until auth_free. With trust the result is AUTH_OK at
 * once for a known user, AUTH_FAIL otherwise. A user with a SCRAM secret under
 * `md5` is offered SCRAM, as PostgreSQL does. */
struct auth_exchange *auth_begin(struct auth_users *users, const struct auth_user *user, struct str name,
                                 enum conf_auth_type type, int64_t iterations, struct buf *reply, enum auth_step *step,
                                 struct error *e);
/* The name as the client sent it, where a pattern made it differ from `name`: the
 * client's md5 hashes that. Before the first auth_input; false: out of memory. */
bool auth_set_sent_name(struct auth_exchange *x, struct str name) MUST_CHECK;
/* body: of a 'p' message. Never while AUTH_DERIVE is under way. */
enum auth_step auth_input(struct auth_exchange *x, struct str body, struct buf *reply, struct error *e);
void auth_derive(struct auth_exchange *x); /* any thread; touches only x */
enum auth_step auth_resume(struct auth_exchange *x, struct buf *reply, struct error *e);
void auth_free(struct auth_exchange *x); /* NULL allowed; wipes secrets */

/* Random bytes from the kernel's generator; aborts if there are none. */
void auth_random(void *to, size_t len);

#endif
