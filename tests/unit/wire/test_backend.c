/* Bodies of backend messages. */
#include "support.h"

#include <string.h>

#include "shardgate/wire.h"

static bool error_of(const char *bytes, size_t len, struct wire_error *out)
{
    return wire_parse_error((struct str){bytes, len}, out);
}

static void test_error(void **state)
{
    (void)state;
    static const char body[] = "SFEHLER\0VERROR\0C42P01\0Mno table\0Dthe detail\0Hthe hint\0P15\0Fparse.c\0L1\0Rx\0";
    struct wire_error e;
    assert_true(error_of(body, sizeof(body), &e));
    assert_str(e.severity, "ERROR");
    assert_str(e.sqlstate, "42P01");
    assert_str(e.message, "no table");
    assert_str(e.detail, "the detail");
    assert_str(e.hint, "the hint");
    for (size_t n = 0; n < sizeof(body); n++) {
        char *p = guard_copy(body, n);
        assert_false(error_of(p, n, &e));
        guard_free(p, n);
    }
    assert_false(error_of("MX\0\0x", 5, &e)); /* bytes behind the end */
}

static void test_error_sparse(void **state)
{
    (void)state;
    struct wire_error e;
    assert_true(error_of("\0", 1, &e));
    assert_int_equal(e.message.len, 0);
    assert_true(error_of("SFATAL\0Mold\0\0", 13, &e));
    assert_str(e.severity, "FATAL");
    assert_str(e.message, "old");
}

static void test_parameter_status(void **state)
{
    (void)state;
    static const char body[] = "TimeZone\0Europe/Berlin";
    struct str name, value;
    assert_true(wire_parse_parameter_status((struct str){body, sizeof(body)}, &name, &value));
    assert_str(name, "TimeZone");
    assert_str(value, "Europe/Berlin");
    for (size_t n = 0; n < sizeof(body); n++) {
        char *p = guard_copy(body, n);
        assert_false(wire_parse_parameter_status((struct str){p, n}, &name, &value));
        guard_free(p, n);
    }
    assert_false(wire_parse_parameter_status((struct str){"a\0b\0c", 5}, &name, &value));
}

/* Number of columns until the end, or -1. */
static int walk(const char *bytes, size_t len)
{
    char *p = guard_copy(bytes, len);
    struct wire_row it = {{p, len}, -1};
    struct str value;
    int rc, columns = 0;
    while ((rc = wire_row_next(&it, &value)) > 0)
        columns++;
    guard_free(p, len);
    return rc < 0 ? -1 : columns;
}

static void test_row(void **state)
{
    (void)state;
    static const char body[] = "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0"; /* the literal's NUL is the last length's */
    struct wire_row it = {{body, sizeof(body)}, -1};
    struct str value;
    assert_int_equal(wire_row_next(&it, &value), 1);
    assert_str(value, "ab");
    assert_int_equal(wire_row_next(&it, &value), 1);
    assert_null(value.ptr);
    assert_int_equal(wire_row_next(&it, &value), 1);
    assert_non_null(value.ptr);
    assert_int_equal(value.len, 0);
    assert_int_equal(wire_row_next(&it, &value), 0);
    assert_int_equal(wire_row_next(&it, &value), 0);
    assert_int_equal(walk(body, sizeof(body)), 3);
    for (size_t n = 0; n < sizeof(body); n++)
        assert_int_equal(walk(body, n), -1);
    assert_int_equal(walk("\0\0", 2), 0);
    assert_int_equal(walk("\0\0x", 3), -1);
    assert_int_equal(walk("\0\1\x7f\xff\xff\xffx", 7), -1);
    assert_int_equal(walk("\0\1\xff\xff\xff\xfex", 7), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_error_sparse),
        cmocka_unit_test(test_parameter_status),
        cmocka_unit_test(test_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
