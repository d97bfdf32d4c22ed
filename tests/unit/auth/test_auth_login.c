/* Whole logins: right, wrong and unknown, of each type against each kind of secret. */
#include "auth_client.h"

#define USERS                                                                                \
    D "users:\n- {name: plain, password: pencil}\n- {name: ver, password: '" VERIFIER "'}\n" \
      "- {name: md, password: " MD5_OF_MD "}\n- {name: none}\n"

static void expect(struct login l, bool ok, const char *shape, const char *cause)
{
    if (strcmp(l.shape, shape) != 0)
        fail_msg("got %s, expected %s (%s)", l.shape, shape, l.e.cause);
    assert_int_equal(l.step, ok ? AUTH_OK : AUTH_FAIL);
    if (ok)
        return;
    assert_int_equal(l.e.code, ERR_AUTH_FAILED);
    assert_string_equal(error_sqlstate(&l.e), "28P01");
    assert_string_equal(l.e.message, ""); /* nothing but the table's text for the client */
    assert_string_equal(l.e.detail, "");
    assert_string_equal(l.e.cause, cause);
}

static void test_scram(void **state)
{
    (void)state;
    struct auth_users *u = users_of(USERS);
    struct login l = log_in(u, "plain", NULL, "pencil", CONF_AUTH_SCRAM, "n,,");
    expect(l, true, "R10/24 R11/89 derive ok R12/55", "");
    assert_true(l.server_proven);
    assert_int_equal(l.iterations, 4096);
    l = log_in(u, "ver", NULL, "pencil", CONF_AUTH_SCRAM, "y,,");
    expect(l, true, "R10/24 R11/89 ok R12/55", "");
    assert_true(l.server_proven);
    assert_string_equal(l.salt, "/2+kUy/zusYbmpW+xMrgFQ==");
    expect(log_in(u, "plain", NULL, "pencil ", CONF_AUTH_SCRAM, "n,,"), false, "R10/24 R11/89 derive fail",
           "wrong password");
    expect(log_in(u, "ver", NULL, "Pencil", CONF_AUTH_SCRAM, "n,,"), false, "R10/24 R11/89 fail", "wrong password");
    l = log_in(u, "md", NULL, "pencil", CONF_AUTH_SCRAM, "n,,");
    assert_string_equal(l.e.cause, "the user's stored secret does not fit auth.type");
    l = log_in(u, "none", NULL, "pencil", CONF_AUTH_SCRAM, "n,,");
    assert_int_equal(l.step, AUTH_FAIL);
    auth_users_unref(u);
}

static void test_password(void **state)
{
    (void)state;
    struct auth_users *u = users_of(USERS);
    expect(log_in(u, "plain", NULL, "pencil", CONF_AUTH_PASSWORD, ""), true, "R3/9 ok", "");
    expect(log_in(u, "ver", NULL, "pencil", CONF_AUTH_PASSWORD, ""), true, "R3/9 derive ok", "");
    expect(log_in(u, "md", NULL, "pencil", CONF_AUTH_PASSWORD, ""), true, "R3/9 ok", "");
    expect(log_in(u, "md", "md.42", "pencil", CONF_AUTH_PASSWORD, ""), true, "R3/9 ok", "");
    expect(log_in(u, "plain", NULL, "pencil2", CONF_AUTH_PASSWORD, ""), false, "R3/9 fail", "wrong password");
    expect(log_in(u, "ver", NULL, "pencil2", CONF_AUTH_PASSWORD, ""), false, "R3/9 derive fail", "wrong password");
    expect(log_in(u, "md", NULL, "pencil2", CONF_AUTH_PASSWORD, ""), false, "R3/9 fail", "wrong password");
    expect(log_in(u, "plain", NULL, "", CONF_AUTH_PASSWORD, ""), false, "R3/9 fail", "empty password");
    expect(log_in(u, "none", NULL, "", CONF_AUTH_PASSWORD, ""), false, "R3/9 fail", "empty password");
    assert_int_equal(log_in(u, "none", NULL, "pencil", CONF_AUTH_PASSWORD, "").step, AUTH_FAIL);
    /* the stored text itself is no password */
    expect(log_in(u, "md", NULL, MD5_OF_MD, CONF_AUTH_PASSWORD, ""), false, "R3/9 fail", "wrong password");
    expect(log_in(u, "ver", NULL, VERIFIER, CONF_AUTH_PASSWORD, ""), false, "R3/9 derive fail", "wrong password");
    auth_users_unref(u);
}

static void test_md5(void **state)
{
    (void)state;
    struct auth_users *u = users_of(USERS);
    expect(log_in(u, "plain", NULL, "pencil", CONF_AUTH_MD5, ""), true, "R5/13 ok", "");
    expect(log_in(u, "md", NULL, "pencil", CONF_AUTH_MD5, ""), true, "R5/13 ok", "");
    /* a plain secret serves under any name that a pattern allows; an md5 secret is of its own name */
    expect(log_in(u, "plain", "plain.42", "pencil", CONF_AUTH_MD5, ""), true, "R5/13 ok", "");
    expect(log_in(u, "md", "md.42", "pencil", CONF_AUTH_MD5, ""), false, "R5/13 fail", "wrong password");
    expect(log_in(u, "ver", NULL, "pencil", CONF_AUTH_MD5, "n,,"), true, "R10/24 R11/89 ok R12/55", "");
    expect(log_in(u, "plain", NULL, "x", CONF_AUTH_MD5, ""), false, "R5/13 fail", "wrong password");
    expect(log_in(u, "md", NULL, "", CONF_AUTH_MD5, ""), false, "R5/13 fail", "wrong password");
    auth_users_unref(u);
}

static void test_trust(void **state)
{
    (void)state;
    struct auth_users *u = users_of(USERS);
    expect(log_in(u, "none", NULL, "", CONF_AUTH_TRUST, ""), true, "ok", "");
    expect(log_in(u, "nobody", NULL, "", CONF_AUTH_TRUST, ""), false, "fail", "unknown user");
    auth_users_unref(u);
}

/* Names that do not exist are, from outside, one of the users that do with a wrong password. */
static void test_no_oracle(void **state)
{
    (void)state;
    static const enum conf_auth_type types[] = {CONF_AUTH_PASSWORD, CONF_AUTH_MD5, CONF_AUTH_SCRAM};
    static const char *const real[] = {"plain", "ver", "md"};
    struct auth_users *u = users_of(USERS "auth: {salt_key: x}\n");
    struct auth_users *reloaded = users_of(USERS "auth: {salt_key: x}\n");
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
        bool seen[ARRAY_LEN(real)] = {false};
        struct login known[ARRAY_LEN(real)];
        size_t kinds = types[t] == CONF_AUTH_SCRAM ? 2 : 3; /* md does not fit SCRAM */
        for (size_t i = 0; i < kinds; i++)
            known[i] = log_in(u, real[i], NULL, "wrong", types[t], "n,,");
        for (int n = 0; n < 40; n++) {
            char name[32];
            snprintf(name, sizeof(name), "nobody%d", n);
            struct login l = log_in(u, name, NULL, "wrong", types[t], "n,,");
            bool found = false;
            for (size_t i = 0; i < kinds; i++)
                if (strcmp(l.shape, known[i].shape) == 0)
                    found = seen[i] = true;
            if (!found)
                fail_msg("%s: no user looks like %s", name, l.shape);
            assert_int_equal(l.e.code, ERR_AUTH_FAILED);
            assert_string_equal(l.e.cause, "unknown user");
            assert_string_equal(error_text(&l.e), error_text(&known[0].e));
            assert_string_equal(error_hint_text(&l.e), error_hint_text(&known[0].e));
            /* asked again, also of another instance, all is as before */
            struct login again = log_in(reloaded, name, NULL, "other", types[t], "n,,");
            assert_string_equal(again.shape, l.shape);
            assert_string_equal(again.salt, l.salt);
            assert_int_equal(again.iterations, l.iterations);
        }
        assert_true(seen[0]);
        assert_true(types[t] == CONF_AUTH_MD5 || seen[1]);
    }
    auth_users_unref(u);
    auth_users_unref(reloaded);
}

/* A model's iterations and length of salt are its mock's. */
static void test_mock_of_other_iterations(void **state)
{
    (void)state;
    struct auth_users *u = users_of(D "users: [{name: v, password: "
                                      "'SCRAM-SHA-256$5000:AAECAwQFBgcICQ==$LYaIm9GFVDrxQuubLMRnqBbQx3QDTGP9so/"
                                      "gHI1zOTI=:0mPFuQbQZyMrXdjErEkKBWr3guAowhg/oO6lkB0ls0c='}]");
    struct login real = log_in(u, "v", NULL, "x", CONF_AUTH_SCRAM, "n,,");
    struct login mock = log_in(u, "w", NULL, "x", CONF_AUTH_SCRAM, "n,,");
    assert_int_equal(real.iterations, 5000);
    assert_int_equal(mock.iterations, 5000);
    assert_int_equal(strlen(mock.salt), strlen(real.salt));
    assert_string_not_equal(mock.salt, real.salt);
    assert_string_equal(mock.shape, real.shape);
    auth_users_unref(u);
    u = users_of(D); /* nobody at all */
    mock = log_in(u, "w", NULL, "x", CONF_AUTH_SCRAM, "n,,");
    expect(mock, false, "R10/24 R11/89 derive fail", "unknown user");
    expect(log_in(u, "w", NULL, "x", CONF_AUTH_MD5, ""), false, "R5/13 fail", "unknown user");
    auth_users_unref(u);
}

/* What is not ASCII: prepared on our side, sent prepared by clients. */
static void test_saslprep(void **state)
{
    (void)state;
    struct auth_users *u = users_of(D "users: [{name: p, password: \"\\u2168\"}]");
    expect(log_in(u, "p", NULL, "IX", CONF_AUTH_SCRAM, "n,,"), true, "R10/24 R11/89 derive ok R12/55", "");
    auth_users_unref(u);
}

/* The exchange keeps the users alive. */
static void test_users_are_referenced(void **state)
{
    (void)state;
    struct auth_users *u = users_of(USERS);
    struct buf reply;
    struct error e;
    enum auth_step step;
    buf_init(&reply, 0);
    struct auth_exchange *x =
        auth_begin(u, auth_users_find(u, STR("plain")), STR("plain"), CONF_AUTH_PASSWORD, 4096, &reply, &step, &e);
    auth_users_unref(u);
    assert_int_equal(auth_input(x, (struct str){"pencil", 7}, &reply, &e), AUTH_OK);
    auth_free(x);
    auth_free(NULL);
    buf_fini(&reply);
}

static void test_random(void **state)
{
    (void)state;
    uint8_t a[300] = {0}, b[300] = {0};
    auth_random(a, sizeof(a));
    auth_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    auth_random(a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scram),     cmocka_unit_test(test_password),
        cmocka_unit_test(test_md5),       cmocka_unit_test(test_trust),
        cmocka_unit_test(test_no_oracle), cmocka_unit_test(test_mock_of_other_iterations),
        cmocka_unit_test(test_saslprep),  cmocka_unit_test(test_users_are_referenced),
        cmocka_unit_test(test_random),
    };
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
