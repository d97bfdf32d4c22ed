/*
 * One session's life: its state table, its deadlines, and its one way out.
 *
 * Every ending meets in `finish`: the server is given back or abandoned, waits
 * are cancelled, counts and keys returned, and the stream closed; the memory
 * goes at the end of the turn in which the stream has closed.
 */
#include <string.h>

#include "session_internal.h"

static const uint32_t allowed[] = {
    [SESSION_STARTUP] = FSM_TO(SESSION_AUTH) | FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_AUTH] = FSM_TO(SESSION_IDLE) | FSM_TO(SESSION_WAITING) | FSM_TO(SESSION_LINKED) | FSM_TO(SESSION_CONSOLE) |
                     FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_IDLE] =
        FSM_TO(SESSION_WAITING) | FSM_TO(SESSION_LINKED) | FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_WAITING] = FSM_TO(SESSION_IDLE) | FSM_TO(SESSION_AUTH) | FSM_TO(SESSION_LINKED) | FSM_TO(SESSION_CLOSING) |
                        FSM_TO(SESSION_CLOSED),
    [SESSION_LINKED] =
        FSM_TO(SESSION_IDLE) | FSM_TO(SESSION_WAITING) | FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_CONSOLE] = FSM_TO(SESSION_CONSOLE_BUSY) | FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_CONSOLE_BUSY] = FSM_TO(SESSION_CONSOLE) | FSM_TO(SESSION_CLOSING) | FSM_TO(SESSION_CLOSED),
    [SESSION_CLOSING] = FSM_TO(SESSION_CLOSED),
    [SESSION_CLOSED] = 0,
};

void session_move(struct session *s, enum session_state to)
{
    if (s->state == to)
        return;
    if (!fsm_allows(allowed, s->state, to)) {
        /* A defect of ours; the log names it and the move is made so that nobody hangs. */
        log_event(LOG_ERROR, "session state", log_int("session", s->id), log_int("from", s->state), log_int("to", to));
    }
    if (s->state == SESSION_WAITING)
        s->owner->waiting--;
    if (to == SESSION_WAITING)
        s->owner->waiting++;
    s->state = (uint8_t)to;
    session_arm(s);
}

void session_arm(struct session *s)
{
    struct sessions *ss = s->owner;
    struct deadline_class *class = NULL;
    switch ((enum session_state)s->state) {
    case SESSION_STARTUP:
    case SESSION_AUTH:
        if (!ilist_linked(&s->deadline.node))
            deadline_arm(&ss->login_deadline, &s->deadline); /* one limit for the whole login */
        return;
    case SESSION_IDLE:
    case SESSION_CONSOLE:
        class = s->begin ? &ss->transaction_deadline : &ss->idle_deadline;
        break;
    case SESSION_LINKED:
        if (s->server->expect.count > 0 || s->cycle)
            class = &ss->query_deadline;
        else
            class = session_status(s) == 'I' ? &ss->idle_deadline : &ss->transaction_deadline;
        break;
    case SESSION_WAITING: /* the pool's own deadline, or the login's */
        if (!s->welcomed)
            return;
        break;
    case SESSION_CLOSING:
        class = &ss->flush_deadline;
        break;
    case SESSION_CONSOLE_BUSY:
    case SESSION_CLOSED:
        break;
    }
    if (class && class->timeout_ms)
        deadline_arm(class, &s->deadline);
    else
        deadline_disarm(&s->deadline);
}

static void on_closed(struct stream *stream)
{
    struct session *s = stream->user;
    loop_reap(s->owner->loop, &s->reap);
}

static void on_test_stream_closed(struct stream *stream) { (void)stream; }

static void drop_server(struct session *s)
{
    if (s->state == SESSION_WAITING) {
        waiter_cancel(&s->waiter);
        ilist_remove(&s->in_misses);
    }
    if (s->server)
        session_unlink(s);
}

static void free_parts(struct session *s)
{
    struct sessions *ss = s->owner;
    char address[64];
    session_address(s, address, sizeof address);
    if (s->call)
        s->call->owner = NULL; /* frees itself when it is done */
    if (s->counted)
        hub_uncount(ss->hub, str_from(s->address_kind ? address : ""));
    if (s->counted_user)
        hub_uncount_user(ss->hub, s->profile->user_name);
    if (s->own_key)
        hub_key_remove(ss->hub, s->cancel_pid, s->cancel_key);
    if (s->login)
        login_free(s->login);
    s->login = NULL;
    if (s->pool)
        pool_unref(s->pool);
    s->pool = NULL;
    if (s->params)
        params_unref(ss->pools, s->params);
    s->params = NULL;
    if (s->startup)
        params_unref(ss->pools, s->startup);
    s->startup = NULL;
    if (s->profile)
        profile_unref(ss, s->profile);
    s->profile = NULL;
    local_clear(s);
    mem_free(s->begin);
    s->begin = NULL;
    mem_free(s->saved);
    s->saved = NULL;
    mem_free(s->route_error);
    s->route_error = NULL;
    buf_fini(&s->in);
    buf_fini(&s->out);
    if (s->id && ss->slots[id_slot(s->id)] == s) {
        ss->slots[id_slot(s->id)] = NULL;
        ss->free_slots[ss->free_count++] = id_slot(s->id);
    }
}

static void finish(struct session *s, const char *why)
{
    struct sessions *ss = s->owner;
    if (s->state == SESSION_CLOSED)
        return;
    drop_server(s);
    bool was_login = s->welcomed;
    session_move(s, SESSION_CLOSED);
    deadline_disarm(&s->deadline);
    ilist_remove(&s->in_owner);
    ss->count--;
    counter_add(ss->counters, COUNTER_CLIENTS_CLOSED, 1);
    if (was_login && ss->conf->log_connections) {
        char address[64];
        session_address(s, address, sizeof address);
        log_event(LOG_INFO, "client closed", log_int("session", s->id),
                  log_slice("user", s->profile ? s->profile->user_name : STR("")), log_str("address", address),
                  log_str("reason", why));
    }
    free_parts(s);
    if (s->stream == &s->socket) {
        stream_close(s->stream, on_closed);
    } else {
        stream_close(s->stream, on_test_stream_closed);
        loop_reap(ss->loop, &s->reap);
    }
    sessions_tell_drained(ss);
}

void session_end(struct session *s, const char *why) { finish(s, why); }

void session_log_refusal(struct session *s, const struct error *e)
{
    struct counters *c = s->owner->counters;
    switch (e->code) {
    case ERR_TENANT_REQUIRED:
        counter_add(c, COUNTER_REFUSED_NO_TENANT, 1);
        break;
    case ERR_TENANT_UNKNOWN:
        counter_add(c, COUNTER_REFUSED_UNKNOWN_TENANT, 1);
        break;
    case ERR_TENANT_CONFLICT:
        counter_add(c, COUNTER_REFUSED_CONFLICT, 1);
        break;
    case ERR_TENANT_SEVERAL:
        counter_add(c, COUNTER_REFUSED_SEVERAL, 1);
        break;
    case ERR_TENANT_FORBIDDEN:
        counter_add(c, COUNTER_REFUSED_FORBIDDEN, 1);
        break;
    case ERR_SHARD_INACTIVE:
        counter_add(c, COUNTER_REFUSED_INACTIVE, 1);
        break;
    case ERR_PROTOCOL:
        counter_add(c, COUNTER_PROTOCOL_ERRORS, 1);
        break;
    default:
        break;
    }
    char address[64];
    session_address(s, address, sizeof address);
    log_event(LOG_WARN, "refused", log_int("session", s->id),
              log_slice("user", s->profile ? s->profile->user_name : STR("")), log_str("address", address), log_err(e));
}

void session_fail(struct session *s, const struct error *e)
{
    if (s->state >= SESSION_CLOSING)
        return;
    session_log_refusal(s, e);
    if (session_inside_message(s)) {
        session_end(s, error_text(e));
        return;
    }
    if (s->welcomed)
        session_reply(s); /* what was answered before this */
    if (s->state >= SESSION_CLOSING)
        return;
    drop_server(s);
    session_move(s, SESSION_CLOSING);
    buf_release_if_empty(&s->in);
    struct error fatal = *e;
    fatal.fatal = true;
    struct buf *reply = &s->owner->reply;
    buf_consume(reply, reply->len);
    if (wire_put_error(reply, &fatal))
        session_reply(s);
    if (s->state == SESSION_CLOSING && s->out.len == 0)
        finish(s, error_text(e));
    else if (s->state == SESSION_CLOSING)
        session_watch(s);
}

void session_fail_code(struct session *s, enum err_code code, const char *cause)
{
    struct error e;
    error_clear(&e);
    error_set(&e, code, "%s", cause);
    session_fail(s, &e);
}
