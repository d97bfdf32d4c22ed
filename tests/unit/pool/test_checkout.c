/* Checkout and checkin against a real PostgreSQL: order, sizes, reserve, limits. */
#include "pool_test.h"

static struct pg_temp pg;
static char conninfo[256];

static void open_rig(struct rig *r, unsigned workers, const char *yaml) { rig_open(r, workers, yaml, conninfo); }

static void connects_and_queries(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r, 1, "");
    struct pool *p = rig_pool(&r, 0);
    assert_null(pool_params(p));
    client_get(&r, &c, p);
    assert_string_equal(client_query(&r, &c, "SELECT current_database() || ' ' || current_user"), "app postgres");
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", client_pid(&c));
    assert_string_equal(client_query(&r, &c, "SELECT pg_backend_pid()"), pid);
    assert_string_equal(client_query(&r, &c, "SHOW application_name"), "shardgate");
    assert_non_null(pool_params(p));
    assert_ptr_equal(pool_params(p), c.server->params);
    assert_str(pool_params(p)->value[PARAM_SERVER_ENCODING], "SQL_ASCII");
    client_query(&r, &c, "SET TimeZone = 'Europe/Paris'");
    assert_str(c.server->params->value[PARAM_TIMEZONE], "Europe/Paris");
    assert_int_equal(pools_active(r.pools[0], SHARD_ALL), 1);
    client_put(&c);
    assert_int_equal(pools_active(r.pools[0], 1), 0);
    client_ask(&c, p); /* at once */
    assert_non_null(c.server);
    client_put(&c);
    assert_int_equal(node_stats(pool_node(p))->v[SHARD_CONNECTS], 1);
    assert_int_equal(node_stats(pool_node(p))->v[SHARD_WAITS], 1);
    pool_unref(p);
    rig_close(&r);
}

static void settings_are_startup_values(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    open_rig(&r, 1, "");
    struct pool *p = rig_pool_for(&r, 0, (struct pool_want){.application_name = "it's \\ mine"});
    client_get(&r, &c, p);
    assert_string_equal(client_query(&r, &c, "SHOW application_name"), "it's \\ mine");
    client_query(&r, &c, "SET application_name = 'x'");
    client_query(&r, &c, "RESET application_name");
    assert_string_equal(client_query(&r, &c, "SHOW application_name"), "it's \\ mine");
    client_put(&c);
    pool_unref(p);
    rig_close(&r);
}

static void last_in_first_out(void **state)
{
    (void)state;
    struct rig r;
    struct client c[3];
    int pid[3];
    open_rig(&r, 1, "");
    struct pool *p = rig_pool(&r, 0);
    for (unsigned i = 0; i < 3; i++) {
        client_get(&r, &c[i], p);
        pid[i] = client_pid(&c[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        client_put(&c[i]);
    for (unsigned i = 0; i < 3; i++) {
        client_ask(&c[i], p);
        assert_int_equal(client_pid(&c[i]), pid[2 - i]);
    }
    for (unsigned i = 0; i < 3; i++)
        client_put(&c[i]);
    pool_unref(p);
    rig_close(&r);
}

static void waiters_are_served_in_order(void **state)
{
    (void)state;
    struct rig r;
    struct client c[5];
    open_rig(&r, 1, "pool: {size: 1}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &c[0], p);
    for (unsigned i = 1; i < 5; i++)
        client_ask(&c[i], p);
    rig_run_for(&r, 50);
    waiter_cancel(&c[2].waiter);
    waiter_cancel(&c[2].waiter); /* idempotent */
    for (unsigned i = 1; i < 5; i++)
        assert_null(c[i].server);
    client_put(&c[0]);
    assert_non_null(c[1].server); /* served before checkin returned */
    assert_null(c[3].server);
    client_put(&c[1]);
    assert_non_null(c[3].server);
    client_ask(&c[0], p); /* comes later: behind c[4] */
    assert_null(c[0].server);
    client_put(&c[3]);
    assert_non_null(c[4].server);
    client_put(&c[4]);
    assert_non_null(c[0].server);
    client_put(&c[0]);
    assert_int_equal(c[2].answers, 0);
    assert_int_equal(node_stats(pool_node(p))->v[SHARD_CONNECTS], 1);
    pool_unref(p);
    rig_close(&r);
}

static unsigned servers_of(struct pool *p) { return p->total; }

static void size_is_kept_and_reserve_used_late(void **state)
{
    (void)state;
    struct rig r;
    struct client c[5];
    open_rig(&r, 1, "pool: {size: 2, reserve_size: 1, reserve_timeout: 150ms}");
    struct pool *p = rig_pool(&r, 0);
    for (unsigned i = 0; i < 5; i++)
        client_ask(&c[i], p);
    WAIT(&r, c[0].server && c[1].server);
    assert_int_equal(servers_of(p), 2);
    uint64_t began = clock_mono_ns();
    WAIT(&r, c[2].server);
    assert_true(clock_mono_ns() - began > 50000000);
    rig_run_for(&r, 300);
    assert_int_equal(servers_of(p), 3);
    assert_null(c[3].server);
    for (unsigned i = 0; i < 5; i++) {
        WAIT(&r, c[i].server);
        client_put(&c[i]);
    }
    pool_unref(p);
    rig_close(&r);
}

static void shard_limit_evicts_the_idle(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b, c;
    open_rig(&r, 1, "pool: {size: 2, max_per_shard: 2}");
    struct pool *p = rig_pool(&r, 0);
    struct pool *q = rig_pool_for(&r, 0, (struct pool_want){.database = "postgres"});
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    client_ask(&c, q);
    rig_run_for(&r, 100);
    assert_null(c.server); /* nothing idle to evict */
    client_put(&a);        /* goes idle, and is closed for the other pool */
    WAIT(&r, c.server);
    assert_string_equal(client_query(&r, &c, "SELECT current_database()"), "postgres");
    assert_int_equal(servers_of(p), 1);
    client_put(&c);
    client_ask(&a, p); /* evicts q's idle one */
    WAIT(&r, a.server);
    client_put(&a);
    client_put(&b);
    pool_unref(p);
    pool_unref(q);
    rig_close(&r);
}

static void database_and_user_limits(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "");
    struct pools *ps = r.pools[0];
    struct settings *s = settings_get(ps, NULL, 0, REPLICATION_NONE);
    struct pool_key key = {.shard = map_shard_at(r.map, 0),
                           .database = STR("app"),
                           .user = STR("postgres"),
                           .settings = s,
                           .user_limit = 1};
    struct pool *p = pool_get(ps, &key);
    key.database = STR("postgres");
    struct pool *q = pool_get(ps, &key); /* another database, the same user */
    client_get(&r, &a, p);
    client_ask(&b, q);
    rig_run_for(&r, 100);
    assert_null(b.server);
    client_put(&a);
    WAIT(&r, b.server);
    client_put(&b);
    pool_unref(p);
    pool_unref(q);
    settings_unref(ps, s);
    rig_close(&r);
}

static void queue_timeout(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "pool: {size: 1}\ntimeout: {query_wait: 100ms}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_ask(&b, p);
    WAIT(&r, b.answers);
    assert_true(b.failed);
    assert_int_equal(b.error.code, ERR_QUEUE_TIMEOUT);
    assert_int_equal(node_stats(pool_node(p))->v[SHARD_QUEUE_TIMEOUTS], 1);
    client_put(&a);
    assert_int_equal(b.answers, 1);
    pool_unref(p);
    rig_close(&r);
}

static void pause_and_resume(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "timeout: {query_wait: 200ms}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_put(&a);
    assert_false(pools_pause(r.pools[0], 77));
    assert_true(pools_pause(r.pools[0], 1));
    client_ask(&b, p);
    assert_null(b.server);
    WAIT(&r, b.answers);
    assert_int_equal(b.error.code, ERR_POOL_PAUSED_TIMEOUT);
    client_ask(&b, p);
    assert_true(pools_resume(r.pools[0], SHARD_ALL));
    assert_non_null(b.server);
    client_put(&b);
    pool_unref(p);
    rig_close(&r);
}

static void min_size_is_filled_and_kept(void **state)
{
    (void)state;
    struct rig r;
    struct client a;
    open_rig(&r, 1, "pool: {min_size: 3}\nserver: {idle_timeout: 50ms}");
    struct pool *p = rig_pool(&r, 0);
    rig_run_for(&r, 100);
    assert_int_equal(servers_of(p), 0); /* not used yet */
    client_get(&r, &a, p);
    WAIT(&r, p->count[SERVER_IDLE] == 2);
    client_put(&a);
    rig_run_for(&r, 300);
    assert_int_equal(p->count[SERVER_IDLE], 3);
    pool_unref(p);
    rig_close(&r);
}

static void idle_timeout_and_unused_pools_go(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "server: {idle_timeout: 200ms}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    client_put(&b);
    rig_run_for(&r, 100);
    assert_int_equal(servers_of(p), 2);
    WAIT(&r, servers_of(p) == 1); /* a is in use and stays */
    client_put(&a);
    pool_unref(p);
    WAIT(&r, r.pools[0]->pool_count == 0);
    rig_close(&r);
}

static void lifetime(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "server: {lifetime: 300ms}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    client_put(&b);
    int pid = client_pid(&a);
    WAIT(&r, servers_of(p) == 1); /* the idle one */
    rig_run_for(&r, 100);
    client_put(&a);
    WAIT(&r, servers_of(p) == 0); /* the other at checkin */
    client_get(&r, &a, p);
    assert_int_not_equal(client_pid(&a), pid);
    client_put(&a);
    pool_unref(p);
    rig_close(&r);
}

static void reconnect(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    client_put(&b);
    assert_true(pools_reconnect(r.pools[0], SHARD_ALL));
    WAIT(&r, servers_of(p) == 1);
    assert_string_equal(client_query(&r, &a, "SELECT 1"), "1");
    client_put(&a);
    WAIT(&r, servers_of(p) == 0);
    client_ask(&a, p);
    pools_reconnect(r.pools[0], 1); /* while it connects */
    WAIT(&r, a.server);
    client_put(&a);
    pool_unref(p);
    rig_close(&r);
}

static void map_change_retires(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b, c;
    open_rig(&r, 1, "pool: {size: 1}");
    uint64_t generation = pools_generation(r.pools[0]);
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_ask(&b, p);
    rig_map(&r, 1, conninfo); /* nothing of the shard has changed */
    assert_int_equal(b.answers, 0);
    assert_true(pools_generation(r.pools[0]) > generation);
    char other[300];
    snprintf(other, sizeof(other), "%s application_name=moved", conninfo);
    rig_map(&r, 1, other);
    assert_true(b.sent_away);
    struct pool *q = rig_pool(&r, 0);
    assert_ptr_not_equal(p, q);
    client_get(&r, &c, q); /* its permits are its own */
    assert_string_equal(client_query(&r, &a, "SELECT 1"), "1");
    client_put(&a);
    client_put(&c);
    client_ask(&b, p); /* a late comer to the retired pool */
    WAIT(&r, b.answers);
    assert_true(b.sent_away);
    WAIT(&r, servers_of(p) == 0);
    pool_unref(p);
    assert_int_equal(r.pools[0]->pool_count, 1);
    rig_map(&r, 2, conninfo); /* the shard has gone */
    WAIT(&r, servers_of(q) == 0);
    pool_unref(q);
    assert_int_equal(r.pools[0]->pool_count, 0);
    rig_close(&r);
}

static void configure_applies(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "pool: {size: 1}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_ask(&b, p);
    rig_run_for(&r, 50);
    assert_null(b.server);
    struct conf *more = make_conf("pool: {size: 2}\nserver: {idle_timeout: 100ms}");
    pools_configure(r.pools[0], more);
    conf_unref(more);
    WAIT(&r, b.server);
    client_put(&a);
    client_put(&b);
    WAIT(&r, servers_of(p) == 0);
    pool_unref(p);
    rig_close(&r);
}

static void count_pool(void *ctx, const struct pool_info *i)
{
    unsigned *n = ctx;
    n[0]++;
    n[1] += i->active;
    n[2] += i->waiting;
    assert_string_equal(i->database, "app");
}
static void count_server(void *ctx, const struct server_info *i)
{
    unsigned *n = ctx;
    n[0]++;
    n[1] += i->owner != NULL;
    assert_true(i->pid > 0);
}
static void count_node(void *ctx, const struct node_info *i)
{
    unsigned *n = ctx;
    n[0]++;
    assert_int_equal(i->shard_id, 1);
    assert_int_equal(i->servers, 1);
    assert_int_equal(i->waiting, 1);
    assert_string_equal(i->last_error, "");
}

static void information(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    open_rig(&r, 1, "pool: {size: 1}");
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_ask(&b, p);
    unsigned pools[3] = {0}, servers[2] = {0}, nodes[1] = {0};
    pools_each(r.pools[0], count_pool, pools);
    pools_each_server(r.pools[0], count_server, servers);
    pools_each_node(r.pools[0], count_node, nodes);
    assert_int_equal(pools[0], 1);
    assert_int_equal(pools[1], 1);
    assert_int_equal(pools[2], 1);
    assert_int_equal(servers[0], 1);
    assert_int_equal(servers[1], 1);
    assert_int_equal(nodes[0], 1);
    waiter_cancel(&b.waiter);
    client_put(&a);
    pool_unref(p);
    rig_close(&r);
}

static int start(void **state)
{
    (void)state;
    if (pg_temp_start(&pg) != 0)
        return -1;
    snprintf(conninfo, sizeof(conninfo), "host=%s port=%d", pg.folder, pg.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

int main(void)
{
    log_open(getenv("TEST_LOG") ? "" : "/dev/null", LOG_DEBUG, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_and_queries),
        cmocka_unit_test(settings_are_startup_values),
        cmocka_unit_test(last_in_first_out),
        cmocka_unit_test(waiters_are_served_in_order),
        cmocka_unit_test(size_is_kept_and_reserve_used_late),
        cmocka_unit_test(shard_limit_evicts_the_idle),
        cmocka_unit_test(database_and_user_limits),
        cmocka_unit_test(queue_timeout),
        cmocka_unit_test(pause_and_resume),
        cmocka_unit_test(min_size_is_filled_and_kept),
        cmocka_unit_test(idle_timeout_and_unused_pools_go),
        cmocka_unit_test(lifetime),
        cmocka_unit_test(reconnect),
        cmocka_unit_test(map_change_retires),
        cmocka_unit_test(configure_applies),
        cmocka_unit_test(information),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
