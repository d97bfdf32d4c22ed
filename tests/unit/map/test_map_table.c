/* The hash table of overrides by itself. */
#include <string.h>

#include "map_test.h"

static const int64_t extremes[] = {0, 1, -1, INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1, INT32_MAX, INT32_MIN};

static void test_empty(void **state)
{
    struct map_table *t = map_table_new(0);
    struct map_cursor c = {0};
    int64_t tenant;
    struct map_slot slot;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(extremes); i++)
        assert_int_equal(map_table_get(t, extremes[i]).kind, SLOT_NONE);
    assert_false(map_table_next(t, &c, &tenant, &slot));
    map_table_unref(t);
}

static void test_extremes(void **state)
{
    struct map_table *t = map_table_new(ARRAY_LEN(extremes));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(extremes); i++)
        assert_true(map_table_put(t, extremes[i], (struct map_slot){(int16_t)(i + 1), SLOT_OVERRIDE}));
    for (size_t i = 0; i < ARRAY_LEN(extremes); i++) {
        struct map_slot s = map_table_get(t, extremes[i]);

        assert_int_equal(s.kind, SLOT_OVERRIDE);
        assert_int_equal(s.shard, i + 1);
    }
    assert_int_equal(map_table_get(t, 2).kind, SLOT_NONE);
    map_table_unref(t);
}

static void test_replace_and_kinds(void **state)
{
    struct map_table *t = map_table_new(3);
    static const uint8_t kinds[] = {SLOT_OVERRIDE, SLOT_REMOVED, SLOT_LEARNED, SLOT_REMOVED, SLOT_OVERRIDE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_true(map_table_put(t, 42, (struct map_slot){32767, kinds[i]}));
        assert_int_equal(map_table_get(t, 42).kind, kinds[i]);
        if (kinds[i] != SLOT_REMOVED)
            assert_int_equal(map_table_get(t, 42).shard, 32767);
    }
    assert_int_equal(t->used, 1);
    map_table_unref(t);
}

/* Takes at least what it was made for, and refuses before it is full. */
static void test_capacity(void **state)
{
    (void)state;
    for (size_t want = 0; want < 300; want += 7) {
        struct map_table *t = map_table_new(want);
        size_t got = 0;

        while (map_table_put(t, (int64_t)got * 1000, (struct map_slot){1, SLOT_OVERRIDE}))
            got++;
        assert_true(got >= want);
        assert_true(got < t->bucket_count * MAP_BUCKET_SLOTS);
        assert_int_equal(t->used, got);
        for (size_t i = 0; i < got; i++)
            assert_int_equal(map_table_get(t, (int64_t)i * 1000).kind, SLOT_OVERRIDE);
        assert_int_equal(map_table_get(t, -1).kind, SLOT_NONE);
        map_table_unref(t);
    }
}

/* All keys want one bucket: a search by the table's own seed, as an attacker who
 * knew it would do. Slow look-ups are allowed, wrong or endless ones are not. */
static void test_one_bucket(void **state)
{
    struct map_table *t = map_table_new(2000);
    size_t last = t->bucket_count - 1, found = 0;

    (void)state;
    for (int64_t key = 0; found < 200; key++)
        if (map_home_bucket(t, key) == last) {
            assert_true(map_table_put(t, key, (struct map_slot){(int16_t)(found % 100), SLOT_OVERRIDE}));
            found++;
        }
    found = 0;
    for (int64_t key = 0; found < 200; key++)
        if (map_home_bucket(t, key) == last) {
            assert_int_equal(map_table_get(t, key).kind, SLOT_OVERRIDE);
            assert_int_equal(map_table_get(t, key).shard, found % 100);
            found++;
        } else {
            assert_int_equal(map_table_get(t, key).kind, SLOT_NONE);
        }
    map_table_unref(t);
}

/* Regular keys must spread: rows of numbers, multiples of powers of two, and keys
 * that differ in high bits only. */
static void test_spread(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 48; shift++) {
        struct map_table *t = map_table_new(20000);
        size_t overflows = 0;

        for (uint64_t i = 0; i < 20000; i++)
            assert_true(map_table_put(t, (int64_t)(i << shift), (struct map_slot){1, SLOT_OVERRIDE}));
        for (size_t i = 0; i < t->bucket_count; i++)
            overflows += t->buckets[i].overflow;
        assert_true(overflows < t->bucket_count / 4); /* an eighth or so at random */
        map_table_unref(t);
    }
}

static void test_walk_and_copy(void **state)
{
    struct map_table *t = map_table_new(1000), *flat, *grown;

    (void)state;
    for (int64_t i = 0; i < 1000; i++)
        assert_true(map_table_put(t, i, (struct map_slot){(int16_t)(i % 7), i % 5 ? SLOT_OVERRIDE : SLOT_REMOVED}));
    flat = map_table_copy(t, 1);
    grown = map_table_copy(t, 5000);
    for (int n = 0; n < 3; n++) {
        const struct map_table *x = n == 0 ? t : n == 1 ? flat : grown;
        struct map_cursor c = {0};
        uint8_t seen[1000] = {0};
        int64_t tenant;
        struct map_slot slot;

        while (map_table_next(x, &c, &tenant, &slot)) {
            assert_in_range(tenant, 0, 999);
            assert_int_equal(seen[tenant]++, 0);
            assert_int_equal(slot.kind, tenant % 5 ? SLOT_OVERRIDE : SLOT_REMOVED);
        }
        assert_null(memchr(seen, 0, sizeof(seen)));
    }
    assert_true(map_table_put(grown, -1, (struct map_slot){1, SLOT_OVERRIDE}));
    assert_int_equal(map_table_get(t, -1).kind, SLOT_NONE);
    map_table_unref(t);
    map_table_unref(flat);
    map_table_unref(grown);
}

static void test_cost(void **state)
{
    struct map_table *t = map_table_new(1000000);

    (void)state;
    assert_true(map_table_bytes(t) < 16 * 1000000);
    map_table_unref(t);
    assert_null(map_table_new(SIZE_MAX));
    assert_null(map_table_new(SIZE_MAX / 64));
}

static void test_large_pages(void **state)
{
    static const size_t sizes[] = {1, 4096, 1 << 20, (1 << 20) + 1, 16 << 20, (16 << 20) + 1, (33 << 20) - 64};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char *p = map_pages_alloc(sizes[i]);

        assert_non_null(p);
        assert_int_equal(p[0] | p[sizes[i] / 2] | p[sizes[i] - 1], 0);
        p[0] = p[sizes[i] - 1] = 1;
        if (sizes[i] >= (size_t)16 << 20)
            assert_int_equal((uintptr_t)p % ((uintptr_t)2 << 20), 0);
        map_pages_free(p, sizes[i]);
    }
    map_pages_free(NULL, 10);
    assert_null(map_pages_alloc(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_replace_and_kinds),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_one_bucket),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_walk_and_copy),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_large_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
