/* Messages that no good client sends. */
#include "auth_client.h"

static struct auth_users *users;

static struct auth_exchange *start(const char *name, enum conf_auth_type type, struct buf *reply)
{
    enum auth_step step;
    struct error e;
    struct auth_exchange *x =
        auth_begin(users, auth_users_find(users, str_from(name)), str_from(name), type, 4096, reply, &step, &e);
    assert_int_equal(step, AUTH_CONTINUE);
    buf_consume(reply, reply->len);
    return x;
}

/* The same verdict whether the user exists or not. */
static void expect_refused(struct str body, const char *why)
{
    static const char *const names[] = {"ver", "plain", "nobody"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf reply;
        struct error e;
        buf_init(&reply, 0);
        struct auth_exchange *x = start(names[i], CONF_AUTH_SCRAM, &reply);
        char *copy = guard_copy(body.ptr, body.len);
        assert_int_equal(auth_input(x, (struct str){copy, body.len}, &reply, &e), AUTH_FAIL);
        guard_free(copy, body.len);
        assert_int_equal(e.code, ERR_PROTOCOL);
        assert_int_equal(reply.len, 0);
        if (why && !strstr(e.cause, why))
            fail_msg("got %s, expected %s", e.cause, why);
        /* and nothing more is taken */
        assert_int_equal(auth_input(x, STR("x"), &reply, &e), AUTH_FAIL);
        assert_int_equal(e.code, ERR_PROTOCOL);
        auth_free(x);
        buf_fini(&reply);
    }
}

static void test_first_messages(void **state)
{
    (void)state;
    static const struct {
        const char *message, *why;
    } rows[] = {
        {"", "empty"},
        {"p=tls-server-end-point,,n=,r=abc", "channel binding"},
        {"x,,n=,r=abc", "flag"},
        {"n", "comma"},
        {"n,", "comma"},
        {"nn,n=,r=abc", "comma"},
        {"n,a=other,n=,r=abc", "authorization identity"},
        {"n,x,n=,r=abc", "GS2"},
        {"n,,", "user name"},
        {"n,,m=ext,n=,r=abc", "extension"},
        {"n,,n=", "user name"},
        {"n,,n=user", "user name"},
        {"n,,r=abc", "user name"},
        {"n,,n=,", "nonce"},
        {"n,,n=,r", "nonce"},
        {"n,,n=,r=", "nonce"},
        {"n,,n=,x=abc", "nonce"},
        {"n,,n=,r=a b", "nonce"},
        {"n,,n=,r=a\x7f", "nonce"},
        {"n,,n=,r=\xc3\xa9", "nonce"},
        {"n,,n=,r=abc,", "extension"},
        {"n,,n=,r=abc,1=x", "extension"},
        {"n,,n=,r=abc,xy", "extension"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf body;
        buf_init(&body, 0);
        put_initial(&body, "SCRAM-SHA-256", rows[i].message, strlen(rows[i].message));
        expect_refused(buf_str(&body), rows[i].why);
        buf_fini(&body);
    }
}

static void test_initial_response(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    put_initial(&b, "SCRAM-SHA-256-PLUS", "n,,n=,r=abc", 11);
    expect_refused(buf_str(&b), "only SCRAM-SHA-256");
    buf_fini(&b);
    put_initial(&b, "", "n,,n=,r=abc", 11);
    expect_refused(buf_str(&b), "only SCRAM-SHA-256");
    buf_fini(&b);
    put_initial(&b, "SCRAM-SHA-256", "n,,n=\0,r=abc", 12);
    expect_refused(buf_str(&b), "zero byte");
    buf_fini(&b);
    /* every prefix, and one byte too many */
    put_initial(&b, "SCRAM-SHA-256", "n,,n=,r=abc", 11);
    for (size_t n = 0; n < b.len; n++)
        expect_refused((struct str){buf_head(&b), n}, NULL);
    buf_append_byte(&b, 'x');
    expect_refused(buf_str(&b), "wrong lengths");
    buf_fini(&b);
    /* longer than allowed */
    char *large = malloc(70000);
    assert_non_null(large);
    memset(large, 'a', 70000);
    memcpy(large, "n,,n=,r=", 8);
    put_initial(&b, "SCRAM-SHA-256", large, 70000);
    expect_refused(buf_str(&b), "longer than 64 KiB");
    buf_fini(&b);
    put_initial(&b, "SCRAM-SHA-256", large, 60000);
    expect_refused(buf_str(&b), "nonce");
    buf_fini(&b);
    free(large);
}

/* Without an initial response the server asks with an empty challenge. */
static void test_empty_initial_response(void **state)
{
    (void)state;
    struct buf reply;
    struct error e;
    buf_init(&reply, 0);
    struct auth_exchange *x = start("ver", CONF_AUTH_SCRAM, &reply);
    assert_int_equal(auth_input(x, (struct str){"SCRAM-SHA-256\0\xff\xff\xff\xff", 18}, &reply, &e), AUTH_CONTINUE);
    assert_str(buf_str(&reply), "R\0\0\0\x08\0\0\0\x0b");
    buf_consume(&reply, reply.len);
    assert_int_equal(auth_input(x, STR("n,,n=,r=abc"), &reply, &e), AUTH_CONTINUE);
    assert_true(reply.len > 9);
    auth_free(x);
    buf_fini(&reply);
}

/* A login up to server-first; the client-final with "pencil" goes to `final`. */
static struct auth_exchange *reach_final(const char *name, char *final, size_t size, struct buf *reply)
{
    struct login l = {0};
    char data[2048], want[64];
    struct buf body;
    struct error e;
    struct auth_exchange *x = start(name, CONF_AUTH_SCRAM, reply);
    buf_init(&body, 0);
    put_initial(&body, "SCRAM-SHA-256", "n,,n=,r=" CLIENT_NONCE, 8 + strlen(CLIENT_NONCE));
    assert_int_equal(auth_input(x, buf_str(&body), reply, &e), AUTH_CONTINUE);
    take_reply(&l, reply, data, sizeof(data));
    client_final(&l, "pencil", "n,,", data, final, size, want);
    buf_fini(&body);
    return x;
}

static void expect_final_refused(const char *name, const char *(*spoil)(char *final, size_t n), size_t n)
{
    struct buf reply;
    struct error e;
    char final[2048];
    buf_init(&reply, 0);
    struct auth_exchange *x = reach_final(name, final, sizeof(final) - 64, &reply);
    const char *why = spoil(final, n);
    size_t len = strlen(final);
    char *copy = guard_copy(final, len);
    assert_int_equal(auth_input(x, (struct str){copy, len}, &reply, &e), AUTH_FAIL);
    guard_free(copy, len);
    assert_int_equal(e.code, ERR_PROTOCOL);
    if (why && !strstr(e.cause, why))
        fail_msg("got %s, expected %s", e.cause, why);
    assert_int_equal(reply.len, 0);
    auth_free(x);
    buf_fini(&reply);
}

static const char *cut(char *final, size_t n)
{
    final[n] = 0;
    return NULL;
}

static const char *damage(char *final, size_t n)
{
    char *nonce = strstr(final, ",r=") + 3, *proof = strstr(final, ",p=") + 3;
    switch (n) {
    case 0:
        memcpy(final, "c=eSws", 6); /* another flag than in the first message */
        return "channel binding";
    case 1:
        nonce[0] ^= 1;
        return "nonce";
    case 2:
        nonce[strlen(CLIENT_NONCE) + 3] ^= 1; /* the server's part */
        return "nonce";
    case 3:
        strcat(final, ",x=y");
        return "follows";
    case 4:
        strcat(final, "AAAA");
        return "32 bytes";
    case 5:
        proof[4] = '!';
        return "32 bytes";
    case 6:
        proof[0] = 0;
        return "32 bytes";
    case 7:
        final[0] = 'x';
        return "attribute c";
    case 8:
        nonce[-2] = 'q';
        return "attribute r";
    default:
        proof[-2] = 'q';
        return "attribute p";
    }
}

static void test_final_messages(void **state)
{
    (void)state;
    char final[2048];
    struct buf reply;
    buf_init(&reply, 0);
    auth_free(reach_final("ver", final, sizeof(final), &reply));
    buf_fini(&reply);
    for (size_t n = 0; n < strlen(final); n++) {
        expect_final_refused("ver", cut, n);
        expect_final_refused("nobody", cut, n);
    }
    for (size_t n = 0; n < 10; n++)
        expect_final_refused("ver", damage, n);
}

/* Extensions before the proof are part of the signed text, so they fail as a wrong proof. */
static void test_extension_in_final(void **state)
{
    (void)state;
    struct buf reply;
    struct error e;
    char final[2048], changed[2100];
    buf_init(&reply, 0);
    struct auth_exchange *x = reach_final("ver", final, sizeof(final), &reply);
    char *proof = strstr(final, ",p=");
    snprintf(changed, sizeof(changed), "%.*s,x=y%s", (int)(proof - final), final, proof);
    assert_int_equal(auth_input(x, str_from(changed), &reply, &e), AUTH_FAIL);
    assert_int_equal(e.code, ERR_AUTH_FAILED);
    auth_free(x);
    buf_fini(&reply);
}

/* Each bit of a proof counts. */
static void test_wrong_proofs(void **state)
{
    (void)state;
    for (size_t i = 0; i < 43; i++) {
        struct buf reply;
        struct error e;
        char final[2048];
        buf_init(&reply, 0);
        struct auth_exchange *x = reach_final("ver", final, sizeof(final), &reply);
        char *p = strstr(final, ",p=") + 3 + i;
        *p = i == 42 ? (*p == 'A' ? 'E' : 'A') : *p == 'A' ? 'B' : 'A'; /* the last digit has two spare bits */
        assert_int_equal(auth_input(x, str_from(final), &reply, &e), AUTH_FAIL);
        assert_int_equal(e.code, ERR_AUTH_FAILED);
        assert_int_equal(reply.len, 0);
        auth_free(x);
        buf_fini(&reply);
    }
}

/* A message while the keys are derived is refused and does not end the derivation. */
static void test_message_while_deriving(void **state)
{
    (void)state;
    struct buf reply;
    struct error e;
    char final[2048];
    buf_init(&reply, 0);
    struct auth_exchange *x = reach_final("plain", final, sizeof(final), &reply);
    assert_int_equal(auth_input(x, str_from(final), &reply, &e), AUTH_DERIVE);
    assert_int_equal(auth_input(x, str_from(final), &reply, &e), AUTH_FAIL);
    assert_int_equal(e.code, ERR_PROTOCOL);
    auth_derive(x);
    assert_int_equal(auth_resume(x, &reply, &e), AUTH_OK);
    auth_free(x);
    buf_fini(&reply);
}

static void test_password_messages(void **state)
{
    (void)state;
    static const enum conf_auth_type types[] = {CONF_AUTH_PASSWORD, CONF_AUTH_MD5};
    static const struct str bodies[] = {{"", 0}, {"abc", 3}, {"a\0b", 4}, {"a\0", 3}};
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            struct buf reply;
            struct error e;
            buf_init(&reply, 0);
            struct auth_exchange *x = start("only", types[t], &reply);
            assert_int_equal(auth_input(x, bodies[i], &reply, &e), AUTH_FAIL);
            assert_int_equal(e.code, ERR_PROTOCOL);
            auth_free(x);
            buf_fini(&reply);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_messages),         cmocka_unit_test(test_initial_response),
        cmocka_unit_test(test_empty_initial_response), cmocka_unit_test(test_final_messages),
        cmocka_unit_test(test_extension_in_final),     cmocka_unit_test(test_wrong_proofs),
        cmocka_unit_test(test_message_while_deriving), cmocka_unit_test(test_password_messages),
    };
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    users = users_of(D "users: [{name: ver, password: '" VERIFIER
                       "'}, {name: plain, password: pencil}, {name: only, password: pencil}]");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    auth_users_unref(users);
    return failed;
}
