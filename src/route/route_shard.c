#include "shardgate/route.h"

#include <inttypes.h>

const struct map_shard *route_shard(const struct map *m, const struct auth_user *user, int64_t tenant, struct error *e)
{
    if (!m) {
        error_set(e, ERR_MAP_NOT_LOADED, "no map");
        return NULL;
    }
    /* Before the look-up: a user learns nothing about tenants that are not theirs. */
    if (user && !auth_user_may(user, tenant)) {
        error_set(e, ERR_TENANT_FORBIDDEN, "tenant %" PRId64, tenant);
        error_detail(e, "Tenant %" PRId64 ".", tenant);
        return NULL;
    }
    const struct map_shard *s = map_lookup(m, tenant, NULL);
    if (!s) {
        error_set(e, ERR_TENANT_UNKNOWN, "tenant %" PRId64, tenant);
        error_detail(e, "Tenant %" PRId64 ".", tenant);
        return NULL;
    }
    if (!s->active) {
        error_set(e, ERR_SHARD_INACTIVE, "tenant %" PRId64 ", shard %d", tenant, s->id);
        error_detail(e, "Tenant %" PRId64 ", shard %d.", tenant, s->id);
        return NULL;
    }
    return s;
}

const struct map_shard *route_home(const struct map *m, const struct conf *c, struct error *e)
{
    if (c->tenant_missing == CONF_MISSING_REFUSE) {
        error_set(e, ERR_TENANT_REQUIRED, "tenant.missing is refuse");
        return NULL;
    }
    if (!m) {
        error_set(e, ERR_MAP_NOT_LOADED, "no map");
        return NULL;
    }
    const struct map_shard *s = c->home_shard >= 0 ? map_shard_by_id(m, c->home_shard) : NULL;
    if (!s || !s->active)
        s = map_primary(m);
    if (!s)
        error_set(e, ERR_TENANT_REQUIRED, "neither an active home shard nor an active primary one");
    return s;
}
