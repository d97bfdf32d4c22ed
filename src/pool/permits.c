/*
 * Permits: how N workers, each with pools of its own, keep limits that hold for
 * the process, and none of them starves.
 *
 * A permit is a counter with a limit. A server connection takes one of each of
 * four kinds before it is opened and gives them back when it is closed:
 *
 *   POOL      shard + database + server user     pool.size (+ reserve)
 *   DATABASE  database, over all shards          max_server_connections
 *   USER      user, over all shards              max_server_connections
 *   SHARD     shard                              pool.max_per_shard
 *
 * Idle connections keep their permits, so a worker can run out while another has
 * idle ones. Nobody may look into another worker's lists; so this is solved by
 * messages, and a word of one bit a worker in each permit, `starving`.
 *
 *   The starver   (1) closes an idle server of another of its own pools that holds
 *                 a permit of the exhausted kind; or else (2) sets its bit, tries
 *                 again, and if that fails too asks every worker that holds some
 *                 (a "beg" message).
 *   A holder      looks at the bits (a relaxed load each) whenever a server becomes
 *                 idle, and at its idle servers when it is begged. If it can spare
 *                 one it clears the starver's bit and moves the live connection over.
 *   A releaser    (closed connection, roll-back) clears one starver's bit and sends
 *                 it a "nudge"; after having served its own pools, unless it holds
 *                 more than its share.
 *   The receiver  of either uses what came, and sets its bit again if pools of it
 *                 still starve. If there is room left that it did not need, it
 *                 passes the nudge on.
 *
 * So a cleared bit means that a message is on its way, and whoever clears a bit
 * must send one. No wake-up is lost:
 *
 *   Release. The starver sets its bit and then reads the counter; the releaser
 *   lowers the counter and then reads the bits; all four are sequentially
 *   consistent (operations or fences). One of the two reads sees the other's write: either the second try
 *   succeeds, or the releaser sees the bit. A permit taken and rolled back counts
 *   as a release.
 *   Idle. The bit is set before the beg is posted, and a mailbox orders what
 *   happened before the post before what the receiver does after it. A server that
 *   became idle before the beg was handled is found by the beg; one that becomes
 *   idle later is after the bit in the holder's eyes, whose relaxed load then sees it.
 *   Claim. Two that want to serve one starver both clear the bit, by one atomic
 *   operation; the loser keeps its server. The winner's message makes the starver
 *   set the bit again if it needs more, and that begs again.
 *
 * Fairness. A worker under constant load always has a waiter of its own for a
 * server that comes back. So before it serves it, it gives the server away if the
 * poorest starver holds at least two less than itself, or holds none at all; the
 * latter not in the first milliseconds after the server came (QUANTUM_MS), so that
 * with fewer permits than workers each gets some work done before the connection
 * moves on. Each such gift makes the two more alike, so it ends. A releaser serves
 * its own pools first unless it holds its share (limit / (workers that starve + 1),
 * rounded up).
 *   Between pools of one worker that need the same permits, one whose clients wait
 * much longer (YIELD_MS) goes first: a server is closed for it even while its own
 * pool has waiters. A server that no waiter of its pool wants is closed for another
 * pool of the worker that starves rather than given away; else two workers could
 * pass it to and fro, each with a pool that cannot use it.
 *
 * Over-count. A try is a compare-and-swap below the limit, never an add that is
 * taken back, so that no other try fails for a counter that was never really full.
 *
 * Limits may shrink below what is used; then nothing is closed by force, tries
 * fail until enough was closed.
 */
#include "permits.h"

#include <pthread.h>
#include <string.h>

struct permits {
    unsigned workers;
    struct attached {
        struct pools *pools; /* NULL again when they are gone */
        struct loop *loop;
    } attached[PERMIT_WORKERS_MAX]; /* each of its own thread */
    pthread_mutex_t lock;           /* guards what follows, and permit.refs */
    struct hash_index index;
};

/* Becoming a holder, like setting the bit, orders what follows: a starver that
 * did not see this worker as a holder, and so did not beg it, is seen by it. */
static void hold(struct permit *pm, unsigned worker)
{
    atomic_fetch_add(&pm->worker[worker].held, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

static bool take(struct permit *pm, unsigned worker, int64_t extra)
{
    int64_t limit = atomic_load(&pm->limit);
    limit = limit > PERMIT_NO_LIMIT - extra ? PERMIT_NO_LIMIT : limit + extra;
    int64_t used = atomic_load(&pm->used);
    do {
        if (used >= limit)
            return false;
    } while (!atomic_compare_exchange_weak(&pm->used, &used, used + 1));
    hold(pm, worker);
    return true;
}

struct permits *permits_new(unsigned workers)
{
    struct permits *p = mem_zalloc(sizeof(*p));
    p->workers = workers < PERMIT_WORKERS_MAX ? workers : PERMIT_WORKERS_MAX;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void permits_free(struct permits *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->index.size; i++) {
        /* Left by connections whose loop ended before they were closed. */
        for (struct hash_node *n = p->index.slots[i], *next; n; n = next) {
            next = n->next;
            mem_free(container_of(n, struct permit, node));
        }
    }
    hash_index_fini(&p->index);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

unsigned permits_workers(const struct permits *p) { return p->workers; }

void permits_attach(struct permits *p, unsigned worker, struct pools *ps, struct loop *l)
{
    p->attached[worker] = (struct attached){ps, l};
}

struct pools *permits_attached(const struct permits *p, unsigned worker) { return p->attached[worker].pools; }

struct loop *permits_loop(const struct permits *p, unsigned worker) { return p->attached[worker].loop; }

struct permit *permit_get(struct permits *p, enum permit_kind kind, struct str key, int64_t limit)
{
    uint64_t hash = hash_str((uint64_t)kind, key);
    struct permit *found = NULL;
    pthread_mutex_lock(&p->lock);
    for (struct hash_node *n = hash_index_first(&p->index, hash); n && !found; n = hash_index_next(n)) {
        struct permit *pm = container_of(n, struct permit, node);
        if (pm->kind == kind && str_eq(pm->key, key))
            found = pm;
    }
    if (!found) {
        size_t head = sizeof(*found) + p->workers * sizeof(struct permit_worker);
        found = mem_zalloc(head + key.len);
        found->kind = kind;
        found->key = (struct str){(char *)found + head, key.len};
        if (key.len)
            memcpy((char *)found + head, key.ptr, key.len);
        hash_index_add(&p->index, &found->node, hash);
    }
    found->refs++;
    atomic_store(&found->limit, limit);
    pthread_mutex_unlock(&p->lock);
    return found;
}

struct permit *permit_ref(struct permits *p, struct permit *pm)
{
    pthread_mutex_lock(&p->lock);
    pm->refs++;
    pthread_mutex_unlock(&p->lock);
    return pm;
}

void permit_unref(struct permits *p, struct permit *pm)
{
    pthread_mutex_lock(&p->lock);
    bool last = --pm->refs == 0;
    if (last)
        hash_index_remove(&p->index, &pm->node);
    pthread_mutex_unlock(&p->lock);
    if (last)
        mem_free(pm);
}

void permit_set_limit(struct permit *pm, int64_t limit) { atomic_store(&pm->limit, limit); }

unsigned permit_try_all(struct permit *const pm[PERMIT_KINDS], unsigned worker, int64_t extra)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++) { /* most failures are seen without a write */
        if (!permit_has_room(pm[k], k == PERMIT_POOL ? extra : 0))
            return k;
    }
    unsigned k = 0;
    while (k < PERMIT_KINDS && take(pm[k], worker, k == PERMIT_POOL ? extra : 0))
        k++;
    if (k < PERMIT_KINDS) {
        for (unsigned j = 0; j < k; j++)
            permit_release(pm[j], worker);
    }
    return k;
}

bool permit_has_room(const struct permit *pm, int64_t extra)
{
    int64_t limit = atomic_load(&pm->limit);
    return atomic_load(&pm->used) < (limit > PERMIT_NO_LIMIT - extra ? PERMIT_NO_LIMIT : limit + extra);
}

void permit_release(struct permit *pm, unsigned worker)
{
    atomic_fetch_sub_explicit(&pm->worker[worker].held, 1, memory_order_relaxed);
    atomic_fetch_sub(&pm->used, 1);
    atomic_thread_fence(memory_order_seq_cst); /* before the caller looks at the bits */
}

void permit_move(struct permit *pm, unsigned from, unsigned to)
{
    atomic_fetch_sub_explicit(&pm->worker[from].held, 1, memory_order_relaxed);
    hold(pm, to);
}

bool permit_mark(struct permit *pm, unsigned worker)
{
    uint64_t bit = UINT64_C(1) << worker;
    return !(atomic_fetch_or(&pm->starving, bit) & bit);
}

bool permit_unmark(struct permit *pm, unsigned worker)
{
    uint64_t bit = UINT64_C(1) << worker;
    return atomic_fetch_and(&pm->starving, ~bit) & bit;
}

int permit_claim(struct permit *pm, unsigned by)
{
    uint64_t mask;
    while ((mask = atomic_load(&pm->starving) & ~(UINT64_C(1) << by))) {
        /* The next after `by`, so that all get their turn. */
        uint64_t after = mask & ~((UINT64_C(2) << by) - 1);
        unsigned w = (unsigned)__builtin_ctzll(after ? after : mask);
        if (permit_unmark(pm, w))
            return (int)w;
    }
    return -1;
}

int64_t permit_share(const struct permit *pm, uint64_t others)
{
    int64_t workers = __builtin_popcountll(others) + 1;
    int64_t limit = atomic_load_explicit(&pm->limit, memory_order_relaxed);
    return limit / workers + (limit % workers != 0);
}
