/* What goes wrong with servers: refused, unreachable, lost, not who they should be. */
#include "pool_test.h"

static struct pg_temp pg;
static char conninfo[256], tcp_conninfo[256];

static void psql(const char *database, const char *sql)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "psql -qX -v ON_ERROR_STOP=1 -h '%s' -p %d -U postgres -d %s -c \"%s\" >/dev/null", pg.folder, pg.port,
             database, sql);
    assert_int_equal(system(command), 0);
}

static void ask_and_fail(struct rig *r, struct client *c, struct pool *p)
{
    client_ask(c, p);
    assert_null(c->server);
    WAIT(r, c->answers);
    assert_true(c->failed);
}

static uint64_t stat_of(struct pool *p, enum shard_counter which) { return node_stats(pool_node(p))->v[which]; }

static void dead_port_backs_off(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    int port = 0;
    struct error e;
    int fd = listen_tcp("127.0.0.1", &port, 1, false, &e);
    close(fd);
    char dead[128];
    snprintf(dead, sizeof(dead), "host=127.0.0.1 port=%d user=x dbname=y", port);
    rig_open(&r, 1, "server: {login_retry: 1s}", dead);
    struct pool *p = rig_pool(&r, 0);
    ask_and_fail(&r, &c, p);
    assert_int_equal(c.error.code, ERR_SHARD_UNREACHABLE);
    assert_int_equal(stat_of(p, SHARD_CONNECT_FAILURES), 1);
    for (int i = 0; i < 5; i++) { /* at once and without trying */
        ask_and_fail(&r, &c, p);
        assert_string_equal(error_sqlstate(&c.error), "08006");
    }
    assert_int_equal(stat_of(p, SHARD_CONNECT_FAILURES), 1);
    rig_run_for(&r, 1050);
    uint64_t began_ms = loop_now_ms(r.loop[0]);
    ask_and_fail(&r, &c, p); /* tried again */
    assert_int_equal(stat_of(p, SHARD_CONNECT_FAILURES), 2);
    assert_true(p->node->backoff.until_ms - began_ms >= 1700); /* twice, less an eighth */
    pool_unref(p);
    rig_close(&r);
}

static void many_waiters_one_storm_less(void **state)
{
    (void)state;
    struct rig r;
    struct client c[20];
    rig_open(&r, 1, "server: {login_retry: 5s}", "host=127.0.0.1 port=1 user=x dbname=y");
    struct pool *p = rig_pool(&r, 0);
    for (unsigned i = 0; i < 20; i++)
        client_ask(&c[i], p);
    assert_int_equal(pool_connecting(p), CONNECTS_MAX);
    for (unsigned i = 0; i < 20; i++) {
        WAIT(&r, c[i].answers);
        assert_true(c[i].failed);
    }
    WAIT(&r, p->total == 0);
    assert_true(stat_of(p, SHARD_CONNECT_FAILURES) <= CONNECTS_MAX);
    pool_unref(p);
    rig_close(&r);
}

static void comes_back(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, "server: {login_retry: 50ms}", "host=127.0.0.1 port=1 user=x dbname=y");
    struct pool *p = rig_pool(&r, 0);
    ask_and_fail(&r, &c, p);
    rig_map(&r, 1, conninfo);
    pool_unref(p);
    p = rig_pool(&r, 0);
    client_get(&r, &c, p);
    client_put(&c);
    assert_int_equal(p->backoff.failures, 0);
    assert_int_equal(stat_of(p, SHARD_CONNECT_FAILURES), 1); /* counters are the shard's, not the node's */
    pool_unref(p);
    rig_close(&r);
}

static void wrong_password_is_the_pools_own(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    rig_open(&r, 1, "server: {login_retry: 2s}", tcp_conninfo);
    struct pool *bad = rig_pool_for(&r, 0, (struct pool_want){.user = "app", .password = "wrong"});
    ask_and_fail(&r, &c, bad);
    assert_string_equal(error_sqlstate(&c.error), "28P01");
    ask_and_fail(&r, &c, bad);
    assert_int_equal(stat_of(bad, SHARD_CONNECT_FAILURES), 1);
    assert_int_equal(bad->node->backoff.failures, 0);
    pool_unref(bad); /* remembered, though nobody holds it */
    assert_int_equal(r.pools[0]->pool_count, 1);
    bad = rig_pool_for(&r, 0, (struct pool_want){.user = "app", .password = "wrong"});
    ask_and_fail(&r, &c, bad);
    assert_int_equal(stat_of(bad, SHARD_CONNECT_FAILURES), 1);
    /* Another database of the shard does well. */
    psql("postgres", "CREATE DATABASE other OWNER app");
    struct pool *good =
        rig_pool_for(&r, 0, (struct pool_want){.user = "app", .database = "other", .password = "s'ec\\ret"});
    client_get(&r, &c, good);
    assert_string_equal(client_query(&r, &c, "SELECT current_user"), "app");
    client_put(&c);
    struct pool *none =
        rig_pool_for(&r, 0, (struct pool_want){.user = "app", .database = "nowhere", .password = "s'ec\\ret"});
    ask_and_fail(&r, &c, none);
    assert_string_equal(error_sqlstate(&c.error), "3D000");
    pool_unref(bad);
    pool_unref(good);
    pool_unref(none);
    rig_close(&r);
}

static void too_many_connections(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b, c;
    psql("postgres", "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1");
    rig_open(&r, 1, "server: {login_retry: 100ms}", conninfo);
    struct pool *p = rig_pool_for(&r, 0, (struct pool_want){.user = "narrow"});
    client_get(&r, &a, p);
    client_ask(&b, p);
    rig_run_for(&r, 300); /* refused by the shard, waits for the other */
    assert_int_equal(b.answers, 0);
    assert_true(stat_of(p, SHARD_CONNECT_FAILURES) >= 1);
    struct pool *q = rig_pool_for(&r, 0, (struct pool_want){.user = "narrow", .database = "postgres"});
    ask_and_fail(&r, &c, q); /* has none to wait for */
    assert_string_equal(error_sqlstate(&c.error), "53300");
    client_put(&a);
    assert_non_null(b.server);
    client_put(&b);
    pool_unref(p);
    pool_unref(q);
    rig_close(&r);
}

static void wrong_shard_is_refused(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    psql("app", "CREATE SCHEMA shardgate; CREATE TABLE shardgate.shard_identity(shard_id smallint)");
    rig_open(&r, 1, "server: {login_retry: 50ms}", conninfo);
    struct pool *p = rig_pool(&r, 0);
    ask_and_fail(&r, &c, p); /* empty */
    assert_int_equal(c.error.code, ERR_SHARD_UNREACHABLE);
    assert_non_null(strstr(c.error.cause, "identity"));
    psql("app", "INSERT INTO shardgate.shard_identity VALUES (7)");
    rig_run_for(&r, 150);
    ask_and_fail(&r, &c, p);
    assert_non_null(strstr(c.error.cause, "shard 7, shard 1 was meant"));
    psql("app", "UPDATE shardgate.shard_identity SET shard_id = 1");
    rig_run_for(&r, 300);
    client_get(&r, &c, p);
    client_put(&c);
    /* Not readable: refused too, but only for this user. */
    psql("postgres", "CREATE ROLE blind LOGIN");
    struct pool *blind = rig_pool_for(&r, 0, (struct pool_want){.user = "blind"});
    ask_and_fail(&r, &c, blind);
    assert_string_equal(error_sqlstate(&c.error), "42501");
    assert_int_equal(p->node->backoff.failures, 0);
    pool_unref(p);
    pool_unref(blind);
    rig_close(&r);
    psql("app", "DROP SCHEMA shardgate CASCADE");
}

static void search_path_does_not_fool_the_proof(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    psql("app",
         "CREATE SCHEMA evil; CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';"
         "CREATE FUNCTION evil.eq(name, text) RETURNS bool LANGUAGE sql AS 'SELECT true';"
         "CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.eq)");
    char with_path[300];
    snprintf(with_path, sizeof(with_path), "%s options='-c search_path=evil,pg_catalog'", conninfo);
    rig_open(&r, 1, "", with_path);
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &c, p);
    assert_string_equal(client_query(&r, &c, "SHOW search_path"), "evil,pg_catalog");
    client_put(&c);
    pool_unref(p);
    rig_close(&r);
    psql("app", "DROP SCHEMA evil CASCADE");
}

static void killed_backend(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    rig_open(&r, 1, "", conninfo);
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", client_pid(&b));
    client_put(&b); /* idle when it is killed */
    client_query(&r, &a, sql);
    WAIT(&r, p->total == 1);
    assert_int_equal(stat_of(p, SHARD_SERVERS_LOST), 0); /* nobody's */
    client_get(&r, &b, p);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", client_pid(&b));
    client_query(&r, &a, sql); /* in use */
    WAIT(&r, b.lost);
    assert_int_equal(stat_of(p, SHARD_SERVERS_LOST), 1);
    client_get(&r, &b, p); /* a new one */
    assert_string_equal(client_query(&r, &b, "SELECT 1"), "1");
    client_put(&a);
    client_put(&b);
    pool_unref(p);
    rig_close(&r);
}

static void pg_ctl(const char *what)
{
    char command[600];
    snprintf(command, sizeof(command),
             "cd /; %s $(ls -d /usr/lib/postgresql/*/bin | tail -1)/pg_ctl -D %s/data -l %s/data/server.log -w %s "
             ">/dev/null",
             geteuid() == 0 ? "runuser -u postgres --" : "", pg.folder, pg.folder, what);
    assert_int_equal(system(command), 0);
}

static void shard_stops_and_starts(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b, c;
    rig_open(&r, 1, "pool: {size: 1}\nserver: {login_retry: 100ms}", conninfo);
    struct pool *p = rig_pool(&r, 0);
    client_get(&r, &a, p);
    client_ask(&b, p);
    pg_ctl("-m immediate stop");
    WAIT(&r, a.lost);
    WAIT(&r, b.answers); /* who waited for the lost server is told as well */
    assert_true(b.failed);
    assert_string_equal(error_sqlstate(&b.error), "08006");
    pg_ctl("start");
    do {
        rig_run_for(&r, 100);
        client_ask(&c, p);
        WAIT(&r, c.server || c.answers);
    } while (!c.server);
    assert_int_equal(p->node->backoff.failures, 0);
    client_put(&c);
    pool_unref(p);
    rig_close(&r);
}

/* Told of a failure, asks again at once. */
static void on_told(struct waiter *w, struct server *s, const struct error *e)
{
    struct client *c = container_of(w, struct client, waiter);
    assert_null(s);
    c->failed = e != NULL;
    if (++c->answers < 3) {
        /* The pool of a retired node would be looked up again; here it is in back-off. */
        assert_null(pool_checkout((struct pool *)c->server, w));
    }
}

static void asks_again_when_told(void **state)
{
    (void)state;
    struct rig r;
    struct client c[3];
    rig_open(&r, 1, "", "host=127.0.0.1 port=1 user=x dbname=y");
    struct pool *p = rig_pool(&r, 0);
    for (unsigned i = 0; i < 3; i++) {
        client_ask(&c[i], p);
        c[i].waiter.done = on_told;
        c[i].server = (struct server *)p;
    }
    for (unsigned i = 0; i < 3; i++)
        WAIT(&r, c[i].answers == 3);
    assert_int_equal(p->waiting, 0);
    assert_int_equal(p->node->waiting, 0);
    pool_unref(p);
    rig_close(&r);
}

static void standby_is_refused(void **state)
{
    (void)state;
    struct rig r;
    struct client c;
    char command[600];
    rig_open(&r, 1, "server: {login_retry: 100ms}", conninfo);
    struct pool *p = rig_pool(&r, 0);
    pg_ctl("-m fast stop");
    snprintf(command, sizeof(command), "touch %s/data/standby.signal; chmod 666 %s/data/standby.signal", pg.folder,
             pg.folder);
    assert_int_equal(system(command), 0);
    pg_ctl("start");
    ask_and_fail(&r, &c, p);
    assert_int_equal(c.error.code, ERR_SHARD_STARTING);
    assert_string_equal(error_sqlstate(&c.error), "57P03");
    struct conf *lax = make_conf("server: {require_primary: no}");
    pools_configure(r.pools[0], lax);
    conf_unref(lax);
    rig_run_for(&r, 200);
    client_get(&r, &c, p);
    assert_string_equal(client_query(&r, &c, "SELECT pg_is_in_recovery()"), "t");
    client_put(&c);
    pool_unref(p);
    rig_close(&r);
    pg_ctl("-m fast stop");
    snprintf(command, sizeof(command), "rm %s/data/standby.signal", pg.folder);
    assert_int_equal(system(command), 0);
    pg_ctl("start");
}

static void closing_with_everything_open(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b, c;
    rig_open(&r, 1, "", conninfo);
    struct pool *p = rig_pool(&r, 0);
    struct pool *q = rig_pool_for(&r, 0, (struct pool_want){.database = "postgres"});
    client_get(&r, &a, p);
    client_get(&r, &b, p);
    client_put(&b);
    client_send(&a, "SELECT pg_sleep(20)");
    client_ask(&c, q); /* connecting */
    waiter_cancel(&c.waiter);
    struct server *s = a.server;
    a.server = NULL;
    server_abandon(s, true); /* cleaning, a cancel is in flight */
    pool_unref(p);
    pool_unref(q);
    rig_close(&r);
}

static int start(void **state)
{
    (void)state;
    if (pg_temp_start(&pg) != 0)
        return -1;
    snprintf(conninfo, sizeof(conninfo), "host=%s port=%d", pg.folder, pg.port);
    snprintf(tcp_conninfo, sizeof(tcp_conninfo), "host=127.0.0.1 port=%d", pg.port);
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
        cmocka_unit_test(dead_port_backs_off),
        cmocka_unit_test(many_waiters_one_storm_less),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(wrong_password_is_the_pools_own),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(wrong_shard_is_refused),
        cmocka_unit_test(search_path_does_not_fool_the_proof),
        cmocka_unit_test(killed_backend),
        cmocka_unit_test(closing_with_everything_open),
        cmocka_unit_test(shard_stops_and_starts),
        cmocka_unit_test(asks_again_when_told),
        cmocka_unit_test(standby_is_refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
