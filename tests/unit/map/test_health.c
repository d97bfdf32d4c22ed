/* Probes of shards: a real server, none, one that refuses, one that goes away. */
#include "directory_test.h"

#include <pthread.h>

static struct conf *fast(void)
{
    struct error e;
    struct conf *c = conf_parse("test.yaml",
                                STR("directory:\n  connection: host=x\nhealth:\n  probe_interval: 100ms\n"
                                    "  probe_timeout: 1s\n"),
                                &e);

    if (!c)
        fail_msg("%s", e.cause);
    return c;
}

static void add(struct map_builder *b, int16_t id, const char *conninfo)
{
    char text[512];
    struct error e;

    snprintf(text, sizeof(text), "%s", conninfo);
    struct map_shard s = {.id = id, .conninfo = text, .active = true};
    if (!map_builder_shard(b, &s, &e))
        fail_msg("%s", e.cause);
}

static void set_map(struct health *h, struct map_builder *b)
{
    struct error e;
    struct map *m = map_builder_finish(b, NULL, (struct map_limits){100, 100}, &e);

    assert_non_null(m);
    health_set_map(h, m);
    map_unref(m);
}

static const char *server(const char *rest)
{
    static char text[512];

    snprintf(text, sizeof(text), "host=%s port=%d %s", pg.folder, pg.port, rest);
    return text;
}

static struct health_status get(struct health *h, int16_t id)
{
    struct health_status s;

    assert_true(health_get(h, id, &s));
    return s;
}

static void stop(struct loop *l, struct health *h)
{
    health_stop(h);
    for (int i = 0; i < 5; i++)
        loop_turn(l);
    loop_free(l);
}

static void test_states(void **state)
{
    struct loop *l = new_loop();
    struct conf *c = fast();
    struct health *h = health_new(l, c);
    struct map_builder *b = map_builder_new(1);
    char values[HEALTH_PARAMETERS][64], hole[64];
    struct health_status s;
    int port = 0;
    struct error e;

    (void)state;
    close(listen_tcp("127.0.0.1", &port, 1, false, &e)); /* nobody listens there now */
    snprintf(hole, sizeof(hole), "host=127.0.0.1 port=%d user=a dbname=b", port);
    assert_false(health_parameters(h, values));
    add(b, 1, server("user=postgres dbname=app"));
    add(b, 2, hole);
    add(b, 3, server("user=postgres dbname=nosuch"));
    add(b, 5, server("dbname=nosuch")); /* sessions bring the user: the server is there */
    set_map(h, b);
    assert_int_equal(get(h, 1).state, HEALTH_UNKNOWN);
    assert_false(health_get(h, 4, &s));
    WAIT_FOR(l, get(h, 1).state == HEALTH_UP && get(h, 2).state == HEALTH_DOWN && get(h, 3).state == HEALTH_DOWN);
    WAIT_FOR(l, get(h, 5).state == HEALTH_UP);
    assert_string_equal(get(h, 1).error, "");
    assert_non_null(strstr(get(h, 3).error, "nosuch"));
    assert_non_null(strstr(get(h, 2).error, "refused"));
    assert_true(get(h, 1).latency_us > 0);
    assert_int_equal(get(h, 1).shard_id, 1);
    s = get(h, 1);
    WAIT_FOR(l, get(h, 1).checked_ms > s.checked_ms + 250); /* again and again */
    assert_int_equal(get(h, 1).changed_ms, s.changed_ms);
    assert_true(health_parameters(h, values));
    assert_string_equal(health_parameter_names[0], "server_version");
    assert_int_equal(strncmp(values[0], "15", 2), 0);
    assert_string_equal(values[2], "SQL_ASCII");
    assert_string_equal(values[12], "off"); /* in_hot_standby */

    /* Shard 1 leaves, 2 moves to where a server is, 4 is new. */
    b = map_builder_new(2);
    add(b, 2, server("user=postgres dbname=app"));
    add(b, 4, server("user=postgres dbname=postgres"));
    set_map(h, b);
    assert_false(health_get(h, 1, &s));
    assert_false(health_get(h, 3, &s));
    WAIT_FOR(l, get(h, 2).state == HEALTH_UP && get(h, 4).state == HEALTH_UP);
    conf_unref(c);
    stop(l, h);
}

/* A connection that is kept tells at once that it is gone, and is made anew. */
static void test_lost_connection(void **state)
{
    struct loop *l = new_loop();
    struct error e;
    struct conf *c =
        conf_parse("test.yaml", STR("directory:\n  connection: host=x\nhealth:\n  probe_interval: 1h\n"), &e);
    struct health *h = health_new(l, c);
    struct map_builder *b = map_builder_new(1);
    struct health_status s;

    (void)state;
    add(b, 1, server("user=postgres dbname=app"));
    set_map(h, b);
    WAIT_FOR(l, get(h, 1).state == HEALTH_UP);
    s = get(h, 1);
    usleep(5000);
    loop_turn(l);
    sql_in("postgres",
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardgate health'");
    WAIT_FOR(l, get(h, 1).checked_ms > s.checked_ms);
    assert_int_equal(get(h, 1).state, HEALTH_UP);
    sql_in("postgres", "ALTER DATABASE app ALLOW_CONNECTIONS false");
    sql_in("postgres",
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardgate health'");
    WAIT_FOR(l, get(h, 1).state == HEALTH_DOWN);
    assert_non_null(strstr(get(h, 1).error, "not currently accepting connections"));
    sql_in("postgres", "ALTER DATABASE app ALLOW_CONNECTIONS true");
    struct conf *sooner = fast();
    health_configure(h, sooner);
    WAIT_FOR(l, get(h, 1).state == HEALTH_UP);
    conf_unref(c);
    conf_unref(sooner);
    stop(l, h);
}

/* More shards than probes at a time; some answer, some are silent. */
static void test_many(void **state)
{
    struct loop *l = new_loop();
    struct conf *c = fast();
    struct health *h = health_new(l, c);
    struct map_builder *b = map_builder_new(1);
    char silent[64];
    int port = 0, up = 0, down = 0;
    struct error e;
    int fd = listen_tcp("127.0.0.1", &port, 500, false, &e);

    (void)state;
    snprintf(silent, sizeof(silent), "host=127.0.0.1 port=%d user=a dbname=b", port);
    for (int16_t i = 0; i < 200; i++)
        add(b, i, i % 20 ? silent : server("user=postgres dbname=app"));
    set_map(h, b);
    for (int16_t i = 0; i < 200; i++)
        WAIT_FOR(l, get(h, i).state != HEALTH_UNKNOWN);
    for (int16_t i = 0; i < 200; i++) {
        up += get(h, i).state == HEALTH_UP;
        down += get(h, i).state == HEALTH_DOWN;
    }
    assert_int_equal(up, 10);
    assert_int_equal(down, 190);
    close(fd);
    conf_unref(c);
    stop(l, h);
}

static void *read_all_the_time(void *arg)
{
    struct health *h = arg;
    char values[HEALTH_PARAMETERS][64];
    struct health_status s;

    for (int i = 0; i < 200000; i++) {
        (void)health_get(h, (int16_t)(i % 4), &s);
        if (i % 100 == 0)
            (void)health_parameters(h, values);
    }
    return NULL;
}

static void test_other_threads(void **state)
{
    struct loop *l = new_loop();
    struct conf *c = fast();
    struct health *h = health_new(l, c);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, h), 0);
    for (int i = 0; i < 50; i++) {
        struct map_builder *b = map_builder_new(1);

        add(b, (int16_t)(i % 4), server("user=postgres dbname=app"));
        add(b, 9, server("user=postgres dbname=app"));
        set_map(h, b);
        for (int n = 0; n < 20; n++) {
            loop_turn(l);
            usleep(500);
        }
    }
    pthread_join(thread, NULL);
    conf_unref(c);
    stop(l, h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_lost_connection),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_other_threads),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
