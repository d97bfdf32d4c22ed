/*
 * Our own queries through libpq, against a real PostgreSQL.
 */
#include "net_test.h"

static struct pg_temp pg;

struct asker {
    struct loop *loop;
    struct pqconn *conn;
    bool connected, done, failed, close_in_done, again_in_done, stop_copy, close_in_copy;
    struct error error;
    int rows, columns;
    char value[64];
    bool null;
    size_t copy_rows, copy_bytes;
    int events;
    char channel[64], payload[64];
    bool lost;
    struct error lost_error;
};

static void on_connected(struct pqconn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    struct asker *a = ctx;
    if (e)
        fail_msg("%s", e->cause);
    a->connected = true;
}

static void open_asker(struct asker *a, struct loop *l)
{
    char text[256];
    memset(a, 0, sizeof(*a));
    a->loop = l;
    snprintf(text, sizeof(text), "host=%s port=%d user=postgres dbname=app", pg.folder, pg.port);
    struct pqconn_options o = {.conninfo = text, .timeout_ms = 5000};
    a->conn = pqconn_open(l, &o, on_connected, a);
    WAIT_FOR(l, a->connected);
}

static bool on_copy(void *ctx, const char *data, size_t len)
{
    struct asker *a = ctx;
    assert_true(data[len - 1] == '\n');
    a->copy_rows++;
    a->copy_bytes += len;
    if (a->close_in_copy)
        pqconn_close(a->conn);
    return !a->stop_copy;
}

static void send_again(struct asker *a);

static void on_query_done(void *ctx, const struct pqresult *r, const struct error *e)
{
    struct asker *a = ctx;
    assert_false(a->done);
    a->done = true;
    a->failed = e != NULL;
    assert_true((r == NULL) == (e != NULL));
    if (e) {
        a->error = *e;
    } else {
        a->rows = pqresult_rows(r);
        a->columns = pqresult_columns(r);
        a->value[0] = '\0';
        const char *v = a->rows > 0 && a->columns > 0 ? pqresult_value(r, 0, 0) : "";
        a->null = !v;
        snprintf(a->value, sizeof(a->value), "%s", v ? v : "");
    }
    if (a->close_in_done)
        pqconn_close(a->conn);
    if (a->again_in_done)
        send_again(a);
}

static bool submit(struct asker *a, const char *sql, int count, const char *const *params, uint64_t timeout_ms)
{
    struct pqquery q = {.on_copy = on_copy, .on_done = on_query_done, .ctx = a, .timeout_ms = timeout_ms};
    a->done = a->failed = false;
    bool sent = pqconn_query(a->conn, sql, count, params, &q);
    assert_false(a->done); /* never from inside */
    return sent;
}

static void send_again(struct asker *a)
{
    a->again_in_done = false;
    assert_true(submit(a, "SELECT 'again'", 0, NULL, 5000));
}

static void run(struct asker *a, const char *sql)
{
    assert_true(submit(a, sql, 0, NULL, 5000));
    assert_false(pqconn_query(a->conn, sql, 0, NULL, &(struct pqquery){0})); /* one at a time */
    WAIT_FOR(a->loop, a->done);
}

static void results_come_as_text(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    run(&a, "SELECT 42, NULL FROM generate_series(1, 3)");
    assert_false(a.failed);
    assert_int_equal(a.rows, 3);
    assert_int_equal(a.columns, 2);
    assert_string_equal(a.value, "42");
    run(&a, "SELECT NULL");
    assert_true(a.null);
    const char *params[] = {"-7", NULL};
    assert_true(submit(&a, "SELECT $1::int * 2, $2::text", 2, params, 5000));
    WAIT_FOR(l, a.done);
    assert_string_equal(a.value, "-14");
    run(&a, "BEGIN; SELECT 'last but one'; SELECT 'last'; COMMIT");
    assert_false(a.failed);
    assert_int_equal(a.rows, 0); /* of COMMIT, the last */
    run(&a, "");
    assert_false(a.failed);
    a.again_in_done = true;
    run(&a, "SELECT 1");
    WAIT_FOR(l, a.done && strcmp(a.value, "again") == 0);
    pqconn_close(a.conn);
    loop_free(l);
}

static void errors_carry_the_servers_code_and_the_connection_lives(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    run(&a, "SELECT * FROM no_such_table");
    assert_true(a.failed);
    assert_string_equal(error_sqlstate(&a.error), "42P01");
    assert_non_null(strstr(error_text(&a.error), "no_such_table"));
    run(&a, "SELECT 1; SELECT 1/0; SELECT 2");
    assert_string_equal(error_sqlstate(&a.error), "22012");
    run(&a, "COPY pg_class FROM STDIN");
    assert_true(a.failed);
    pqconn_close(a.conn);
    open_asker(&a, l);
    run(&a, "SELECT 5");
    assert_string_equal(a.value, "5");
    a.close_in_done = true;
    run(&a, "SELECT 6");
    loop_free(l);
}

static void copy_out_streams(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    run(&a, "COPY (SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g) TO STDOUT");
    assert_false(a.failed);
    assert_int_equal(a.copy_rows, 50000);
    assert_true(a.copy_bytes > 5000000);
    run(&a, "COPY (SELECT 1/(g - 3) FROM generate_series(1, 5) g) TO STDOUT");
    assert_true(a.failed);
    assert_string_equal(error_sqlstate(&a.error), "22012");
    run(&a, "SELECT 'alive'");
    assert_string_equal(a.value, "alive");
    a.stop_copy = true;
    run(&a, "COPY (SELECT generate_series(1, 1000000)) TO STDOUT");
    assert_true(a.failed);
    assert_non_null(strstr(a.error.cause, "gave up"));
    pqconn_close(a.conn);

    open_asker(&a, l);
    a.close_in_copy = true;
    assert_true(submit(&a, "COPY (SELECT generate_series(1, 1000000)) TO STDOUT", 0, NULL, 5000));
    WAIT_FOR(l, a.copy_rows > 0);
    loop_turn(l);
    assert_int_equal(a.copy_rows, 1);
    assert_false(a.done);
    loop_free(l);
}

static void a_large_query_is_sent_whole(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    size_t size = 4 << 20;
    char *sql = malloc(size + 1);
    memset(sql, ' ', size);
    memcpy(sql, "SELECT 'big'", 12);
    sql[size] = '\0';
    run(&a, sql);
    assert_string_equal(a.value, "big");
    free(sql);
    pqconn_close(a.conn);
    loop_free(l);
}

static void a_slow_query_times_out(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    assert_true(submit(&a, "SELECT pg_sleep(20)", 0, NULL, 50));
    WAIT_FOR(l, a.done);
    assert_true(a.failed);
    assert_non_null(strstr(a.error.cause, "timed out after 50 ms"));
    assert_false(pqconn_query(a.conn, "SELECT 1", 0, NULL, &(struct pqquery){0}));
    pqconn_close(a.conn);
    loop_free(l);
}

static void on_event(void *ctx, const char *channel, const char *payload, const struct error *e)
{
    struct asker *a = ctx;
    a->events++;
    if (e) {
        assert_null(channel);
        a->lost = true;
        a->lost_error = *e;
        return;
    }
    snprintf(a->channel, sizeof(a->channel), "%s", channel);
    snprintf(a->payload, sizeof(a->payload), "%s", payload);
}

static void notifications_and_loss_are_heard_while_idle(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker listener, other;
    char sql[128];
    open_asker(&listener, l);
    open_asker(&other, l);
    pqconn_on_idle_event(listener.conn, on_event, &listener);
    run(&listener, "LISTEN map");
    run(&other, "NOTIFY map, 'revision 7'");
    WAIT_FOR(l, listener.events == 1);
    assert_string_equal(listener.channel, "map");
    assert_string_equal(listener.payload, "revision 7");
    /* With its own query: heard after the query's end. */
    run(&listener, "NOTIFY map, 'mine'");
    WAIT_FOR(l, listener.events == 2);
    assert_string_equal(listener.payload, "mine");
    /* Many at once. */
    run(&other, "SELECT pg_notify('map', 'n' || g) FROM generate_series(1, 100) g");
    WAIT_FOR(l, listener.events == 102);
    assert_string_equal(listener.payload, "n100");
    /* The backend dies. */
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", pqconn_pid(listener.conn));
    run(&other, sql);
    WAIT_FOR(l, listener.lost);
    assert_int_equal(listener.lost_error.code, ERR_SERVER_LOST);
    assert_false(pqconn_query(listener.conn, "SELECT 1", 0, NULL, &(struct pqquery){0}));
    pqconn_close(listener.conn);
    pqconn_close(other.conn);
    loop_free(l);
}

static void what_came_before_the_handler_is_delivered(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker a;
    open_asker(&a, l);
    run(&a, "LISTEN map; NOTIFY map, 'early'");
    pqconn_on_idle_event(a.conn, on_event, &a);
    assert_int_equal(a.events, 0);
    WAIT_FOR(l, a.events == 1);
    assert_string_equal(a.payload, "early");
    pqconn_close(a.conn);
    loop_free(l);
}

static void a_backend_killed_in_a_query_is_told(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct asker victim, other;
    char sql[128];
    open_asker(&victim, l);
    open_asker(&other, l);
    assert_true(submit(&victim, "SELECT pg_sleep(20)", 0, NULL, 5000));
    usleep(20000);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d)", pqconn_pid(victim.conn));
    run(&other, sql);
    WAIT_FOR(l, victim.done);
    assert_true(victim.failed);
    assert_int_equal(victim.error.code, ERR_SERVER_LOST);
    assert_string_equal(error_sqlstate(&victim.error), "57P01");
    pqconn_close(victim.conn);
    pqconn_close(other.conn);
    loop_free(l);
}

static int start_server(void **state)
{
    (void)state;
    return pg_temp_start(&pg);
}

static int stop_server(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_as_text),
        cmocka_unit_test(errors_carry_the_servers_code_and_the_connection_lives),
        cmocka_unit_test(copy_out_streams),
        cmocka_unit_test(a_large_query_is_sent_whole),
        cmocka_unit_test(a_slow_query_times_out),
        cmocka_unit_test(notifications_and_loss_are_heard_while_idle),
        cmocka_unit_test(what_came_before_the_handler_is_delivered),
        cmocka_unit_test(a_backend_killed_in_a_query_is_told),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
