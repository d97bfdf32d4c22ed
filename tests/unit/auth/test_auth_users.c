/* The snapshot of users, and the auth file. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_file.h"
#include "auth_users.h"

#define D "directory: {connection: d}\n"
#define VERIFIER                                                                      \
    "SCRAM-SHA-256$4096:/2+kUy/zusYbmpW+xMrgFQ==$LYaIm9GFVDrxQuubLMRnqBbQx3QDTGP9so/" \
    "gHI1zOTI=:0mPFuQbQZyMrXdjErEkKBWr3guAowhg/oO6lkB0ls0c="

static struct auth_users *load(const char *yaml, const char *file, struct error *e)
{
    char *folder = test_folder_new(), path[512];
    struct buf text;
    buf_init(&text, 0);
    buf_append_str(&text, str_from(yaml));
    if (file) {
        snprintf(path, sizeof(path), "%s/users.txt", folder);
        test_file_write(path, file, strlen(file));
        buf_printf(&text, "\nauth.file: %s\n", path);
    }
    struct conf *c = conf_parse("t", buf_str(&text), e);
    if (!c)
        fail_msg("%s", e->cause);
    struct auth_users *u = auth_users_load(c, e);
    conf_unref(c); /* nothing may borrow from it */
    buf_fini(&text);
    test_folder_remove(folder);
    return u;
}

static void test_both_sources(void **state)
{
    (void)state;
    struct error e;
    struct auth_users *u =
        load(D "admin: {users: [op, app], stats_users: [mon]}\n"
               "users:\n- {name: app, password: one, tenants: '5-9,1', server_user: s, server_password: p,\n"
               "   max_clients: 3, max_server_connections: 4, pool_size: 2, pool_mode: session}\n"
               "- {name: nopw, tenants: 7}\n",
             "; comment\n\n\"app\" \"two\"\n  \"nopw\"\t\"from file\" \"more\" columns\n"
             "\"op\" \"md56fad8bbc431764f407609e07fdb7e19b\"\r\n\"mon\" \"\"\n"
             "\"q\"\"uo\" \"a\"\"b;c\"\n\"v\" \"" VERIFIER "\"",
             &e);
    if (!u)
        fail_msg("%s", e.cause);
    assert_int_equal(auth_users_count(u), 6);
    const struct auth_user *app = auth_users_find(u, STR("app"));
    assert_non_null(app);
    assert_str(app->secret, "one"); /* the YAML file wins */
    assert_int_equal(app->kind, AUTH_SECRET_PLAIN);
    assert_string_equal(app->server_user, "s");
    assert_string_equal(app->server_password, "p");
    assert_int_equal(app->mode, CONF_MODE_SESSION);
    assert_int_equal(app->max_clients, 3);
    assert_int_equal(app->max_server_connections, 4);
    assert_int_equal(app->pool_size, 2);
    assert_true(app->admin);
    assert_false(app->stats);
    const struct auth_user *nopw = auth_users_find(u, STR("nopw"));
    assert_str(nopw->secret, "from file");
    assert_int_equal(nopw->tenant_count, 1); /* limits stay */
    const struct auth_user *op = auth_users_find(u, STR("op"));
    assert_int_equal(op->kind, AUTH_SECRET_MD5);
    assert_true(op->admin);
    assert_null(op->server_user);
    assert_int_equal(op->mode, CONF_MODE_DEFAULT);
    const struct auth_user *mon = auth_users_find(u, STR("mon"));
    assert_int_equal(mon->kind, AUTH_SECRET_NONE);
    assert_true(mon->stats && !mon->admin);
    assert_str(auth_users_find(u, STR("q\"uo"))->secret, "a\"b;c");
    assert_int_equal(auth_users_find(u, STR("v"))->kind, AUTH_SECRET_SCRAM);
    assert_null(auth_users_find(u, STR("App")));
    assert_null(auth_users_find(u, STR("")));
    assert_ptr_equal(auth_users_ref(u), u);
    auth_users_unref(u);
    auth_users_unref(u);
    auth_users_unref(NULL);
}

static void test_tenants(void **state)
{
    (void)state;
    struct error e;
    struct auth_users *u =
        load(D "users:\n- {name: a, tenants: [5-9, 1, -20--10, 9223372036854775807]}\n- name: any\n", NULL, &e);
    const struct auth_user *a = auth_users_find(u, STR("a"));
    static const int64_t yes[] = {5, 7, 9, 1, -20, -15, -10, INT64_MAX},
                         no[] = {4, 10, 0, 2, -21, -9, INT64_MIN, INT64_MAX - 1};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(auth_user_may(a, yes[i]));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(auth_user_may(a, no[i]));
    assert_true(auth_user_may(auth_users_find(u, STR("any")), INT64_MIN));
    auth_users_unref(u);
}

static void test_nobody(void **state)
{
    (void)state;
    struct error e;
    struct auth_users *u = load(D, NULL, &e);
    assert_non_null(u);
    assert_int_equal(auth_users_count(u), 0);
    assert_null(auth_users_find(u, STR("a")));
    assert_null(auth_users_model(u, CONF_AUTH_SCRAM, STR("a")));
    auth_users_unref(u);
}

static void test_many(void **state)
{
    (void)state;
    struct error e;
    struct buf file;
    buf_init(&file, 0);
    for (int i = 0; i < 5000; i++)
        buf_printf(&file, "\"user%d\" \"secret%d\"\n", i, i);
    buf_append_byte(&file, 0);
    struct auth_users *u = load(D, buf_head(&file), &e);
    assert_non_null(u);
    assert_int_equal(auth_users_count(u), 5000);
    for (int i = 0; i < 5000; i++) {
        char name[32], secret[32];
        snprintf(name, sizeof(name), "user%d", i);
        snprintf(secret, sizeof(secret), "secret%d", i);
        const struct auth_user *user = auth_users_find(u, str_from(name));
        assert_non_null(user);
        assert_true(str_eq(user->secret, str_from(secret)));
    }
    assert_null(auth_users_find(u, STR("user5000")));
    auth_users_unref(u);
    buf_fini(&file);
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *want;
    } rows[] = {
        {"app secret\n", ":1: expected a quoted user name (comments begin with ;)"},
        {"# comment\n", ":1: expected a quoted user name (comments begin with ;)"},
        {"\"a\" \"b\"\n\n\"c\n\" \"d\"\n", ":3: a quote (\") is not closed on its line"},
        {"\"a\"", ":1: expected a quoted secret after the user name"},
        {"\"a\"\n\"b\"", ":1: expected a quoted secret after the user name"},
        {"\"a\" b", ":1: expected a quoted secret after the user name"},
        {"\"a\" \"b", ":1: a quote (\") is not closed on its line"},
        {"\"a\" \"b\"\"", ":1: a quote (\") is not closed on its line"},
        {"\"\" \"b\"", ":1: a user name has 1 to 127 bytes"},
        {"\"a\" \"b\"\n;\n\"a\" \"c\"", ":3: user \"a\" is already in the file"},
        {"\"y\" \"b\"\n\"y\" \"c\"", ":2: user \"y\" is already in the file"},
        {"\"a\" \"SCRAM-SHA-256$1:x\"",
         ":1: the secret of user \"a\" begins as a SCRAM verifier and is not a valid one"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error e;
        if (load(D "users: [{name: y}]", rows[i].file, &e))
            fail_msg("accepted: %s", rows[i].file);
        assert_int_equal(e.code, ERR_CONFIG);
        const char *got = strstr(e.cause, "users.txt:");
        if (!got || strcmp(got + 9, rows[i].want) != 0)
            fail_msg("%s\n  got  %s\n  want %s", rows[i].file, e.cause, rows[i].want);
        assert_null(strstr(e.cause, "secret1"));
    }
    struct error e;
    struct conf *c = conf_parse("t", STR(D "auth: {file: /nonexistent}"), &e);
    assert_null(auth_users_load(c, &e));
    assert_string_equal(e.cause, "/nonexistent: No such file or directory");
    conf_unref(c);
    assert_null(load(D "users: [{name: v, password: 'SCRAM-SHA-256$x'}]", NULL, &e));
    assert_string_equal(e.cause, "the secret of user \"v\" begins as a SCRAM verifier and is not a valid one");
}

static bool on_line(void *arg, struct str name, struct str secret, struct error *e)
{
    (void)e;
    *(size_t *)arg += name.len + secret.len;
    return true;
}

static void test_every_prefix_of_a_file(void **state)
{
    (void)state;
    static const char text[] = "; c\n\"a\"\"b\"\t\"c\" x\n\r\n \"d\" \"\"\n";
    for (size_t len = 0; len < sizeof(text); len++) {
        char *copy = guard_copy(text, len);
        struct error e;
        size_t sum = 0;
        if (auth_file_parse("f", copy, len, on_line, &sum, &e) && len == sizeof(text) - 1)
            assert_int_equal(sum, 5);
        guard_free(copy, len);
    }
}

/* The salt of a name is stable, differs by name, and by the key of the instance. */
static void test_salts(void **state)
{
    (void)state;
    struct error e;
    struct auth_users *u[3];
    uint8_t salt[3][AUTH_NAME_MAX], other[AUTH_NAME_MAX];
    static const char *const yaml[] = {D "auth: {salt_key: k}\n", D "auth: {salt_key: k}\nusers: [{name: new}]\n", D};
    for (size_t i = 0; i < 3; i++) {
        u[i] = load(yaml[i], NULL, &e);
        assert_true(auth_users_salt(u[i], STR("x"), salt[i], 70));
    }
    assert_memory_equal(salt[0], salt[1], 70);
    assert_memory_not_equal(salt[0], salt[2], 70);
    assert_memory_not_equal(salt[0], salt[0] + 32, 32);
    assert_true(auth_users_salt(u[0], STR("y"), other, 70));
    assert_memory_not_equal(salt[0], other, 70);
    for (size_t i = 0; i < 3; i++)
        auth_users_unref(u[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_sources), cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_nobody),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_bad_files),    cmocka_unit_test(test_every_prefix_of_a_file),
        cmocka_unit_test(test_salts),
    };
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
