/*
 * Making a server usable again after a client: HELD while a cancel request is in
 * flight, then CLEANING in up to three steps.
 *
 *   drain     abandoned in the middle of something: what runs is cancelled, a
 *             COPY IN that may be waiting for data is failed, a pipeline without
 *             its end gets a Sync, and all ReadyForQuery still owed are read
 *   rollback  the transaction is still open
 *   reset     the server holds a session's state: server.reset_query
 *
 * A cancel request may strike whatever runs when it arrives, so nothing is sent
 * after the drain before the request is through. All together must be done within
 * CLEAN_TICKS seconds; else, or if anything is not as it should be, the server is closed.
 *
 * CopyFail and COPY: a backend that is not copying ignores CopyFail (55.2.6). One
 * that is copying in after an Execute ignores Sync, so a Sync that was sent before
 * it began to copy will not be answered, and another must follow the CopyFail.
 */
#include <string.h>

#include "pool_impl.h"

enum phase { PHASE_DRAIN, PHASE_ROLLBACK, PHASE_RESET, PHASE_DONE };

static void put_copy_fail(struct buf *b)
{
    static const char message[] = "f\0\0\0\x18"
                                  "the client has gone";
    _Static_assert(sizeof(message) == 0x18 + 1, "length word of CopyFail");
    buf_append(b, message, sizeof(message)); /* with its terminator */
}

static void on_cleaned(struct server *s)
{
    server_task_free(s);
    deadline_disarm(&s->limit);
    s->used_ms = loop_now_ms(s->pool->pools->loop);
    pool_offer(s);
}

static void end_if_done(struct server *s)
{
    if (s->state == SERVER_CLEANING && s->task->finished && s->in.len == 0 && s->in_left == 0)
        on_cleaned(s);
}

static void ask(struct server *s, enum phase phase, const char *query)
{
    struct buf b;
    s->task->phase = (uint8_t)phase;
    s->task->error_state[0] = '\0';
    buf_init(&b, 0);
    wire_put_query(&b, str_from(query));
    server_send(s, &b);
}

/* Nothing runs on it and no cancel request is in flight: the next step. */
static void go_on(struct server *s)
{
    const char *reset = s->pool->pools->conf->server_reset_query;
    bool dirty = s->dirty || s->pool->always_dirty;
    struct server_task *t = s->task;
    s->failed = false;
    if (t->phase < PHASE_ROLLBACK && s->txn != 'I') {
        ask(s, PHASE_ROLLBACK, "ROLLBACK");
    } else if (t->phase < PHASE_RESET && dirty) {
        if (s->pool->retired || s->retire)
            server_end(s, LOG_DEBUG, "retired");
        else if (!reset || !*reset)
            server_end(s, LOG_DEBUG, "dirty, and server.reset_query is empty");
        else
            ask(s, PHASE_RESET, reset);
    } else {
        t->phase = PHASE_DONE;
        t->finished = true;
        s->dirty = false;
    }
}

/* A ReadyForQuery of the drain. */
static void drained_one(struct server *s)
{
    struct expect *head;
    uint8_t kind = 0;
    while ((head = expect_head(&s->expect)) && kind != 'Q' && kind != 'F' && kind != 'S') {
        kind = head->kind;
        expect_pop(&s->expect);
    }
    if (s->expect.count == 0 && !s->canceling)
        go_on(s);
}

/* The backend has begun to copy in. */
static void stop_copy(struct server *s)
{
    struct expect *head = expect_head(&s->expect);
    bool extended = head && head->kind != 'Q';
    struct buf b;
    buf_init(&b, 0);
    put_copy_fail(&b);
    if (extended) {
        expect_clear(&s->expect); /* all that was sent before is ignored while copying */
        wire_put_sync(&b);
        expect_push(&s->expect, 'S', EXPECT_SKIP);
    }
    server_send(s, &b);
}

static void on_ready(struct server *s, struct str body)
{
    struct server_task *t = s->task;
    s->txn = body.len == 1 ? body.ptr[0] : 'E';
    if (t->phase == PHASE_DRAIN)
        drained_one(s);
    else if (t->error_state[0] || s->txn != 'I' || t->phase == PHASE_DONE)
        server_end(s, LOG_WARN, t->error_state[0] ? t->error_text : "unexpected transaction status after cleaning");
    else
        go_on(s);
}

static void on_message(struct server *s, char type, struct str body)
{
    if (server_async_message(s, type, body))
        return;
    if (type == 'Z') {
        on_ready(s, body);
    } else if (s->task->phase == PHASE_DRAIN) {
        if (type == 'G')
            stop_copy(s);
        else if (type == 'W')
            server_end(s, LOG_DEBUG, "abandoned in streaming replication");
    } else if (s->task->phase == PHASE_DONE) {
        server_end(s, LOG_WARN, "unexpected message from an idle server");
    } else if (type == 'E') {
        server_note_error(s, body);
    }
}

static void begin(struct server *s, enum server_state state)
{
    struct pools *ps = s->pool->pools;
    server_task_begin(s, on_message, on_cleaned);
    if (s->state != (uint8_t)state)
        server_move(s, state);
    deadline_arm(&ps->clean, &s->limit);
}

/* Stops what runs, and sees to it that every message sent gets its answer. */
static void stop(struct server *s)
{
    struct buf b;
    buf_init(&b, 0);
    put_copy_fail(&b);
    const struct expect_queue *q = &s->expect;
    uint32_t cap = q->cap ? q->cap : (uint32_t)ARRAY_LEN(q->inline_items);
    const struct expect *ring = q->cap ? q->items : q->inline_items;
    uint8_t last = ring[(q->head + q->count - 1) & (cap - 1)].kind;
    if (last != 'Q' && last != 'F' && last != 'S') {
        wire_put_sync(&b);
        if (!expect_push(&s->expect, 'S', EXPECT_SKIP))
            b.failed = true;
    }
    s->task->cancel_again = s->canceling; /* that one may strike something earlier */
    if (server_send(s, &b))
        server_cancel(s);
}

void server_clean(struct server *s)
{
    begin(s, s->canceling ? SERVER_HELD : SERVER_CLEANING);
    if (!s->canceling)
        go_on(s);
    end_if_done(s);
}

void server_settle(struct server *s)
{
    begin(s, SERVER_CLEANING);
    s->task->phase = PHASE_DONE;
    s->task->finished = true;
}

void server_cancel_done(struct server *s)
{
    if (s->state == SERVER_HELD) {
        server_move(s, SERVER_CLEANING);
        go_on(s);
    } else if (s->state == SERVER_CLEANING && s->task->phase == PHASE_DRAIN && s->expect.count == 0) {
        go_on(s);
    } else if (s->state == SERVER_CLEANING && s->task->cancel_again) {
        s->task->cancel_again = false;
        server_cancel(s);
    } else {
        if (s->state == SERVER_ACTIVE && s->owner)
            s->stream.ready(&s->stream, 0);
        return;
    }
    end_if_done(s);
}

void server_abandon(struct server *s, bool whole)
{
    s->owner = NULL;
    s->stream.ready = on_server_ready_idle;
    if (!whole) {
        server_end(s, LOG_INFO, "its client left in the middle of a message");
        return;
    }
    if (s->pool->unpooled) {
        server_end(s, LOG_DEBUG, "replication");
        return;
    }
    if (s->expect.count == 0 && s->txn == 'I' && s->out.len == 0 && s->in.len == 0 && s->in_left == 0) {
        server_checkin(s);
        return;
    }
    stream_watch(&s->stream, STREAM_READABLE | (s->out.len ? STREAM_WRITABLE : 0));
    begin(s, SERVER_CLEANING);
    if (s->expect.count > 0) {
        /* What the owner had read of the next message is looked at first. */
        struct buf had = s->in;
        buf_init(&s->in, 0);
        stop(s);
        if (had.len && s->state != SERVER_CLOSING)
            server_feed(s, buf_head(&had), had.len);
        buf_fini(&had);
    } else if (!s->canceling) {
        go_on(s);
    }
    end_if_done(s);
}
