#include "support.h"

#include <string.h>

#include "utf8.h"

static void check_len(const char *bytes, size_t len, size_t want)
{
    char *p = guard_copy(bytes, len);

    if (utf8_char_len(p, len) != want)
        fail_msg("utf8_char_len of \"%s\" is %zu, not %zu", bytes, utf8_char_len(p, len), want);
    guard_free(p, len);
}

static void test_valid(void **state)
{
    (void)state;
    check_len("a", 1, 1);
    check_len("\0", 1, 1);
    check_len("\xc2\x80", 2, 2);
    check_len("\xdf\xbf", 2, 2);
    check_len("\xe0\xa0\x80", 3, 3);
    check_len("\xed\x9f\xbf", 3, 3);
    check_len("\xee\x80\x80", 3, 3);
    check_len("\xf0\x90\x80\x80", 4, 4);
    check_len("\xf4\x8f\xbf\xbf", 4, 4);
    check_len("\xc3\xa4rest", 6, 2);
}

static void test_invalid(void **state)
{
    (void)state;
    check_len("", 0, 0);
    check_len("\x80", 1, 0);
    check_len("\xbf\xbf", 2, 0);
    check_len("\xc0\x80", 2, 0);
    check_len("\xc1\xbf", 2, 0);
    check_len("\xc2", 1, 0);
    check_len("\xc2\x41", 2, 0);
    check_len("\xe0\x9f\xbf", 3, 0);
    check_len("\xed\xa0\x80", 3, 0);
    check_len("\xe2\x82", 2, 0);
    check_len("\xf0\x8f\xbf\xbf", 4, 0);
    check_len("\xf4\x90\x80\x80", 4, 0);
    check_len("\xf5\x80\x80\x80", 4, 0);
    check_len("\xf0\x9f\x90", 3, 0);
    check_len("\xff\xff\xff\xff", 4, 0);
}

static void test_cut(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98z";
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(utf8_cut(text, i), want[i]);
    /* Bytes that are no UTF-8 are not ours to shorten. */
    assert_int_equal(utf8_cut("\x80\x80\x80\x80", 4), 4);
    assert_int_equal(utf8_cut("\x80", 1), 1);
    assert_int_equal(utf8_cut("ab\xff", 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
