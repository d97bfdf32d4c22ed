/* Memory that runs out at every point of building a map: an error, never a crash or
 * a half-built map. The sanitizer sees what is left behind. */
#include "fault.h"
#include "map_test.h"

/* Only what a peer sizes may fail, so the failures begin after the fixed parts. */
static bool attempt(struct map *old, long successes, struct map **out)
{
    struct map_builder *b = old ? map_builder_delta(old, 2) : map_builder_new(1);
    struct error e = {0};
    bool ok = true;

    for (int16_t id = 1; id < 12; id++)
        add_shard(b, a_range(id, id * 10, id * 10 + 9));
    fault_malloc_after(successes);
    for (int64_t t = 0; ok && t < 5000; t++)
        ok = map_builder_override(b, t * 77, 1, MAP_OVERRIDE);
    for (int64_t t = 0; ok && t < 50; t++)
        ok = map_builder_remove(b, t * 77);
    *out = map_builder_finish(b, old, no_limits, &e);
    fault_malloc_off();
    if (!*out)
        assert_int_equal(e.code, ERR_OUT_OF_MEMORY);
    return *out;
}

static void sweep(struct map *old)
{
    struct map *m = NULL;
    long n = 0;

    while (!attempt(old, n, &m))
        n++;
    assert_true(n > 5);
    assert_int_equal(map_override_count(m), 4950);
    map_unref(m);
}

static void test_whole(void **state)
{
    (void)state;
    sweep(NULL);
}

static void test_delta(void **state)
{
    struct map *base = NULL, *layered = NULL;
    struct map_builder *b;

    (void)state;
    assert_true(attempt(NULL, 1000, &base));
    sweep(base);
    b = map_builder_delta(base, 2);
    assert_true(map_builder_override(b, 77 * 60, 2, MAP_OVERRIDE));
    layered = finish(b, base);
    sweep(layered);
    map_unref(layered);
    map_unref(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_delta)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
