/*
 * The shards of a map: few, but with strings, so they are shared by all maps
 * between two changes of shard_config.
 */
#include <stdlib.h>
#include <string.h>

#include "map_private.h"

static int compare_id(const void *a, const void *b)
{
    const struct map_shard *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static bool index_by_id(struct map_shards *s)
{
    s->id_end = (size_t)s->items[s->count - 1].id + 1;
    s->by_id = mem_try_array(s->id_end, sizeof(*s->by_id));
    if (!s->by_id)
        return false;
    for (size_t i = 0; i < s->id_end; i++)
        s->by_id[i] = MAP_NO_SHARD;
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].index = (unsigned)i;
        s->by_id[s->items[i].id] = (uint16_t)i;
        if (!s->primary && s->items[i].primary && s->items[i].active)
            s->primary = &s->items[i];
    }
    return true;
}

static void count_bytes(struct map_shards *s)
{
    s->bytes = sizeof(*s) + s->count * sizeof(*s->items) + s->id_end * sizeof(*s->by_id) +
               s->ranges.cap * (sizeof(*s->ranges.min) + sizeof(*s->ranges.max) + sizeof(*s->ranges.shard));
    for (size_t i = 0; i < s->count; i++)
        s->bytes += strlen(s->items[i].conninfo) + 1;
}

struct map_shards *map_shards_new(struct map_shard *items, size_t count)
{
    struct map_shards *s = mem_try_alloc(sizeof(*s));

    if (!s)
        return NULL;
    memset(s, 0, sizeof(*s));
    atomic_init(&s->refs, 1);
    s->items = mem_try_array(count, sizeof(*items));
    if (!s->items)
        goto failed;
    qsort(items, count, sizeof(*items), compare_id);
    memcpy(s->items, items, count * sizeof(*items));
    s->count = count;
    if (!index_by_id(s) || !map_ranges_init(&s->ranges, s->items, count))
        goto failed;
    /* From here on the strings are ours. */
    for (size_t i = 0; i < count; i++)
        items[i].conninfo = NULL;
    count_bytes(s);
    return s;

failed:
    mem_free(s->items);
    mem_free(s->by_id);
    mem_free(s);
    return NULL;
}

struct map_shards *map_shards_ref(struct map_shards *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void map_shards_unref(struct map_shards *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->count; i++) /* they may hold passwords */
        mem_free_secret(s->items[i].conninfo, strlen(s->items[i].conninfo));
    map_ranges_fini(&s->ranges);
    mem_free(s->items);
    mem_free(s->by_id);
    mem_free(s);
}
