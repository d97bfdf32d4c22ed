/*
 * A worker: one thread with its own loop, listeners, pools and sessions. All
 * functions but worker_new and worker_free may be called from any thread; they
 * post to the worker's mailbox.
 */
#ifndef SHARDGATE_WORKER_H
#define SHARDGATE_WORKER_H

#include "shardgate/ops.h"

/* What all workers share; the daemon's, alive longer than they are. */
struct worker_shared {
    struct session_hub *hub;
    struct permits *permits;
    struct worker **workers;
    unsigned worker_count;
    struct health *health;
    struct console_ops console;
    void *ctx;
    /* Both are called on a worker's thread and must only post. */
    void (*lookup)(void *ctx, struct worker *from, int64_t tenant);
    void (*drained)(void *ctx, struct worker *from);
};

struct worker;
struct worker *worker_new(struct worker_shared *shared, unsigned index, const struct conf *c, struct auth_users *users,
                          struct error *e) MUST_CHECK;
/* Before the thread starts: a listening socket; the worker owns fd. */
void worker_listen(struct worker *w, int fd);
bool worker_start(struct worker *w, struct error *e) MUST_CHECK;
void worker_join(struct worker *w); /* waits for the thread's end, after worker_stop */
void worker_free(struct worker *w);

void worker_set_map(struct worker *w, struct map *m);
void worker_configure(struct worker *w, struct conf *c, struct auth_users *users);
void worker_answer(struct worker *w, int64_t tenant, const struct error *e); /* of lookup; e NULL: asked */
void worker_close_listeners(struct worker *w);
void worker_drain(struct worker *w); /* ends in shared->drained */
void worker_stop(struct worker *w);  /* ends sessions, closes servers, ends the thread */

struct ops_worker worker_for_ops(struct worker *w);

#endif
