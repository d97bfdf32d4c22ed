/*
 * What a map must be before anyone routes by it. Each refusal says what is wrong
 * and where, in words an operator can take to the directory.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "map_private.h"

/* Below this many overrides a share of them says nothing. */
#define LOSS_EXEMPT 100

bool map_validate_shard(const struct map_shard *s, struct error *e)
{
    struct pqinfo info;
    struct error why;

    if (s->id < 0)
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard_id %d is negative", s->id);
    if (s->has_range && s->min > s->max)
        return error_set(e, ERR_MAP_INVALID,
                         "shard_config: shard %d: the range ends before it begins (min_tenant_id %" PRId64
                         ", max_tenant_id %" PRId64 ")",
                         s->id, s->min, s->max);
    if (!s->conninfo || !*s->conninfo)
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d has no connection_string", s->id);
    if (strlen(s->conninfo) > MAP_CONNINFO_MAX)
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d: connection_string is longer than %d bytes", s->id,
                         MAP_CONNINFO_MAX);
    error_clear(&why);
    if (!pqinfo_parse(&info, s->conninfo, &why))
        return error_set(e, ERR_MAP_INVALID, "shard_config: shard %d: connection_string: %s", s->id, why.cause);
    pqinfo_fini(&info);
    return true;
}

/* Active ranges to the front, by their start. */
static int compare_range(const void *a, const void *b)
{
    const struct map_shard *x = a, *y = b;
    bool x_counts = x->active && x->has_range, y_counts = y->active && y->has_range;

    if (x_counts != y_counts)
        return x_counts ? -1 : 1;
    if (!x_counts || x->min == y->min)
        return (x->id > y->id) - (x->id < y->id);
    return x->min < y->min ? -1 : 1;
}

bool map_validate_shards(struct map_shard *items, size_t count, struct error *e)
{
    if (count == 0)
        return error_set(e, ERR_MAP_INVALID, "shard_config has no shard");
    qsort(items, count, sizeof(*items), compare_range);
    for (size_t i = 1; i < count && items[i].active && items[i].has_range; i++) {
        const struct map_shard *a = &items[i - 1], *b = &items[i];

        if (b->min <= a->max)
            return error_set(e, ERR_MAP_INVALID,
                             "shard_config: the ranges of the active shards %d and %d overlap from %" PRId64
                             " to %" PRId64,
                             a->id, b->id, b->min, a->max < b->max ? a->max : b->max);
    }
    return true;
}

bool map_validate_overrides(const struct map *m, struct error *e)
{
    for (size_t id = 0; id < m->load_end; id++) {
        struct map_walk w = {0};
        int64_t tenant;
        struct map_slot value;

        if (m->load[id] == 0 || map_shards_by_id(m->shards, (int16_t)id))
            continue;
        while (map_walk_next(m, &w, &tenant, &value))
            if (value.shard == (int16_t)id)
                return error_set(e, ERR_MAP_INVALID,
                                 "tenant_shard_map: tenant %" PRId64 " is on shard %zu, which shard_config does not "
                                 "have (%" PRIu32 " such tenants)",
                                 tenant, id, m->load[id]);
    }
    return true;
}

static bool loses_too_much(size_t lost, size_t of, int64_t percent)
{
    return (unsigned __int128)lost * 100 > (unsigned __int128)of * (uint64_t)(percent < 0 ? 0 : percent);
}

bool map_validate_loss(const struct map *m, const struct map *old, struct map_limits limits, struct error *e)
{
    size_t lost = 0;

    for (size_t i = 0; i < old->shards->count; i++)
        if (!map_shards_by_id(m->shards, old->shards->items[i].id))
            lost++;
    if (loses_too_much(lost, old->shards->count, limits.shard_loss))
        return error_set(e, ERR_MAP_INVALID,
                         "shard_config lost %zu of %zu shards, more than directory.max_shard_loss (%" PRId64 " %%)",
                         lost, old->shards->count, limits.shard_loss);
    lost = old->overrides > m->overrides ? old->overrides - m->overrides : 0;
    if (old->overrides >= LOSS_EXEMPT && loses_too_much(lost, old->overrides, limits.tenant_loss))
        return error_set(e, ERR_MAP_INVALID,
                         "tenant_shard_map lost %zu of %zu tenants, more than directory.max_tenant_loss (%" PRId64
                         " %%)",
                         lost, old->overrides, limits.tenant_loss);
    return true;
}
