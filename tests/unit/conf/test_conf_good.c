/* What the configuration reads, its defaults, its reload and its documents. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shardgate/conf.h"

#define D "directory: {connection: host=d}\n"

static struct conf *parse(const char *yaml)
{
    struct error e;
    struct conf *c = conf_parse("t.yaml", str_from(yaml), &e);
    if (!c)
        fail_msg("%s", e.cause);
    return c;
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *c = parse(D);
    assert_int_equal(c->listen_port, 6432);
    assert_int_equal(c->listen_unix_mode, 0777);
    assert_int_equal(c->listen_addresses.count, 1);
    assert_string_equal(c->listen_addresses.items[0], "127.0.0.1");
    assert_string_equal(c->listen_unix_directory, "");
    assert_string_equal(c->directory_connection, "host=d");
    assert_string_equal(c->directory_password, "");
    assert_int_equal(c->tenant_sources, CONF_SOURCE_STARTUP | CONF_SOURCE_SET | CONF_SOURCE_COMMENT);
    assert_int_equal(c->auth_type, CONF_AUTH_SCRAM);
    assert_int_equal(c->pool_mode, CONF_MODE_TRANSACTION);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_true(c->server_require_primary);
    assert_int_equal(c->query_wait_timeout, 15000);
    assert_int_equal(c->admin_users.count, 0);
    assert_int_equal(c->home_shard, -1);
    assert_string_equal(c->region, "");
    assert_string_equal(c->path, "t.yaml");
    assert_ptr_equal(conf_ref(c), c);
    conf_unref(c);
    conf_unref(c);
    conf_unref(NULL);
}

static void test_values(void **state)
{
    (void)state;
    setenv("SG_PORT", "7000", 1);
    setenv("SG_EMPTY", "", 1);
    setenv("SHARD_ID", "3", 1);
    setenv("REGION", "DEU", 1);
    struct conf *c = parse("listen:\n  addresses: 'a, b ,c'\n  port: ${SG_PORT}\n  unix_mode: 0750\n"
                           "  unix_directory: /run/${SG_EMPTY:-sg}\n"
                           "http:\n"
                           "directory.connection: a$b$$c$${x}\n"
                           "directory: {poll_interval: 500ms, load_timeout: 2 min}\n"
                           "tenant: {sources: [comment, user], missing: primary}\n"
                           "auth: {type: md5}\npool: {mode: session}\n"
                           "timeout: {query: 1d, client_idle: 0}\n"
                           "limits: {io_buffer: 64kB, max_statement_size: 2048B}\n"
                           "log: {level: debug, connections: off, file: 42}\n"
                           "admin: {users: [x, y], stats_users: ''}\n");
    assert_int_equal(c->listen_addresses.count, 3);
    assert_string_equal(c->listen_addresses.items[1], "b");
    assert_int_equal(c->listen_port, 7000);
    assert_int_equal(c->listen_unix_mode, 0750);
    assert_string_equal(c->listen_unix_directory, "/run/sg");
    assert_string_equal(c->directory_connection, "a$b$c${x}");
    assert_int_equal(c->directory_poll, 500);
    assert_int_equal(c->directory_load_timeout, 120000);
    assert_int_equal(c->tenant_sources, CONF_SOURCE_COMMENT | CONF_SOURCE_USER);
    assert_int_equal(c->tenant_missing, CONF_MISSING_PRIMARY);
    assert_int_equal(c->auth_type, CONF_AUTH_MD5);
    assert_int_equal(c->pool_mode, CONF_MODE_SESSION);
    assert_int_equal(c->query_timeout, 86400000);
    assert_int_equal(c->io_buffer, 65536);
    assert_int_equal(c->max_statement, 2048);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_false(c->log_connections);
    assert_string_equal(c->log_file, "42");
    assert_int_equal(c->admin_users.count, 2);
    assert_int_equal(c->stats_users.count, 0);
    assert_int_equal(c->home_shard, 3);
    assert_string_equal(c->region, "DEU");
    conf_unref(c);
    unsetenv("SHARD_ID");
    unsetenv("REGION");
}

static void test_lists(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[512], yaml[2048];
    snprintf(path, sizeof(path), "%s/secret", folder);
    test_file_write(path, "from file\n\n", 11);
    snprintf(
        yaml, sizeof(yaml),
        D "users:\n- name: app\n  password_file: %s\n  tenants: [7, '5-6', -10--8, '-3-4,100']\n  pool_mode: session\n"
          "  max_clients: 5\n- {name: b, password: 'SCRAM-SHA-256$4096:salt$a:b', tenants: 5,\n"
          "   server_user: s, server_password: p, max_server_connections: 2, pool_size: 1}\n- name: c\n"
          "databases: [{name: d, server_database: e, pool_mode: transaction, pool_size: 3}, {name: f}]\n",
        path);
    struct conf *c = parse(yaml);
    assert_int_equal(c->user_count, 3);
    const struct conf_user *u = c->users;
    assert_string_equal(u[0].name, "app");
    assert_string_equal(u[0].password, "from file\n");
    assert_null(u[0].server_user);
    assert_null(u[0].server_password);
    assert_int_equal(u[0].mode, CONF_MODE_SESSION);
    assert_int_equal(u[0].max_clients, 5);
    assert_int_equal(u[0].tenant_count, 3); /* sorted and joined: -10 to -8, -3 to 7, 100 */
    assert_int_equal(u[0].tenants[0].min, -10);
    assert_int_equal(u[0].tenants[0].max, -8);
    assert_int_equal(u[0].tenants[1].min, -3);
    assert_int_equal(u[0].tenants[1].max, 7);
    assert_string_equal(u[1].password, "SCRAM-SHA-256$4096:salt$a:b");
    assert_string_equal(u[1].server_user, "s");
    assert_int_equal(u[1].tenant_count, 1);
    assert_int_equal(u[1].mode, CONF_MODE_DEFAULT);
    assert_int_equal(u[1].pool_size, 1);
    assert_null(u[2].password);
    assert_int_equal(u[2].tenant_count, 0);
    assert_int_equal(c->database_count, 2);
    assert_string_equal(c->databases[0].server_database, "e");
    assert_int_equal(c->databases[0].mode, CONF_MODE_TRANSACTION);
    assert_null(c->databases[1].server_database);
    conf_unref(c);
    test_folder_remove(folder);
}

static void test_reload(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    struct conf *old = parse(D);
    struct conf *same = parse(D);
    assert_int_equal(conf_keep_restart_options(old, same, &out), 0);
    assert_int_equal(out.len, 0);
    struct conf *new_ = parse(D "listen: {port: 1, addresses: [x, y]}\npool: {size: 7}\nadmin: {database: adm}\n");
    assert_int_equal(conf_keep_restart_options(old, new_, &out), 3);
    assert_str(buf_str(&out), "listen.addresses, listen.port, admin.database");
    assert_int_equal(new_->listen_port, 6432);
    assert_int_equal(new_->listen_addresses.count, 1);
    assert_string_equal(new_->admin_database, "shardgate");
    assert_int_equal(new_->pool_size, 7);
    buf_fini(&out);
    conf_unref(old);
    conf_unref(same);
    conf_unref(new_);
}

static void test_show(void **state)
{
    (void)state;
    struct conf *c = parse("directory: {connection: hunter2}\nlisten: {addresses: [a, b], unix_mode: 700}\n");
    bool seen_port = false, seen_secret = false, seen_mode = false, seen_sources = false;
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option_info info;
        struct buf value;
        buf_init(&value, 0);
        conf_option_info(i, &info);
        assert_true(conf_option_value(c, i, &value));
        assert_non_null(info.help);
        if (strcmp(info.name, "listen.port") == 0) {
            assert_str(buf_str(&value), "6432");
            assert_string_equal(info.dflt, "6432");
            assert_string_equal(info.range, "0 to 65535");
            assert_int_equal(info.reload, CONF_RESTART);
            seen_port = true;
        } else if (strcmp(info.name, "directory.connection") == 0) {
            assert_str(buf_str(&value), "****");
            seen_secret = true;
        } else if (strcmp(info.name, "listen.unix_mode") == 0) {
            assert_str(buf_str(&value), "700");
            seen_mode = true;
        } else if (strcmp(info.name, "tenant.sources") == 0) {
            assert_str(buf_str(&value), "startup,set,comment");
            seen_sources = true;
        } else if (strcmp(info.name, "listen.addresses") == 0) {
            assert_str(buf_str(&value), "a,b");
        } else if (strcmp(info.name, "timeout.query_wait") == 0) {
            assert_str(buf_str(&value), "15s");
        }
        buf_fini(&value);
    }
    assert_true(seen_port && seen_secret && seen_mode && seen_sources);
    conf_unref(c);
}

/* Each option's default, written as a file, reads as the default again. */
static void test_defaults_round_trip(void **state)
{
    (void)state;
    struct conf *c = parse(D);
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option_info info;
        struct buf yaml, before, after;
        buf_init(&yaml, 0);
        buf_init(&before, 0);
        buf_init(&after, 0);
        conf_option_info(i, &info);
        if (strcmp(info.name, "directory.connection") != 0) {
            buf_printf(&yaml, D "%s: '%s'\n%c", info.name, info.dflt, 0);
            struct conf *again = parse(buf_head(&yaml));
            assert_true(conf_option_value(c, i, &before) && conf_option_value(again, i, &after));
            assert_true(str_eq(buf_str(&before), buf_str(&after)));
            conf_unref(again);
        }
        buf_fini(&yaml);
        buf_fini(&before);
        buf_fini(&after);
    }
    conf_unref(c);
}

static void test_docs_are_up_to_date(void **state)
{
    (void)state;
    char path[1024];
    struct buf docs;
    snprintf(path, sizeof(path), "%s/docs/configuration.md", getenv("SHARDGATE_SOURCE"));
    buf_init(&docs, 0);
    assert_true(conf_print_docs(&docs));
    const char *write = getenv("SHARDGATE_WRITE_DOCS");
    if (write)
        test_file_write(path, buf_head(&docs), docs.len);
    size_t len;
    char *text = test_file_read(path, &len);
    if (!str_eq(buf_str(&docs), (struct str){text, len}))
        fail_msg("docs/configuration.md is out of date: run this test with SHARDGATE_WRITE_DOCS=1");
    free(text);
    buf_fini(&docs);
}

static void test_shipped_files(void **state)
{
    (void)state;
    char path[1024], *folder = test_folder_new();
    static const char *const secrets[] = {"directory", "app", "reports", "operator", "monitor"};
    struct error e;
    const char *source = getenv("SHARDGATE_SOURCE");

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, secrets[i]);
        test_file_write(path, "secret\n", 7);
    }
    setenv("SHARDGATE_SECRETS", folder, 1);
    setenv("SHARDGATE_APP_PASSWORD", "secret", 1);
    snprintf(path, sizeof(path), "%s/config/shardgate.yaml", source);
    struct conf *tour = conf_load(path, &e);
    if (!tour)
        fail_msg("%s", e.cause);
    assert_int_equal(tour->user_count, 4);
    assert_string_equal(tour->users[0].password, "secret");
    snprintf(path, sizeof(path), "%s/config/minimal.yaml", source);
    struct conf *minimal = conf_load(path, &e);
    if (!minimal)
        fail_msg("%s", e.cause);
    assert_int_equal(minimal->user_count, 1);

    /* The tour shows the defaults: where it differs, it does so on purpose. */
    static const char *const differ[] = {"admin.users", "admin.stats_users", "directory.password",
                                         "directory.cache_file"};
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option_info info;
        struct buf a, b;
        buf_init(&a, 0);
        buf_init(&b, 0);
        conf_option_info(i, &info);
        bool expected = false;
        for (size_t j = 0; j < ARRAY_LEN(differ); j++)
            expected |= strcmp(info.name, differ[j]) == 0;
        assert_true(conf_option_value(tour, i, &a) && conf_option_value(minimal, i, &b));
        if (str_eq(buf_str(&a), buf_str(&b)) == expected)
            fail_msg("config/shardgate.yaml: %s", info.name);
        buf_fini(&a);
        buf_fini(&b);
    }
    conf_unref(tour);
    conf_unref(minimal);
    unsetenv("SHARDGATE_SECRETS");
    unsetenv("SHARDGATE_APP_PASSWORD");
    test_folder_remove(folder);
}

/* Every option is named in the tour, set or in a comment. */
static void test_the_tour_is_complete(void **state)
{
    (void)state;
    char path[1024], key[128];
    snprintf(path, sizeof(path), "%s/config/shardgate.yaml", getenv("SHARDGATE_SOURCE"));
    char *text = test_file_read(path, NULL);
    for (size_t i = 0; i < conf_option_count(); i++) {
        struct conf_option_info info;
        conf_option_info(i, &info);
        const char *dot = strrchr(info.name, '.');
        snprintf(key, sizeof(key), " %s", dot ? dot + 1 : info.name);
        if (!strstr(text, key) && !(!dot && strstr(text, info.name)))
            fail_msg("config/shardgate.yaml does not show %s", info.name);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_defaults_round_trip),
        cmocka_unit_test(test_docs_are_up_to_date),
        cmocka_unit_test(test_shipped_files),
        cmocka_unit_test(test_the_tour_is_complete),
    };
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
