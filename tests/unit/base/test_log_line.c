#include "support.h"

#include <string.h>

#include "log_line.h"

static char text[LOG_LINE_MAX];

/* One line with one field, without the time. */
static const char *line_of(enum log_format format, struct log_field field)
{
    struct log_line l;
    size_t len;

    log_line_begin(&l, text, sizeof(text), format);
    log_line_head(&l, UINT64_C(1795350896123456), LOG_INFO, "e");
    log_line_field(&l, &field);
    len = log_line_end(&l, 0, 0);
    assert_int_equal(text[len - 1], '\n');
    text[len - 1] = '\0';
    assert_int_equal(strlen(text), len - 1);
    return strstr(text, format == LOG_JSON ? "\"event\":\"e\"," : "event=e ") + (format == LOG_JSON ? 12 : 8);
}

static void check_value(struct str value, const char *logfmt, const char *json)
{
    char *copy = guard_copy(value.ptr, value.len);
    struct str guarded = {copy, value.len};

    assert_string_equal(line_of(LOG_LOGFMT, log_slice("k", guarded)), logfmt);
    assert_string_equal(line_of(LOG_JSON, log_slice("k", guarded)), json);
    guard_free(copy, value.len);
}

static void test_head(void **state)
{
    (void)state;
    struct log_line l;
    size_t len;

    log_line_begin(&l, text, sizeof(text), LOG_LOGFMT);
    log_line_head(&l, UINT64_C(1795350896123456), LOG_INFO, "client login");
    len = log_line_end(&l, 0, 0);
    assert_str(((struct str){text, len}), "time=2026-11-22T12:34:56.123456Z level=info event=\"client login\"\n");
    log_line_begin(&l, text, sizeof(text), LOG_JSON);
    log_line_head(&l, 0, LOG_ERROR, "x");
    len = log_line_end(&l, 7, 9);
    assert_str(((struct str){text, len}),
               "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"error\",\"event\":\"x\","
               "\"suppressed\":7,\"dropped\":9}\n");
}

static void test_values(void **state)
{
    (void)state;
    check_value(STR("plain"), "k=plain", "\"k\":\"plain\"}");
    check_value(STR(""), "k=\"\"", "\"k\":\"\"}");
    check_value(STR("a b"), "k=\"a b\"", "\"k\":\"a b\"}");
    check_value(STR("a=b"), "k=\"a=b\"", "\"k\":\"a=b\"}");
    check_value(STR("say \"hi\""), "k=\"say \\\"hi\\\"\"", "\"k\":\"say \\\"hi\\\"\"}");
    check_value(STR("back\\slash"), "k=\"back\\\\slash\"", "\"k\":\"back\\\\slash\"}");
    check_value(STR("a\nb\rc\td"), "k=\"a\\nb\\rc\\td\"", "\"k\":\"a\\nb\\rc\\td\"}");
    check_value(STR("\0\x1b\x7f"), "k=\"\\x00\\x1b\\x7f\"", "\"k\":\"\\u0000\\u001b\\u007f\"}");
    check_value(STR("K\xc3\xb6ln \xf0\x9f\x90\x98"), "k=\"K\xc3\xb6ln \xf0\x9f\x90\x98\"",
                "\"k\":\"K\xc3\xb6ln \xf0\x9f\x90\x98\"}");
    check_value(STR("K\xc3\xb6ln"), "k=K\xc3\xb6ln", "\"k\":\"K\xc3\xb6ln\"}");
    /* Terminal controls in two bytes, stray bytes, a cut character. */
    check_value(STR("\xc2\x9b"), "k=\"\\xc2\\x9b\"", "\"k\":\"\\u009b\"}");
    check_value(STR("a\xff\xc0\x80"), "k=\"a\\xff\\xc0\\x80\"", "\"k\":\"a\\\\xff\\\\xc0\\\\x80\"}");
    check_value(STR("a\xe2\x82"), "k=\"a\\xe2\\x82\"", "\"k\":\"a\\\\xe2\\\\x82\"}");
}

static void test_forged_line(void **state)
{
    (void)state;
    /* A value cannot start a line or a field of its own. */
    check_value(STR("x\nlevel=error event=forged"), "k=\"x\\nlevel=error event=forged\"",
                "\"k\":\"x\\nlevel=error event=forged\"}");
    check_value(STR("x\",\"admin\":\"y"), "k=\"x\\\",\\\"admin\\\":\\\"y\"", "\"k\":\"x\\\",\\\"admin\\\":\\\"y\"}");
}

static void test_numbers(void **state)
{
    (void)state;
    assert_string_equal(line_of(LOG_LOGFMT, log_int("n", -42)), "n=-42");
    assert_string_equal(line_of(LOG_JSON, log_int("n", INT64_MIN)), "\"n\":-9223372036854775808}");
}

/* Every length of value about the limit, for every kind of unit that may be cut. */
static void check_bounded(enum log_format format, struct str unit)
{
    enum { SIZE = 512 };
    char *room = guard_alloc(SIZE);
    char *value = guard_alloc(2 * SIZE);

    for (size_t i = 0; i < 2 * SIZE; i++)
        value[i] = unit.ptr[i % unit.len];
    for (size_t len = 0; len <= 2 * SIZE; len += unit.len) {
        struct log_line l;
        struct log_field field = log_slice("value", ((struct str){value, len}));
        struct log_field number = log_int("number", 1234567890);
        size_t end;

        log_line_begin(&l, room, SIZE, format);
        log_line_head(&l, 0, LOG_WARN, "bounded");
        log_line_field(&l, &field);
        log_line_field(&l, &number);
        log_line_field(&l, &field);
        end = log_line_end(&l, UINT64_MAX, UINT64_MAX);
        assert_in_range(end, 1, SIZE);
        assert_int_equal(room[end - 1], '\n');
        assert_true(format != LOG_JSON || room[end - 2] == '}');
        assert_true(len < SIZE || memmem(room, end, "cut", 3));
    }
    guard_free(room, SIZE);
    guard_free(value, 2 * SIZE);
}

static void test_bounded(void **state)
{
    (void)state;
    for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        check_bounded((enum log_format)format, STR("x"));
        check_bounded((enum log_format)format, STR("\x01"));
        check_bounded((enum log_format)format, STR("\xff"));
        check_bounded((enum log_format)format, STR("\""));
        check_bounded((enum log_format)format, STR("\xf0\x9f\x90\x98"));
    }
}

static void test_long_key_is_left_out(void **state)
{
    (void)state;
    char key[200];

    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_string_equal(line_of(LOG_LOGFMT, log_int(key, 1)), "cut=true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),    cmocka_unit_test(test_values),  cmocka_unit_test(test_forged_line),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_bounded), cmocka_unit_test(test_long_key_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
