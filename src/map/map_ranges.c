/*
 * Ranges of tenants, cut into disjoint ones. Active ranges do not overlap
 * (map_validate.c sees to it). The range of an inactive shard may overlap others:
 * an operator takes a shard out of service and gives its range to another before
 * the old row is cleared. There the active one wins, and of two inactive ones that
 * with the lower shard id.
 */
#include <string.h>

#include "map_private.h"

static bool reserve_one(struct map_ranges *r)
{
    size_t cap = r->cap ? r->cap * 2 : 16;
    int64_t *min, *max;
    uint16_t *shard;

    if (r->count < r->cap)
        return true;
    min = mem_try_realloc(r->min, cap * sizeof(*min));
    if (min)
        r->min = min;
    max = mem_try_realloc(r->max, cap * sizeof(*max));
    if (max)
        r->max = max;
    shard = mem_try_realloc(r->shard, cap * sizeof(*shard));
    if (shard)
        r->shard = shard;
    if (!min || !max || !shard)
        return false;
    r->cap = cap;
    return true;
}

static bool insert(struct map_ranges *r, size_t at, int64_t min, int64_t max, uint16_t shard)
{
    size_t after = r->count - at;

    if (!reserve_one(r))
        return false;
    memmove(r->min + at + 1, r->min + at, after * sizeof(*r->min));
    memmove(r->max + at + 1, r->max + at, after * sizeof(*r->max));
    memmove(r->shard + at + 1, r->shard + at, after * sizeof(*r->shard));
    r->min[at] = min;
    r->max[at] = max;
    r->shard[at] = shard;
    r->count++;
    return true;
}

/* First range that ends at `from` or later. */
static size_t first_from(const struct map_ranges *r, int64_t from)
{
    size_t low = 0, high = r->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (r->max[mid] < from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Fills the gaps that the ranges so far leave in min..max. */
static bool fill(struct map_ranges *r, int64_t min, int64_t max, uint16_t shard)
{
    size_t at = first_from(r, min);

    for (;;) {
        if (at == r->count || r->min[at] > max)
            return insert(r, at, min, max, shard);
        if (r->min[at] > min) {
            if (!insert(r, at, min, r->min[at] - 1, shard))
                return false;
            at++;
        }
        if (r->max[at] >= max)
            return true;
        min = r->max[at] + 1;
        at++;
    }
}

bool map_ranges_init(struct map_ranges *r, const struct map_shard *items, size_t count)
{
    memset(r, 0, sizeof(*r));
    for (int active = 1; active >= 0; active--)
        for (size_t i = 0; i < count; i++)
            if (items[i].has_range && items[i].active == active && !fill(r, items[i].min, items[i].max, (uint16_t)i)) {
                map_ranges_fini(r);
                return false;
            }
    return true;
}

void map_ranges_fini(struct map_ranges *r)
{
    mem_free(r->min);
    mem_free(r->max);
    mem_free(r->shard);
    memset(r, 0, sizeof(*r));
}
