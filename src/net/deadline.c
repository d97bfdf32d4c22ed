#include "loop_internal.h"

/* What is being fired; owned by deadline_class_run, which the class may not outlive. */
struct deadline_run {
    struct ilist due;
    bool class_ended; /* in a callback: the class may be gone */
};

static void drop_all(struct ilist *list)
{
    while (ilist_pop_front(list))
        ;
}

void deadline_class_init(struct deadline_class *c, struct loop *l, uint64_t timeout_ms,
                         void (*expired)(struct deadline *d, void *ctx), void *ctx)
{
    ilist_init(&c->list);
    c->loop = l;
    c->timeout_ms = timeout_ms;
    c->expired = expired;
    c->ctx = ctx;
    c->run = NULL;
    c->in_loop.next = c->in_loop.prev = NULL;
    ilist_push_back(&l->classes, &c->in_loop);
}

void deadline_class_fini(struct deadline_class *c)
{
    drop_all(&c->list);
    if (c->run) {
        drop_all(&c->run->due);
        c->run->class_ended = true;
    }
    ilist_remove(&c->in_loop);
}

void deadline_arm(struct deadline_class *c, struct deadline *d)
{
    deadline_disarm(d);
    if (c->timeout_ms == 0)
        return;
    uint64_t now = loop_now_ms(c->loop);
    d->at_ms = c->timeout_ms < UINT64_MAX - now ? now + c->timeout_ms : UINT64_MAX;
    /* From the back: at once in place, unless the timeout was shortened lately. */
    struct ilist *after = c->list.prev;
    while (after != &c->list && container_of(after, struct deadline, node)->at_ms > d->at_ms)
        after = after->prev;
    ilist_insert_before(after->next, &d->node);
    if (after == &c->list)
        loop_deadline_earlier(c->loop, d->at_ms);
}

void deadline_disarm(struct deadline *d)
{
    ilist_remove(&d->node); /* the timer may fire for nothing: cheaper than moving it */
}

static bool is_due(const struct deadline_class *c, uint64_t now_ms)
{
    const struct ilist *first = ilist_first(&c->list);
    return first && container_of(first, struct deadline, node)->at_ms <= now_ms;
}

void deadline_class_run(struct deadline_class *c, uint64_t now_ms)
{
    if (!is_due(c, now_ms))
        return;
    /* Aside first: a callback may arm again, and disarm others that are due. */
    struct deadline_run *run = mem_zalloc(sizeof(*run)), *outer = c->run;
    ilist_init(&run->due);
    while (is_due(c, now_ms))
        ilist_push_back(&run->due, ilist_pop_front(&c->list));
    c->run = run;
    struct ilist *node;
    while ((node = ilist_pop_front(&run->due)))
        c->expired(container_of(node, struct deadline, node), c->ctx);
    if (!run->class_ended)
        c->run = outer;
    mem_free(run);
}
