/* Every reason to refuse a map, and the cases just inside. */
#include <string.h>

#include "map_test.h"

static void refuse_shard(struct map_shard s, const char *why)
{
    struct map_builder *b = map_builder_new(0);
    struct error e = {0};

    assert_false(map_builder_shard(b, &s, &e));
    assert_int_equal(e.code, ERR_MAP_INVALID);
    if (!strstr(e.cause, why))
        fail_msg("refused for \"%s\", not for \"%s\"", e.cause, why);
    map_builder_free(b);
}

static void test_single_shards(void **state)
{
    struct map_shard s = a_shard(-1);

    (void)state;
    refuse_shard(s, "shard_id -1 is negative");
    refuse_shard(a_range(1, 10, 9), "the range ends before it begins (min_tenant_id 10, max_tenant_id 9)");
    s = a_shard(1);
    s.conninfo = NULL;
    refuse_shard(s, "shard 1 has no connection_string");
    s.conninfo = (char[]){""};
    refuse_shard(s, "shard 1 has no connection_string");
    s.conninfo = (char[]){"host=a nonsense"};
    refuse_shard(s, "shard 1: connection_string: ");
    s.conninfo = (char[]){"host=a password=topsecret colour=blue"};
    refuse_shard(s, "shard 1: connection_string: ");
}

static void test_no_secret_in_the_reason(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map_shard s = a_shard(1);
    struct error e = {0};

    (void)state;
    s.conninfo = (char[]){"host=a password=topsecret colour=blue"};
    assert_false(map_builder_shard(b, &s, &e));
    assert_null(strstr(e.cause, "topsecret"));
    assert_null(strstr(e.detail, "topsecret"));
    map_builder_free(b);
}

static void test_duplicate(void **state)
{
    struct map_builder *b = map_builder_new(0);
    struct map_shard s = a_shard(8);
    struct error e = {0};

    (void)state;
    add_shard(b, s);
    assert_false(map_builder_shard(b, &s, &e));
    assert_string_equal(e.cause, "shard_config: shard 8 is there twice");
    map_builder_free(b);
}

static void test_none(void **state)
{
    (void)state;
    refuse(map_builder_new(0), NULL, no_limits, "shard_config has no shard");
}

static struct map_builder *two(struct map_shard a, struct map_shard b)
{
    struct map_builder *builder = map_builder_new(0);

    add_shard(builder, a);
    add_shard(builder, b);
    return builder;
}

static void test_overlap(void **state)
{
    struct map_shard inactive = a_range(2, 0, 5);

    (void)state;
    inactive.active = false;
    refuse(two(a_range(1, 0, 9), a_range(2, 9, 20)), NULL, no_limits, "shards 1 and 2 overlap from 9 to 9");
    refuse(two(a_range(1, 9, 20), a_range(2, 0, 9)), NULL, no_limits, "shards 2 and 1 overlap from 9 to 9");
    refuse(two(a_range(1, 0, 100), a_range(2, 40, 50)), NULL, no_limits, "shards 1 and 2 overlap from 40 to 50");
    refuse(two(a_range(1, 7, 7), a_range(2, 7, 7)), NULL, no_limits, "overlap from 7 to 7");
    refuse(two(a_range(1, INT64_MIN, INT64_MAX), a_range(2, INT64_MAX, INT64_MAX)), NULL, no_limits, "overlap");
    map_unref(finish(two(a_range(1, 0, 9), a_range(2, 10, 20)), NULL));
    map_unref(finish(two(a_range(1, 0, 9), inactive), NULL));
    map_unref(finish(two(a_range(1, 0, 9), a_shard(2)), NULL));
}

/* The long range before hides a gap between its neighbours. */
static void test_overlap_not_adjacent(void **state)
{
    struct map_builder *b = two(a_range(1, 0, 1000), a_range(2, 2000, 3000));

    (void)state;
    add_shard(b, a_range(3, 500, 600));
    add_shard(b, a_range(4, 700, 800));
    refuse(b, NULL, no_limits, "shards 1 and 3 overlap");
}

static void test_unknown_shard(void **state)
{
    struct map_builder *b = two(a_shard(1), a_shard(2));
    struct map *m;

    (void)state;
    assert_true(map_builder_override(b, 5, 1, MAP_OVERRIDE));
    assert_true(map_builder_override(b, 6, 3, MAP_OVERRIDE));
    refuse(b, NULL, no_limits, "tenant 6 is on shard 3, which shard_config does not have (1 such tenants)");
    b = two(a_shard(1), a_shard(2));
    assert_true(map_builder_override(b, 6, -3, MAP_OVERRIDE));
    refuse(b, NULL, no_limits, "tenant 6 is on shard -3");
    /* Corrected later in the same load: fine. */
    b = two(a_shard(1), a_shard(2));
    assert_true(map_builder_override(b, 6, 3, MAP_OVERRIDE));
    assert_true(map_builder_override(b, 6, 2, MAP_OVERRIDE));
    m = finish(b, NULL);
    /* A delta takes the shard away under an override of the base. */
    b = map_builder_delta(m, 0);
    add_shard(b, a_shard(1));
    refuse(b, m, no_limits, "tenant 6 is on shard 2, which shard_config does not have");
    b = map_builder_delta(m, 0);
    add_shard(b, a_shard(1));
    assert_true(map_builder_remove(b, 6));
    map_unref(finish(b, m));
    map_unref(m);
}

static struct map_builder *sized(int16_t shards, int64_t overrides)
{
    struct map_builder *b = map_builder_new(0);

    for (int16_t i = 0; i < shards; i++)
        add_shard(b, a_shard(i));
    for (int64_t t = 0; t < overrides; t++)
        assert_true(map_builder_override(b, t, 0, MAP_OVERRIDE));
    return b;
}

static void test_shard_loss(void **state)
{
    struct map *old = finish(sized(10, 0), NULL);
    struct map_limits half = {50, 20}, none = {0, 0};

    (void)state;
    refuse(sized(4, 0), old, half, "shard_config lost 6 of 10 shards");
    map_unref(finish(sized(4, 0), old)); /* 100 % allowed */
    refuse(sized(9, 0), old, none, "lost 1 of 10");
    {
        struct error e = {0};
        struct map *m = map_builder_finish(sized(5, 0), old, half, &e);

        assert_non_null(m);
        map_unref(m);
        /* Others in their place are lost ones, too. */
        struct map_builder *b = map_builder_new(0);
        for (int16_t i = 100; i < 110; i++)
            add_shard(b, a_shard(i));
        refuse(b, old, half, "lost 10 of 10");
    }
    map_unref(old);
}

static void test_tenant_loss(void **state)
{
    struct map *old = finish(sized(1, 1000), NULL), *few = finish(sized(1, 99), NULL), *m;
    struct map_limits limits = {50, 20};
    struct error e = {0};

    (void)state;
    refuse(sized(1, 799), old, limits, "tenant_shard_map lost 201 of 1000 tenants");
    refuse(sized(1, 0), old, limits, "lost 1000 of 1000");
    m = map_builder_finish(sized(1, 800), old, limits, &e);
    assert_non_null(m);
    map_unref(m);
    m = map_builder_finish(sized(1, 0), few, limits, &e); /* exempt */
    assert_non_null(m);
    map_unref(m);
    map_unref(old);
    map_unref(few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_shards), cmocka_unit_test(test_no_secret_in_the_reason),
        cmocka_unit_test(test_duplicate),     cmocka_unit_test(test_none),
        cmocka_unit_test(test_overlap),       cmocka_unit_test(test_overlap_not_adjacent),
        cmocka_unit_test(test_unknown_shard), cmocka_unit_test(test_shard_loss),
        cmocka_unit_test(test_tenant_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
