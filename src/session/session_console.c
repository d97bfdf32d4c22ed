/*
 * A client of the admin console: the same protocol, but every command is given
 * to the ops room. One command runs at a time; what the client sends meanwhile
 * waits. Prepared statements and portals hold a command's text.
 */
#include "session_internal.h"

static void reply_error(struct session *s, const struct error *e, bool extended)
{
    struct buf *reply = &s->owner->reply;
    session_log_refusal(s, e);
    wire_put_error(reply, e);
    if (extended)
        s->skip_to_sync = true;
    else
        wire_put_ready(reply, 'I');
}

static void on_done(struct console_call *c)
{
    struct session *s = c->owner;
    if (s)
        s->call = NULL;
    if (s && s->state == SESSION_CONSOLE_BUSY) { /* else it has been told to go meanwhile */
        struct buf *reply = &s->owner->reply;
        bool failed = c->reply.len && *buf_head(&c->reply) == 'E';
        session_move(s, SESSION_CONSOLE);
        buf_append_str(reply, buf_str(&c->reply));
        if (s->console_simple)
            wire_put_ready(reply, 'I');
        else if (failed)
            s->skip_to_sync = true;
        session_reply(s);
        if (s->state == SESSION_CONSOLE)
            session_resume(s);
    }
    buf_fini(&c->reply);
    mem_free(c->text);
    mem_free((void *)(uintptr_t)c->user);
    mem_free(c);
}

static void run(struct session *s, struct str text, bool simple)
{
    const struct auth_user *u = s->profile->user;
    struct console_ops *ops = &s->owner->hooks.console;
    struct console_call *c = mem_zalloc(sizeof *c);
    c->text = str_dup(text);
    c->user = str_dup(s->profile->user_name);
    c->admin = u->admin;
    c->stats = u->stats;
    c->loop = s->owner->loop;
    c->done = on_done;
    c->owner = s;
    buf_init(&c->reply, 0);
    s->call = c;
    s->console_simple = simple;
    session_move(s, SESSION_CONSOLE_BUSY);
    ops->run(ops->ctx, c);
}

static void query(struct session *s, struct str body)
{
    struct str text;
    struct error e;
    struct console_ops *ops = &s->owner->hooks.console;
    error_clear(&e);
    if (!wire_parse_query(body, &text)) {
        session_fail_code(s, ERR_PROTOCOL, "malformed Query message");
        return;
    }
    char *copy = str_dup(text);
    if (str_trim(text).len == 0) {
        wire_put_empty_query(&s->owner->reply);
        wire_put_ready(&s->owner->reply, 'I');
    } else if (!ops->describe(ops->ctx, copy, false, &s->owner->reply, &e)) {
        reply_error(s, &e, false);
    } else {
        run(s, text, true);
    }
    mem_free(copy);
}

static bool describe(struct session *s, char kind, struct str name)
{
    struct console_ops *ops = &s->owner->hooks.console;
    const struct local_statement *l = local_find(s, kind == 'P', name);
    struct error e;
    error_clear(&e);
    if (!l) {
        error_set(&e, kind == 'P' ? ERR_NO_PORTAL : ERR_NO_STATEMENT, "console");
        reply_error(s, &e, true);
        return true;
    }
    if (kind == 'S')
        wire_put_parameter_description(&s->owner->reply);
    if (!*l->text)
        return wire_put_no_data(&s->owner->reply);
    if (!ops->describe(ops->ctx, l->text, true, &s->owner->reply, &e))
        reply_error(s, &e, true);
    return true;
}

static bool bind(struct session *s, struct str body)
{
    struct str portal, name;
    if (wire_parse_bind_names(body, &portal, &name) <= 0)
        return false;
    const struct local_statement *l = local_find(s, false, name);
    if (!l) {
        struct error e;
        error_clear(&e);
        error_set(&e, ERR_NO_STATEMENT, "console");
        reply_error(s, &e, true);
        return true;
    }
    return local_put(s, true, portal, l->verb, "", str_from(l->text)) && wire_put_bind_complete(&s->owner->reply);
}

static bool execute(struct session *s, struct str body)
{
    struct str portal;
    int32_t rows;
    if (!wire_parse_execute(body, &portal, &rows))
        return false;
    const struct local_statement *l = local_find(s, true, portal);
    if (!l) {
        struct error e;
        error_clear(&e);
        error_set(&e, ERR_NO_PORTAL, "console");
        reply_error(s, &e, true);
    } else if (!*l->text) {
        wire_put_empty_query(&s->owner->reply);
    } else {
        run(s, str_from(l->text), false);
    }
    return true;
}

static bool message(struct session *s, char type, struct str body)
{
    struct buf *reply = &s->owner->reply;
    struct wire_parse m;
    struct str name;
    char kind;
    if (s->skip_to_sync && type != 'S')
        return true;
    switch (type) {
    case 'Q':
        query(s, body);
        return true;
    case 'P':
        return wire_parse_parse(body, &m) && local_put(s, false, m.name, SQL_VERB_OTHER, "", m.text) &&
               wire_put_parse_complete(reply);
    case 'B':
        return bind(s, body);
    case 'D':
        return wire_parse_target(body, &kind, &name) && describe(s, kind, name);
    case 'E':
        return execute(s, body);
    case 'C':
        if (!wire_parse_target(body, &kind, &name))
            return false;
        local_remove(s, kind == 'P', name);
        return wire_put_close_complete(reply);
    case 'S':
        s->skip_to_sync = false;
        local_clear_portals(s);
        return wire_put_ready(reply, 'I');
    case 'H':
        return true;
    default:
        return false;
    }
}

size_t session_console_input(struct session *s, const char *p, size_t n)
{
    size_t at = 0;
    while (at < n && !session_blocked(s)) {
        struct wire_header h;
        ssize_t got = wire_header(p + at, n - at, &h);
        if (got == WIRE_BAD || (got != WIRE_MORE && h.size > (uint64_t)s->owner->conf->max_statement + WIRE_HEADER)) {
            session_fail_code(s, ERR_PROTOCOL, "message length out of range");
            return n;
        }
        if (got == WIRE_MORE || n - at < h.size)
            break;
        if (h.type == 'X') {
            session_reply(s);
            session_end(s, "client terminated");
            return n;
        }
        if (!message(s, h.type, (struct str){p + at + WIRE_HEADER, h.size - WIRE_HEADER}) && s->state < SESSION_CLOSING)
            session_fail_code(s, ERR_PROTOCOL, "message that the console does not take");
        if (s->state >= SESSION_CLOSING)
            return n;
        at += h.size;
    }
    if (s->owner->reply.len)
        session_reply(s);
    return at;
}
