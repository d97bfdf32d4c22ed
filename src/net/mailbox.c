#include "loop_internal.h"

static void on_wake(uv_async_t *wake) { mailbox_run(wake->data); }

static struct post *take_all(struct loop *l, bool close)
{
    pthread_mutex_lock(&l->lock);
    struct post *first = l->post_first;
    l->post_first = l->post_last = NULL;
    if (close)
        l->post_closed = true;
    pthread_mutex_unlock(&l->lock);
    return first;
}

static void run_list(struct loop *l, struct post *p)
{
    while (p) {
        struct post *next = p->next; /* run may free p */
        p->next = NULL;
        p->run(p, l->ctx);
        p = next;
    }
}

void mailbox_init(struct loop *l)
{
    pthread_mutex_init(&l->lock, NULL);
    uv_async_init(&l->uv, &l->wake, on_wake);
    l->wake.data = l;
}

void mailbox_run(struct loop *l) { run_list(l, take_all(l, false)); }

void mailbox_close(struct loop *l) { run_list(l, take_all(l, true)); }

void mailbox_fini(struct loop *l) { pthread_mutex_destroy(&l->lock); }

bool loop_post(struct loop *l, struct post *p)
{
    p->next = NULL;
    pthread_mutex_lock(&l->lock);
    bool open = !l->post_closed;
    if (open) {
        bool was_empty = !l->post_first;
        if (was_empty)
            l->post_first = p;
        else
            l->post_last->next = p;
        l->post_last = p;
        /* Inside the lock, so that the handle cannot be closed meanwhile. */
        if (was_empty)
            uv_async_send(&l->wake);
    }
    pthread_mutex_unlock(&l->lock);
    return open;
}
