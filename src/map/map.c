/*
 * An immutable snapshot: look-ups and what can be read from it. Any thread that
 * holds a reference may read; nothing in it changes, so there is nothing to lock.
 */
#include "map_private.h"

const struct map_shard *map_lookup(const struct map *m, int64_t tenant, enum map_why *why)
{
    const struct map_shard *shard = NULL;
    struct map_slot s = map_override(m, tenant);
    enum map_why reason = MAP_NONE;

    if (s.kind != SLOT_NONE) {
        shard = map_shards_by_id(m->shards, s.shard);
        reason = s.kind == SLOT_LEARNED ? MAP_LEARNED : MAP_OVERRIDE;
    } else {
        size_t at = map_ranges_find(&m->shards->ranges, tenant);

        if (at != SIZE_MAX) {
            shard = &m->shards->items[m->shards->ranges.shard[at]];
            reason = MAP_RANGE;
        }
    }
    if (why)
        *why = reason;
    return shard;
}

const char *map_why_name(enum map_why why)
{
    switch (why) {
    case MAP_OVERRIDE:
        return "override";
    case MAP_RANGE:
        return "range";
    case MAP_LEARNED:
        return "learned";
    case MAP_NONE:
        break;
    }
    return "none";
}

bool map_walk_next(const struct map *m, struct map_walk *w, int64_t *tenant, struct map_slot *value)
{
    while (!w->in_overlay) {
        if (!m->base || !map_table_next(m->base, &w->cursor, tenant, value)) {
            w->in_overlay = true;
            w->cursor = (struct map_cursor){0};
        } else if (!m->overlay || map_table_get(m->overlay, *tenant).kind == SLOT_NONE) {
            return true;
        }
    }
    while (m->overlay && map_table_next(m->overlay, &w->cursor, tenant, value))
        if (value->kind != SLOT_REMOVED)
            return true;
    return false;
}

static bool same_text(const char *a, const char *b) { return str_eq(str_from(a), str_from(b)); }

static bool same_shard(const struct map_shard *a, const struct map_shard *b)
{
    return a->id == b->id && same_text(a->region, b->region) && same_text(a->datacenter, b->datacenter) &&
           same_text(a->conninfo, b->conninfo) && a->primary == b->primary && a->active == b->active &&
           a->has_range == b->has_range && (!a->has_range || (a->min == b->min && a->max == b->max));
}

bool map_same(const struct map *a, const struct map *b)
{
    struct map_walk w = {0};
    int64_t tenant;
    struct map_slot value;

    if (a->shards->count != b->shards->count || a->overrides != b->overrides)
        return false;
    for (size_t i = 0; i < a->shards->count; i++)
        if (!same_shard(&a->shards->items[i], &b->shards->items[i]))
            return false;
    /* As many, and each of a in b: then none of b is missing in a. */
    while (map_walk_next(a, &w, &tenant, &value)) {
        struct map_slot other = map_override(b, tenant);

        if (other.kind == SLOT_NONE || other.shard != value.shard)
            return false;
    }
    return true;
}

void map_set_generation(struct map *m, uint64_t generation) { m->generation = generation; }

size_t map_shard_count(const struct map *m) { return m->shards->count; }

const struct map_shard *map_shard_at(const struct map *m, size_t index)
{
    return index < m->shards->count ? &m->shards->items[index] : NULL;
}

const struct map_shard *map_shard_by_id(const struct map *m, int16_t id) { return map_shards_by_id(m->shards, id); }

size_t map_shard_overrides(const struct map *m, int16_t id)
{
    size_t i = (size_t)(uint16_t)id;

    return i < m->load_end ? m->load[i] : 0;
}

const struct map_shard *map_primary(const struct map *m) { return m->shards->primary; }

uint64_t map_revision(const struct map *m) { return m->revision; }

uint64_t map_generation(const struct map *m) { return m->generation; }

size_t map_override_count(const struct map *m) { return m->overrides; }

size_t map_bytes(const struct map *m)
{
    return sizeof(*m) + m->shards->bytes + m->load_end * sizeof(*m->load) + map_table_bytes(m->base) +
           map_table_bytes(m->overlay);
}

struct map *map_ref(struct map *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void map_unref(struct map *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    map_shards_unref(m->shards);
    map_table_unref(m->base);
    map_table_unref(m->overlay);
    mem_free(m->load);
    mem_free(m);
}
