/* Whole maps and deltas against the simplest thing that could be right: an array. */
#include <stdlib.h>
#include <string.h>

#include "map_test.h"

static void test_whole(void **state)
{
    struct map_builder *b = map_builder_new(77);
    struct map *m;
    enum map_why why;

    (void)state;
    add_shard(b, a_range(3, 100, 199));
    add_shard(b, a_range(1, 0, 99));
    map_builder_reserve(b, 2);
    assert_true(map_builder_override(b, 5, 3, MAP_OVERRIDE));
    assert_true(map_builder_override(b, INT64_MIN, 1, MAP_OVERRIDE));
    assert_true(map_builder_override(b, INT64_MAX, 3, MAP_LEARNED));
    m = finish(b, NULL);
    assert_int_equal(map_revision(m), 77);
    assert_int_equal(map_generation(m), 1);
    assert_int_equal(map_override_count(m), 3);
    assert_int_equal(map_shard_overrides(m, 3), 2);
    assert_int_equal(map_shard_overrides(m, 1), 1);
    assert_int_equal(map_shard_overrides(m, 2), 0);
    assert_int_equal(map_shard_overrides(m, 32767), 0);
    assert_int_equal(map_shard_count(m), 2);
    assert_int_equal(map_shard_at(m, 0)->id, 1);
    assert_int_equal(map_shard_at(m, 1)->index, 1);
    assert_null(map_shard_at(m, 2));
    assert_int_equal(map_shard_by_id(m, 3)->id, 3);
    assert_null(map_shard_by_id(m, 2));
    assert_null(map_shard_by_id(m, -1));
    assert_null(map_primary(m));
    assert_int_equal(shard_of(m, 5, &why), 3);
    assert_int_equal(why, MAP_OVERRIDE);
    assert_int_equal(shard_of(m, 6, &why), 1);
    assert_int_equal(why, MAP_RANGE);
    assert_int_equal(shard_of(m, INT64_MIN, &why), 1);
    assert_int_equal(shard_of(m, INT64_MAX, &why), 3);
    assert_int_equal(why, MAP_LEARNED);
    assert_int_equal(shard_of(m, 200, &why), -1);
    assert_int_equal(why, MAP_NONE);
    assert_int_equal(shard_of(m, -1, NULL), -1);
    assert_true(map_bytes(m) > 0);
    assert_string_equal(map_why_name(MAP_OVERRIDE), "override");
    assert_string_equal(map_why_name(MAP_RANGE), "range");
    assert_string_equal(map_why_name(MAP_LEARNED), "learned");
    assert_string_equal(map_why_name(MAP_NONE), "none");
    map_unref(map_ref(m));
    map_unref(m);
    map_unref(NULL);
}

static void test_later_wins(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map *m;

    (void)state;
    add_shard(b, a_shard(1));
    add_shard(b, a_shard(2));
    assert_true(map_builder_override(b, 1, 1, MAP_OVERRIDE));
    assert_true(map_builder_override(b, 1, 2, MAP_OVERRIDE));
    assert_true(map_builder_override(b, 2, 1, MAP_OVERRIDE));
    assert_true(map_builder_remove(b, 2));
    assert_true(map_builder_remove(b, 3));
    m = finish(b, NULL);
    assert_int_equal(shard_of(m, 1, NULL), 2);
    assert_int_equal(shard_of(m, 2, NULL), -1);
    assert_int_equal(map_override_count(m), 1);
    assert_null(m->overlay);
    map_unref(m);
}

static void test_primary(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map_shard s = a_shard(1);
    struct map *m;

    (void)state;
    s.primary = true;
    s.active = false;
    add_shard(b, s);
    s.id = 9;
    s.active = true;
    add_shard(b, s);
    s.id = 4;
    add_shard(b, s);
    m = finish(b, NULL);
    assert_int_equal(map_primary(m)->id, 4);
    map_unref(m);
}

static void test_ranges_at_the_ends(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map *m;

    (void)state;
    add_shard(b, a_range(1, INT64_MIN, -1));
    add_shard(b, a_range(2, 0, 0));
    add_shard(b, a_range(32767, 2, INT64_MAX));
    m = finish(b, NULL);
    assert_int_equal(shard_of(m, INT64_MIN, NULL), 1);
    assert_int_equal(shard_of(m, -1, NULL), 1);
    assert_int_equal(shard_of(m, 0, NULL), 2);
    assert_int_equal(shard_of(m, 1, NULL), -1);
    assert_int_equal(shard_of(m, 2, NULL), 32767);
    assert_int_equal(shard_of(m, INT64_MAX, NULL), 32767);
    map_unref(m);
}

/* An inactive shard keeps what active ones leave of its range. */
static void test_inactive_ranges(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map_shard everything = a_range(7, INT64_MIN, INT64_MAX), other = a_range(5, 35, 55);
    struct map *m;

    (void)state;
    everything.active = other.active = false;
    add_shard(b, everything);
    add_shard(b, other);
    add_shard(b, a_range(1, 10, 19));
    add_shard(b, a_range(2, 20, 29));
    add_shard(b, a_range(3, 40, 49));
    m = finish(b, NULL);
    assert_int_equal(shard_of(m, INT64_MIN, NULL), 7);
    assert_int_equal(shard_of(m, 9, NULL), 7);
    assert_int_equal(shard_of(m, 10, NULL), 1);
    assert_int_equal(shard_of(m, 29, NULL), 2);
    assert_int_equal(shard_of(m, 30, NULL), 7);
    assert_int_equal(shard_of(m, 35, NULL), 5);
    assert_int_equal(shard_of(m, 39, NULL), 5);
    assert_int_equal(shard_of(m, 40, NULL), 3);
    assert_int_equal(shard_of(m, 50, NULL), 5);
    assert_int_equal(shard_of(m, 55, NULL), 5);
    assert_int_equal(shard_of(m, 56, NULL), 7);
    assert_int_equal(shard_of(m, INT64_MAX, NULL), 7);
    map_unref(m);
}

/* Random ranges against a look at each shard in the order of precedence. */
static void test_ranges_random(void **state)
{
    uint64_t seed = 11;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct map_builder *b = map_builder_new(0);
        struct map_shard shards[12];
        int64_t next = -50;
        struct map *m;

        for (int16_t i = 0; i < 12; i++) {
            bool active = random_next(&seed) % 2;
            int64_t min = active ? next + (int64_t)(random_next(&seed) % 4) : (int64_t)(random_next(&seed) % 120) - 60;

            shards[i] = a_range(i, min, min + (int64_t)(random_next(&seed) % 20));
            shards[i].active = active;
            if (active)
                next = shards[i].max + 1;
            add_shard(b, shards[i]);
        }
        m = finish(b, NULL);
        for (int64_t t = -80; t < 200; t++) {
            int want = -1;

            for (int active = 1; active >= 0 && want < 0; active--)
                for (int i = 0; i < 12 && want < 0; i++)
                    if (shards[i].active == active && t >= shards[i].min && t <= shards[i].max)
                        want = i;
            assert_int_equal(shard_of(m, t, NULL), want);
        }
        map_unref(m);
    }
}

#define DOMAIN 30000
#define SHARDS 9

struct oracle {
    uint8_t shard[DOMAIN]; /* 0: none, else id + 1 */
    bool learned[DOMAIN];
};

static int64_t key_of(size_t i)
{
    return i == 0 ? INT64_MIN : i == 1 ? INT64_MAX : ((int64_t)i - DOMAIN / 2) * 1000003;
}

static void check(const struct map *m, const struct oracle *o)
{
    size_t count = 0, on[SHARDS] = {0}, walked = 0;
    struct map_walk w = {0};
    int64_t tenant;
    struct map_slot slot;

    for (size_t i = 0; i < DOMAIN; i++) {
        enum map_why why;
        int shard = shard_of(m, key_of(i), &why);

        if (o->shard[i]) {
            assert_int_equal(shard, o->shard[i] - 1);
            assert_int_equal(why, o->learned[i] ? MAP_LEARNED : MAP_OVERRIDE);
            count++;
            on[shard]++;
        } else {
            assert_int_equal(shard, -1);
        }
    }
    assert_int_equal(map_override_count(m), count);
    for (int16_t i = 0; i < SHARDS; i++)
        assert_int_equal(map_shard_overrides(m, i), on[i]);
    while (map_walk_next(m, &w, &tenant, &slot))
        walked++;
    assert_int_equal(walked, count);
}

static void change(struct map_builder *b, struct oracle *o, uint64_t *seed, size_t many)
{
    for (size_t n = 0; n < many; n++) {
        size_t i = random_next(seed) % DOMAIN;
        uint64_t what = random_next(seed) % 10;

        if (what < 3) {
            assert_true(map_builder_remove(b, key_of(i)));
            o->shard[i] = 0;
        } else {
            int16_t shard = (int16_t)(random_next(seed) % SHARDS);

            o->learned[i] = what == 3;
            o->shard[i] = (uint8_t)(shard + 1);
            assert_true(map_builder_override(b, key_of(i), shard, what == 3 ? MAP_LEARNED : MAP_OVERRIDE));
        }
    }
}

/* Deltas of all sizes on deltas; merges on the way; an old generation stays as it was. */
static void test_deltas_random(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 50, 3000, 20000};
    struct oracle *now = calloc(1, sizeof(*now)), *then = calloc(1, sizeof(*then));
    struct map_builder *b = map_builder_new(1);
    struct map *m, *kept = NULL;
    uint64_t seed = 4711;
    bool merged = false, layered = false;

    (void)state;
    for (int16_t i = 0; i < SHARDS; i++)
        add_shard(b, a_shard(i));
    change(b, now, &seed, 25000);
    m = finish(b, NULL);
    check(m, now);
    for (uint64_t round = 2; round < 60; round++) {
        struct map *next;

        if (round % 10 == 5) {
            map_unref(kept);
            kept = map_ref(m);
            *then = *now;
        }
        b = map_builder_delta(m, round);
        if (round % 3 == 0)
            for (int16_t i = SHARDS - 1; i >= 0; i--)
                add_shard(b, a_shard(i));
        change(b, now, &seed, sizes[random_next(&seed) % ARRAY_LEN(sizes)]);
        next = finish(b, m);
        assert_int_equal(map_generation(next), map_generation(m) + 1);
        assert_int_equal(map_revision(next), round);
        layered = layered || next->overlay;
        merged = merged || (next->base != m->base && !next->overlay);
        map_unref(m);
        m = next;
        check(m, now);
        if (kept)
            check(kept, then);
    }
    assert_true(layered && merged);
    map_unref(m);
    map_unref(kept);
    free(now);
    free(then);
}

static void test_delta_shares_the_base(void **state)
{
    struct map_builder *b = map_builder_new(1);
    struct map *m, *next;

    (void)state;
    add_shard(b, a_shard(1));
    for (int64_t i = 0; i < 100000; i++)
        assert_true(map_builder_override(b, i, 1, MAP_OVERRIDE));
    m = finish(b, NULL);
    assert_true(map_bytes(m) < 100000 * 16 + 10000);
    b = map_builder_delta(m, 2);
    assert_true(map_builder_override(b, -1, 1, MAP_LEARNED));
    next = finish(b, m);
    assert_ptr_equal(next->base, m->base);
    assert_ptr_equal(next->shards, m->shards);
    assert_true(map_table_bytes(next->overlay) < 4096);
    map_unref(m);
    assert_int_equal(shard_of(next, 50000, NULL), 1);
    map_unref(next);
}

static void test_same(void **state)
{
    struct map *m[2], *delta;
    struct map_builder *b;

    (void)state;
    for (int n = 0; n < 2; n++) {
        b = map_builder_new(0);
        add_shard(b, a_range(1, 0, 9));
        add_shard(b, a_shard(2));
        for (int64_t i = 0; i < 50; i++)
            assert_true(map_builder_override(b, i, 1, MAP_OVERRIDE));
        m[n] = finish(b, NULL);
    }
    assert_true(map_same(m[0], m[1]));
    b = map_builder_delta(m[0], 0);
    assert_true(map_builder_override(b, 1, 1, MAP_LEARNED));
    delta = finish(b, m[0]);
    assert_true(map_same(m[0], delta)); /* who said so does not matter */
    map_unref(delta);
    b = map_builder_delta(m[0], 0);
    assert_true(map_builder_override(b, 1, 2, MAP_OVERRIDE));
    delta = finish(b, m[0]);
    assert_false(map_same(m[0], delta));
    map_unref(delta);
    b = map_builder_delta(m[0], 0);
    assert_true(map_builder_remove(b, 1));
    assert_true(map_builder_override(b, 51, 1, MAP_OVERRIDE));
    delta = finish(b, m[0]);
    assert_false(map_same(m[0], delta));
    map_unref(delta);
    b = map_builder_delta(m[0], 0);
    add_shard(b, a_range(1, 0, 10));
    add_shard(b, a_shard(2));
    delta = finish(b, m[0]);
    assert_false(map_same(m[0], delta));
    map_unref(delta);
    map_unref(m[0]);
    map_unref(m[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_later_wins),
        cmocka_unit_test(test_primary),
        cmocka_unit_test(test_ranges_at_the_ends),
        cmocka_unit_test(test_inactive_ranges),
        cmocka_unit_test(test_ranges_random),
        cmocka_unit_test(test_deltas_random),
        cmocka_unit_test(test_delta_shares_the_base),
        cmocka_unit_test(test_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
