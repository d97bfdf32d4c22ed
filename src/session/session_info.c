/* What SHOW CLIENTS tells of each session. */
#include <string.h>

#include "session_internal.h"

static const char *state_name(const struct session *s)
{
    switch ((enum session_state)s->state) {
    case SESSION_STARTUP:
    case SESSION_AUTH:
        return "login";
    case SESSION_IDLE:
        return s->begin ? "in transaction" : "idle";
    case SESSION_WAITING:
        return "waiting";
    case SESSION_LINKED:
        if (s->server->expect.count || s->cycle)
            return "active";
        return session_status(s) == 'I'   ? "idle"
               : session_status(s) == 'T' ? "in transaction"
                                          : "in failed transaction";
    case SESSION_CONSOLE:
    case SESSION_CONSOLE_BUSY:
        return "console";
    default:
        return "closing";
    }
}

static void one(struct session *s, void (*fn)(void *ctx, const struct session_info *i), void *ctx)
{
    char address[64];
    session_address(s, address, sizeof address);
    int64_t tenant = 0;
    bool has = s->server && s->link_has_tenant;
    if (has)
        tenant = s->link_tenant;
    else
        has = route_show(&s->tenant, &tenant);
    const struct profile *p = s->profile;
    struct session_info i = {
        .id = s->id,
        .user = p ? p->user_name.ptr : "",
        .database = p ? p->database.ptr : "",
        .address = address,
        .application = s->params && s->params->value[PARAM_APPLICATION_NAME].ptr
                           ? s->params->value[PARAM_APPLICATION_NAME].ptr
                           : "",
        .port = s->port,
        .state = state_name(s),
        .has_tenant = has,
        .tenant = tenant,
        .source = !has ? ""
                       : route_source_name(s->server                ? (enum route_source)s->source
                                           : s->tenant.has_identity ? ROUTE_IDENTITY
                                                                    : ROUTE_SESSION),
        .shard_id = s->server ? node_shard_id(pool_node(s->server->pool)) : -1,
        .server_id = s->server ? s->server->id : 0,
        .pinned = s->server ? session_pin_name(s) : NULL,
        .connected_ms = loop_now_ms(s->owner->loop) - s->connected_ms,
    };
    if (s->waiter.pool)
        i.wait_ms = (loop_now_ns(s->owner->loop) - s->waiter.since_ns) / 1000000;
    fn(ctx, &i);
}

void sessions_each(struct sessions *ss, void (*fn)(void *ctx, const struct session_info *i), void *ctx)
{
    ILIST_EACH (node, &ss->all)
        one(container_of(node, struct session, in_owner), fn, ctx);
}
