/*
 * A new connection is proven before a client gets it: the database is the one
 * that was meant, the server is not in recovery where a primary is required, and
 * if the shard says which shard it is (table shardgate.shard_identity), it is the
 * one of the map. A wrong host, a wrong port or a standby behind a stale address
 * is found here, and not in a tenant's data.
 *
 * Everything is named with its schema, operators too: the settings of the session
 * may hold a search_path. Whether the table is there is read from the catalog,
 * which needs no right on its schema. If it is there it must be readable.
 */
#include <stdlib.h>
#include <string.h>

#include "pool_impl.h"

enum phase { PHASE_PLACE, PHASE_IDENTITY };

static const char place_query[] =
    "SELECT pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(), "
    "(SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) "
    "c.relnamespace "
    "WHERE n.nspname OPERATOR(pg_catalog.=) 'shardgate' AND c.relname OPERATOR(pg_catalog.=) 'shard_identity')";
static const char identity_query[] = "SELECT shard_id, (SELECT pg_catalog.count(*) FROM shardgate.shard_identity) "
                                     "FROM shardgate.shard_identity LIMIT 1";

static void ask(struct server *s, enum phase phase, const char *query)
{
    struct buf b;
    s->task->phase = phase;
    s->task->error_state[0] = '\0';
    memset(s->task->has, 0, sizeof(s->task->has));
    buf_init(&b, 0);
    wire_put_query(&b, str_from(query));
    server_send(s, &b);
}

static void read_row(struct server_task *t, struct str body)
{
    struct wire_row row = {body, -1};
    struct str v;
    for (unsigned i = 0; i < ARRAY_LEN(t->value) && wire_row_next(&row, &v) == 1; i++) {
        t->has[i] = v.ptr != NULL;
        str_copy(t->value[i], sizeof(t->value[i]), v);
    }
}

static bool check_place(const struct server *s, struct error *e)
{
    const struct conf *c = s->pool->pools->conf;
    const struct server_task *t = s->task;
    if (!t->has[0] || !t->has[1])
        return error_set(e, ERR_SHARD_UNREACHABLE, "identity: the proof gave no row");
    if (c->server_identity && strcmp(t->value[0], s->pool->database) != 0) {
        error_set(e, ERR_SHARD_UNREACHABLE, "identity: connected to database \"%s\" in place of \"%s\"", t->value[0],
                  s->pool->database);
        str_copy(e->sqlstate, sizeof(e->sqlstate), STR("3D000")); /* this pool's trouble, not the shard's */
        return false;
    }
    if (c->server_require_primary && strcmp(t->value[1], "f") != 0)
        return error_set(e, ERR_SHARD_STARTING, "the server is in recovery, a primary is required");
    return true;
}

static bool check_identity(const struct server *s, struct error *e)
{
    const struct server_task *t = s->task;
    int want = s->pool->node->shard_id;
    if (!t->has[0])
        return error_set(e, ERR_SHARD_UNREACHABLE,
                         "identity: table shardgate.shard_identity is empty, shard %d was meant", want);
    if (strcmp(t->value[1], "1") != 0)
        return error_set(e, ERR_SHARD_UNREACHABLE, "identity: table shardgate.shard_identity has %s rows", t->value[1]);
    int64_t got;
    if (!str_to_i64(str_from(t->value[0]), &got) || got != want)
        return error_set(e, ERR_SHARD_UNREACHABLE, "identity: the server says it is shard %s, shard %d was meant",
                         t->value[0], want);
    return true;
}

static void refuse(struct server *s, const struct error *e)
{
    log_event(LOG_ERROR, "server refused", log_int("shard", s->pool->node->shard_id),
              log_str("database", s->pool->database), log_err(e));
    server_open_failed(s, e);
}

static void on_ready(struct server *s)
{
    struct server_task *t = s->task;
    struct error e;
    error_clear(&e);
    if (t->error_state[0]) {
        error_set(&e, ERR_SHARD_UNREACHABLE, "identity: the proof failed: %s", t->error_text);
        str_copy(e.sqlstate, sizeof(e.sqlstate), str_from(t->error_state));
        error_message(&e, "%s", t->error_text);
        refuse(s, &e);
    } else if (t->phase == PHASE_PLACE && !check_place(s, &e)) {
        refuse(s, &e);
    } else if (t->phase == PHASE_IDENTITY && !check_identity(s, &e)) {
        refuse(s, &e);
    } else if (t->phase == PHASE_PLACE && t->has[2] && s->pool->pools->conf->server_identity) {
        ask(s, PHASE_IDENTITY, identity_query);
    } else {
        t->finished = true;
    }
}

static void on_message(struct server *s, char type, struct str body)
{
    struct error e;
    switch (type) {
    case 'T':
    case 'C':
        return;
    case 'D':
        read_row(s->task, body);
        return;
    case 'E':
        server_note_error(s, body);
        return;
    case 'Z':
        on_ready(s);
        return;
    default:
        if (server_async_message(s, type, body))
            return;
        error_clear(&e);
        error_set(&e, ERR_SHARD_UNREACHABLE, "identity: unexpected message in the proof");
        refuse(s, &e);
    }
}

static void proven(struct server *s)
{
    struct pool *p = s->pool;
    deadline_disarm(&s->limit);
    shard_add(node_stats(p->node), SHARD_CONNECTS, 1);
    log_event(LOG_DEBUG, "server connected", log_int("shard", p->node->shard_id), log_str("database", p->database),
              log_str("user", p->user), log_int("server", s->id), log_int("pid", server_pid(s)));
    pool_hold(p);
    backoff_clear(&p->backoff);
    node_opened(p->node);
    server_established(s);
    pool_grow(p);
    pool_unref(p);
}

void server_prove(struct server *s)
{
    const struct pool *p = s->pool;
    const struct conf *c = p->pools->conf;
    if (p->unpooled || (!c->server_identity && !c->server_require_primary)) {
        proven(s);
        return;
    }
    server_task_begin(s, on_message, proven);
    s->task->rows = true;
    deadline_arm(&p->pools->prove, &s->limit);
    ask(s, PHASE_PLACE, place_query);
}
