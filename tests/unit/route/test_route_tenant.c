#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shardgate/route.h"

static struct error e;

static bool statement(const struct route_tenant *t, enum sql_comment comment, int64_t named, const int64_t *current,
                      int64_t *tenant, enum route_source *source)
{
    struct sql_inspection in = {.comment = comment, .tenant = named};
    error_clear(&e);
    return route_statement(t, &in, true, current, tenant, source, &e);
}

#define assert_conflict(call)                          \
    do {                                               \
        error_clear(&e);                               \
        assert_false(call);                            \
        assert_int_equal(e.code, ERR_TENANT_CONFLICT); \
    } while (0)

static void test_nothing(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    int64_t tenant;
    enum route_source source;

    assert_true(statement(&t, SQL_COMMENT_NONE, 0, NULL, &tenant, &source));
    assert_int_equal(source, ROUTE_NONE);
    assert_false(route_show(&t, &tenant));
    assert_true(route_reset(&t, NULL, &e));
    assert_false(route_show(&t, &tenant));
}

static void test_identity_is_locked(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    int64_t tenant;
    enum route_source source;

    assert_true(route_add_identity(&t, 42, &e));
    assert_true(route_add_identity(&t, 42, &e));
    assert_conflict(route_add_identity(&t, 43, &e));
    assert_true(route_add_startup(&t, 42, &e));
    assert_conflict(route_add_startup(&t, 43, &e));
    assert_true(route_set(&t, false, 42, NULL, &e));
    assert_true(route_set(&t, true, 42, NULL, &e));
    assert_conflict(route_set(&t, false, 43, NULL, &e));
    assert_non_null(strstr(e.detail, "42"));
    assert_non_null(strstr(e.detail, "43"));
    assert_conflict(route_set(&t, true, 43, NULL, &e));
    assert_true(route_reset(&t, NULL, &e));
    assert_true(statement(&t, SQL_COMMENT_NONE, 0, NULL, &tenant, &source));
    assert_int_equal(tenant, 42);
    assert_int_equal(source, ROUTE_IDENTITY);
    assert_conflict(statement(&t, SQL_COMMENT_TENANT, 43, NULL, &tenant, &source));
}

static void test_startup_before_identity(void **state)
{
    (void)state;
    struct route_tenant t = {0};

    assert_true(route_add_startup(&t, 1, &e));
    assert_conflict(route_add_startup(&t, 2, &e));
    assert_conflict(route_add_identity(&t, 2, &e));
    assert_false(t.has_identity);
    assert_true(route_add_identity(&t, 1, &e));
}

static void test_set_and_reset(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    int64_t tenant;

    assert_true(route_add_startup(&t, 1, &e));
    assert_true(route_set(&t, false, 2, NULL, &e));
    assert_true(route_show(&t, &tenant));
    assert_int_equal(tenant, 2);
    assert_true(route_reset(&t, NULL, &e));
    assert_true(route_show(&t, &tenant));
    assert_int_equal(tenant, 1);
}

static void test_local_until_the_end(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    int64_t tenant;
    enum route_source source;

    assert_true(route_set(&t, false, 1, NULL, &e));
    assert_true(route_set(&t, true, 2, NULL, &e));
    assert_true(statement(&t, SQL_COMMENT_NONE, 0, NULL, &tenant, &source));
    assert_int_equal(tenant, 2);
    assert_int_equal(source, ROUTE_LOCAL);
    assert_conflict(statement(&t, SQL_COMMENT_TENANT, 1, NULL, &tenant, &source));
    route_end_transaction(&t);
    assert_true(statement(&t, SQL_COMMENT_TENANT, 1, NULL, &tenant, &source));
    assert_int_equal(tenant, 1);
    assert_int_equal(source, ROUTE_SESSION);
    assert_true(route_set(&t, true, 2, NULL, &e));
    assert_true(route_set(&t, false, 3, NULL, &e));
    assert_true(route_show(&t, &tenant));
    assert_int_equal(tenant, 3);
}

static void test_in_a_transaction(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    const int64_t current = 7;
    int64_t tenant;
    enum route_source source;

    assert_true(statement(&t, SQL_COMMENT_TENANT, 7, &current, &tenant, &source));
    assert_int_equal(source, ROUTE_COMMENT);
    assert_false(statement(&t, SQL_COMMENT_TENANT, 8, &current, &tenant, &source));
    assert_int_equal(e.code, ERR_TENANT_SEVERAL);
    assert_true(statement(&t, SQL_COMMENT_NONE, 0, &current, &tenant, &source));
    assert_int_equal(source, ROUTE_NONE);
    assert_int_equal(tenant, 7);
    assert_true(route_set(&t, false, 7, &current, &e));
    assert_true(route_set(&t, true, 7, &current, &e));
    assert_conflict(route_set(&t, false, 8, &current, &e));
    assert_conflict(route_set(&t, true, 8, &current, &e));
    assert_true(route_show(&t, &tenant));
    assert_int_equal(tenant, 7);
    assert_true(route_reset(&t, &current, &e));

    struct route_tenant s = {0};
    assert_true(route_add_startup(&s, 8, &e));
    assert_conflict(route_reset(&s, &current, &e));
    assert_conflict(statement(&s, SQL_COMMENT_NONE, 0, &current, &tenant, &source));
}

static void test_comments(void **state)
{
    (void)state;
    struct route_tenant t = {0};
    struct sql_inspection in = {.comment = SQL_COMMENT_INVALID};
    int64_t tenant;
    enum route_source source;

    assert_true(statement(&t, SQL_COMMENT_TENANT, 5, NULL, &tenant, &source));
    assert_int_equal(tenant, 5);
    assert_int_equal(source, ROUTE_COMMENT);
    assert_false(statement(&t, SQL_COMMENT_INVALID, 0, NULL, &tenant, &source));
    assert_int_equal(e.code, ERR_INVALID_TENANT);
    assert_false(statement(&t, SQL_COMMENT_SEVERAL, 0, NULL, &tenant, &source));
    assert_int_equal(e.code, ERR_TENANT_SEVERAL);
    assert_true(route_statement(&t, &in, false, NULL, &tenant, &source, &e));
    assert_int_equal(source, ROUTE_NONE);
}

static void test_names(void **state)
{
    (void)state;
    for (int s = ROUTE_NONE; s <= ROUTE_COMMENT; s++)
        assert_non_null(route_source_name((enum route_source)s));
    assert_string_equal(route_source_name(ROUTE_LOCAL), "set local");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_identity_is_locked),
        cmocka_unit_test(test_startup_before_identity),
        cmocka_unit_test(test_set_and_reset),
        cmocka_unit_test(test_local_until_the_end),
        cmocka_unit_test(test_in_a_transaction),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
