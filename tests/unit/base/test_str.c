#include "support.h"

#include <string.h>

static void test_compare(void **state)
{
    (void)state;
    struct str none = {0};

    assert_true(str_eq(none, STR("")));
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abC")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq_nocase(STR("TENANT_id"), STR("tenant_ID")));
    assert_false(str_eq_nocase(STR("a["), STR("A{")));
    assert_false(str_eq_nocase(STR("\xc3\x84"), STR("\xc3\xa4")));
    assert_true(str_eq_nocase(none, none));
    assert_true(str_starts(STR("shardgate.tenant"), STR("shardgate.")));
    assert_true(str_starts(STR("x"), none));
    assert_true(str_starts(none, none));
    assert_false(str_starts(STR("shard"), STR("shardgate")));
    assert_int_equal(str_from(NULL).len, 0);
    assert_str(str_from("abc"), "abc");
}

static void test_trim(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n\v\f x y \n")), "x y");
    assert_str(str_trim(STR("x")), "x");
    assert_str(str_trim(STR("   ")), "");
    assert_str(str_trim((struct str){0}), "");
}

static void check_i64(const char *text, bool ok, int64_t want)
{
    int64_t got = 77;

    if (str_to_i64(str_from(text), &got) != ok || got != (ok ? want : 77))
        fail_msg("str_to_i64(\"%s\") gave %lld", text, (long long)got);
}

static void check_u64(const char *text, bool ok, uint64_t want)
{
    uint64_t got = 77;

    if (str_to_u64(str_from(text), &got) != ok || got != (ok ? want : 77))
        fail_msg("str_to_u64(\"%s\") gave %llu", text, (unsigned long long)got);
}

static void test_to_i64(void **state)
{
    (void)state;
    check_i64("0", true, 0);
    check_i64("-0", true, 0);
    check_i64("+7", true, 7);
    check_i64("-42", true, -42);
    check_i64("007", true, 7);
    check_i64("9223372036854775807", true, INT64_MAX);
    check_i64("-9223372036854775808", true, INT64_MIN);
    check_i64("9223372036854775808", false, 0);
    check_i64("-9223372036854775809", false, 0);
    check_i64("18446744073709551617", false, 0);
    check_i64("99999999999999999999999999999999", false, 0);
    check_i64("", false, 0);
    check_i64("-", false, 0);
    check_i64("+", false, 0);
    check_i64("--1", false, 0);
    check_i64(" 1", false, 0);
    check_i64("1 ", false, 0);
    check_i64("1.5", false, 0);
    check_i64("0x10", false, 0);
    assert_false(str_to_i64((struct str){0}, &(int64_t){0}));
    assert_false(str_to_i64((struct str){"1\0", 2}, &(int64_t){0}));
}

static void test_to_u64(void **state)
{
    (void)state;
    check_u64("0", true, 0);
    check_u64("-0", true, 0);
    check_u64("+18446744073709551615", true, UINT64_MAX);
    check_u64("18446744073709551616", false, 0);
    check_u64("184467440737095516150", false, 0);
    check_u64("-1", false, 0);
    check_u64("x", false, 0);
}

/* A slice has no terminator: nothing may be read past its end. */
static void test_reads_stay_inside(void **state)
{
    (void)state;
    char *p = guard_copy(" 123 ", 5);
    struct str s = {p, 5};
    int64_t n;

    assert_str(str_trim(s), "123");
    assert_false(str_to_i64(s, &n));
    assert_true(str_eq_nocase(s, STR(" 123 ")));
    assert_false(str_starts(s, STR(" 123  ")));
    guard_free(p, 5);

    p = guard_copy("123", 3);
    assert_true(str_to_i64((struct str){p, 3}, &n));
    assert_int_equal(n, 123);
    guard_free(p, 3);
}

static void test_copy(void **state)
{
    (void)state;
    char *dst = guard_alloc(4);

    assert_true(str_copy(dst, 4, STR("abc")));
    assert_string_equal(dst, "abc");
    assert_false(str_copy(dst, 4, STR("abcd")));
    assert_string_equal(dst, "abc");
    assert_true(str_copy(dst, 4, (struct str){0}));
    assert_string_equal(dst, "");
    assert_false(str_copy(dst, 0, STR("x")));
    guard_free(dst, 4);
}

static void test_dup(void **state)
{
    (void)state;
    char *a = str_dup((struct str){"abcdef", 3});
    char *b = str_dup((struct str){0});

    assert_string_equal(a, "abc");
    assert_string_equal(b, "");
    mem_free(a);
    mem_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_to_i64),
        cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_reads_stay_inside),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_dup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
