/*
 * Process-wide permits; see the essay in permits.c. Every function may be
 * called by any worker's thread, for itself.
 */
#ifndef SHARDGATE_PERMITS_H
#define SHARDGATE_PERMITS_H

#include "hash_index.h"
#include "shardgate/pool.h"

#define PERMIT_WORKERS_MAX 64u
#define PERMIT_NO_LIMIT INT64_MAX

/* A connection holds one permit of each kind; in the order they are taken. */
enum permit_kind { PERMIT_POOL, PERMIT_DATABASE, PERMIT_USER, PERMIT_SHARD, PERMIT_KINDS };

struct group; /* a worker's view of a permit: permit_group.c */

struct permit_worker {
    _Atomic int64_t held; /* permits of this worker, its one writer */
    struct group *group;  /* of its thread only */
};

/* One counter with a limit. */
struct permit {
    struct hash_node node; /* in permits->index */
    unsigned refs;         /* under permits->lock */
    enum permit_kind kind;
    struct str key;
    _Atomic int64_t used;
    _Atomic int64_t limit;
    _Atomic uint64_t starving; /* bit w: worker w waits, and no message is on its way to it */
    struct permit_worker worker[];
};

unsigned permits_workers(const struct permits *p);
/* The worker's pools, for messages to find them; its own thread only. */
void permits_attach(struct permits *p, unsigned worker, struct pools *ps, struct loop *l);
struct loop *permits_loop(const struct permits *p, unsigned worker); /* stays when the pools have gone */
struct pools *permits_attached(const struct permits *p, unsigned worker);

/* Finds or makes; a reference for the caller. Locks. */
struct permit *permit_get(struct permits *p, enum permit_kind kind, struct str key, int64_t limit);
struct permit *permit_ref(struct permits *p, struct permit *pm);
void permit_unref(struct permits *p, struct permit *pm);
void permit_set_limit(struct permit *pm, int64_t limit);

/* One of each, or none: PERMIT_KINDS on success, else which was exhausted. Those
 * of a lower kind were then held for a moment: whoever starves for them may have
 * been refused meanwhile and must be told (permit_others_starving). `extra` is
 * added to the limit of PERMIT_POOL: the reserve. */
unsigned permit_try_all(struct permit *const pm[PERMIT_KINDS], unsigned worker, int64_t extra);
bool permit_has_room(const struct permit *pm, int64_t extra);
void permit_release(struct permit *pm, unsigned worker);
/* A connection that holds one has moved. */
void permit_move(struct permit *pm, unsigned from, unsigned to);

/* Sets, clears the worker's bit. True: it was not, was set before. */
bool permit_mark(struct permit *pm, unsigned worker);
bool permit_unmark(struct permit *pm, unsigned worker);
/* Clears the bit of a starving worker other than `by`, in turns, and returns it;
 * -1: none. The caller must now send it a message. */
int permit_claim(struct permit *pm, unsigned by);
static inline uint64_t permit_others_starving(const struct permit *pm, unsigned worker)
{
    return atomic_load_explicit(&pm->starving, memory_order_relaxed) & ~(UINT64_C(1) << worker);
}
static inline int64_t permit_held(const struct permit *pm, unsigned worker)
{
    return atomic_load_explicit(&pm->worker[worker].held, memory_order_relaxed);
}
/* What each of the starving and this one would have, rounded up. */
int64_t permit_share(const struct permit *pm, uint64_t others);

#endif
