/*
 * Building a map. What is added is only noted, in chunks, in the order it came:
 * cheap enough for an event loop at millions of rows. The work is in
 * map_builder_finish, which touches nothing but the builder and immutable maps and
 * may run on any thread.
 *
 * A whole map becomes one table of the exact size. A delta becomes an overlay:
 * a copy of the base map's overlay with the changes put in, over the same base
 * table. An overlay that has grown past a share of its base is merged with it into
 * a new base table, so that a look-up never meets more than two tables and a row
 * of deltas costs, in all, a constant number of copies an override.
 */
#include <inttypes.h>
#include <string.h>

#include "map_private.h"

#define CHUNK_MAX 131072 /* 1.4 MB: goes back to the system when freed */
#define CHUNK_MIN 64
#define ID_END 32768
/* An overlay may hold a sixteenth of its base, and always this many. */
#define OVERLAY_SHARE 16
#define OVERLAY_MIN 4096

struct change {
    int64_t tenant;
    int16_t shard;
    uint8_t kind; /* enum map_slot_kind */
} __attribute__((packed));

struct chunk {
    struct chunk *next;
    size_t used, cap;
    struct change items[];
};

struct map_builder {
    struct map *base; /* NULL: a whole map */
    uint64_t revision;
    struct map_shard *shards; /* their strings are ours */
    size_t shard_count, shard_cap;
    struct chunk *first, *last;
    size_t changes;
    size_t hint; /* overrides to come, if known */
    bool failed; /* memory ran out */
    uint8_t seen[ID_END / 8];
};

/* ---- collecting ----------------------------------------------------------- */

struct map_builder *map_builder_new(uint64_t revision)
{
    struct map_builder *b = mem_zalloc(sizeof(*b));

    b->revision = revision;
    return b;
}

struct map_builder *map_builder_delta(struct map *base, uint64_t revision)
{
    struct map_builder *b = map_builder_new(revision);

    b->base = map_ref(base);
    return b;
}

void map_builder_reserve(struct map_builder *b, size_t overrides) { b->hint = overrides; }

static bool grow_shards(struct map_builder *b)
{
    size_t cap = b->shard_cap ? b->shard_cap * 2 : 8;
    struct map_shard *grown = mem_try_realloc(b->shards, cap * sizeof(*grown));

    if (!grown)
        return false;
    b->shards = grown;
    b->shard_cap = cap;
    return true;
}

bool map_builder_shard(struct map_builder *b, const struct map_shard *s, struct error *e)
{
    struct map_shard *copy;
    size_t len;

    if (!map_validate_shard(s, e))
        return false;
    if ((b->seen[s->id / 8] >> (s->id % 8)) & 1)
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d is there twice", s->id);
    len = strlen(s->conninfo) + 1;
    if (b->shard_count == b->shard_cap && !grow_shards(b))
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for shard %d", s->id);
    copy = &b->shards[b->shard_count];
    *copy = *s;
    copy->conninfo = mem_try_alloc(len);
    if (!copy->conninfo)
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for shard %d", s->id);
    memcpy(copy->conninfo, s->conninfo, len);
    b->seen[s->id / 8] = (uint8_t)(b->seen[s->id / 8] | 1u << (s->id % 8));
    b->shard_count++;
    return true;
}

static size_t chunk_size(size_t cap) { return sizeof(struct chunk) + cap * sizeof(struct change); }

static struct chunk *add_chunk(struct map_builder *b)
{
    size_t cap = b->last ? b->last->cap * 4 : b->hint;
    struct chunk *c;

    cap = cap < CHUNK_MIN ? CHUNK_MIN : cap > CHUNK_MAX ? CHUNK_MAX : cap;
    c = map_pages_alloc(chunk_size(cap));
    if (!c)
        return NULL;
    c->cap = cap;
    if (b->last)
        b->last->next = c;
    else
        b->first = c;
    b->last = c;
    return c;
}

static bool add_change(struct map_builder *b, struct change change)
{
    struct chunk *c = b->last;

    if (!c || c->used == c->cap)
        c = add_chunk(b);
    if (!c) {
        b->failed = true;
        return false;
    }
    c->items[c->used++] = change;
    b->changes++;
    return true;
}

bool map_builder_override(struct map_builder *b, int64_t tenant, int16_t shard_id, enum map_why why)
{
    return add_change(b, (struct change){tenant, shard_id, why == MAP_LEARNED ? SLOT_LEARNED : SLOT_OVERRIDE});
}

bool map_builder_remove(struct map_builder *b, int64_t tenant)
{
    return add_change(b, (struct change){tenant, 0, SLOT_REMOVED});
}

void map_builder_free(struct map_builder *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->shard_count; i++)
        if (b->shards[i].conninfo)
            mem_free_secret(b->shards[i].conninfo, strlen(b->shards[i].conninfo));
    mem_free(b->shards);
    for (struct chunk *c = b->first, *next; c; c = next) {
        next = c->next;
        map_pages_free(c, chunk_size(c->cap));
    }
    map_unref(b->base);
    mem_free(b);
}

/* ---- finishing ------------------------------------------------------------ */

static bool counts(struct map_slot s) { return s.kind == SLOT_OVERRIDE || s.kind == SLOT_LEARNED; }

/* Puts one change into the overlay, or into the only table of a whole map, and
 * keeps the sums right. */
static bool apply(struct map *m, struct map_table *to, struct change change)
{
    struct map_slot before = map_override(m, change.tenant);
    struct map_slot now = {change.shard, change.kind};

    if (!counts(before) && !counts(now))
        return true; /* removes what is not there */
    if (!map_table_put(to, change.tenant, now))
        return false;
    if (counts(before)) {
        m->load[before.shard]--;
        m->overrides--;
    }
    if (counts(now)) {
        m->load[now.shard]++;
        m->overrides++;
    }
    return true;
}

/* Frees each chunk as soon as it is in the table: the two need not both fit. */
static bool apply_all(struct map_builder *b, struct map *m, struct map_table *to, struct error *e)
{
    while (b->first) {
        struct chunk *c = b->first;

        for (size_t i = 0; i < c->used; i++) {
            if (c->items[i].shard < 0)
                return error_set(e, ERR_MAP_INVALID, "tenant_shard_map: tenant %" PRId64 " is on shard %d",
                                 c->items[i].tenant, c->items[i].shard);
            if (!apply(m, to, c->items[i]))
                return error_set(e, ERR_INTERNAL, "the table of overrides is too small");
        }
        b->first = c->next;
        map_pages_free(c, chunk_size(c->cap));
    }
    b->last = NULL;
    return true;
}

/* One base table of all overrides that count. */
static bool merge(struct map *m, struct error *e)
{
    struct map_table *merged = map_table_new(m->overrides);
    struct map_walk w = {0};
    int64_t tenant;
    struct map_slot value;

    if (!merged)
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu overrides", m->overrides);
    while (map_walk_next(m, &w, &tenant, &value))
        if (!map_table_put(merged, tenant, value)) {
            map_table_unref(merged);
            return error_set(e, ERR_INTERNAL, "the table of overrides is too small");
        }
    map_table_unref(m->base);
    map_table_unref(m->overlay);
    m->base = merged;
    m->overlay = NULL;
    return true;
}

/* As if all were the overlay of an empty base: then what was removed on the way is
 * merged out, or, as nearly always, the overlay is the base. */
static bool finish_whole(struct map_builder *b, struct map *m, struct error *e)
{
    m->overlay = map_table_new(b->changes);
    if (!m->overlay)
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu overrides", b->changes);
    if (!apply_all(b, m, m->overlay, e))
        return false;
    if (m->overlay->used != m->overrides)
        return merge(m, e);
    m->base = m->overlay;
    m->overlay = NULL;
    return true;
}

static bool finish_delta(struct map_builder *b, struct map *m, struct error *e)
{
    const struct map *base = b->base;
    size_t limit = base->base ? base->base->used / OVERLAY_SHARE : 0;

    memcpy(m->load, base->load, base->load_end * sizeof(*m->load));
    m->overrides = base->overrides;
    m->base = map_table_ref(base->base);
    if (b->changes == 0) {
        m->overlay = map_table_ref(base->overlay);
        return true;
    }
    m->overlay = base->overlay ? map_table_copy(base->overlay, b->changes) : map_table_new(b->changes);
    if (!m->overlay)
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu changes", b->changes);
    if (!apply_all(b, m, m->overlay, e))
        return false;
    if (m->overlay->used > (limit > OVERLAY_MIN ? limit : OVERLAY_MIN))
        return merge(m, e);
    return true;
}

static bool finish_shards(struct map_builder *b, struct map *m, struct error *e)
{
    if (b->base && b->shard_count == 0) { /* unchanged */
        m->shards = map_shards_ref(b->base->shards);
        return true;
    }
    if (!map_validate_shards(b->shards, b->shard_count, e))
        return false;
    m->shards = map_shards_new(b->shards, b->shard_count);
    if (!m->shards)
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu shards", b->shard_count);
    b->shard_count = 0; /* the strings have moved */
    return true;
}

/* The sums are kept for every id while building, then cut. */
static bool cut_load(struct map *m)
{
    size_t end = ID_END;
    uint32_t *cut;

    while (end > 0 && m->load[end - 1] == 0)
        end--;
    cut = mem_try_realloc(m->load, end * sizeof(*m->load));
    if (!cut)
        return false;
    m->load = cut;
    m->load_end = end;
    return true;
}

static struct map *map_new(const struct map_builder *b, const struct map *old)
{
    struct map *m = mem_try_alloc(sizeof(*m));

    if (!m)
        return NULL;
    memset(m, 0, sizeof(*m));
    m->load = mem_try_array(ID_END, sizeof(*m->load));
    if (!m->load) {
        mem_free(m);
        return NULL;
    }
    memset(m->load, 0, ID_END * sizeof(*m->load));
    m->load_end = ID_END;
    m->revision = b->revision;
    m->generation = old ? old->generation + 1 : 1;
    atomic_init(&m->refs, 1);
    return m;
}

struct map *map_builder_finish(struct map_builder *b, const struct map *old, struct map_limits limits, struct error *e)
{
    struct map *m = b->failed ? NULL : map_new(b, old);

    if (!m) {
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for the map (%zu changes so far)", b->changes);
        goto failed;
    }
    if (!finish_shards(b, m, e) || !(b->base ? finish_delta(b, m, e) : finish_whole(b, m, e)))
        goto failed;
    if (!map_validate_overrides(m, e) || (old && !map_validate_loss(m, old, limits, e)))
        goto failed;
    if (!cut_load(m)) {
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for the map");
        goto failed;
    }
    map_builder_free(b);
    return m;

failed:
    map_unref(m);
    map_builder_free(b);
    return NULL;
}
