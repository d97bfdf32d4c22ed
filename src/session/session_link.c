/*
 * A session and its server: taking one, holding it while there is a reason, and
 * giving it back. In transaction mode a server goes back when nothing is
 * expected of it, it is in no transaction, and no state of the session is on it.
 */
#include "session_internal.h"

bool session_expect(struct session *s, char kind, enum expect_action action)
{
    struct server *server = s->server;
    if (kind == 'S' || kind == 'Q' || kind == 'F')
        server->failed = false;
    else if (server->failed)
        return true; /* the server skips to the next Sync: no answer will come */
    bool first = server->expect.count == 0;
    if (!expect_push(&server->expect, (uint8_t)kind, (uint8_t)action))
        return false;
    if (first) {
        s->query_start_ns = loop_now_ns(s->owner->loop);
        if (s->owner->timed)
            session_arm(s);
    }
    return true;
}

void session_link(struct session *s, struct server *server)
{
    struct sessions *ss = s->owner;
    s->server = server;
    server->owner = s;
    server->stream.ready = on_server_ready;
    session_move(s, SESSION_LINKED);
    if (s->profile->mode == CONF_MODE_SESSION) {
        s->pins |= PIN_SESSION;
        server->dirty = true;
    }
    bool ok = true;
    if (s->welcomed && s->provisional)
        session_reconcile(s);
    if (s->params && s->params != server->params)
        ok = session_align(s);
    if (ok && s->begin) {
        ok = wire_put_query(&ss->prefix, str_from(s->begin)) && session_expect(s, 'Q', EXPECT_SKIP);
        mem_free(s->begin);
        s->begin = NULL;
        server->txn = 'T'; /* what the client has been told; the server will say the same */
    }
    if (!ok)
        session_fail_code(s, ERR_OUT_OF_MEMORY, "linking a server");
}

static void forget(struct session *s)
{
    s->server->owner = NULL;
    s->server = NULL;
    s->cycle = s->unnamed = s->unbound = s->barrier = s->copy_in = false;
    s->pins = 0;
    s->link_has_tenant = false;
}

static bool clean(const struct session *s)
{
    const struct server *server = s->server;
    return server->expect.count == 0 && server->txn == 'I' && !s->cycle && server->in.len == 0 &&
           server->in_left == 0 && server->out.len == 0 && (s->body_left == 0 || s->body_drop);
}

void session_release_if_idle(struct session *s)
{
    if (s->pins || s->unbound || s->begin || !clean(s))
        return;
    struct server *server = s->server;
    forget(s);
    session_move(s, SESSION_IDLE);
    server_checkin(server);
}

bool session_at_rest(const struct session *s)
{
    if (s->state == SESSION_LINKED)
        return clean(s);
    return (s->state == SESSION_IDLE && !s->begin) || s->state == SESSION_CONSOLE || s->state == SESSION_STARTUP;
}

void session_unlink(struct session *s)
{
    struct server *server = s->server;
    bool is_clean = clean(s), whole = s->body_left == 0 || s->body_drop;
    if (s->owner->unsent || s->owner->prefix.len)
        whole = false; /* answers are expected to what the server has not got: of no use any longer */
    /* The server may go to another session before this returns: what is in the
     * worker's buffers is of this one. */
    buf_consume(&s->owner->prefix, s->owner->prefix.len);
    buf_consume(&s->owner->reply, s->owner->reply.len);
    forget(s);
    if (is_clean)
        server_checkin(server);
    else
        server_abandon(server, whole);
}

const char *session_pin_name(const struct session *s)
{
    if (s->pins & PIN_SESSION)
        return "session mode";
    if (s->pins & PIN_STATEMENT)
        return "prepared statement";
    return s->pins ? sql_pin_name(s->pins) : NULL;
}
