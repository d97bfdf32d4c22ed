/* Memory that runs out in the middle of a login: it fails, and nothing else does. */
#include "auth_client.h"

#include "fault.h"

/* One login under the countdown. The exchange itself is small and of our own size: that one must not fail. */
static enum auth_step try_login(struct auth_users *u, enum conf_auth_type type, long successes, struct error *e)
{
    struct login l = {0};
    struct buf reply, body;
    char data[2048], final[2048], want[64];
    enum auth_step step;
    buf_init(&reply, 0);
    buf_init(&body, 0);
    put_initial(&body, "SCRAM-SHA-256", "n,,n=,r=" CLIENT_NONCE, 8 + strlen(CLIENT_NONCE));
    fault_malloc_after(successes + 1);
    struct auth_exchange *x = auth_begin(u, auth_users_find(u, STR("p")), STR("p"), type, 4096, &reply, &step, e);
    buf_consume(&reply, reply.len);
    buf_release_if_empty(&reply);
    if (step == AUTH_FAIL)
        assert_int_equal(auth_input(x, STR("x"), &reply, &(struct error){0}), AUTH_FAIL);
    else if (type == CONF_AUTH_SCRAM) {
        step = auth_input(x, buf_str(&body), &reply, e);
        if (step == AUTH_CONTINUE) {
            long failures = fault_malloc_failures();
            assert_int_equal(failures, 0);
            take_reply(&l, &reply, data, sizeof(data));
            client_final(&l, "IX", "n,,", data, final, sizeof(final), want);
            step = auth_input(x, str_from(final), &reply, e);
        }
    } else {
        step = auth_input(x, (struct str){"IX", 3}, &reply, e);
    }
    if (step == AUTH_DERIVE) {
        auth_derive(x);
        step = auth_resume(x, &reply, e);
    }
    fault_malloc_off();
    auth_free(x);
    buf_fini(&reply);
    buf_fini(&body);
    return step;
}

static void sweep(const char *yaml, enum conf_auth_type type, long at_least)
{
    struct auth_users *u = users_of(yaml);
    long n = 0;
    for (;; n++) {
        struct error e;
        error_clear(&e);
        enum auth_step step = try_login(u, type, n, &e);
        if (step == AUTH_OK)
            break;
        assert_int_equal(step, AUTH_FAIL);
        assert_int_equal(e.code, ERR_OUT_OF_MEMORY);
        assert_true(n < 1000);
    }
    assert_true(n >= at_least);
    auth_users_unref(u);
}

static void test_scram(void **state)
{
    (void)state;
    sweep(D "users: [{name: p, password: \"\\u2168\"}]", CONF_AUTH_SCRAM, 4);
}

static void test_password(void **state)
{
    (void)state;
    sweep(D "users: [{name: p, password: 'SCRAM-SHA-256$4096:M4xIWyW+TiSZiQP0qv2IFg==$gQsQLT2QnpY29uw/"
            "c7XNjXkOZ6i2SVQzIX91PghdSK8=:gdOrhCp5OuKMOOJkoC3kSjCxTvcmQoX0UA+MZid14gM='}]",
          CONF_AUTH_PASSWORD, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scram), cmocka_unit_test(test_password)};
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
