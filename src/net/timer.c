#include "loop_internal.h"

struct timer {
    uv_timer_t handle;
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
};

static void on_fire(uv_timer_t *handle)
{
    struct timer *t = handle->data;
    t->fn(t->ctx);
}

static void on_closed(uv_handle_t *handle) { mem_free(handle->data); }

struct timer *timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct timer *t = mem_zalloc(sizeof(*t));
    t->loop = l;
    t->fn = fn;
    t->ctx = ctx;
    uv_timer_init(&l->uv, &t->handle);
    t->handle.data = t;
    return t;
}

void timer_start(struct timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
    if (!t->loop->ended)
        uv_timer_start(&t->handle, on_fire, after_ms, repeat_ms);
}

void timer_stop(struct timer *t)
{
    if (!t->loop->ended)
        uv_timer_stop(&t->handle);
}

void timer_free(struct timer *t)
{
    if (t)
        loop_close_handle(t->loop, (uv_handle_t *)&t->handle, on_closed);
}
