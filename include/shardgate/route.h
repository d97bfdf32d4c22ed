/*
 * route: which tenant a session or statement acts for, as pure functions of the
 * sources' answers. No sockets, no clock.
 */
#ifndef SHARDGATE_ROUTE_H
#define SHARDGATE_ROUTE_H

#include "shardgate/base.h"
#include "shardgate/auth.h"
#include "shardgate/conf.h"
#include "shardgate/map.h"
#include "shardgate/sql.h"

/* Takes `text` apart by a pattern such as {user}.{tenant} or {database}/{tenant}:
 * *name is what stands for the other placeholder (empty if the pattern has none).
 * Returns 1 with *tenant, 0 if the text does not have the pattern's shape (then
 * *name is the whole text), -1 if it has but the tenant is no number. With the
 * literal between the two found several times, the one nearest the tenant
 * separates: the last in {user}.{tenant}. */
int route_pattern(const char *pattern, struct str text, struct str *name, int64_t *tenant);

/* What the sources of one session have said so far. Plain data. */
struct route_tenant {
    bool has_identity; /* from user or database: locked for the session */
    bool has_session;  /* from startup parameter or SET */
    bool has_local;    /* from SET LOCAL: until the transaction ends */
    bool has_startup;  /* from the startup parameter: RESET returns to it */
    int64_t identity, session, local, startup;
};

enum route_source { ROUTE_NONE, ROUTE_IDENTITY, ROUTE_LOCAL, ROUTE_SESSION, ROUTE_COMMENT };
const char *route_source_name(enum route_source s);

/* Adds what the startup said. False with e = TENANT_CONFLICT. */
bool route_add_identity(struct route_tenant *t, int64_t tenant, struct error *e);
bool route_add_startup(struct route_tenant *t, int64_t tenant, struct error *e);
/* SET, SET LOCAL, RESET. current: the tenant of the open transaction, or NULL:
 * in a transaction the tenant cannot change. */
bool route_set(struct route_tenant *t, bool local, int64_t tenant, const int64_t *current, struct error *e);
bool route_reset(struct route_tenant *t, const int64_t *current, struct error *e);
void route_end_transaction(struct route_tenant *t);
/* The value that SHOW gives; false: none. */
bool route_show(const struct route_tenant *t, int64_t *tenant);

/* The tenant of a statement: comment (found by sql_inspect) beside the session's
 * sources. Returns false with e set (TENANT_CONFLICT, INVALID_TENANT,
 * TENANT_SEVERAL); *source ROUTE_NONE: nobody named one; *tenant is then that of
 * the open transaction, if current is given. */
bool route_statement(const struct route_tenant *t, const struct sql_inspection *in, bool comments,
                     const int64_t *current, int64_t *tenant, enum route_source *source, struct error *e);

/* The shard of a tenant: NULL with e = TENANT_UNKNOWN, SHARD_INACTIVE,
 * TENANT_FORBIDDEN, or MAP_NOT_LOADED (m NULL). user NULL: may act for any. On
 * TENANT_UNKNOWN the caller may ask the directory first. */
const struct map_shard *route_shard(const struct map *m, const struct auth_user *user, int64_t tenant, struct error *e);
/* The shard for statements without a tenant: the home shard, else the primary
 * one; NULL with e = TENANT_REQUIRED where the policy refuses or there is no such
 * shard, or MAP_NOT_LOADED. */
const struct map_shard *route_home(const struct map *m, const struct conf *c, struct error *e);

#endif
