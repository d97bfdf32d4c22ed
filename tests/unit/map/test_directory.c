/* The follower against a real directory: what it hears of, refuses and survives. */
#include "directory_test.h"

#define BY_NOTIFY "  poll_interval: 1h\n"
#define BY_POLL "  poll_interval: 100ms\n  notify: false\n"

static void changes_are_followed(struct owner *o)
{
    WAIT_FOR(o->loop, o->maps > 0 && status(o).state == DIRECTORY_FOLLOWING);
    assert_int_equal(at(o, 42), 1);
    assert_int_equal(map_shard_count(o->map), 3);
    assert_string_equal(map_shard_by_id(o->map, 3)->region, "SG");
    assert_false(map_shard_by_id(o->map, 3)->has_range);
    assert_int_equal(map_primary(o->map)->id, 1);
    sql(o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (42, 2), (1000, 3), (-5, 1)");
    WAIT_FOR(o->loop, at(o, 42) == 2);
    assert_int_equal(at(o, 1000), 3);
    assert_int_equal(at(o, -5), 1);
    sql(o, "UPDATE tenant_shard_map SET shard_id = 1 WHERE tenant_id = 1000");
    WAIT_FOR(o->loop, at(o, 1000) == 1);
    sql(o, "DELETE FROM tenant_shard_map WHERE tenant_id = 42");
    WAIT_FOR(o->loop, at(o, 42) == 1);
    sql(o, "UPDATE tenant_shard_map SET tenant_id = 2000 WHERE tenant_id = 1000");
    WAIT_FOR(o->loop, at(o, 2000) == 1);
    assert_int_equal(at(o, 1000), -1);
    sql(o, "INSERT INTO shard_config (shard_id, region_code, connection_string, is_active, min_tenant_id, "
           "max_tenant_id, datacenter) VALUES (9, 'SGP', 'host=d', true, 300, 399, '')");
    WAIT_FOR(o->loop, at(o, 300) == 9);
    sql(o, "UPDATE shard_config SET max_tenant_id = 350 WHERE shard_id = 9");
    WAIT_FOR(o->loop, at(o, 399) == -1);
    sql(o, "UPDATE shard_config SET is_active = false WHERE shard_id = 9");
    WAIT_FOR(o->loop, !map_shard_by_id(o->map, 9)->active);
    assert_int_equal(at(o, 300), 9);
    sql(o, "DELETE FROM shard_config WHERE shard_id = 9");
    WAIT_FOR(o->loop, at(o, 300) == -1);
    sql(o, "TRUNCATE tenant_shard_map");
    WAIT_FOR(o->loop, at(o, 2000) == -1);
    assert_int_equal(map_override_count(o->map), 0);
    assert_string_equal(status(o).last_error, "");
    assert_false(status(o).degraded);
    assert_string_equal(status(o).source, "directory");
    assert_int_equal(status(o).generation, o->maps);
    assert_int_equal(map_generation(o->map), o->maps);
}

static void test_by_notify(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    changes_are_followed(&o);
    assert_true(status(&o).revision > 0);
    owner_fini(&o);
}

static void test_by_poll(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    changes_are_followed(&o);
    owner_fini(&o);
}

static void test_bare_tables(void **state)
{
    struct owner o;
    unsigned maps;
    uint64_t confirmed;

    (void)state;
    owner_init(&o, BY_POLL);
    load_bare_tables(&o);
    load_shards(&o);
    follow(&o);
    changes_are_followed(&o);
    assert_int_equal(status(&o).revision, 0);
    maps = o.maps;
    confirmed = status(&o).confirmed_ms;
    WAIT_FOR(o.loop, status(&o).confirmed_ms > confirmed + 300); /* some polls */
    assert_int_equal(o.maps, maps);
    owner_fini(&o);
}

/* A schema whose name needs quotes, and wider columns than documented. */
static void test_odd_schema(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL "  schema: 'odd ''name.'\n");
    sql(&o, "DO \\$\\$ BEGIN EXECUTE format('CREATE SCHEMA %I', 'odd ''name.'); "
            "EXECUTE format('CREATE TABLE %I.shard_config (shard_id int, region_code text, datacenter text, "
            "connection_string text, is_primary bool, is_active bool, min_tenant_id int, max_tenant_id int)', "
            "'odd ''name.'); "
            "EXECUTE format('CREATE TABLE %I.tenant_shard_map (tenant_id numeric, shard_id int)', 'odd ''name.'); "
            "EXECUTE format('INSERT INTO %I.shard_config (shard_id, connection_string) VALUES (7, ''host=x'')', "
            "'odd ''name.'); "
            "EXECUTE format('INSERT INTO %I.tenant_shard_map VALUES (5, 7)', 'odd ''name.'); END \\$\\$");
    follow(&o);
    WAIT_FOR(o.loop, at(&o, 5) == 7);
    assert_true(map_shard_by_id(o.map, 7)->active);
    assert_string_equal(map_shard_by_id(o.map, 7)->region, "");
    owner_fini(&o);
}

/* One bad change: told, counted, not applied; its correction is. */
static void refused(struct owner *o, const char *bad, const char *why, const char *good)
{
    uint64_t failures = counter(o, COUNTER_MAP_RELOAD_FAILURES);
    unsigned maps = o->maps;

    sql(o, bad);
    WAIT_FOR(o->loop, status(o).last_error[0]);
    if (!strstr(status(o).last_error, why))
        fail_msg("\"%s\" lacks \"%s\"", status(o).last_error, why);
    assert_true(counter(o, COUNTER_MAP_RELOAD_FAILURES) > failures);
    assert_true(status(o).degraded);
    assert_int_equal(o->maps, maps);
    assert_int_equal(at(o, 42), 1);
    sql(o, good);
    WAIT_FOR(o->loop, !status(o).last_error[0]);
    assert_false(status(o).degraded);
}

static void refusals(struct owner *o)
{
    WAIT_FOR(o->loop, o->maps > 0 && status(o).state == DIRECTORY_FOLLOWING);
    refused(o, "UPDATE shard_config SET connection_string = 'colour=blue password=topsecret' WHERE shard_id = 2",
            "shard 2: connection_string", "UPDATE shard_config SET connection_string = 'host=b' WHERE shard_id = 2");
    assert_null(strstr(status(o).last_error, "topsecret"));
    refused(o, "BEGIN; DELETE FROM tenant_shard_map; DELETE FROM shard_config; COMMIT", "shard_config has no shard",
            "INSERT INTO shard_config (shard_id, region_code, connection_string, is_active, min_tenant_id, "
            "max_tenant_id, datacenter) VALUES (1, 'USA', 'host=a', true, 0, 99, ''), (2, 'USA', 'host=b', true, "
            "100, 199, '')");
}

static void test_refused_maps(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    refusals(&o);
    /* A refused revision is not read again and again, but a reload does. */
    uint64_t failures = counter(&o, COUNTER_MAP_RELOAD_FAILURES);
    sql(&o, "ALTER TABLE shard_config DISABLE TRIGGER shard_config_check_range; "
            "UPDATE shard_config SET min_tenant_id = 50 WHERE shard_id = 2");
    WAIT_FOR(o.loop, strstr(status(&o).last_error, "shards 1 and 2 overlap from 50 to 99"));
    assert_int_equal(counter(&o, COUNTER_MAP_RELOAD_FAILURES), failures + 1);
    assert_false(reload(&o));
    assert_int_equal(o.error.code, ERR_MAP_INVALID);
    assert_int_equal(counter(&o, COUNTER_MAP_RELOAD_FAILURES), failures + 2);
    sql(&o, "UPDATE shard_config SET min_tenant_id = 100 WHERE shard_id = 2");
    WAIT_FOR(o.loop, !status(&o).last_error[0]);
    assert_true(reload(&o));
    owner_fini(&o);
}

static void test_refused_bare_maps(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL);
    load_bare_tables(&o);
    load_shards(&o);
    follow(&o);
    refusals(&o);
    refused(&o, "UPDATE shard_config SET min_tenant_id = NULL WHERE shard_id = 2", "only half a range: min_tenant_id",
            "UPDATE shard_config SET min_tenant_id = 100 WHERE shard_id = 2");
    refused(&o, "INSERT INTO tenant_shard_map VALUES (5, NULL)", "tenant 5 has no shard_id",
            "DELETE FROM tenant_shard_map");
    refused(&o,
            "ALTER TABLE tenant_shard_map DROP CONSTRAINT tenant_shard_map_shard_id_fkey; "
            "INSERT INTO tenant_shard_map VALUES (5, 77)",
            "tenant 5 is on shard 77", "DELETE FROM tenant_shard_map");
    refused(&o, "UPDATE shard_config SET min_tenant_id = 50 WHERE shard_id = 2", "overlap",
            "UPDATE shard_config SET min_tenant_id = 100 WHERE shard_id = 2");
    owner_fini(&o);
}

static void test_no_tables(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL);
    follow(&o);
    WAIT_FOR(o.loop, status(&o).state == DIRECTORY_FAILED);
    assert_non_null(strstr(status(&o).last_error, "the directory has no \"public\".\"shard_config\""));
    assert_false(status(&o).loaded);
    assert_string_equal(status(&o).source, "none");
    assert_false(look_up(&o, 5));
    assert_int_equal(o.error.code, ERR_MAP_NOT_LOADED);
    load_schema(&o);
    load_shards(&o);
    WAIT_FOR(o.loop, at(&o, 42) == 1); /* by itself */
    owner_fini(&o);
}

static void test_reload(void **state)
{
    struct owner o;
    unsigned maps;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    assert_true(reload(&o)); /* before the first map */
    assert_int_equal(at(&o, 42), 1);
    maps = o.maps;
    assert_true(reload(&o));
    assert_int_equal(o.maps, maps + 1);
    o.tellings = 0;
    for (int i = 0; i < 20; i++)
        directory_reload(o.directory, on_reloaded, &o);
    directory_reload(o.directory, NULL, NULL);
    WAIT_FOR(o.loop, o.tellings == 20);
    assert_true(o.maps <= maps + 3);
    owner_fini(&o);
}

static void test_lost_connection(void **state)
{
    struct owner o;
    unsigned maps;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    WAIT_FOR(o.loop, status(&o).state == DIRECTORY_FOLLOWING);
    maps = o.maps;
    for (int i = 0; i < 3; i++) {
        char text[128];

        sql(&o,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardgate directory'");
        WAIT_FOR(o.loop, status(&o).state == DIRECTORY_FAILED);
        assert_true(status(&o).degraded);
        assert_int_equal(at(&o, 42), 1);
        snprintf(text, sizeof(text), "INSERT INTO tenant_shard_map (tenant_id, shard_id) VALUES (%d, 3)", 1000 + i);
        sql(&o, text);
        WAIT_FOR(o.loop, at(&o, 1000 + i) == 3);
        assert_false(status(&o).degraded);
    }
    assert_int_equal(o.maps, maps + 3); /* deltas: the same cluster and timeline */
    assert_int_equal(counter(&o, COUNTER_DIRECTORY_ERRORS), 3);
    owner_fini(&o);
}

/* What deltas need has gone, or the directory is an older one: read all. */
static void test_deltas_are_not_enough(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL);
    load_schema(&o);
    load_shards(&o);
    sql(&o, "INSERT INTO tenant_shard_map (tenant_id, shard_id) SELECT t, 3 FROM generate_series(1000, 1050) t");
    follow(&o);
    WAIT_FOR(o.loop, at(&o, 1050) == 3);
    sql(&o, "BEGIN; DELETE FROM tenant_shard_map WHERE tenant_id = 1001; SELECT shard_map_prune('-1 hour'); COMMIT");
    WAIT_FOR(o.loop, at(&o, 1001) == -1);
    sql(&o, "BEGIN; DELETE FROM tenant_shard_map WHERE tenant_id = 1002; DELETE FROM shard_map_removed; "
            "UPDATE shard_map_revision SET revision = 2; COMMIT");
    WAIT_FOR(o.loop, at(&o, 1002) == -1);
    assert_int_equal(status(&o).revision, 2);
    owner_fini(&o);
}

static void test_many_tenants(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    follow(&o);
    WAIT_FOR(o.loop, o.maps > 0);
    sql(&o,
        "INSERT INTO tenant_shard_map (tenant_id, shard_id) SELECT t, t % 3 + 1 FROM generate_series(1000, 200000) t");
    WAIT_FOR(o.loop, at(&o, 200000) == 3);
    assert_int_equal(map_override_count(o.map), 199001);
    for (int64_t t = 1000; t <= 200000; t++)
        assert_int_equal(at(&o, t), t % 3 + 1);
    sql(&o, "DELETE FROM tenant_shard_map WHERE tenant_id > 190000");
    WAIT_FOR(o.loop, at(&o, 200000) == -1);
    sql(&o, "DELETE FROM tenant_shard_map WHERE tenant_id > 50000"); /* more than max_tenant_loss */
    WAIT_FOR(o.loop, strstr(status(&o).last_error, "tenant_shard_map lost 140000 of 189001 tenants"));
    assert_int_equal(at(&o, 60000), 1);
    owner_fini(&o);
}

static void test_configure(void **state)
{
    struct owner o;
    struct conf *c;

    (void)state;
    owner_init(&o, BY_NOTIFY);
    load_schema(&o);
    load_shards(&o);
    sql(&o, "CREATE SCHEMA other");
    sql(&o, "CREATE TABLE other.shard_config AS TABLE shard_config; CREATE TABLE other.tenant_shard_map AS TABLE "
            "tenant_shard_map; INSERT INTO other.tenant_shard_map VALUES (42, 3)");
    follow(&o);
    WAIT_FOR(o.loop, at(&o, 42) == 1);
    for (int i = 0; i < 6; i++) { /* also in the middle of things */
        snprintf(o.extra, sizeof(o.extra), "  schema: %s\n  poll_interval: 100ms\n", i % 2 ? "public" : "other");
        c = make_conf(&o);
        directory_configure(o.directory, c);
        conf_unref(c);
        if (i == 2)
            directory_reload(o.directory, on_reloaded, &o);
        else
            WAIT_FOR(o.loop, at(&o, 42) == (i % 2 ? 1 : 3));
    }
    assert_true(o.told && o.ok);
    owner_fini(&o);
}

static void test_a_reload_that_cannot(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, "  timeout: 300ms\n");
    snprintf(o.database, sizeof(o.database), "nosuchdatabase");
    follow(&o);
    for (int i = 0; i < 3; i++) {
        assert_false(reload(&o));
        assert_int_equal(o.error.code, ERR_DIRECTORY);
        assert_non_null(strstr(o.error.cause, "nosuchdatabase"));
    }
    owner_fini(&o);
}

/* At any moment. Outstanding requests are answered. */
static void test_stop(void **state)
{
    struct owner o;

    (void)state;
    owner_init(&o, BY_POLL "  cache_file: /tmp/shardgate-test-none/cache\n");
    load_schema(&o);
    load_shards(&o);
    loop_free(o.loop);
    for (int turns = 0; turns < 60; turns += 4) {
        o.loop = new_loop();
        o.tellings = 0;
        o.map = NULL;
        follow(&o);
        directory_reload(o.directory, on_reloaded, &o);
        for (int i = 0; i < turns; i++) {
            loop_turn(o.loop);
            usleep(200);
        }
        directory_lookup(o.directory, 5, on_looked_up, &o);
        owner_fini(&o);
        assert_int_equal(o.tellings, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_notify),
        cmocka_unit_test(test_by_poll),
        cmocka_unit_test(test_bare_tables),
        cmocka_unit_test(test_odd_schema),
        cmocka_unit_test(test_refused_maps),
        cmocka_unit_test(test_refused_bare_maps),
        cmocka_unit_test(test_no_tables),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_lost_connection),
        cmocka_unit_test(test_deltas_are_not_enough),
        cmocka_unit_test(test_many_tenants),
        cmocka_unit_test(test_configure),
        cmocka_unit_test(test_a_reload_that_cannot),
        cmocka_unit_test(test_stop),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
