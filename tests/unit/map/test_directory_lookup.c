/* Look-ups on a miss, and the disk cache around a directory that is away. */
#include "directory_test.h"

#define FAR_POLL "  poll_interval: 1h\n  notify: false\n"

static void start(struct owner *o, const char *extra)
{
    owner_init(o, extra);
    load_schema(o);
    load_shards(o);
    follow(o);
    WAIT_FOR(o->loop, o->maps > 0 && status(o).state == DIRECTORY_FOLLOWING);
}

static void test_found(void **state)
{
    struct owner o;
    enum map_why why;

    (void)state;
    start(&o, FAR_POLL);
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 3), (-9223372036854775808, 2)");
    assert_true(look_up(&o, 1000));
    assert_int_equal(map_lookup(o.map, 1000, &why)->id, 3);
    assert_int_equal(why, MAP_LEARNED);
    assert_true(look_up(&o, INT64_MIN));
    assert_int_equal(at(&o, INT64_MIN), 2);
    assert_true(look_up(&o, 1000)); /* in the map by now */
    assert_true(look_up(&o, 42));   /* in a range */
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 2);
    assert_true(reload(&o));
    assert_int_equal(map_lookup(o.map, 1000, &why)->id, 3);
    assert_int_equal(why, MAP_OVERRIDE); /* confirmed */
    owner_fini(&o);
}

static void test_bare_tables(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, FAR_POLL);
    load_bare_tables(&o);
    load_shards(&o);
    follow(&o);
    WAIT_FOR(o.loop, o.maps > 0);
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 3)");
    assert_true(look_up(&o, 1000));
    assert_int_equal(at(&o, 1000), 3);
    sql(&o, "DELETE FROM tenant_shard_map");
    assert_true(reload(&o));
    assert_int_equal(at(&o, 1000), -1); /* what was learned does not outlive a full load */
    owner_fini(&o);
}

static void test_not_found(void **state)
{
    struct owner o;

    (void)state;
    start(&o, FAR_POLL "  negative_ttl: 300ms\n");
    for (int i = 0; i < 20; i++)
        assert_false(look_up(&o, 1000));
    assert_true(o.ok);
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 1);
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 3)");
    WAIT_FOR(o.loop, look_up(&o, 1000)); /* once the time is over */
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 2);
    owner_fini(&o);
}

/* A new map ends what was known not to be there. */
static void test_reload_forgets_misses(void **state)
{
    struct owner o;

    (void)state;
    start(&o, FAR_POLL "  negative_ttl: 1h\n");
    assert_false(look_up(&o, 1000));
    assert_true(reload(&o));
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 3)");
    assert_true(look_up(&o, 1000));
    owner_fini(&o);
}

static void test_switched_off(void **state)
{
    struct owner o;

    (void)state;
    start(&o, FAR_POLL "  lookup_on_miss: false\n");
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 3)");
    assert_false(look_up(&o, 1000));
    assert_true(o.ok);
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 0);
    owner_fini(&o);
}

/* Many tenants, several askers each: one question a tenant, few queries. */
static void test_many_at_once(void **state)
{
    struct owner o;
    unsigned maps;

    (void)state;
    start(&o, FAR_POLL);
    sql(&o,
        "INSERT INTO tenant_shard_map (tenant_id, shard_id) SELECT t, t % 3 + 1 FROM generate_series(1000, 5999) t");
    maps = o.maps;
    o.tellings = 0;
    for (int i = 0; i < 3; i++)
        for (int64_t t = 1000; t < 6000; t++)
            directory_lookup(o.directory, t, on_looked_up, &o);
    WAIT_FOR(o.loop, o.tellings == 15000);
    for (int64_t t = 1000; t < 6000; t++)
        assert_int_equal(at(&o, t), t % 3 + 1);
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 5000);
    assert_true(o.maps - maps <= 6);
    owner_fini(&o);
}

static void test_too_many(void **state)
{
    struct owner o;
    struct error e = {0};

    (void)state;
    start(&o, FAR_POLL "  negative_ttl: 1h\n");
    for (int64_t t = 0; t < 10001; t++)
        directory_lookup(o.directory, 100000 + t, on_looked_up, &o);
    WAIT_FOR(o.loop, o.tellings > 0);
    e = o.error; /* the one that was too many is told first */
    assert_non_null(strstr(e.cause, "are being looked up already"));
    WAIT_FOR(o.loop, o.tellings == 10001);
    for (int64_t t = 0; t < 50; t++)
        assert_false(look_up(&o, 200000 + t)); /* pushes old ones out */
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 10050);
    assert_false(look_up(&o, 200000));
    assert_false(look_up(&o, 100000)); /* had to be asked again */
    assert_int_equal(counter(&o, COUNTER_MAP_MISSES), 10051);
    owner_fini(&o);
}

/* The answer names a shard that came after the map: the map is read again at once. */
static void test_new_shard(void **state)
{
    struct owner o;

    (void)state;
    start(&o, FAR_POLL "  negative_ttl: 1h\n");
    usleep(1100000); /* polls by look-ups are a second apart */
    loop_turn(o.loop);
    sql(&o, "INSERT INTO shard_config (shard_id, region_code, connection_string) VALUES (9, 'BRA', 'host=d'); "
            "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (1000, 9)");
    (void)look_up(&o, 1000);
    WAIT_FOR(o.loop, at(&o, 1000) == 9);
    owner_fini(&o);
}

static void test_lost_connection(void **state)
{
    struct owner o;

    (void)state;
    start(&o, FAR_POLL "  negative_ttl: 0\n");
    assert_false(look_up(&o, 1000));
    assert_true(o.ok);
    sql(&o, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardgate lookup'");
    for (int i = 0; i < 50; i++) {
        loop_turn(o.loop);
        usleep(2000);
    }
    assert_false(look_up(&o, 1000)); /* a new connection */
    assert_true(o.ok);
    sql(&o, "ALTER TABLE tenant_shard_map RENAME TO elsewhere");
    assert_false(look_up(&o, 1000));
    assert_false(o.ok);
    assert_int_equal(o.error.code, ERR_DIRECTORY);
    assert_non_null(strstr(o.error.cause, "tenant_shard_map"));
    assert_false(look_up(&o, 1001)); /* no connection a miss: the pause */
    assert_false(o.ok);
    sql(&o, "ALTER TABLE elsewhere RENAME TO tenant_shard_map");
    WAIT_FOR(o.loop, !look_up(&o, 1000) && o.ok);
    owner_fini(&o);
}

/* Look-ups race with changes; in the end each tenant is where the directory says. */
static void test_race_with_changes(void **state)
{
    struct owner o;

    (void)state;
    start(&o, "  poll_interval: 1h\n  negative_ttl: 0\n");
    for (int round = 0; round < 15; round++) {
        char text[512];

        snprintf(text, sizeof(text),
                 "INSERT INTO tenant_shard_map (tenant_id, shard_id) SELECT t, 1 FROM generate_series(%d, %d) t; "
                 "UPDATE tenant_shard_map SET shard_id = 2 WHERE tenant_id >= %d; "
                 "DELETE FROM tenant_shard_map WHERE tenant_id %% 10 = 0 AND tenant_id >= %d; "
                 "UPDATE tenant_shard_map SET shard_id = 3 WHERE tenant_id %% 10 = 1 AND tenant_id >= %d",
                 1000 + round * 100, 1099 + round * 100, 1000 + round * 100, 1000 + round * 100, 1000 + round * 100);
        for (int64_t t = 1000 + round * 100; t < 1100 + round * 100; t++)
            directory_lookup(o.directory, t, on_looked_up, &o);
        sql(&o, text);
        for (int64_t t = 1000 + round * 100; t < 1100 + round * 100; t++) {
            directory_lookup(o.directory, t, on_looked_up, &o);
            loop_turn(o.loop);
        }
    }
    WAIT_FOR(o.loop, o.tellings == 3000);
    WAIT_FOR(o.loop, at(&o, 2491) == 3);
    for (int i = 0; i < 50; i++) {
        loop_turn(o.loop);
        usleep(1000);
    }
    for (int64_t t = 1000; t < 2500; t++)
        assert_int_equal(at(&o, t), t % 10 == 0 ? -1 : t % 10 == 1 ? 3 : 2);
    owner_fini(&o);
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static bool readable(const char *path)
{
    struct error e;
    struct map *m = map_cache_read(path, &e);

    map_unref(m);
    return m;
}

static void test_cache(void **state)
{
    struct owner o;
    char *folder = test_folder_new();
    char path[256], extra[400], real[32];

    (void)state;
    snprintf(path, sizeof(path), "%s/map.cache", folder);
    snprintf(extra, sizeof(extra), FAR_POLL "  timeout: 300ms\n  cache_file: %s\n", path);
    start(&o, extra);
    WAIT_FOR(o.loop, exists(path));
    snprintf(real, sizeof(real), "%s", o.database);
    owner_fini(&o);

    /* The directory is away. */
    owner_init(&o, extra);
    snprintf(o.database, sizeof(o.database), "nosuchdatabase");
    follow(&o);
    WAIT_FOR(o.loop, o.maps > 0);
    assert_int_equal(at(&o, 42), 1);
    assert_string_equal(status(&o).source, "cache");
    assert_true(status(&o).degraded);
    WAIT_FOR(o.loop, status(&o).state == DIRECTORY_FAILED);
    assert_int_equal(status(&o).confirmed_ms, 0);

    /* It comes back, with the same map. */
    snprintf(o.database, sizeof(o.database), "%s", real);
    conf_unref(o.conf);
    o.conf = make_conf(&o);
    directory_configure(o.directory, o.conf);
    WAIT_FOR(o.loop, !status(&o).degraded);
    assert_string_equal(status(&o).source, "directory");
    assert_true(status(&o).confirmed_ms > 0);
    owner_fini(&o);

    /* A damaged file is not used, and replaced. */
    test_file_write(path, "nonsense", 8);
    owner_init(&o, extra);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    WAIT_FOR(o.loop, o.maps > 0);
    assert_string_equal(status(&o).source, "directory");
    WAIT_FOR(o.loop, readable(path));
    owner_fini(&o);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),           cmocka_unit_test(test_bare_tables),
        cmocka_unit_test(test_not_found),       cmocka_unit_test(test_reload_forgets_misses),
        cmocka_unit_test(test_switched_off),    cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_too_many),        cmocka_unit_test(test_new_shard),
        cmocka_unit_test(test_lost_connection), cmocka_unit_test(test_race_with_changes),
        cmocka_unit_test(test_cache),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
