/*
 * The extended protocol: Parse, Bind, Describe, Execute, Close, Sync, Flush.
 *
 * Most messages go to the server as they are. Statements that the router runs
 * itself (tenant commands; in transaction mode BEGIN, COMMIT and ROLLBACK) are
 * kept by name and answered here. Such an answer must come after those of the
 * messages sent before it: session_quiet asks the server for them by Flush and
 * the message waits.
 *
 * The unnamed statement lives on the server that parsed it. Between its Parse
 * and its first Bind the server is kept; afterwards, and on any other server, it
 * does not exist (a Bind would run another client's text).
 */
#include <string.h>

#include "session_internal.h"

static enum verdict fail_protocol(struct session *s, const char *what)
{
    session_fail_code(s, ERR_PROTOCOL, what);
    return VERDICT_ENDED;
}

static enum verdict missing(struct session *s, enum err_code code, const char *what, struct str name)
{
    struct error e;
    error_clear(&e);
    error_set(&e, code, "%s does not exist on this server", what);
    if (name.len)
        error_message(&e, "%s \"%.*s\" does not exist", what, (int)(name.len > 63 ? 63 : name.len), name.ptr);
    else
        error_message(&e, "unnamed %s does not exist", what);
    return session_refuse(s, &e, true);
}

/* The message goes to the server; it is answered there. */
static enum verdict pass(struct session *s, char kind)
{
    s->cycle = true;
    if (!session_expect(s, kind, EXPECT_FORWARD)) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "pipeline too long");
        return VERDICT_ENDED;
    }
    return VERDICT_FORWARD;
}

static bool transaction_control(enum sql_verb v)
{
    return v == SQL_VERB_BEGIN || v == SQL_VERB_COMMIT || v == SQL_VERB_ROLLBACK;
}

static bool forgets_all(enum sql_verb v) { return v == SQL_VERB_DISCARD_ALL || v == SQL_VERB_RESET_ALL; }

/* BEGIN and its like by name would pin the server if it were parsed there. RESET ALL
 * and DISCARD ALL have effects here when they are executed. */
static bool parse_here(struct session *s, const struct wire_parse *m, const struct sql_inspection *in)
{
    if (in->statements != 1 || m->params > 0)
        return false;
    if (session_is_local(s, in, m->text) || (s->server && forgets_all(in->verb) && in->comment == SQL_COMMENT_NONE))
        return true;
    return m->name.len && s->profile->mode == CONF_MODE_TRANSACTION && transaction_control(in->verb) &&
           in->comment == SQL_COMMENT_NONE;
}

static enum verdict parse_elsewhere(struct session *s, const struct wire_parse *m, const struct sql_inspection *in)
{
    struct error e;
    error_clear(&e);
    if (in->tenant_command_later) {
        error_set(&e, ERR_UNSUPPORTED, "tenant command among other statements in Parse");
        return session_refuse(s, &e, true);
    }
    if (s->failed && !s->server) {
        error_set(&e, ERR_IN_FAILED_TRANSACTION, "statement in a failed transaction");
        return session_refuse(s, &e, true);
    }
    enum verdict v = session_route(s, in, &e);
    if (v == VERDICT_DONE)
        return session_refuse(s, &e, true);
    if (v != VERDICT_FORWARD)
        return v;
    session_pin(s, in->pins | (m->name.len && s->profile->mode == CONF_MODE_TRANSACTION ? PIN_STATEMENT : 0));
    if (m->name.len == 0)
        s->unnamed = s->unbound = true;
    return pass(s, 'P');
}

enum verdict session_parse(struct session *s, struct str body)
{
    struct wire_parse m;
    struct sql_inspection in;
    if (!wire_parse_parse(body, &m))
        return fail_protocol(s, "malformed Parse message");
    session_inspect(s, m.text, &in);
    if (!parse_here(s, &m, &in)) {
        enum verdict v = parse_elsewhere(s, &m, &in);
        if (v == VERDICT_FORWARD)
            local_remove(s, false, m.name);
        return v;
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    if (!local_put(s, false, m.name, in.verb, in.value, m.text)) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "too many prepared statements");
        return VERDICT_ENDED;
    }
    if (m.name.len == 0)
        s->unnamed = s->unbound = false;
    wire_put_parse_complete(&s->owner->reply);
    return VERDICT_DONE;
}

enum verdict session_bind(struct session *s, struct str head, bool whole)
{
    struct str portal, name;
    struct error e;
    ssize_t got = wire_parse_bind_names(head, &portal, &name);
    if (got == WIRE_BAD || (got == WIRE_MORE && whole))
        return fail_protocol(s, "malformed Bind message");
    if (got == WIRE_MORE)
        return VERDICT_MORE;
    const struct local_statement *local = local_find(s, false, name);
    if (!local) {
        if (!s->server || (name.len == 0 && !s->unnamed && s->profile->mode == CONF_MODE_TRANSACTION))
            return missing(s, ERR_NO_STATEMENT, "prepared statement", name);
        error_clear(&e);
        enum verdict v = session_route_parsed(s, &e);
        if (v != VERDICT_FORWARD)
            return v == VERDICT_DONE ? session_refuse(s, &e, true) : v;
        local_remove(s, true, portal);
        if (name.len == 0)
            s->unbound = false;
        return pass(s, 'B');
    }
    if (!whole)
        return VERDICT_MORE;
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    if (!local_put(s, true, portal, local->verb, local->value, str_from(local->text ? local->text : ""))) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "too many portals");
        return VERDICT_ENDED;
    }
    wire_put_bind_complete(&s->owner->reply);
    return VERDICT_DONE;
}

enum verdict session_describe(struct session *s, struct str body)
{
    char kind;
    struct str name;
    if (!wire_parse_target(body, &kind, &name))
        return fail_protocol(s, "malformed Describe message");
    const struct local_statement *local = local_find(s, kind == 'P', name);
    if (!local) {
        if (!s->server || (kind == 'S' && name.len == 0 && !s->unnamed && s->profile->mode == CONF_MODE_TRANSACTION))
            return kind == 'S' ? missing(s, ERR_NO_STATEMENT, "prepared statement", name)
                               : missing(s, ERR_NO_PORTAL, "portal", name);
        return pass(s, 'D');
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    if (kind == 'S')
        wire_put_parameter_description(&s->owner->reply);
    if (local->verb == SQL_VERB_SHOW_TENANT) {
        const char *column = s->owner->conf->tenant_parameter;
        wire_put_row_description(&s->owner->reply, &column, 1);
    } else {
        wire_put_no_data(&s->owner->reply);
    }
    return VERDICT_DONE;
}

/* BEGIN, COMMIT, ROLLBACK or DISCARD ALL kept here, while a server is linked: run there, by
 * messages of ours of which the client sees only Execute's answer. */
static enum verdict execute_on_server(struct session *s, const char *text)
{
    struct buf *prefix = &s->owner->prefix;
    wire_put_parse(prefix, str_from(text));
    wire_put_bind_execute(prefix);
    s->cycle = true;
    s->unnamed = s->unbound = false;
    if (!session_expect(s, 'P', EXPECT_SKIP) || !session_expect(s, 'B', EXPECT_SKIP) ||
        !session_expect(s, 'E', EXPECT_FORWARD) || prefix->failed) {
        session_fail_code(s, ERR_OUT_OF_MEMORY, "pipeline too long");
        return VERDICT_ENDED;
    }
    return VERDICT_DONE;
}

enum verdict session_execute(struct session *s, struct str body)
{
    struct str portal;
    int32_t rows;
    if (!wire_parse_execute(body, &portal, &rows))
        return fail_protocol(s, "malformed Execute message");
    const struct local_statement *local = local_find(s, true, portal);
    if (!local) {
        if (!s->server)
            return missing(s, ERR_NO_PORTAL, "portal", portal);
        return pass(s, 'E');
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    if (s->server && forgets_all(local->verb))
        session_end_pins(s, local->verb);
    if (s->server && (transaction_control(local->verb) || forgets_all(local->verb)))
        return execute_on_server(s, local->text);
    struct error e;
    error_clear(&e);
    if (s->failed && local->verb != SQL_VERB_COMMIT && local->verb != SQL_VERB_ROLLBACK)
        error_set(&e, ERR_IN_FAILED_TRANSACTION, "statement in a failed transaction");
    else if (session_run_local(s, local->verb, local->value, local->text, false, &e))
        return VERDICT_DONE;
    return session_refuse(s, &e, true);
}

enum verdict session_close_target(struct session *s, struct str body)
{
    char kind;
    struct str name;
    if (!wire_parse_target(body, &kind, &name))
        return fail_protocol(s, "malformed Close message");
    bool local = local_find(s, kind == 'P', name) != NULL;
    if (!local && s->server) {
        if (kind == 'S' && name.len == 0)
            s->unnamed = s->unbound = false;
        return pass(s, 'C');
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    local_remove(s, kind == 'P', name);
    wire_put_close_complete(&s->owner->reply); /* as PostgreSQL: also for what does not exist */
    return VERDICT_DONE;
}

enum verdict session_sync(struct session *s)
{
    if (s->cycle) {
        s->skip_to_sync = false;
        s->cycle = false;
        if (!s->copy_in && !session_expect(s, 'S', EXPECT_FORWARD)) {
            session_fail_code(s, ERR_OUT_OF_MEMORY, "pipeline too long");
            return VERDICT_ENDED;
        }
        if (s->copy_in)
            s->cycle = true; /* the server ignores this Sync; another one ends the cycle */
        return VERDICT_FORWARD;
    }
    if (!session_quiet(s))
        return VERDICT_BLOCKED;
    s->skip_to_sync = false;
    if (session_status(s) == 'I')
        local_clear_portals(s);
    wire_put_ready(&s->owner->reply, session_status(s));
    return VERDICT_DONE;
}

enum verdict session_flush_message(struct session *s) { return s->server ? VERDICT_FORWARD : VERDICT_DONE; }
