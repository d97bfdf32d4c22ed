/*
 * What a client sends after its login, message by message.
 *
 * Only the header and, where the verdict depends on it, the body is looked at.
 * Neighbouring messages that go to the server unchanged leave in one write,
 * straight from the read buffer; a body larger than the buffer streams through.
 */
#include "session_internal.h"

/* While a cancel request is in flight nothing is sent that it could strike instead. */
bool session_blocked(const struct session *s)
{
    switch ((enum session_state)s->state) {
    case SESSION_WAITING:
    case SESSION_CONSOLE_BUSY:
    case SESSION_CLOSING:
    case SESSION_CLOSED:
        return true;
    case SESSION_AUTH:
        return !s->login || s->login->derive || s->profile;
    case SESSION_STARTUP:
        return s->asks_cancel || s->out.len;
    default:
        return s->barrier || s->out.len || (s->server && (s->server->out.len || s->server->canceling));
    }
}

/* Messages whose whole body a verdict needs; Bind is judged by its head. */
static bool needs_body(char type) { return type == 'Q' || type == 'P' || type == 'D' || type == 'C' || type == 'E'; }

static enum verdict too_large(struct session *s, const struct wire_header *h)
{
    struct error e;
    error_clear(&e);
    error_set(&e, ERR_STATEMENT_TOO_LARGE, "%u bytes", h->size);
    return session_refuse(s, &e, h->type != 'Q');
}

static enum verdict copy_message(struct session *s, char type)
{
    if (!s->server)
        return VERDICT_DONE; /* as PostgreSQL: ignored outside a COPY */
    if (type != 'd')
        s->copy_in = false;
    return VERDICT_FORWARD;
}

static enum verdict judge(struct session *s, const struct wire_header *h, const char *p, size_t n)
{
    struct str body = {p + WIRE_HEADER, h->size - WIRE_HEADER};
    switch (h->type) {
    case 'Q':
        return session_query(s, body);
    case 'P':
        return session_parse(s, body);
    case 'B':
        return session_bind(s, (struct str){body.ptr, n - WIRE_HEADER < body.len ? n - WIRE_HEADER : body.len},
                            n >= h->size);
    case 'D':
        return session_describe(s, body);
    case 'E':
        return session_execute(s, body);
    case 'C':
        return session_close_target(s, body);
    case 'S':
        return session_sync(s);
    case 'H':
        return session_flush_message(s);
    case 'F':
        return session_function_call(s);
    case 'd':
    case 'c':
    case 'f':
        return copy_message(s, h->type);
    default:
        break;
    }
    return VERDICT_ENDED;
}

static enum verdict look(struct session *s, const struct wire_header *h, const char *p, size_t n)
{
    if (s->server && s->server->failed && h->type != 'S')
        s->skip_to_sync = true; /* the server skips too; what would be answered here must not be */
    if (s->skip_to_sync && h->type != 'S')
        return VERDICT_DONE;
    if (needs_body(h->type)) {
        if (h->size > (uint64_t)s->owner->conf->max_statement + WIRE_HEADER)
            return too_large(s, h);
        if (n < h->size)
            return VERDICT_MORE;
    }
    enum verdict v = judge(s, h, p, n);
    return s->state >= SESSION_CLOSING ? VERDICT_ENDED : v;
}

/* Sends what precedes the message at hand: the prefix as it was before its
 * verdict (`had` bytes) and the range. What the verdict added stays for later. */
static bool send_before(struct session *s, size_t had, const char *p, size_t len)
{
    struct buf *prefix = &s->owner->prefix;
    struct buf added;
    if (had + len == 0)
        return true;
    buf_init(&added, 0);
    if (prefix->len > had) {
        buf_append(&added, buf_head(prefix) + had, prefix->len - had);
        prefix->len = had;
    }
    bool ok = session_send(s, p, len);
    if (ok && added.len)
        buf_append(prefix, buf_head(&added), added.len);
    prefix->failed |= added.failed;
    buf_fini(&added);
    return ok;
}

/* Terminate, or no message at all (h NULL: its length is none). What came before it
 * is still sent or answered, as it would be if it had come alone. */
static bool stop(struct session *s, const struct wire_header *h, const char *p, size_t *from, size_t at)
{
    struct error e;
    if (s->server && !send_before(s, s->owner->prefix.len, p + *from, at - *from))
        return false;
    *from = at;
    session_reply(s);
    if (s->out.len) /* again when the client has taken its answers */
        return false;
    if (h && h->type == 'X') {
        session_end(s, "client terminated");
    } else if (h) {
        error_clear(&e);
        error_set(&e, ERR_PROTOCOL, "message type 0x%02x from the client", (unsigned char)h->type);
        error_detail(&e, "A message of type 0x%02x is not known.", (unsigned char)h->type);
        session_fail(s, &e);
    } else {
        session_fail_code(s, ERR_PROTOCOL, "message length out of range");
    }
    return false;
}

/* One message, or the piece of one that is there. *from..*at is the range to be
 * forwarded. False: stop here. */
static bool one(struct session *s, const char *p, size_t n, size_t *from, size_t *at)
{
    if (s->body_left) {
        size_t take = s->body_left < n - *at ? s->body_left : n - *at;
        if (s->body_drop) {
            if (s->server && !send_before(s, s->owner->prefix.len, p + *from, *at - *from))
                return false;
            *from = *at + take;
        }
        *at += take;
        s->body_left -= (uint32_t)take;
        return true;
    }
    struct wire_header h;
    ssize_t got = wire_header(p + *at, n - *at, &h);
    if (got == WIRE_MORE)
        return false;
    if (got == WIRE_BAD || h.type == 'X' || !wire_frontend_known(h.type))
        return stop(s, got == WIRE_BAD ? NULL : &h, p, from, *at);
    s->forward_skip = 0;
    size_t had = s->owner->prefix.len;
    s->owner->unsent = *at > *from;
    enum verdict v = look(s, &h, p + *at, n - *at);
    s->owner->unsent = false;
    if (v == VERDICT_MORE || v == VERDICT_ENDED)
        return false;
    bool added = s->owner->prefix.len > had;
    if (s->server && (v == VERDICT_DONE || s->forward_skip || added)) {
        if (!send_before(s, had, p + *from, *at - *from))
            return false;
        *from = *at;
    }
    if (v == VERDICT_BLOCKED)
        return false;
    size_t take = h.size < n - *at ? h.size : n - *at;
    if (v == VERDICT_DONE)
        *from = *at + take;
    else
        *from += s->forward_skip;
    *at += take;
    s->body_left = (uint32_t)(h.size - take);
    s->body_drop = v == VERDICT_DONE;
    return true;
}

size_t session_input(struct session *s, const char *p, size_t n)
{
    struct sessions *ss = s->owner;
    size_t from = 0, at = 0;
    while (at < n && !session_blocked(s) && one(s, p, n, &from, &at))
        ;
    if (s->state >= SESSION_CLOSING)
        return n;
    if (s->server && (at > from || ss->prefix.len) && !session_send(s, p + from, at - from))
        return n;
    if (ss->reply.len)
        session_reply(s);
    if (s->state == SESSION_LINKED)
        session_release_if_idle(s);
    if (ss->draining && at > 0 && s->state < SESSION_CLOSING && session_at_rest(s))
        session_fail_code(s, ERR_SHUTTING_DOWN, "drain"); /* answered here: its transaction is over */
    return at;
}
