#include "support.h"

#include <ctype.h>
#include <string.h>

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(err_info(ERR_OK)->sqlstate, "00000");
    for (int i = 1; i < ERR__COUNT; i++) {
        const struct err_info *info = err_info((enum err_code)i);

        assert_non_null(info->name);
        assert_int_equal(strlen(info->sqlstate), 5);
        for (int k = 0; k < 5; k++)
            assert_true(isdigit((unsigned char)info->sqlstate[k]) || isupper((unsigned char)info->sqlstate[k]));
        assert_true(info->message[0] != '\0');
        assert_non_null(info->hint);
        assert_true(strlen(info->message) < sizeof(((struct error *)0)->message));
        assert_true(strlen(info->hint) < sizeof(((struct error *)0)->hint));
        for (int k = 1; k < i; k++)
            assert_string_not_equal(info->message, err_info((enum err_code)k)->message);
    }
    assert_string_equal(err_info(ERR_TENANT_REQUIRED)->sqlstate, "SG001");
    assert_int_equal(err_info(ERR_TENANT_REQUIRED)->severity, SEVERITY_ERROR);
    assert_int_equal(err_info(ERR_SHUTTING_DOWN)->severity, SEVERITY_FATAL);
}

static void test_code_out_of_range(void **state)
{
    (void)state;
    assert_ptr_equal(err_info(ERR__COUNT), err_info(ERR_INTERNAL));
    assert_ptr_equal(err_info((enum err_code) - 1), err_info(ERR_INTERNAL));
}

static void test_set_clears_what_was_there(void **state)
{
    (void)state;
    struct error e;

    memset(&e, 'x', sizeof(e)); /* as an uninitialised one on the stack */
    assert_false(error_set(&e, ERR_TENANT_UNKNOWN, "tenant %d", 42));
    assert_int_equal(e.code, ERR_TENANT_UNKNOWN);
    assert_string_equal(e.cause, "tenant 42");
    assert_string_equal(e.detail, "");
    assert_string_equal(error_sqlstate(&e), "SG002");
    assert_string_equal(error_text(&e), err_info(ERR_TENANT_UNKNOWN)->message);
    assert_string_equal(error_hint_text(&e), err_info(ERR_TENANT_UNKNOWN)->hint);

    error_clear(&e);
    assert_int_equal(e.code, ERR_OK);
    assert_string_equal(e.cause, "");
    error_set(&e, ERR_CANCELED, NULL);
    assert_string_equal(e.cause, "");
    assert_string_equal(error_hint_text(&e), "");
}

static void test_own_texts(void **state)
{
    (void)state;
    struct error e;

    error_set(&e, ERR_CONFIG, "line %d", 3);
    error_message(&e, "bad %s", "port");
    error_detail(&e, "detail %d", 1);
    error_hint(&e, "hint %d", 2);
    memcpy(e.sqlstate, "42P01", 6);
    assert_string_equal(error_text(&e), "bad port");
    assert_string_equal(e.detail, "detail 1");
    assert_string_equal(error_hint_text(&e), "hint 2");
    assert_string_equal(error_sqlstate(&e), "42P01");
    assert_string_equal(e.cause, "line 3");
}

static void test_text_of_itself(void **state)
{
    (void)state;
    struct error e;

    error_set(&e, ERR_MAP_INVALID, "overlap");
    error_set(&e, ERR_DIRECTORY, "while loading: %s", e.cause);
    assert_string_equal(e.cause, "while loading: overlap");
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    struct error e;

    error_set(&e, ERR_INTERNAL, "%1000d", 1);
    error_message(&e, "%1000d", 1);
    error_detail(&e, "%1000d", 1);
    error_hint(&e, "%1000d", 1);
    assert_int_equal(strlen(e.cause), sizeof(e.cause) - 1);
    assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
    assert_int_equal(strlen(e.detail), sizeof(e.detail) - 1);
    assert_int_equal(strlen(e.hint), sizeof(e.hint) - 1);
}

/* A client that checks its encoding must not be sent half a character. */
static void test_cut_keeps_characters_whole(void **state)
{
    (void)state;
    struct error e;

    for (int lead = 150; lead < 160; lead++) {
        error_message(&e, "%*d\xf0\x9f\x90\x98\xf0\x9f\x90\x98", lead, 1);
        assert_int_equal((strlen(e.message) - (size_t)lead) % 4, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_code_out_of_range),
        cmocka_unit_test(test_set_clears_what_was_there),
        cmocka_unit_test(test_own_texts),
        cmocka_unit_test(test_text_of_itself),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_cut_keeps_characters_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
