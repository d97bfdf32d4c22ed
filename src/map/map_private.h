/*
 * What the files of the map room share: the parts a snapshot is made of.
 *
 *   struct map ──► shards   (ref-counted: shards, ranges; shared while unchanged)
 *              ──► base     (ref-counted, immutable table of overrides)
 *              └─► overlay  (the changes since the base was built; may be NULL)
 */
#ifndef SHARDGATE_MAP_PRIVATE_H
#define SHARDGATE_MAP_PRIVATE_H

#include "shardgate/map.h"

/* ---- memory of tables (map_pages.c) -------------------------------------- */

/* Zero-filled; NULL when memory is exhausted. Large areas come from mmap, aligned
 * to and advised for huge pages, so that a random look-up costs no TLB walk, and
 * go back to the system when freed. */
void *map_pages_alloc(size_t size) MUST_CHECK;
void map_pages_free(void *p, size_t size);

/* ---- table of overrides (map_table.c) ------------------------------------ */

#define MAP_BUCKET_SLOTS 6

enum map_slot_kind { SLOT_NONE, SLOT_OVERRIDE, SLOT_LEARNED, SLOT_REMOVED };

struct map_slot {
    int16_t shard;
    uint8_t kind; /* enum map_slot_kind */
};

/* One cache line: what a look-up touches. */
struct map_bucket {
    int64_t tenant[MAP_BUCKET_SLOTS];
    int16_t shard[MAP_BUCKET_SLOTS];
    uint8_t used;     /* slots in use, from 0 */
    uint8_t overflow; /* a tenant had to go past this bucket */
    uint8_t learned;  /* bit per slot */
    uint8_t removed;  /* bit per slot: the base's entry does not count; overlays only */
};
_Static_assert(sizeof(struct map_bucket) == 64, "a bucket is one cache line");

struct map_table {
    struct map_bucket *buckets;
    size_t bucket_count;
    uint64_t seed;
    size_t used; /* slots in use, removed ones included */
    atomic_uint refs;
};

/* Room for `entries`; NULL when memory is exhausted. */
struct map_table *map_table_new(size_t entries) MUST_CHECK;
/* The same entries with room for `more`. */
struct map_table *map_table_copy(const struct map_table *t, size_t more) MUST_CHECK;
struct map_table *map_table_ref(struct map_table *t); /* NULL is allowed, here and below */
void map_table_unref(struct map_table *t);
size_t map_table_bytes(const struct map_table *t);
/* Adds or replaces while the table is being built. False when it is full. */
bool map_table_put(struct map_table *t, int64_t tenant, struct map_slot value) MUST_CHECK;

/* The seed keeps those who choose tenant numbers from aiming at one bucket.
 * Only the high bits matter: the caller reduces by a multiplication. */
static inline uint64_t map_hash(int64_t tenant, uint64_t seed)
{
    uint64_t x = (uint64_t)tenant ^ seed;

    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xff51afd7ed558ccd);
    return x ^ (x >> 29);
}

static inline size_t map_home_bucket(const struct map_table *t, int64_t tenant)
{
    return (size_t)(((unsigned __int128)map_hash(tenant, t->seed) * t->bucket_count) >> 64);
}

/* Bit i is set if slot i holds the tenant. Without branches: which slot it is
 * cannot be predicted. */
static inline unsigned map_bucket_match(const struct map_bucket *b, int64_t tenant)
{
    unsigned match = 0;

#pragma GCC unroll 6
    for (unsigned i = 0; i < MAP_BUCKET_SLOTS; i++)
        match |= (unsigned)(b->tenant[i] == tenant) << i;
    return match & ((1u << b->used) - 1);
}

static inline struct map_slot map_bucket_slot(const struct map_bucket *b, unsigned i)
{
    if ((b->removed >> i) & 1)
        return (struct map_slot){0, SLOT_REMOVED};
    return (struct map_slot){b->shard[i], (b->learned >> i) & 1 ? SLOT_LEARNED : SLOT_OVERRIDE};
}

static inline struct map_slot map_table_get(const struct map_table *t, int64_t tenant)
{
    size_t at = map_home_bucket(t, tenant);

    for (;;) {
        const struct map_bucket *b = &t->buckets[at];
        unsigned match = map_bucket_match(b, tenant);

        if (match)
            return map_bucket_slot(b, (unsigned)__builtin_ctz(match));
        /* Ends: a table is never full, and only full buckets overflow. */
        if (!b->overflow)
            return (struct map_slot){0, SLOT_NONE};
        if (++at == t->bucket_count)
            at = 0;
    }
}

/* Walks all slots in use: start with {0}; false at the end. */
struct map_cursor {
    size_t bucket;
    unsigned slot;
};
bool map_table_next(const struct map_table *t, struct map_cursor *c, int64_t *tenant, struct map_slot *value);

/* ---- shards and ranges (map_shards.c, map_ranges.c) ----------------------- */

#define MAP_NO_SHARD UINT16_MAX

/* All ranges, cut so that they are disjoint: the look-up is one binary search. */
struct map_ranges {
    int64_t *min, *max; /* inclusive, ascending */
    uint16_t *shard;    /* index */
    size_t count, cap;
};

struct map_shards {
    struct map_shard *items; /* by id */
    size_t count;
    uint16_t *by_id; /* index or MAP_NO_SHARD, 0..id_end-1 */
    size_t id_end;
    struct map_ranges ranges;
    const struct map_shard *primary;
    size_t bytes;
    atomic_uint refs;
};

/* Takes the strings of items (which are sorted here); the array stays the
 * caller's. Ranges that are active and overlap must have been refused before. */
struct map_shards *map_shards_new(struct map_shard *items, size_t count) MUST_CHECK;
struct map_shards *map_shards_ref(struct map_shards *s);
void map_shards_unref(struct map_shards *s);
static inline const struct map_shard *map_shards_by_id(const struct map_shards *s, int16_t id)
{
    size_t i = (size_t)(uint16_t)id;

    return i < s->id_end && s->by_id[i] != MAP_NO_SHARD ? &s->items[s->by_id[i]] : NULL;
}

/* Active ranges first; an inactive shard gets what is left of its range. */
bool map_ranges_init(struct map_ranges *r, const struct map_shard *items, size_t count) MUST_CHECK;
void map_ranges_fini(struct map_ranges *r);

static inline size_t map_ranges_find(const struct map_ranges *r, int64_t tenant)
{
    const int64_t *at = r->min;
    size_t n = r->count;

    if (n == 0 || tenant < at[0])
        return SIZE_MAX;
    while (n > 1) { /* the last min <= tenant */
        size_t half = n / 2;

        at = at[half] <= tenant ? at + half : at;
        n -= half;
    }
    return tenant <= r->max[at - r->min] ? (size_t)(at - r->min) : SIZE_MAX;
}

/* ---- snapshot ------------------------------------------------------------- */

struct map {
    struct map_shards *shards;
    struct map_table *base, *overlay; /* either may be NULL */
    size_t overrides;                 /* that count: without removed ones */
    uint32_t *load;                   /* overrides of each shard, by id, 0..load_end-1 */
    size_t load_end;
    uint64_t revision, generation;
    atomic_uint refs;
};

/* Override of the tenant as the tables say; SLOT_NONE where there is none. */
static inline struct map_slot map_override(const struct map *m, int64_t tenant)
{
    struct map_slot s = {0, SLOT_NONE};

    if (m->overlay)
        s = map_table_get(m->overlay, tenant);
    if (s.kind == SLOT_NONE && m->base)
        s = map_table_get(m->base, tenant);
    if (s.kind == SLOT_REMOVED)
        s.kind = SLOT_NONE;
    return s;
}

/* Every override that counts, once each, in no order: start with {0}. */
struct map_walk {
    struct map_cursor cursor;
    bool in_overlay;
};
bool map_walk_next(const struct map *m, struct map_walk *w, int64_t *tenant, struct map_slot *value);

/* Same shards and same tenants on them; who confirmed an override is ignored. */
bool map_same(const struct map *a, const struct map *b);
/* Only before the map is given to anyone. */
void map_set_generation(struct map *m, uint64_t generation);

/* ---- validation (map_validate.c) ------------------------------------------ */

#define MAP_CONNINFO_MAX 65536
/* One shard on its own: id, range, connection string. */
bool map_validate_shard(const struct map_shard *s, struct error *e);
/* At least one shard; active ranges disjoint. May reorder items. */
bool map_validate_shards(struct map_shard *items, size_t count, struct error *e);
/* Every override names a shard of the map. */
bool map_validate_overrides(const struct map *m, struct error *e);
bool map_validate_loss(const struct map *m, const struct map *old, struct map_limits limits, struct error *e);

#endif
