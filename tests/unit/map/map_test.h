/*
 * Small helpers of the map tests.
 */
#ifndef SHARDGATE_MAP_TEST_H
#define SHARDGATE_MAP_TEST_H

#include <string.h>

#include "support.h"

#include "shardgate/map.h"
#include "map_private.h"

#define CONNINFO "host=127.0.0.1 port=5432 dbname=app user=app"

static const struct map_limits no_limits = {100, 100};

static inline struct map_shard a_shard(int16_t id)
{
    return (struct map_shard){.id = id, .region = "USA", .datacenter = "dc", .conninfo = CONNINFO, .active = true};
}

static inline struct map_shard a_range(int16_t id, int64_t min, int64_t max)
{
    struct map_shard s = a_shard(id);

    s.has_range = true;
    s.min = min;
    s.max = max;
    return s;
}

static inline void add_shard(struct map_builder *b, struct map_shard s)
{
    struct error e = {0};

    if (!map_builder_shard(b, &s, &e))
        fail_msg("shard %d: %s", s.id, e.cause);
}

static inline struct map *finish(struct map_builder *b, const struct map *old)
{
    struct error e = {0};
    struct map *m = map_builder_finish(b, old, no_limits, &e);

    if (!m)
        fail_msg("finish: %s", e.cause);
    return m;
}

static inline void refuse(struct map_builder *b, const struct map *old, struct map_limits limits, const char *why)
{
    struct error e = {0};

    assert_null(map_builder_finish(b, old, limits, &e));
    assert_int_equal(e.code, ERR_MAP_INVALID);
    if (!strstr(e.cause, why))
        fail_msg("refused for \"%s\", not for \"%s\"", e.cause, why);
}

static inline int shard_of(const struct map *m, int64_t tenant, enum map_why *why)
{
    const struct map_shard *s = map_lookup(m, tenant, why);

    return s ? s->id : -1;
}

static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
