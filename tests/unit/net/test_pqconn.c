/*
 * Connecting to a real PostgreSQL, and the ways to fail. test_pqconn_take.c has what
 * comes after, test_pqconn_query.c the queries through libpq.
 */
#include "pqconn_test.h"

/* ---- connecting ---- */

static void connects_by_address_name_and_unix_socket(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    open_good(&c, l, tcp(GOOD));
    assert_true(pqconn_pid(c.conn) > 0);
    assert_true(pqconn_server_version(c.conn) >= 100000);
    assert_string_equal(pqconn_parameter(c.conn, "server_encoding"), pqconn_parameter(c.conn, "client_encoding"));
    assert_null(pqconn_parameter(c.conn, "no_such_parameter"));
    pqconn_close(c.conn);

    char text[256];
    snprintf(text, sizeof(text), "host=localhost port=%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "host=%s port=%d user=app", pg.folder, pg.port); /* dbname: the user's */
    open_good(&c, l, text);
    assert_false(pqconn_tls(c.conn));
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "postgresql://app:s%%27ec%%5Cret@127.0.0.1:%d/app", pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    loop_free(l);
}

static void a_host_list_is_tried_in_order(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[256];
    snprintf(text, sizeof(text), "host=no-such-host.invalid,127.0.0.1,localhost port=1,1,%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    snprintf(text, sizeof(text), "hostaddr=127.0.0.1 host=name.of.certificate port=%d " GOOD, pg.port);
    open_good(&c, l, text);
    pqconn_close(c.conn);
    open_client(&c, l, "host=a,b,c port=1,2 user=app");
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "2 port numbers to 3 hosts"));
    pqconn_close(c.conn);
    loop_free(l);
}

static void overrides_fallbacks_and_options_reach_the_server(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    struct pqconn_options o = {
        .conninfo = tcp("user=nobody options='-c work_mem=123kB -c statement_timeout=1s'"),
        .user = "app",
        .fallback_user = "nobody either",
        .fallback_dbname = "app",
        .fallback_password = "s'ec\\ret",
        .options = "-c statement_timeout=77s -c my.setting=a\\ b",
        .application_name = "it's \\me",
        .timeout_ms = 5000,
    };
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    assert_string_equal(pqconn_parameter(c.conn, "application_name"), "it's \\me");
    take(&c);
    ask(&c, "SELECT current_setting('work_mem'), current_setting('statement_timeout'), current_setting('my.setting'), "
            "user");
    assert_true(contains(&c, "123kB") && contains(&c, "77s") && contains(&c, "a b") && contains(&c, "app"));
    close_taken(&c);
    loop_free(l);
}

static void a_replication_connection_is_one(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct client c;
    char text[256];
    snprintf(text, sizeof(text), "host=%s port=%d user=postgres dbname=app", pg.folder, pg.port);
    struct pqconn_options o = {.conninfo = text, .replication_database = true, .timeout_ms = 5000};
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    take(&c);
    ask(&c, "IDENTIFY_SYSTEM");
    assert_true(contains(&c, "systemid") && contains(&c, "app"));
    close_taken(&c);
    o.replication_database = false;
    o.replication_physical = true;
    open_with(&c, l, &o);
    if (!c.ok)
        fail_msg("%s", c.error.cause);
    take(&c);
    ask(&c, "IDENTIFY_SYSTEM");
    assert_true(contains(&c, "systemid"));
    ask(&c, "SELECT 1");
    assert_true(contains(&c, "C0A000") || contains(&c, "ERROR")); /* a physical walsender knows no SQL */
    close_taken(&c);
    loop_free(l);
}

static void failures_carry_the_servers_own_words(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    char text[256];
    expect_failure(l, tcp("user=app dbname=app password=wrong-secret"), ERR_SHARD_UNREACHABLE, "28P01",
                   "password authentication failed for user \"app\"");
    snprintf(text, sizeof(text), "host=%s port=%d user=app dbname=nowhere", pg.folder, pg.port);
    expect_failure(l, text, ERR_SHARD_UNREACHABLE, "3D000", "database \"nowhere\" does not exist");
    snprintf(text, sizeof(text), "host=%s port=%d user=app options='-c no.such.thing=1 -c nonsense'", pg.folder,
             pg.port);
    expect_failure(l, text, ERR_SHARD_UNREACHABLE, "42601", "nonsense");
    expect_failure(l, tcp("user=app dbname=app"), ERR_SHARD_UNREACHABLE, "08006", "no password");
    expect_failure(l, "host=127.0.0.1 port=1 user=app", ERR_SHARD_UNREACHABLE, "08006", "refused");
    expect_failure(l, "host=no-such-host.invalid user=app", ERR_SHARD_UNREACHABLE, "08006", "cannot resolve");
    expect_failure(l, "host=/no/such/folder user=app", ERR_SHARD_UNREACHABLE, "08006", "No such file");
    expect_failure(l, "hots=x password=wrong-secret", ERR_CONFIG, "F0000", "invalid connection string");
    expect_failure(l, "password=a wrong-secret", ERR_CONFIG, "F0000", "invalid connection string");
    expect_failure(l, "service=x", ERR_CONFIG, "F0000", "service");
    expect_failure(l, "host=127.0.0.1 sslmode=verify-full user=app", ERR_SHARD_UNREACHABLE, "08006", "sslrootcert");
    loop_free(l);
}

static void a_silent_server_times_out(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    char text[128];
    fake_start(&f, l, NULL, 0);
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app", f.port);
    struct pqconn_options o = {.conninfo = text, .timeout_ms = 100};
    uint64_t from = clock_mono_ns();
    open_with(&c, l, &o);
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "timed out after 100 ms"));
    assert_string_equal(error_sqlstate(&c.error), "08006");
    assert_in_range((clock_mono_ns() - from) / 1000000, 95, 3000);
    pqconn_close(c.conn);
    fake_stop(&f);
    loop_free(l);
}

static void a_starting_server_is_told_apart(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct fake_server f;
    struct client c;
    static const char answer[] =
        "E\0\0\0\x47SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0Fx.c\0L1\0Rr\0";
    char bytes[sizeof(answer)];
    memcpy(bytes, answer, sizeof(answer));
    bytes[4] = (char)(sizeof(answer) - 1); /* with the literal's own NUL as terminator of the fields */
    fake_start(&f, l, bytes, sizeof(answer));
    char text[128];
    snprintf(text, sizeof(text), "host=127.0.0.1 port=%d user=app sslmode=disable", f.port);
    open_client(&c, l, text);
    assert_false(c.ok);
    assert_int_equal(c.error.code, ERR_SHARD_STARTING);
    assert_string_equal(error_text(&c.error), "the database system is starting up");
    pqconn_close(c.conn);
    fake_stop(&f);
    loop_free(l);
}

static void nothing_comes_from_the_environment(void **state)
{
    (void)state;
    static const char *const variables[] = {
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGOPTIONS",
        "PGAPPNAME",
        "PGSSLMODE",
        "PGREQUIRESSL",
        "PGSSLCERT",
        "PGSSLKEY",
        "PGSSLROOTCERT",
        "PGSSLCRL",
        "PGSSLCRLDIR",
        "PGSSLSNI",
        "PGSSLCOMPRESSION",
        "PGREQUIREPEER",
        "PGSSLMINPROTOCOLVERSION",
        "PGSSLMAXPROTOCOLVERSION",
        "PGGSSENCMODE",
        "PGKRBSRVNAME",
        "PGGSSLIB",
        "PGCONNECT_TIMEOUT",
        "PGCLIENTENCODING",
        "PGTARGETSESSIONATTRS",
        "PGCHANNELBINDING",
    };
    struct loop *l = new_loop();
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        setenv(variables[i], "nonsense", 1);
    struct client c;
    open_good(&c, l, tcp(GOOD));
    assert_string_equal(pqconn_parameter(c.conn, "application_name"), "");
    pqconn_close(c.conn);
    setenv("PGPASSWORD", "s'ec\\ret", 1);
    open_client(&c, l, tcp("user=app dbname=app"));
    assert_false(c.ok);
    assert_non_null(strstr(c.error.cause, "no password"));
    pqconn_close(c.conn);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    loop_free(l);
}

static void the_service_and_session_variables_are_gone(void **state)
{
    (void)state; /* main set them before the first loop */
    assert_null(getenv("PGSERVICE"));
    assert_null(getenv("PGDATESTYLE"));
    assert_null(getenv("PGTZ"));
    assert_non_null(getenv("PGSERVICEFILE")); /* harmless without PGSERVICE, and perhaps the configuration's */
}

static void a_connection_closed_while_connecting_calls_nobody(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    static const char *const hosts[] = {"localhost", "127.0.0.1", "no-such-host.invalid"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        for (int turns = 0; turns < 6; turns++) {
            char text[128];
            struct client c = {.loop = l};
            snprintf(text, sizeof(text), "host=%s port=%d " GOOD, hosts[i], pg.port);
            struct pqconn_options o = {.conninfo = text, .timeout_ms = 5000};
            c.conn = pqconn_open(l, &o, on_done, &c);
            for (int n = 0; n < turns && !c.done; n++) {
                loop_turn(l);
                usleep(300);
            }
            bool done = c.done;
            pqconn_close(c.conn);
            for (int n = 0; n < 5; n++) {
                loop_turn(l);
                usleep(200);
            }
            assert_true(c.done == done);
        }
    loop_free(l);
}

int main(void)
{
    setenv("PGSERVICE", "nonsense", 1);
    setenv("PGSERVICEFILE", "/nonsense", 1);
    setenv("PGDATESTYLE", "nonsense", 1);
    setenv("PGTZ", "nonsense", 1);
    net_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_by_address_name_and_unix_socket),
        cmocka_unit_test(a_host_list_is_tried_in_order),
        cmocka_unit_test(overrides_fallbacks_and_options_reach_the_server),
        cmocka_unit_test(a_replication_connection_is_one),
        cmocka_unit_test(failures_carry_the_servers_own_words),
        cmocka_unit_test(a_silent_server_times_out),
        cmocka_unit_test(a_starting_server_is_told_apart),
        cmocka_unit_test(nothing_comes_from_the_environment),
        cmocka_unit_test(the_service_and_session_variables_are_gone),
        cmocka_unit_test(a_connection_closed_while_connecting_calls_nobody),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
