/*
 * Opening a server: libpq connects and authenticates, then its socket is taken
 * over, and the connection is proven (server_prove.c).
 *
 * A failure puts the pool into back-off if it is about the pool's user or
 * database, else the node: see is_pools_own.
 */
#include <string.h>

#include "pool_impl.h"

/* Refused for who asks or for what, with a SQLSTATE of the server: another user,
 * database or set of startup settings may do well. The shard as a whole is to
 * blame only where it did not answer, or said that it is down or broken. */
static bool is_pools_own(const struct error *e)
{
    static const char *const shards[] = {"08", "57P01", "57P02", "57P03", "58", "XX"};
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        if (str_starts(str_from(e->sqlstate), str_from(shards[i])))
            return false;
    }
    return e->sqlstate[0] != '\0';
}

static bool names_application(const struct settings *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (str_eq(s->items[i].name, STR("application_name")))
            return true;
    }
    return false;
}

/* In session mode a client that has not named itself has no name, as without us. */
static const char *application_name(const struct pool *p)
{
    return p->mode == CONF_MODE_SESSION || names_application(p->settings) ? NULL : POOL_APPLICATION_NAME;
}

static void read_params(struct server *s)
{
    struct pools *ps = s->pool->pools;
    struct str value[PARAM__COUNT] = {0};
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        const char *v = pqconn_parameter(s->conn, param_names[i]);
        if (v)
            value[i] = str_from(v);
    }
    s->params = params_get(ps, value);
    if (!s->pool->params)
        s->pool->params = params_ref(s->params);
}

static void on_connected(struct pqconn *c, void *ctx, const struct error *e)
{
    struct server *s = ctx;
    struct error not_quiet;
    if (e) {
        server_open_failed(s, e);
        return;
    }
    if (!pqconn_take(c, &s->stream)) {
        error_clear(&not_quiet);
        error_set(&not_quiet, ERR_SHARD_UNREACHABLE, "the new connection was lost, or sent what was not asked for");
        server_open_failed(s, &not_quiet);
        return;
    }
    s->streaming = true;
    s->stream.ready = on_server_ready_idle;
    read_params(s);
    server_move(s, SERVER_PROVING);
    server_prove(s);
}

void server_open(struct pool *p)
{
    struct pools *ps = p->pools;
    struct server *s = server_new(p, SERVER_CONNECTING);
    /* A forced name wins over the connection string's, another stands in for it. */
    struct pqconn_options o = {
        .conninfo = p->node->conninfo,
        .dbname = p->forced_database ? p->database : NULL,
        .fallback_dbname = p->forced_database ? NULL : p->database,
        .user = p->forced_user ? p->user : NULL,
        .fallback_user = p->forced_user ? NULL : p->user,
        .password = p->forced_user ? p->password : NULL,
        .fallback_password = p->forced_user ? NULL : p->password,
        .options = p->settings->options.len ? p->settings->options.ptr : NULL,
        .application_name = application_name(p),
        .replication_database = p->settings->replication == REPLICATION_DATABASE,
        .replication_physical = p->settings->replication == REPLICATION_PHYSICAL,
        .timeout_ms = (uint64_t)ps->conf->server_connect_timeout,
    };
    s->conn = pqconn_open(ps->loop, &o, on_connected, s);
}

void server_open_failed(struct server *s, const struct error *e)
{
    struct pool *p = s->pool;
    struct error failure = *e; /* it may live in the connection */
    shard_add(node_stats(p->node), SHARD_CONNECT_FAILURES, 1);
    log_event(LOG_WARN, "server connection failed", log_int("shard", p->node->shard_id),
              log_str("database", p->database), log_str("user", p->user), log_err(&failure));
    pool_hold(p);
    if (is_pools_own(&failure)) {
        backoff_fail(&p->backoff, p->pools, &failure);
        server_end(s, LOG_DEBUG, NULL);
        pool_open_failed(p, &failure, strcmp(failure.sqlstate, "53300") == 0);
    } else {
        backoff_fail(&p->node->backoff, p->pools, &failure);
        server_end(s, LOG_DEBUG, NULL);
        node_failed(p->node, &failure);
    }
    pool_unref(p);
}
