/*
 * From the server to the client. The server's messages are matched against the
 * queue of what is expected, so that answers to our own messages (SET, BEGIN, a
 * refused statement) are dropped and all others passed on as they are. A message
 * is passed on without being whole, unless its content matters here.
 *
 * The server goes back to its pool before the last bytes are written to the
 * client: whoever waits for it is served first.
 */
#include <string.h>

#include "session_internal.h"

#define WHOLE_MAX 65536u /* messages that are read whole here are not larger */
#define RANGES 16

struct relay {
    struct session *s;
    struct server *server;
    char *p;
    size_t at, from; /* from..at is to be passed on */
    struct iovec out[RANGES];
    int count;
    bool lost;    /* an injected statement failed: the session cannot go on */
    bool renamed; /* the message at hand is replaced by `name_status` */
    char name_status[96];
    struct error error;
};

static void cut(struct relay *r, size_t to)
{
    size_t len = r->at - r->from;
    if (len && r->count == RANGES) { /* rare: many dropped messages in one read */
        struct iovec *last = &r->out[RANGES - 1];
        memmove((char *)last->iov_base + last->iov_len, r->p + r->from, len);
        last->iov_len += len;
    } else if (len) {
        r->out[r->count++] = (struct iovec){r->p + r->from, len};
    }
    r->from = to;
}

static void count_query(struct session *s, struct server *server)
{
    struct shard_stats *stats = node_stats(pool_node(server->pool));
    shard_add(stats, SHARD_QUERIES, 1);
    if (server->txn == 'I')
        shard_add(stats, SHARD_TRANSACTIONS, 1);
    histogram_observe(&stats->h[SHARD_QUERY_TIME], loop_now_ns(s->owner->loop) - s->query_start_ns);
}

static void ready_for_query(struct relay *r, char status)
{
    struct session *s = r->s;
    struct server *server = r->server;
    struct expect *head = expect_head(&server->expect);
    server->txn = status;
    server->failed = false;
    if (!head)
        return;
    bool forward = head->action == EXPECT_FORWARD, last = false;
    while (!last && (head = expect_head(&server->expect)) != NULL) { /* one, unless an answer was left out */
        last = head->kind == 'S' || head->kind == 'Q' || head->kind == 'F';
        expect_pop(&server->expect);
    }
    if (!forward)
        return;
    count_query(s, server);
    if (status == 'I' && (s->saved || s->tenant.has_local))
        session_end_transaction(s, s->rolled_back);
}

static bool expects_parse(const struct expect_queue *q)
{
    const struct expect *ring = q->cap ? q->items : q->inline_items;
    uint32_t mask = (q->cap ? q->cap : (uint32_t)ARRAY_LEN(q->inline_items)) - 1;
    for (uint32_t i = 0; i < q->count; i++) {
        if (ring[(q->head + i) & mask].kind == 'P')
            return true;
    }
    return false;
}

/* Extended: the server skips to the next Sync, and answers nothing before it. */
static void skip_to_sync(struct session *s, struct server *server)
{
    bool parse = false;
    struct expect *head;
    s->copy_in = false;
    while ((head = expect_head(&server->expect)) && head->kind != 'S' && head->kind != 'Q' && head->kind != 'F') {
        parse |= head->kind == 'P';
        expect_pop(&server->expect);
    }
    server->failed = head == NULL;
    if (parse && !expects_parse(&server->expect))
        s->unnamed = s->unbound = false; /* not parsed: no reason to keep the server */
}

static void error_response(struct relay *r, struct str body)
{
    struct session *s = r->s;
    struct server *server = r->server;
    struct wire_error w;
    struct expect *head = expect_head(&server->expect);
    shard_add(node_stats(pool_node(server->pool)), SHARD_ERRORS, 1);
    bool parsed = wire_parse_error(body, &w);
    if (parsed && (str_eq(w.severity, STR("FATAL")) || str_eq(w.severity, STR("PANIC"))))
        s->fatal_seen = true;
    s->rolled_back = true;
    if (!head)
        return;
    if (head->action == EXPECT_SKIP && head->kind == 'Q') {
        /* Our own SET or BEGIN was refused: what follows would run in a wrong state. */
        r->lost = true;
        error_set(&r->error, ERR_INTERNAL, "the shard refused an injected statement");
        if (parsed) {
            str_copy(r->error.sqlstate, sizeof r->error.sqlstate, w.sqlstate);
            error_message(&r->error, "%.*s", (int)(w.message.len > 150 ? 150 : w.message.len), w.message.ptr);
        }
    }
    if (head->kind == 'Q' || head->kind == 'F' || head->kind == 'S')
        return;
    skip_to_sync(s, server);
}

/* CopyInResponse to Execute: the Syncs that came behind it are ignored by the
 * server, which is in copy mode, until CopyDone or CopyFail. */
static void copy_in_response(struct relay *r)
{
    struct expect_queue *q = &r->server->expect;
    struct expect *head = expect_head(q);
    if (!head || head->kind != 'E')
        return;
    r->s->copy_in = true;
    struct expect execute = *head;
    expect_pop(q);
    while ((head = expect_head(q)) && head->kind == 'S') {
        expect_pop(q);
        r->s->cycle = true;
    }
    if (q->count == 0)
        expect_push(q, execute.kind, execute.action);
}

static void pop_if(struct server *server, char kind)
{
    struct expect *head = expect_head(&server->expect);
    if (head && head->kind == (uint8_t)kind)
        expect_pop(&server->expect);
}

/* Such a message is looked at when it is whole, unless it is too large for that. */
static bool content_matters(const struct session *s, const struct wire_header *h)
{
    if (h->size > WHOLE_MAX || h->size > s->owner->scratch_size)
        return false;
    return h->type == 'Z' || h->type == 'S' || h->type == 'E' || (h->type == 'C' && s->saved);
}

/* A ParameterStatus whose value is not the client's: another takes its place. */
static void parameter_status(struct relay *r, struct str name, struct str value)
{
    server_note_parameter(r->server, name, value);
    if (str_eq(name, STR("application_name")))
        r->renamed = session_own_name(r->s, value).ptr != NULL;
}

static void put_name_status(struct relay *r)
{
    struct buf b;
    if (r->count > RANGES - 2) /* the last is for what cut() gathers */
        return;
    buf_init(&b, sizeof r->name_status);
    if (wire_put_parameter_status(&b, STR("application_name"), r->s->startup->value[PARAM_APPLICATION_NAME]) &&
        b.len <= sizeof r->name_status) {
        memcpy(r->name_status, buf_head(&b), b.len);
        r->out[r->count++] = (struct iovec){r->name_status, b.len};
    }
    buf_fini(&b);
}

/* Takes note of one message; body is whole where content_matters. */
static void note(struct relay *r, char type, struct str body)
{
    struct server *server = r->server;
    struct str name, value;
    switch (type) {
    case '1':
        pop_if(server, 'P');
        break;
    case '2':
        pop_if(server, 'B');
        break;
    case '3':
        pop_if(server, 'C');
        break;
    case 'T':
    case 'n':
        pop_if(server, 'D');
        break;
    case 'C':
        r->s->copy_in = false; /* its CopyDone may have been sent before we knew of the COPY */
        if (r->s->saved)
            r->s->rolled_back = body.len >= 8 && memcmp(body.ptr, "ROLLBACK", 8) == 0;
        pop_if(server, 'E');
        break;
    case 'I':
    case 's':
        pop_if(server, 'E');
        break;
    case 'G':
        copy_in_response(r);
        break;
    case 'Z':
        if (body.len == 1)
            ready_for_query(r, body.ptr[0]);
        break;
    case 'E':
        error_response(r, body);
        break;
    case 'S':
        if (wire_parse_parameter_status(body, &name, &value))
            parameter_status(r, name, value);
        break;
    default:
        break;
    }
}

/* Is the next message an answer to something of ours? An error of a BEGIN or
 * COMMIT that we sent for the client's Execute is the client's all the same. */
static bool skips(const struct expect *head, char type)
{
    if (!head || head->action == EXPECT_FORWARD || type == 'A')
        return false;
    return !(type == 'E' && head->action == EXPECT_SKIP && head->kind != 'Q');
}

/* May a message of this type be passed on unseen while `head` is answered? Rows and
 * their like: most of what a server sends. */
static bool plain(const struct session *s, const struct expect *head, char type)
{
    switch (type) {
    case 'D':
    case 'd':
        return true;
    case 'T':
        return head->kind == 'Q';
    case 'C':
        return head->kind == 'Q' && !s->saved && !s->copy_in;
    default:
        return false;
    }
}

/* Passes over plain messages. False: the server broke the protocol. */
static bool scan_plain(struct relay *r, size_t n)
{
    struct server *server = r->server;
    const struct expect *head = expect_head(&server->expect);
    if (!head || head->action != EXPECT_FORWARD)
        return true;
    while (n - r->at >= WIRE_HEADER && plain(r->s, head, r->p[r->at])) {
        struct wire_header h;
        if (wire_header(r->p + r->at, n - r->at, &h) == WIRE_BAD)
            return false;
        if (h.size > n - r->at) {
            server->in_left = (uint32_t)(h.size - (n - r->at));
            server->in_skip = false;
            r->at = n;
            break;
        }
        r->at += h.size;
    }
    return true;
}

/* Scans n bytes; false: the server broke the protocol. */
static bool scan(struct relay *r, size_t n)
{
    struct server *server = r->server;
    while (r->at < n) {
        if (server->in_left) {
            size_t take = server->in_left < n - r->at ? server->in_left : n - r->at;
            if (server->in_skip)
                cut(r, r->at + take);
            r->at += take;
            server->in_left -= (uint32_t)take;
            continue;
        }
        if (!r->lost && !scan_plain(r, n))
            return false;
        if (r->at == n)
            break;
        struct wire_header h;
        ssize_t got = wire_header(r->p + r->at, n - r->at, &h);
        if (got == WIRE_BAD)
            return false;
        size_t there = n - r->at;
        if (got == WIRE_MORE || (there < h.size && content_matters(r->s, &h)))
            break;
        bool skip = r->lost || skips(expect_head(&server->expect), h.type);
        size_t take = there < h.size ? there : h.size;
        note(r, h.type, (struct str){r->p + r->at + WIRE_HEADER, take - WIRE_HEADER});
        if (skip || r->renamed)
            cut(r, r->at + take);
        r->at += take;
        if (r->renamed && !skip)
            put_name_status(r);
        r->renamed = false;
        server->in_left = (uint32_t)(h.size - take);
        server->in_skip = skip;
    }
    cut(r, r->at);
    return true;
}

static void server_lost(struct session *s, struct server *server, const char *cause)
{
    struct error e;
    error_clear(&e);
    bool inside = session_inside_message(s);
    s->server = NULL;
    server->owner = NULL;
    server_close(server, cause);
    if (s->fatal_seen || inside) { /* the server has said why; or it cannot be said */
        session_end(s, cause);
        return;
    }
    error_set(&e, ERR_SERVER_LOST, "%s", cause);
    session_fail(s, &e);
}

/* Keeps what the scan left: the start of a message. */
static bool keep_rest(struct relay *r, size_t n)
{
    struct buf *in = &r->server->in;
    size_t rest = n - r->at;
    if (rest == 0)
        return true;
    buf_init(in, WHOLE_MAX + WIRE_HEADER);
    return buf_append(in, r->p + r->at, rest);
}

/* What the server reports is the client's, but for the pool's own name. */
static void follow_params(struct session *s, struct params *now)
{
    struct pools *pools = s->owner->pools;
    struct str name = session_own_name(s, now->value[PARAM_APPLICATION_NAME]);
    struct params *old = s->params;
    s->params = name.ptr ? params_with(pools, now, PARAM_APPLICATION_NAME, name) : params_ref(now);
    params_unref(pools, old);
}

static void after(struct relay *r)
{
    struct session *s = r->s;
    bool wake = false;
    if (s->params && s->params != r->server->params && r->server->expect.count == 0)
        follow_params(s, r->server->params);
    if (s->barrier && r->server->expect.count == 0 && !session_inside_message(s)) {
        s->barrier = false;
        wake = true;
    }
    if (s->owner->timed && r->server->expect.count == 0)
        session_arm(s);
    session_release_if_idle(s);
    if (s->state < SESSION_CLOSING && r->count)
        session_write(s, r->out, r->count);
    if (s->state < SESSION_CLOSING && (wake || (s->in.len && !session_blocked(s))))
        session_resume(s);
    if (s->owner->draining && s->state < SESSION_CLOSING && session_at_rest(s))
        session_fail_code(s, ERR_SHUTTING_DOWN, "drain");
}

static void relay(struct session *s, struct server *server, char *p, size_t n)
{
    struct relay r; /* not zeroed as a whole: `error` and `out` are filled when they are needed */
    r.s = s;
    r.server = server;
    r.p = p;
    r.at = r.from = 0;
    r.count = 0;
    r.lost = r.renamed = false;
    bool sound = scan(&r, n), kept = sound && keep_rest(&r, n);
    if (kept && !r.lost) {
        after(&r);
        return;
    }
    cut(&r, r.at);
    session_write(s, r.out, r.count);
    if (s->state >= SESSION_CLOSING)
        return;
    if (!sound)
        server_lost(s, server, "the shard broke the protocol: message length out of range");
    else if (!kept)
        server_lost(s, server, "out of memory for a message of the shard");
    else
        session_fail(s, &r.error);
}

static void read_server(struct session *s, struct server *server)
{
    struct sessions *ss = s->owner;
    char *scratch = ss->scratch;
    size_t held = server->in.len;
    if (held) { /* few bytes as a rule: the start of a header */
        memcpy(scratch, buf_head(&server->in), held);
        buf_fini(&server->in);
    }
    ssize_t n = stream_read(&server->stream, scratch + held, ss->scratch_size - held);
    if (n == STREAM_AGAIN) {
        if (held && !buf_append(&server->in, scratch, held))
            server_lost(s, server, "out of memory");
        return;
    }
    if (n <= 0) {
        server_lost(s, server, n == 0 ? "the shard closed the connection" : stream_error(&server->stream));
        return;
    }
    shard_add(node_stats(pool_node(server->pool)), SHARD_BYTES_IN, (uint64_t)n);
    relay(s, server, scratch, held + (size_t)n);
}

void on_server_ready(struct stream *stream, int events)
{
    struct server *server = container_of(stream, struct server, stream);
    struct session *s = server->owner;
    if (events & STREAM_WRITABLE) {
        if (!session_flush_server(s))
            return;
        session_watch(s);
        if (server->out.len == 0)
            session_resume(s);
        if (s->state == SESSION_LINKED && s->server == server)
            session_release_if_idle(s); /* it may have answered before it had taken all, as a failed COPY does */
        if (s->server != server)
            return;
    }
    if (events == 0) { /* the pool: a cancel request is through */
        session_resume(s);
        return;
    }
    if (events & STREAM_READABLE)
        read_server(s, server);
    while (s->state == SESSION_LINKED && s->server == server && s->out.len == 0 && stream_pending(stream))
        read_server(s, server);
}
