/*
 * Memory that runs out where a peer chose the size: a message that has to be kept,
 * bytes that a socket does not take, a pipeline, a statement kept here. That
 * session ends, or its statement is refused; its worker and others go on.
 */
#include <stdio.h>

#include "fault.h"
#include "support.h"

#include "flow.h"

/* Delivered without the test needing memory for it. */
static void sends_without_memory(struct peer *p, const char *messages, long successes)
{
    struct flow *f = p->flow;
    struct buf b;
    buf_init(&b, 0);
    if (!text_encode(&b, messages, p->is_client))
        flow_fail(__FILE__, __LINE__, "not understood: %s", messages);
    buf_append(&p->memory.in, buf_head(&b), b.len);
    for (unsigned i = 0; i < f->peer_count; i++)
        buf_reserve(&f->peers[i]->memory.out, 200000);
    fault_malloc_after(successes);
    settle(f);
    fault_malloc_off();
    settle(f);
    buf_fini(&b);
}

/* One client's step in want of memory; another's statement before and after it. */
static void sweep(struct flow *f, void (*step)(struct flow *f, struct peer *c, struct peer *s, long n))
{
    for (long n = 0; n < 12; n++) {
        struct peer *s = server(f, 1), *c = login_tenant(f, 42), *other = login_tenant(f, 150), *s2 = server(f, 2);
        sends(c, "Q(SELECT 0)"); /* so that pools are known */
        sends(s, "C(SELECT 0) Z(I)");
        sends(other, "Q(SELECT 0)");
        sends(s2, "C(SELECT 0) Z(I)");
        gets(c, "C(SELECT 0) Z(I)");
        gets(other, "C(SELECT 0) Z(I)");
        gets(s, "Q(SELECT 0)");
        gets(s2, "Q(SELECT 0)");
        step(f, c, s, n);
        holds(f, n > 0 || fault_malloc_failures() > 0);
        sends(other, "Q(SELECT 1)");
        gets(s2, "Q(SELECT 1)");
        sends(s2, "C(SELECT 1) Z(I)");
        gets(other, "C(SELECT 1) Z(I)");
        hangs_up(c);
        hangs_up(other);
        s->shard = s2->shard = 0; /* no other's */
    }
}

static void keep_message(struct flow *f, struct peer *c, struct peer *s, long n)
{
    (void)f, (void)s;
    sends_without_memory(c, "Q([5000])", n);
    if (n == 0)
        is_closed(c);
}

static void keep_for_client(struct flow *f, struct peer *c, struct peer *s, long n)
{
    (void)f;
    sends(c, "Q(SELECT 1)");
    stalls(c);
    sends_without_memory(s, "T(a) D([5000])", n);
    if (n == 0) {
        is_closed(c);
        is_abandoned(s);
    }
}

static void keep_for_server(struct flow *f, struct peer *c, struct peer *s, long n)
{
    (void)f;
    stalls(s);
    sends_without_memory(c, "Q(SELECT 1)", n);
    if (n == 0) {
        is_closed(c);
        holds(f, s->fate == FATE_ABANDONED_WHOLE || s->fate == FATE_ABANDONED_CUT || s->fate == FATE_CLOSED);
    }
}

static void keep_from_server(struct flow *f, struct peer *c, struct peer *s, long n)
{
    sends(c, "Q(SELECT 1)");
    buf_append(&s->memory.in, "T\0", 2); /* the start of a header */
    fault_malloc_after(n);
    settle(f);
    fault_malloc_off();
    settle(f);
    if (n == 0)
        is_closed(c);
}

static void pipeline(struct flow *f, struct peer *c, struct peer *s, long n)
{
    (void)f, (void)s;
    sends_without_memory(
        c, "P(,a) B(,) E() P(,a) B(,) E() P(,a) B(,) E() P(,a) B(,) E() P(,a) B(,) E() P(,a) B(,) E() S", n);
    if (n == 0)
        is_closed(c);
}

static void statement_kept(struct flow *f, struct peer *c, struct peer *s, long n)
{
    (void)f, (void)s;
    sends_without_memory(c, "P(begin,BEGIN) B(portal,begin) S", n);
}

static void align(struct flow *f, struct peer *c, struct peer *s, long n)
{
    struct peer *b = login_tenant(f, 43);
    sends(b, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    sends(c, "Q(SET TimeZone = 'Asia/Tokyo')");
    sends(s, "C(SET) S(TimeZone,Asia/Tokyo) Z(I)");
    sends_without_memory(b, "Q(SELECT 1)", n);
    if (n == 0)
        is_closed(b);
    hangs_up(b);
}

CONVERSATION(message) { sweep(f, keep_message); }
CONVERSATION(slow_client) { sweep(f, keep_for_client); }
CONVERSATION(slow_server) { sweep(f, keep_for_server); }
CONVERSATION(split_message) { sweep(f, keep_from_server); }
CONVERSATION(long_pipeline) { sweep(f, pipeline); }
CONVERSATION(kept_statement) { sweep(f, statement_kept); }
CONVERSATION(set_again) { sweep(f, align); }

FLOW_MAIN(TALK_ONCE(message, "limits: {io_buffer: 4096B}\n"), TALK_ONCE(slow_client, ""), TALK_ONCE(slow_server, ""),
          TALK_ONCE(split_message, ""), TALK_ONCE(long_pipeline, ""), TALK_ONCE(kept_statement, ""),
          TALK_ONCE(set_again, ""))
