/*
 * The loop's inside, for the files of net only.
 */
#ifndef SHARDGATE_LOOP_INTERNAL_H
#define SHARDGATE_LOOP_INTERNAL_H

#include <pthread.h>

#include <uv.h>

#include "shardgate/net.h"

/* Called once before the loop waits again: for objects that have work left which
 * the kernel will not report (bytes inside a TLS record). */
struct later {
    struct later *next;
    void (*run)(struct later *l);
    bool queued;
};

struct signal_watch;
struct cancels;

struct loop {
    uv_loop_t uv;
    uv_async_t wake;      /* mailbox */
    uv_prepare_t prepare; /* before waiting: reap, later */
    uv_check_t check;     /* after the I/O callbacks: the same */
    uv_idle_t idle;       /* active while `later` is not empty: do not wait */
    uv_timer_t timer;     /* the earliest deadline of all classes */
    uint64_t timer_at;    /* when it fires; UINT64_MAX: not started */
    struct ilist classes; /* struct deadline_class.in_loop */
    void *ctx;
    struct reap *reap;
    struct later *later_first, *later_last;
    struct signal_watch *signals;
    struct cancels *cancels; /* pqconn_cancel.c; NULL before the first */
    unsigned requests;       /* work and name look-ups in flight */
    bool ended;              /* every handle is closed; close functions must not touch libuv */

    pthread_mutex_t lock; /* guards what follows */
    struct post *post_first, *post_last;
    bool post_closed;
};

void loop_later(struct loop *l, struct later *w); /* idempotent */
void loop_later_cancel(struct loop *l, struct later *w);
/* A deadline became the earliest of its class. */
void loop_deadline_earlier(struct loop *l, uint64_t at_ms);
void loop_run_deadlines(struct loop *l);

void mailbox_init(struct loop *l);
void mailbox_run(struct loop *l);
/* No post from here on; what was posted is run. */
void mailbox_close(struct loop *l);
void mailbox_fini(struct loop *l);

/* Waits a moment for cancel requests in flight; none is started from here on. */
void cancels_close(struct loop *l);

/* Frees a heap object whose first handle is `h`: at once if the loop has ended,
 * else when libuv lets go of it. */
void loop_close_handle(struct loop *l, uv_handle_t *h, uv_close_cb closed);

#endif
