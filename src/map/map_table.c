/*
 * The table of overrides: a hash of tenants in buckets of one cache line.
 *
 * Six tenants, their shards and the bookkeeping fill 64 bytes, so that a look-up
 * costs one cache miss; a bucket that is full passes on to the next. At 4.2
 * tenants a bucket one in eight is full, and an override costs 15.2 bytes. The
 * number of buckets is what the entries need, not a power of two: the hash is
 * reduced by a multiplication.
 *
 * A table is filled by one thread and never changes once it is in a map. Nothing
 * is ever taken out of it: an overlay hides an entry of its base by one that is
 * marked as removed.
 */
#include <string.h>
#include <sys/random.h>

#include "map_private.h"

/* 21/5 entries a bucket. */
#define FILL_ENTRIES 21
#define FILL_BUCKETS 5

static uint64_t random_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = clock_mono_ns() * UINT64_C(0x9e3779b97f4a7c15);
    return seed;
}

static bool has_room(const struct map_table *t, size_t more)
{
    return (t->used + more) / FILL_ENTRIES < t->bucket_count / FILL_BUCKETS;
}

static struct map_table *table_of(size_t buckets, uint64_t seed)
{
    struct map_table *t = mem_try_alloc(sizeof(*t));

    if (!t)
        return NULL;
    t->buckets = map_pages_alloc(buckets * sizeof(struct map_bucket));
    if (!t->buckets) {
        mem_free(t);
        return NULL;
    }
    t->bucket_count = buckets;
    t->seed = seed;
    t->used = 0;
    atomic_init(&t->refs, 1);
    return t;
}

struct map_table *map_table_new(size_t entries)
{
    if (entries > SIZE_MAX / 4 / sizeof(struct map_bucket))
        return NULL;
    return table_of((entries / FILL_ENTRIES + 2) * FILL_BUCKETS, random_seed());
}

static void set_slot(struct map_bucket *b, unsigned i, int64_t tenant, struct map_slot value)
{
    uint8_t bit = (uint8_t)(1u << i);

    b->tenant[i] = tenant;
    b->shard[i] = value.shard;
    b->learned = (uint8_t)(value.kind == SLOT_LEARNED ? b->learned | bit : b->learned & ~bit);
    b->removed = (uint8_t)(value.kind == SLOT_REMOVED ? b->removed | bit : b->removed & ~bit);
}

bool map_table_put(struct map_table *t, int64_t tenant, struct map_slot value)
{
    size_t at = map_home_bucket(t, tenant);

    for (;;) {
        struct map_bucket *b = &t->buckets[at];
        unsigned match = map_bucket_match(b, tenant);

        if (match) {
            set_slot(b, (unsigned)__builtin_ctz(match), tenant, value);
            return true;
        }
        if (b->used < MAP_BUCKET_SLOTS) {
            if (!has_room(t, 1))
                return false;
            set_slot(b, b->used++, tenant, value);
            t->used++;
            return true;
        }
        b->overflow = 1;
        if (++at == t->bucket_count)
            at = 0;
    }
}

bool map_table_next(const struct map_table *t, struct map_cursor *c, int64_t *tenant, struct map_slot *value)
{
    for (; c->bucket < t->bucket_count; c->bucket++, c->slot = 0) {
        const struct map_bucket *b = &t->buckets[c->bucket];

        if (c->slot < b->used) {
            *tenant = b->tenant[c->slot];
            *value = map_bucket_slot(b, c->slot);
            c->slot++;
            return true;
        }
    }
    return false;
}

static bool put_all(struct map_table *to, const struct map_table *from)
{
    struct map_cursor c = {0};
    int64_t tenant;
    struct map_slot value;

    while (map_table_next(from, &c, &tenant, &value))
        if (!map_table_put(to, tenant, value))
            return false;
    return true;
}

struct map_table *map_table_copy(const struct map_table *t, size_t more)
{
    struct map_table *copy;

    if (has_room(t, more)) {
        copy = table_of(t->bucket_count, t->seed);
        if (copy) {
            memcpy(copy->buckets, t->buckets, map_table_bytes(t));
            copy->used = t->used;
        }
        return copy;
    }
    /* Room to grow by half, so that a row of small deltas copies flat. */
    copy = map_table_new(t->used + t->used / 2 + more);
    if (copy && !put_all(copy, t)) {
        map_table_unref(copy);
        return NULL;
    }
    return copy;
}

struct map_table *map_table_ref(struct map_table *t)
{
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void map_table_unref(struct map_table *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    map_pages_free(t->buckets, map_table_bytes(t));
    mem_free(t);
}

size_t map_table_bytes(const struct map_table *t) { return t ? t->bucket_count * sizeof(struct map_bucket) : 0; }
