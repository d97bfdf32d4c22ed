/*
 * Simple queries. A text of leading tenant commands and statements behind them
 * (SET shardgate.tenant_id = 42; SELECT …) is split: the commands are run here,
 * the rest goes on under a new Query header, its bytes untouched.
 */
#include <string.h>

#include "session_internal.h"

static struct sql_rules rules(const struct session *s)
{
    struct sql_rules r = s->owner->rules;
    if (s->params)
        r.standard_strings = !str_eq(s->params->value[PARAM_STANDARD_STRINGS], STR("off"));
    return r;
}

void session_inspect(const struct session *s, struct str text, struct sql_inspection *out)
{
    struct sql_rules r = rules(s);
    sql_inspect(text, &r, out);
}

char session_status(const struct session *s)
{
    if (s->server)
        return s->server->txn;
    return !s->begin ? 'I' : s->failed ? 'E' : 'T';
}

bool session_quiet(struct session *s)
{
    if (!s->server || (s->server->expect.count == 0 && !session_inside_message(s)))
        return true;
    s->barrier = true;
    /* Unsynced extended messages are answered only when asked for. */
    if (s->cycle)
        wire_put_flush(&s->owner->prefix);
    return false;
}

/* Makes the server's transaction fail as PostgreSQL's would at this error. */
static bool poison(struct session *s, bool extended)
{
    struct buf *prefix = &s->owner->prefix;
    struct str text = STR("shardgate_refused_a_statement");
    if (extended) {
        s->cycle = true; /* the client's Sync ends it on the server */
        return wire_put_parse(prefix, text) && session_expect(s, 'P', EXPECT_REFUSE);
    }
    return wire_put_query(prefix, text) && session_expect(s, 'Q', EXPECT_REFUSE);
}

enum verdict session_refuse(struct session *s, const struct error *e, bool extended)
{
    if (s->server && !session_quiet(s))
        return VERDICT_BLOCKED;
    if (s->server && s->server->failed && extended) {
        s->skip_to_sync = true; /* the server has failed first: PostgreSQL would not have looked at this */
        return VERDICT_DONE;
    }
    if (err_info(e->code)->severity == SEVERITY_FATAL && !e->sqlstate[0]) {
        session_fail(s, e);
        return VERDICT_ENDED;
    }
    session_log_refusal(s, e);
    char status = session_status(s);
    if (s->server && (status == 'T' || s->cycle)) {
        if (!poison(s, extended)) {
            session_fail_code(s, ERR_OUT_OF_MEMORY, "refusing a statement");
            return VERDICT_ENDED;
        }
    } else if (s->begin) {
        s->failed = true;
    }
    struct buf *reply = &s->owner->reply;
    wire_put_error(reply, e);
    if (extended)
        s->skip_to_sync = true;
    else
        wire_put_ready(reply, status == 'T' ? 'E' : status);
    return VERDICT_DONE;
}

static bool is_tenant_command(enum sql_verb v)
{
    return v == SQL_VERB_SET_TENANT || v == SQL_VERB_SET_LOCAL_TENANT || v == SQL_VERB_RESET_TENANT ||
           v == SQL_VERB_SHOW_TENANT;
}

/* Runs the tenant commands at the head of *text. FORWARD: go on with *text. */
static enum verdict leading_commands(struct session *s, struct str *text, struct sql_inspection *in)
{
    struct error e;
    error_clear(&e);
    while (in->statements && is_tenant_command(in->verb)) {
        if (!session_quiet(s))
            return VERDICT_BLOCKED;
        if (!session_run_local(s, in->verb, in->value, NULL, true, &e))
            return session_refuse(s, &e, false);
        if (in->statements == 1) {
            wire_put_ready(&s->owner->reply, session_status(s));
            return VERDICT_DONE;
        }
        *text = in->rest;
        session_inspect(s, *text, in);
    }
    return VERDICT_FORWARD;
}

void session_pin(struct session *s, unsigned pins)
{
    if (!(pins & ~s->pins))
        return;
    s->server->dirty = true;
    if (!s->pins && s->profile->mode == CONF_MODE_TRANSACTION) {
        counter_add(s->owner->counters, COUNTER_PINS, 1);
        log_event(LOG_DEBUG, "session pinned", log_int("session", s->id), log_str("reason", sql_pin_name(pins)));
    }
    s->pins |= pins;
}

void session_end_pins(struct session *s, enum sql_verb verb)
{
    struct error ignored;
    if (s->server->txn != 'I' || s->server->expect.count > 0 || s->cycle)
        return;
    s->pins &= verb == SQL_VERB_DISCARD_ALL ? PIN_SESSION : ~(unsigned)(SQL_PIN_SET | SQL_PIN_SET_CONFIG);
    s->server->dirty = true;
    error_clear(&ignored);
    route_reset(&s->tenant, NULL, &ignored);
}

static void note_effects(struct session *s, const struct sql_inspection *in)
{
    unsigned pins = in->pins;
    if (in->statements == 1 && in->verb == SQL_VERB_RESET_ALL) {
        pins = 0;
        session_end_pins(s, in->verb);
    } else if (in->statements == 1 && in->verb == SQL_VERB_DISCARD_ALL) {
        session_end_pins(s, in->verb);
    }
    session_pin(s, pins);
}

/* Sent to the server: `text` is the end of the message's body. */
static enum verdict forward(struct session *s, struct str body, struct str text)
{
    if (!session_expect(s, 'Q', EXPECT_FORWARD)) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "pipeline too long");
        return VERDICT_ENDED;
    }
    s->unnamed = s->unbound = false;
    if (text.ptr != body.ptr) {
        wire_put_query_head(&s->owner->prefix, text.len);
        s->forward_skip = (uint32_t)(WIRE_HEADER + (size_t)(text.ptr - body.ptr));
    }
    return VERDICT_FORWARD;
}

static enum verdict run_statement_here(struct session *s, const struct sql_inspection *in, struct str text)
{
    struct error e;
    error_clear(&e);
    char *begin = in->verb == SQL_VERB_BEGIN ? str_dup(text) : NULL;
    bool ok = session_run_local(s, in->verb, in->value, begin, true, &e);
    mem_free(begin);
    if (!ok)
        return session_refuse(s, &e, false);
    wire_put_ready(&s->owner->reply, session_status(s));
    return VERDICT_DONE;
}

static enum verdict query(struct session *s, struct str body)
{
    struct sql_inspection in;
    struct error e;
    struct str text;
    error_clear(&e);
    if (!wire_parse_query(body, &text)) {
        session_fail_code(s, ERR_PROTOCOL, "malformed Query message");
        return VERDICT_ENDED;
    }
    bool plain = s->profile->settings->replication != REPLICATION_NONE;
    if (plain) {
        in = (struct sql_inspection){.statements = 1, .verb = SQL_VERB_OTHER};
    } else {
        session_inspect(s, text, &in);
        if (in.tenant_command_later) {
            error_set(&e, ERR_UNSUPPORTED, "tenant command behind another statement");
            error_message(&e, "a tenant command must come before the other statements of a query");
            return session_refuse(s, &e, false);
        }
        if (in.statements && is_tenant_command(in.verb)) {
            enum verdict v = leading_commands(s, &text, &in);
            if (v != VERDICT_FORWARD)
                return v;
        }
    }
    if (in.statements == 0 && !s->server) {
        wire_put_empty_query(&s->owner->reply);
        wire_put_ready(&s->owner->reply, session_status(s));
        return VERDICT_DONE;
    }
    if (!plain && session_is_local(s, &in, text))
        return run_statement_here(s, &in, text);
    if (s->failed && !s->server) {
        error_set(&e, ERR_IN_FAILED_TRANSACTION, "statement in a failed transaction");
        return session_refuse(s, &e, false);
    }
    enum verdict v = session_route(s, &in, &e);
    if (v == VERDICT_DONE)
        return session_refuse(s, &e, false);
    if (v != VERDICT_FORWARD)
        return v;
    note_effects(s, &in);
    return forward(s, body, text);
}

enum verdict session_query(struct session *s, struct str body)
{
    /* A message that has to wait is looked at again: what it answered is undone. */
    struct buf *reply = &s->owner->reply;
    size_t mark = reply->len;
    enum verdict v = query(s, body);
    if (v == VERDICT_BLOCKED && reply->len > mark)
        reply->len = mark;
    return v;
}

enum verdict session_function_call(struct session *s)
{
    struct error e;
    error_clear(&e);
    if (s->failed && !s->server) {
        error_set(&e, ERR_IN_FAILED_TRANSACTION, "function call in a failed transaction");
        return session_refuse(s, &e, false);
    }
    enum verdict v = session_route(s, NULL, &e);
    if (v == VERDICT_DONE)
        return session_refuse(s, &e, false);
    if (v == VERDICT_FORWARD && !session_expect(s, 'F', EXPECT_FORWARD)) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "pipeline too long");
        return VERDICT_ENDED;
    }
    return v;
}
