/*
 * From a statement to a server: the tenant, its shard, the pool, a connection.
 *
 * The pool of the last route is remembered; while the map and the configuration
 * stand and the tenant is the same, a statement finds its pool by comparing two
 * numbers.
 */
#include <inttypes.h>

#include "session_internal.h"

static const struct sql_inspection nothing;

static bool bound_elsewhere(struct session *s, struct error *e)
{
    error_set(e, ERR_TENANT_CONFLICT, "the session keeps its server connection: %s", session_pin_name(s));
    error_detail(e, "This session is bound to its shard's connection (%s); the statement's tenant is on another one.",
                 session_pin_name(s));
    error_hint(e, "Open another connection for the other tenant, or end the session state with DISCARD ALL first.");
    return false;
}

static struct pool *find_pool(struct session *s, const struct map_shard *shard)
{
    struct sessions *ss = s->owner;
    const struct profile *p = s->profile;
    const struct auth_user *u = p->user;
    const struct conf_database *d = profile_database(ss, p);
    struct pool_key key = {
        .shard = shard,
        .database = d && d->server_database ? str_from(d->server_database) : p->database,
        .user = u->server_user ? str_from(u->server_user) : p->user_name,
        .forced_database = d && d->server_database,
        .forced_user = u->server_user,
        .settings = p->settings,
        .mode = p->mode,
        .size = u->pool_size ? u->pool_size
                : d          ? d->pool_size
                             : 0,
        .database_limit = d ? d->max_server_connections : 0,
        .user_limit = u->max_server_connections,
    };
    if (u->server_password)
        key.password = str_from(u->server_password);
    else if (u->kind == AUTH_SECRET_PLAIN)
        key.password = u->secret;
    return pool_get(ss->pools, &key);
}

static void remember_pool(struct session *s, struct pool *pool, int64_t tenant)
{
    if (s->pool)
        pool_unref(s->pool);
    s->pool = pool;
    s->pool_tenant = tenant;
    s->pool_generation = pools_generation(s->owner->pools);
}

/* The tenant is not in the map: the directory is asked, once a statement. */
static enum verdict ask_directory(struct session *s, int64_t tenant)
{
    struct sessions *ss = s->owner;
    if (s->pool)
        pool_unref(s->pool);
    s->pool = NULL;
    s->pool_tenant = tenant;
    session_move(s, SESSION_WAITING);
    ilist_push_back(&ss->misses, &s->in_misses);
    ss->hooks.lookup(ss->hooks.ctx, tenant);
    return VERDICT_BLOCKED;
}

/* Sets s->pool for the tenant (or, without one, for the home shard). */
static enum verdict choose_pool(struct session *s, bool has_tenant, int64_t tenant, struct error *e)
{
    struct sessions *ss = s->owner;
    const struct map *map = pools_map(ss->pools);
    if (!map) {
        error_set(e, ERR_MAP_NOT_LOADED, "no map yet");
        return VERDICT_DONE;
    }
    if (has_tenant && s->pool && s->pool_tenant == tenant && s->pool_generation == pools_generation(ss->pools) &&
        s->pool_for_tenant)
        return VERDICT_FORWARD;
    const struct map_shard *shard =
        has_tenant ? route_shard(map, s->profile->user, tenant, e) : route_home(map, ss->conf, e);
    if (!shard) {
        if (e->code == ERR_TENANT_UNKNOWN && ss->conf->directory_lookup && !s->looked_up) {
            error_clear(e);
            return ask_directory(s, tenant);
        }
        s->looked_up = false;
        return VERDICT_DONE;
    }
    s->looked_up = false;
    s->pool_for_tenant = has_tenant;
    remember_pool(s, find_pool(s, shard), tenant);
    return VERDICT_FORWARD;
}

static void bind_tenant(struct session *s, bool has_tenant, int64_t tenant, enum route_source source)
{
    s->link_has_tenant = has_tenant;
    s->link_tenant = tenant;
    s->source = (uint8_t)source;
}

/* The tenant's pool is not that of the linked server. FORWARD: on the same shard all the same
 * (the configuration or the connection string has changed: the session keeps what it has). */
static enum verdict elsewhere(struct session *s, bool same_tenant, struct error *e)
{
    if (node_shard_id(pool_node(s->pool)) == node_shard_id(pool_node(s->server->pool)))
        return VERDICT_FORWARD;
    s->pool_generation = 0; /* `pool` is not the server's: looked at again next time */
    if (same_tenant)
        error_set(e, ERR_TENANT_MOVED, "the session keeps its server connection: %s", session_pin_name(s));
    else
        bound_elsewhere(s, e);
    return VERDICT_DONE;
}

/* A linked session: the statement goes to its server if the tenant fits, and if the
 * tenant still belongs there after a change of the map. */
static enum verdict route_linked(struct session *s, bool has_tenant, int64_t tenant, enum route_source source,
                                 struct error *e)
{
    bool open = s->server->txn != 'I' || s->cycle;
    bool same = has_tenant ? s->link_has_tenant && s->link_tenant == tenant : !s->link_has_tenant || open;
    if (same && (open || s->pool_generation == pools_generation(s->owner->pools))) {
        if (has_tenant)
            s->source = (uint8_t)source;
        return VERDICT_FORWARD;
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED; /* the transaction may be over when it has answered */
    if (s->server->txn != 'I' || s->cycle) {
        if (same)
            return VERDICT_FORWARD;
        error_set(e, ERR_TENANT_CONFLICT, "another tenant inside a transaction");
        return VERDICT_DONE;
    }
    enum verdict v = choose_pool(s, has_tenant, tenant, e);
    if (v == VERDICT_FORWARD && s->pool != s->server->pool)
        v = elsewhere(s, same, e);
    if (v == VERDICT_FORWARD)
        bind_tenant(s, has_tenant, tenant, source);
    return v;
}

static bool ends_transaction(const struct sql_inspection *in)
{
    return in->statements == 1 &&
           (in->verb == SQL_VERB_COMMIT || in->verb == SQL_VERB_ROLLBACK || in->verb == SQL_VERB_ROLLBACK_TO);
}

/* A RESET has taken the name of a session that keeps its server: see session_own_name. */
static enum verdict realign(struct session *s)
{
    if (s->params == s->server->params || s->server->txn != 'I' || s->server->expect.count || s->cycle)
        return VERDICT_FORWARD;
    if (session_align(s))
        return VERDICT_FORWARD;
    session_fail_code(s, ERR_OUT_OF_MEMORY, "realigning a server");
    return VERDICT_ENDED;
}

enum verdict session_route(struct session *s, const struct sql_inspection *in, struct error *e)
{
    struct sessions *ss = s->owner;
    if (s->route_error) {
        *e = *s->route_error;
        mem_free(s->route_error);
        s->route_error = NULL;
        return VERDICT_DONE;
    }
    if (s->server && in && ends_transaction(in))
        return VERDICT_FORWARD; /* a transaction can be ended whatever the tenant is by now */
    const int64_t *current = s->server && s->link_has_tenant && s->server->txn != 'I' && s->server->expect.count == 0
                                 ? &s->link_tenant
                                 : NULL;
    int64_t tenant = 0;
    enum route_source source = ROUTE_NONE;
    if (!route_statement(&s->tenant, in ? in : &nothing, ss->rules.comment_key.len > 0, current, &tenant, &source, e))
        return VERDICT_DONE;
    bool has_tenant = source != ROUTE_NONE;
    enum verdict v;
    if (s->server) {
        v = route_linked(s, has_tenant, tenant, source, e);
        return v == VERDICT_FORWARD ? realign(s) : v;
    }
    v = choose_pool(s, has_tenant, tenant, e);
    if (v != VERDICT_FORWARD)
        return v;
    bind_tenant(s, has_tenant, tenant, source);
    struct server *server = pool_checkout(s->pool, &s->waiter);
    if (!server) {
        session_move(s, SESSION_WAITING);
        return VERDICT_BLOCKED;
    }
    session_link(s, server);
    return s->state >= SESSION_CLOSING ? VERDICT_ENDED : VERDICT_FORWARD;
}

enum verdict session_route_parsed(struct session *s, struct error *e)
{
    int64_t tenant;
    if (s->source == ROUTE_COMMENT && s->link_has_tenant && !route_show(&s->tenant, &tenant))
        return route_linked(s, true, s->link_tenant, ROUTE_COMMENT, e);
    return session_route(s, NULL, e);
}

void on_waiter_done(struct waiter *w, struct server *server, const struct error *e)
{
    struct session *s = container_of(w, struct session, waiter);
    if (server) {
        session_link(s, server);
        if (s->state < SESSION_CLOSING && !s->welcomed)
            session_welcome_linked(s);
    } else if (e && !s->welcomed) {
        session_fail(s, e);
    } else {
        if (e) {
            s->route_error = mem_alloc(sizeof *e);
            *s->route_error = *e;
        }
        session_move(s, s->welcomed ? SESSION_IDLE : SESSION_AUTH);
    }
    session_resume(s);
}

bool session_waits_elsewhere(const struct session *s)
{
    struct error ignored;
    if (s->state != SESSION_WAITING || !s->waiter.pool || !s->link_has_tenant)
        return false;
    error_clear(&ignored);
    const struct map_shard *shard = route_shard(pools_map(s->owner->pools), s->profile->user, s->link_tenant, &ignored);
    return !shard || shard->id != node_shard_id(pool_node(s->pool));
}

void session_cancel_wait(struct session *s)
{
    waiter_cancel(&s->waiter);
    ilist_remove(&s->in_misses);
    s->route_error = mem_zalloc(sizeof *s->route_error);
    error_set(s->route_error, ERR_CANCELED, "cancel request while waiting for a server connection");
    session_move(s, session_before_wait(s));
    session_resume(s);
}
