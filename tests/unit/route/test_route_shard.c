#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shardgate/route.h"

static struct error e;

static void add(struct map_builder *b, int16_t id, bool primary, bool active, int64_t min, int64_t max)
{
    struct map_shard s = {.id = id,
                          .region = "USA",
                          .datacenter = "dc",
                          .primary = primary,
                          .active = active,
                          .has_range = true,
                          .min = min,
                          .max = max};
    char conninfo[] = "host=/tmp dbname=x";
    s.conninfo = conninfo;
    assert_true(map_builder_shard(b, &s, &e));
}

static int set_up(void **state)
{
    struct map_builder *b = map_builder_new(1);
    add(b, 1, true, true, 1, 100);
    add(b, 2, false, true, 101, 200);
    add(b, 3, false, false, 201, 300);
    struct map_limits limits = {100, 100};
    struct map *m = map_builder_finish(b, NULL, limits, &e);
    *state = m;
    return m ? 0 : -1;
}

static int tear_down(void **state)
{
    map_unref(*state);
    return 0;
}

static void test_shard(void **state)
{
    struct map *m = *state;
    const struct conf_range mine[] = {{1, 5}, {101, 101}};
    struct auth_user any = {0}, few = {.tenants = mine, .tenant_count = 2};

    assert_int_equal(route_shard(m, &any, 42, &e)->id, 1);
    assert_int_equal(route_shard(m, NULL, 150, &e)->id, 2);
    assert_null(route_shard(m, &any, 250, &e));
    assert_int_equal(e.code, ERR_SHARD_INACTIVE);
    assert_null(route_shard(m, &any, 1000, &e));
    assert_int_equal(e.code, ERR_TENANT_UNKNOWN);
    assert_int_equal(route_shard(m, &few, 101, &e)->id, 2);
    assert_null(route_shard(m, &few, 102, &e));
    assert_int_equal(e.code, ERR_TENANT_FORBIDDEN);
    assert_null(route_shard(m, &few, 1000, &e));
    assert_int_equal(e.code, ERR_TENANT_FORBIDDEN);
    assert_null(route_shard(NULL, &any, 1, &e));
    assert_int_equal(e.code, ERR_MAP_NOT_LOADED);
}

static void test_home(void **state)
{
    struct map *m = *state;
    struct conf c = {.tenant_missing = CONF_MISSING_REFUSE, .home_shard = 2};

    assert_null(route_home(m, &c, &e));
    assert_int_equal(e.code, ERR_TENANT_REQUIRED);
    c.tenant_missing = CONF_MISSING_PRIMARY;
    assert_int_equal(route_home(m, &c, &e)->id, 2);
    c.home_shard = 3; /* not active */
    assert_int_equal(route_home(m, &c, &e)->id, 1);
    c.home_shard = -1;
    assert_int_equal(route_home(m, &c, &e)->id, 1);
    assert_null(route_home(NULL, &c, &e));
    assert_int_equal(e.code, ERR_MAP_NOT_LOADED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shard), cmocka_unit_test(test_home)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
