/*
 * Back-off after failed connections: server.login_retry × 1, 2, 4, 8, 16, less up
 * to an eighth by chance, so that many workers do not try in step. One attempt a
 * pool is made when it is over, until one succeeds.
 */
#include "pool_impl.h"

bool backoff_now(const struct backoff *b, struct pools *ps)
{
    return b->failures && loop_now_ms(ps->loop) < b->until_ms;
}

void backoff_fail(struct backoff *b, struct pools *ps, const struct error *e)
{
    bool counted = backoff_now(b, ps); /* of the attempts in flight at once only the first counts */
    if (!b->last)
        b->last = mem_alloc(sizeof(*b->last));
    *b->last = *e;
    if (counted)
        return;
    unsigned step = b->failures < BACKOFF_STEPS ? b->failures : BACKOFF_STEPS - 1;
    b->failures++;
    struct deadline_class *c = &ps->backoff[step];
    b->until_ms = loop_now_ms(ps->loop) + c->timeout_ms - pools_random(ps) % (c->timeout_ms / 8 + 1);
    deadline_arm(c, &b->wake);
}

void backoff_clear(struct backoff *b)
{
    deadline_disarm(&b->wake);
    mem_free(b->last);
    b->last = NULL;
    b->failures = 0;
}

void on_backoff_end(struct deadline *d, void *pools)
{
    (void)pools;
    struct backoff *b = container_of(d, struct backoff, wake);
    if (b->node) {
        node_grow(b->node);
    } else {
        pool_grow(b->pool);
        pool_maybe_free(b->pool);
    }
}
