/* Servers that come back dirty or in the middle of something. */
#include "pool_test.h"

static struct pg_temp pg;
static char conninfo[256];
static struct rig rig;
static struct pool *pool;

static void begin(const char *yaml)
{
    rig_open(&rig, 1, yaml, conninfo);
    pool = rig_pool(&rig, 0);
}

static void end(void)
{
    pool_unref(pool);
    rig_close(&rig);
}

static void put_raw(struct client *c, const void *bytes, size_t len)
{
    struct iovec iov = {(char *)(uintptr_t)bytes, len};
    assert_int_equal(stream_writev(&c->server->stream, &iov, 1), len);
}

static void abandon(struct client *c, bool whole)
{
    struct server *s = c->server;
    c->server = NULL;
    server_abandon(s, whole);
}

/* The one server of the pool is usable again, the same backend. */
static void expect_reused(int pid)
{
    struct client c;
    WAIT(&rig, pool->count[SERVER_IDLE] == 1 || pool->total == 0);
    assert_int_equal(pool->total, 1);
    client_get(&rig, &c, pool);
    assert_int_equal(client_pid(&c), pid);
    assert_string_equal(client_query(&rig, &c, "SELECT pg_current_xact_id_if_assigned() IS NULL"), "t");
    assert_int_equal(c.server->txn, 'I');
    assert_string_equal(client_query(&rig, &c, "SELECT 'still here'"), "still here");
    client_put(&c);
}

static void dirty_is_reset(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    struct params *fresh = c.server->params;
    client_query(&rig, &c, "SET TimeZone = 'Asia/Tokyo'");
    client_query(&rig, &c, "CREATE TEMP TABLE t (i int)");
    assert_ptr_not_equal(c.server->params, fresh);
    c.server->dirty = true;
    client_put(&c);
    assert_int_equal(pool->count[SERVER_CLEANING], 1);
    client_get(&rig, &c, pool); /* waits for it, opens no other */
    assert_int_equal(client_pid(&c), pid);
    assert_ptr_equal(c.server->params, pool_params(pool));
    assert_false(c.server->dirty);
    assert_string_equal(client_query(&rig, &c, "SELECT to_regclass('pg_temp.t') IS NULL"), "t");
    client_put(&c);
    assert_int_equal(pool->count[SERVER_IDLE], 1); /* not dirty: at once */
    end();
}

static void failing_reset_closes(void **state)
{
    (void)state;
    begin("server: {reset_query: 'SELECT 1/0'}");
    struct client c;
    client_get(&rig, &c, pool);
    c.server->dirty = true;
    client_put(&c);
    WAIT(&rig, pool->total == 0);
    end();
}

static void session_mode_always_resets(void **state)
{
    (void)state;
    rig_open(&rig, 1, "", conninfo);
    pool = rig_pool_for(&rig, 0, (struct pool_want){.mode = CONF_MODE_SESSION});
    struct client c;
    client_get(&rig, &c, pool);
    client_query(&rig, &c, "SET work_mem = '77kB'");
    client_put(&c);
    client_get(&rig, &c, pool);
    assert_string_not_equal(client_query(&rig, &c, "SHOW work_mem"), "77kB");
    client_put(&c);
    end();
}

static void abandoned_query_is_cancelled(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_send(&c, "SELECT pg_sleep(60)");
    rig_run_for(&rig, 100);
    abandon(&c, true);
    expect_reused(pid);
    end();
}

static void abandoned_transaction_is_rolled_back(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_query(&rig, &c, "BEGIN");
    client_query(&rig, &c, "CREATE TABLE half_done (i int)");
    abandon(&c, true);
    expect_reused(pid);
    client_get(&rig, &c, pool);
    assert_string_equal(client_query(&rig, &c, "SELECT to_regclass('half_done') IS NULL"), "t");
    client_query(&rig, &c, "BEGIN");
    client_query(&rig, &c, "SELECT 1/0");
    assert_int_equal(c.server->txn, 'E');
    c.server->dirty = true;
    client_put(&c); /* not idle: as if abandoned */
    expect_reused(pid);
    end();
}

static void abandoned_in_a_result(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    /* The owner has read a part: in the middle of a message, and of a header. */
    for (unsigned cut = 1; cut < 40; cut += 3) {
        struct client d = c;
        client_send(&d, "SELECT repeat('x', 300) FROM generate_series(1, 100000)");
        struct server *s = d.server;
        char bytes[64];
        ssize_t n;
        s->stream.ready = on_server_ready_idle; /* not called: nothing turns the loop */
        while ((n = stream_read(&s->stream, bytes, cut)) == STREAM_AGAIN)
            usleep(500);
        assert_int_equal(n, cut);
        size_t at = 0;
        struct wire_header h;
        while (wire_header(bytes + at, (size_t)n - at, &h) > 0) {
            if (h.size > (size_t)n - at) {
                s->in_left = h.size - (uint32_t)((size_t)n - at);
                at = (size_t)n;
                break;
            }
            at += h.size;
        }
        assert_true(buf_append(&s->in, bytes + at, (size_t)n - at));
        abandon(&d, true);
        expect_reused(pid);
        client_get(&rig, &c, pool);
    }
    client_put(&c);
    end();
}

static void abandoned_copy_in(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_query(&rig, &c, "CREATE TABLE IF NOT EXISTS copied (i int)");
    client_send(&c, "COPY copied FROM STDIN");
    rig_run_for(&rig, 100);
    put_raw(&c,
            "d\0\0\0\6"
            "1\n",
            7);
    abandon(&c, true);
    expect_reused(pid);
    client_get(&rig, &c, pool); /* before the server has even answered */
    client_send(&c, "COPY copied FROM STDIN");
    abandon(&c, true);
    expect_reused(pid);
    end();
}

/* Parse, Bind, Execute of a statement without parameters; Sync if asked. */
static void send_extended(struct client *c, const char *sql, bool sync)
{
    struct buf b;
    buf_init(&b, 0);
    uint32_t len = (uint32_t)(4 + 1 + strlen(sql) + 1 + 2);
    char parse[] = {'P', (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len, 0};
    buf_append(&b, parse, sizeof(parse));
    buf_append(&b, sql, strlen(sql) + 1);
    buf_append(&b, "\0\0", 2);
    buf_append(&b, "B\0\0\0\x0c\0\0\0\0\0\0\0\0", 13);
    buf_append(&b, "E\0\0\0\x09\0\0\0\0\0", 10);
    struct expect_queue *q = &c->server->expect;
    assert_true(expect_push(q, 'P', EXPECT_FORWARD) && expect_push(q, 'B', EXPECT_FORWARD) &&
                expect_push(q, 'E', EXPECT_FORWARD));
    if (sync)
        assert_true(wire_put_sync(&b) && expect_push(q, 'S', EXPECT_FORWARD));
    else
        wire_put_flush(&b);
    put_raw(c, buf_head(&b), b.len);
    buf_fini(&b);
}

static void abandoned_pipeline(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_query(&rig, &c, "CREATE TABLE IF NOT EXISTS copied (i int)");
    static const char *const statements[] = {
        "SELECT pg_sleep(60)",  "SELECT 1", "SELECT 1/0", "COPY copied FROM STDIN", "INSERT INTO copied VALUES (1)",
        "COPY copied TO STDOUT"};
    for (unsigned i = 0; i < ARRAY_LEN(statements); i++) {
        for (unsigned mode = 0; mode < 4; mode++) {
            send_extended(&c, statements[i], mode & 1);
            /* PostgreSQL ends the connection at any other message while copying in. */
            if ((mode & 2) && !strstr(statements[i], "FROM STDIN"))
                send_extended(&c, "SELECT 2", mode & 1);
            usleep(mode * 10000);
            abandon(&c, true);
            expect_reused(pid);
            client_get(&rig, &c, pool);
        }
    }
    client_put(&c);
    end();
}

static void half_a_message_closes(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    put_raw(&c,
            "Q\0\0\0\x20"
            "DROP TABLE IF",
            18);
    abandon(&c, false);
    WAIT(&rig, pool->total == 0);
    assert_int_equal(node_stats(pool_node(pool))->v[SHARD_SERVERS_LOST], 0);
    end();
}

static void unsent_bytes_are_sent_first(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    assert_true(wire_put_query(&c.server->out, STR("SELECT 5")));
    assert_true(expect_push(&c.server->expect, 'Q', EXPECT_FORWARD));
    abandon(&c, true);
    expect_reused(pid);
    end();
}

static void held_until_the_cancel_is_through(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_send(&c, "SELECT pg_sleep(60)");
    rig_run_for(&rig, 50);
    server_cancel(c.server);
    server_cancel(c.server); /* one at a time */
    assert_true(c.server->canceling);
    WAIT(&rig, c.server->expect.count == 0);
    assert_string_equal(c.sqlstate, "57014");
    bool held = c.server->canceling;
    client_put(&c);
    assert_int_equal(pool->count[held ? SERVER_HELD : SERVER_IDLE], 1);
    expect_reused(pid);
    assert_int_equal(pools_counters(rig.pools[0])->v[COUNTER_CANCELS_SENT], 1);
    /* Checked in at once: held for certain. */
    client_get(&rig, &c, pool);
    server_cancel(c.server);
    client_put(&c);
    assert_int_equal(pool->count[SERVER_HELD], 1);
    client_ask(&c, pool);
    assert_null(c.server);
    WAIT(&rig, c.server);
    assert_int_equal(client_pid(&c), pid);
    client_put(&c);
    end();
}

static void abandoned_with_an_early_cancel(void **state)
{
    (void)state;
    begin("");
    struct client c;
    client_get(&rig, &c, pool);
    int pid = client_pid(&c);
    client_send(&c, "SELECT 1");
    server_cancel(c.server); /* strikes before the next statement is there, or not at all */
    while (c.server->canceling)
        rig_turn(&rig);
    server_cancel(c.server);
    usleep(100000); /* sent on its thread, its end not yet seen here */
    client_send(&c, "SELECT pg_sleep(60)");
    assert_true(c.server->canceling);
    uint64_t began = clock_mono_ns();
    abandon(&c, true);
    expect_reused(pid);
    assert_true(clock_mono_ns() - began < UINT64_C(5000000000));
    end();
}

static void replication_is_not_pooled(void **state)
{
    (void)state;
    rig_open(&rig, 1, "", conninfo);
    struct pools *ps = rig.pools[0];
    struct settings *settings = settings_get(ps, NULL, 0, REPLICATION_DATABASE);
    struct pool_key key = {.shard = map_shard_at(rig.map, 0),
                           .database = STR("app"),
                           .user = STR("postgres"),
                           .settings = settings,
                           .mode = CONF_MODE_SESSION};
    pool = pool_get(ps, &key);
    struct client c;
    client_get(&rig, &c, pool);
    client_query(&rig, &c, "IDENTIFY_SYSTEM");
    assert_string_equal(c.sqlstate, "");
    assert_true(strlen(c.value) > 10); /* the system's identifier */
    client_put(&c);
    WAIT(&rig, pool->total == 0);
    settings_unref(ps, settings);
    end();
}

static void idle_takes_announcements(void **state)
{
    (void)state;
    begin("");
    struct client c, other;
    client_get(&rig, &c, pool);
    client_get(&rig, &other, pool);
    struct server *s = c.server;
    client_put(&c);
    /* Half a ParameterStatus, as if it had been split on its way. */
    server_feed(s, "S\0\0\0\x18TimeZone\0Asia", 18);
    assert_int_equal(s->state, SERVER_IDLE);
    s->stream.ready(&s->stream, STREAM_READABLE);
    assert_int_equal(s->state, SERVER_CLEANING); /* not for a client until it is whole */
    server_feed(s, "/Tokyo", 7);
    s->stream.ready(&s->stream, STREAM_READABLE);
    assert_int_equal(s->state, SERVER_IDLE);
    assert_str(s->params->value[PARAM_TIMEZONE], "Asia/Tokyo");
    /* A notification can only be left over from a LISTEN. */
    server_feed(s, "A\0\0\0\x0b\0\0\0\1x\0\0", 12);
    WAIT(&rig, pool->total == 1);
    client_put(&other);
    end();
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
        cmocka_unit_test(dirty_is_reset),
        cmocka_unit_test(failing_reset_closes),
        cmocka_unit_test(session_mode_always_resets),
        cmocka_unit_test(abandoned_query_is_cancelled),
        cmocka_unit_test(abandoned_transaction_is_rolled_back),
        cmocka_unit_test(abandoned_in_a_result),
        cmocka_unit_test(abandoned_copy_in),
        cmocka_unit_test(abandoned_pipeline),
        cmocka_unit_test(half_a_message_closes),
        cmocka_unit_test(unsent_bytes_are_sent_first),
        cmocka_unit_test(held_until_the_cancel_is_through),
        cmocka_unit_test(abandoned_with_an_early_cancel),
        cmocka_unit_test(replication_is_not_pooled),
        cmocka_unit_test(idle_takes_announcements),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
