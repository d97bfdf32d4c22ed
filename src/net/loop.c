/*
 * A libuv loop with what shardgate adds: a reap list, deadline classes behind
 * one timer, a mailbox, and an orderly end.
 *
 * A turn of libuv: timers, prepare, wait, I/O and mailbox callbacks, check, close
 * callbacks. Objects given to loop_reap are freed in prepare and in check, when
 * no callback is on the stack.
 *
 * The end: loop_stop leaves uv_run; cancel requests get a moment; posts that were
 * accepted still run; requests on the thread pool are waited for, since they point
 * into their owners; then every handle still open is closed without calling anybody
 * back, and the close functions of this room only free memory and descriptors.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop_internal.h"

struct signal_watch {
    uv_signal_t handle;
    void (*fn)(void *ctx, int signum);
    struct loop *loop;
    struct signal_watch *next;
};

static void run_reap(struct loop *l)
{
    while (l->reap) {
        struct reap *r = l->reap;
        l->reap = r->next;
        r->free(r);
    }
}

static void on_idle(uv_idle_t *idle) { (void)idle; /* its being active is what keeps the loop from waiting */ }

static void run_later(struct loop *l)
{
    size_t queued = 0; /* what is queued meanwhile waits for the next round */
    for (const struct later *w = l->later_first; w; w = w->next)
        queued++;
    for (; queued > 0 && l->later_first; queued--) {
        struct later *w = l->later_first;
        loop_later_cancel(l, w);
        w->run(w);
    }
    if (l->later_first)
        uv_idle_start(&l->idle, on_idle);
    else
        uv_idle_stop(&l->idle);
}

static void on_prepare(uv_prepare_t *p)
{
    run_later(p->data);
    run_reap(p->data);
}

static void on_check(uv_check_t *c)
{
    run_later(c->data);
    run_reap(c->data);
}

static void on_timer(uv_timer_t *t) { loop_run_deadlines(t->data); }

static void on_signal(uv_signal_t *handle, int signum)
{
    struct signal_watch *w = handle->data;
    w->fn(w->loop->ctx, signum);
}

static void close_left_over(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void finish(struct loop *l)
{
    if (l->ended)
        return;
    cancels_close(l);
    mailbox_close(l);
    while (l->requests > 0)
        uv_run(&l->uv, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) /* close callbacks, and what they reap or close in turn */
        uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_walk(&l->uv, close_left_over, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    l->ended = true;
    run_reap(l);
    while (l->signals) {
        struct signal_watch *w = l->signals;
        l->signals = w->next;
        mem_free(w);
    }
}

void loop_later(struct loop *l, struct later *w)
{
    if (w->queued)
        return;
    w->queued = true;
    w->next = NULL;
    if (l->later_last)
        l->later_last->next = w;
    else
        l->later_first = w;
    l->later_last = w;
    if (!l->ended)
        uv_idle_start(&l->idle, on_idle);
}

void loop_later_cancel(struct loop *l, struct later *w)
{
    if (!w->queued)
        return;
    struct later **link = &l->later_first, *before = NULL;
    while (*link != w) {
        before = *link;
        link = &before->next;
    }
    *link = w->next;
    if (l->later_last == w)
        l->later_last = before;
    w->next = NULL;
    w->queued = false;
}

void loop_deadline_earlier(struct loop *l, uint64_t at_ms)
{
    if (at_ms >= l->timer_at || l->ended)
        return;
    uint64_t now = uv_now(&l->uv);
    l->timer_at = at_ms;
    uv_timer_start(&l->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

void loop_run_deadlines(struct loop *l)
{
    uint64_t now = uv_now(&l->uv), earliest = UINT64_MAX;
    l->timer_at = 0; /* while classes run, arming must not start the timer: it is set below */
    /* A callback may end its own class or others: collect first what is due. */
    struct ilist todo;
    ilist_init(&todo);
    struct ilist *node;
    while ((node = ilist_pop_front(&l->classes)))
        ilist_push_back(&todo, node);
    while ((node = ilist_pop_front(&todo))) {
        ilist_push_back(&l->classes, node);
        deadline_class_run(container_of(node, struct deadline_class, in_loop), now);
    }
    ILIST_EACH (n, &l->classes) {
        const struct deadline_class *c = container_of(n, struct deadline_class, in_loop);
        if (!ilist_empty(&c->list)) {
            uint64_t at = container_of(c->list.next, struct deadline, node)->at_ms;
            earliest = at < earliest ? at : earliest;
        }
    }
    l->timer_at = UINT64_MAX;
    if (earliest != UINT64_MAX)
        loop_deadline_earlier(l, earliest);
}

void loop_close_handle(struct loop *l, uv_handle_t *h, uv_close_cb closed)
{
    if (l->ended)
        closed(h);
    else if (!uv_is_closing(h))
        uv_close(h, closed);
}

struct loop *loop_new(struct error *e)
{
    net_init();
    struct loop *l = mem_zalloc(sizeof(*l));
    int rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        mem_free(l);
        error_set(e, ERR_INTERNAL, "cannot make an event loop: %s", uv_strerror(rc));
        return NULL;
    }
    ilist_init(&l->classes);
    l->timer_at = UINT64_MAX;
    mailbox_init(l);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    uv_idle_init(&l->uv, &l->idle);
    uv_timer_init(&l->uv, &l->timer);
    l->prepare.data = l->check.data = l->idle.data = l->timer.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    return l;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
    finish(l);
}

void loop_turn(struct loop *l) { uv_run(&l->uv, UV_RUN_NOWAIT); }

void loop_stop(struct loop *l) { uv_stop(&l->uv); }

void loop_free(struct loop *l)
{
    if (!l)
        return;
    finish(l);
    int rc = uv_loop_close(&l->uv);
    assert(rc == 0);
    (void)rc;
    mailbox_fini(l);
    mem_free(l);
}

uint64_t loop_now_ms(const struct loop *l) { return uv_now(&l->uv); }

uint64_t loop_now_ns(const struct loop *l)
{
    (void)l;
    return clock_mono_ns();
}

void loop_reap(struct loop *l, struct reap *r)
{
    if (l->ended) {
        r->free(r);
        return;
    }
    r->next = l->reap;
    l->reap = r;
}

void loop_set_context(struct loop *l, void *ctx) { l->ctx = ctx; }

bool loop_on_signal(struct loop *l, int signum, void (*fn)(void *ctx, int signum))
{
    struct signal_watch *w = mem_zalloc(sizeof(*w));
    w->fn = fn;
    w->loop = l;
    w->next = l->signals;
    l->signals = w; /* freed when the loop ends, also if starting fails */
    uv_signal_init(&l->uv, &w->handle);
    w->handle.data = w;
    return uv_signal_start(&w->handle, on_signal, signum) == 0;
}
