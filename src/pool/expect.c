/*
 * The ring of expected replies. It starts inside the server and moves to the
 * heap when a client pipelines more than eight messages; the ring then doubles,
 * and goes back inside when it is cleared.
 */
#include <string.h>

#include "shardgate/pool.h"

#define EXPECT_INLINE ((uint32_t)ARRAY_LEN(((struct expect_queue *)0)->inline_items))
#define EXPECT_MAX (1u << 20)

static bool ends_in_ready(uint8_t kind) { return kind == 'Q' || kind == 'F' || kind == 'S'; }

static bool grow(struct expect_queue *q)
{
    const struct expect *old = q->cap ? q->items : q->inline_items;
    uint32_t cap = q->cap ? q->cap : EXPECT_INLINE;
    if (cap >= EXPECT_MAX)
        return false;
    struct expect *items = mem_try_array((size_t)cap * 2, sizeof(*items));
    if (!items)
        return false;
    for (uint32_t i = 0; i < q->count; i++)
        items[i] = old[(q->head + i) & (cap - 1)];
    mem_free(q->items);
    q->items = items;
    q->head = 0;
    q->cap = cap * 2;
    return true;
}

bool expect_push(struct expect_queue *q, uint8_t kind, uint8_t action)
{
    if (q->count == (q->cap ? q->cap : EXPECT_INLINE) && !grow(q))
        return false;
    struct expect *ring = q->cap ? q->items : q->inline_items;
    uint32_t mask = (q->cap ? q->cap : EXPECT_INLINE) - 1;
    ring[(q->head + q->count) & mask] = (struct expect){kind, action};
    q->count++;
    q->ready_pending += ends_in_ready(kind);
    return true;
}

void expect_pop(struct expect_queue *q)
{
    const struct expect *head = expect_head(q);
    if (!head)
        return;
    q->ready_pending -= ends_in_ready(head->kind);
    q->head = (q->head + 1) & ((q->cap ? q->cap : EXPECT_INLINE) - 1);
    q->count--;
}

void expect_clear(struct expect_queue *q)
{
    mem_free(q->items);
    q->items = NULL;
    q->head = q->count = q->cap = q->ready_pending = 0;
}
