#include "support.h"

#include <string.h>

#include "console.h"

struct row {
    const char *text;
    const char *word, *second; /* NULL word: refused; "": empty query */
    bool has_number;
    int64_t number;
};

static const struct row rows[] = {
    {"SHOW POOLS", "SHOW", "POOLS"},
    {"show pools;", "SHOW", "POOLS"},
    {"  Show\n\tPools ; ; ", "SHOW", "POOLS"},
    {"-- a\n/* b /* c */ */ SHOW POOLS /* d */; -- e", "SHOW", "POOLS"},
    {"SHOW HELP", "SHOW", "HELP"},
    {"help", "HELP"},
    {"SHOW TENANT 42", "SHOW", "TENANT", true, 42},
    {"SHOW TENANT -42;", "SHOW", "TENANT", true, -42},
    {"SHOW TENANT '42'", "SHOW", "TENANT", true, 42},
    {"SHOW TENANT 9223372036854775807", "SHOW", "TENANT", true, INT64_MAX},
    {"SHOW TENANT -9223372036854775808", "SHOW", "TENANT", true, INT64_MIN},
    {"SHOW TENANT 9223372036854775808", NULL},
    {"SHOW TENANT 99999999999999999999999999999999999999999", NULL},
    {"SHOW TENANT", NULL},
    {"SHOW TENANT x", NULL},
    {"SHOW TENANT 1.5", NULL},
    {"SHOW TENANT 1 2", NULL},
    {"SHOW TENANT '", NULL},
    {"SHOW TENANT ''", NULL},
    {"PAUSE", "PAUSE"},
    {"PAUSE 3;", "PAUSE", NULL, true, 3},
    {"RESUME 0", "RESUME", NULL, true, 0},
    {"RECONNECT", "RECONNECT"},
    {"KILL 17", "KILL", NULL, true, 17},
    {"KILL", NULL},
    {"RELOAD now", NULL},
    {"RELOAD; RELOAD", NULL},
    {"RELOAD; -- x", "RELOAD"},
    {"SHOW", NULL},
    {"SHOW NOTHING", NULL},
    {"SHOW \"POOLS\" x", NULL},
    {"FLY", NULL},
    {"42", NULL},
    {"'SHOW'", NULL},
    {"/* unterminated", NULL},
    {"SELECT 1", "SELECT", "1"},
    {"select version();", "SELECT", "VERSION"},
    {"select version", NULL},
    {"SELECT 2", NULL},
    {"SET client_encoding TO 'UTF8'", "SET"},
    {"set extra_float_digits = 3;", "SET"},
    {"SET a = 1; SET b = 2", NULL},
    {"BEGIN", "BEGIN"},
    {"BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN"},
    {"COMMIT", "COMMIT"},
    {"ROLLBACK", "ROLLBACK"},
    {"", ""},
    {" ; ", ""},
    {"/* nothing */", ""},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        size_t len = strlen(r->text);
        char *text = guard_copy(r->text, len);
        const struct console_command *c = NULL;
        struct error e;
        bool has_number;
        int64_t number;

        error_clear(&e);
        bool good = console_parse((struct str){text, len}, &c, &has_number, &number, &e);
        if (good != (r->word != NULL))
            fail_msg("\"%s\" is %s", r->text, good ? "taken" : "refused");
        if (!good) {
            assert_int_equal(e.code, ERR_SYNTAX);
            assert_true(error_hint_text(&e)[0] && e.detail[0]);
        } else if (r->word[0]) {
            assert_string_equal(c->words[0], r->word);
            if (r->second)
                assert_string_equal(c->words[1], r->second);
            assert_int_equal(has_number, r->has_number);
            assert_true(number == r->number);
        } else {
            assert_null(c->words[0]);
        }
        guard_free(text, len);
    }
}

static void test_table(void **state)
{
    (void)state;
    size_t count;
    const struct console_command *table = console_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct console_command *c = &table[i];
        assert_non_null(c->run);
        assert_non_null(c->tag);
        assert_true(c->column_count <= CONSOLE_COLUMNS_MAX);
        for (unsigned k = 0; k < c->column_count; k++)
            assert_true(c->columns[k] && c->columns[k][0]);
        /* What needs no right must touch nothing that is shared. */
        if (c->right == CONSOLE_ANY)
            assert_true(c->local);
        if (strcmp(c->words[0], "SHOW") == 0)
            assert_true(c->right != CONSOLE_ADMIN && c->column_count > 0);
    }
}

static void test_rights(void **state)
{
    (void)state;
    const struct console_command any = {.words = {"A"}}, stats = {.words = {"B"}, .right = CONSOLE_STATS},
                                 admin = {.words = {"C"}, .right = CONSOLE_ADMIN};
    struct error e;

    assert_true(console_may(&any, false, false, &e));
    assert_false(console_may(&stats, false, false, &e));
    assert_int_equal(e.code, ERR_NOT_PERMITTED);
    assert_true(console_may(&stats, false, true, &e));
    assert_true(console_may(&stats, true, false, &e));
    assert_false(console_may(&admin, false, false, &e));
    assert_false(console_may(&admin, false, true, &e));
    assert_int_equal(e.code, ERR_NOT_PERMITTED);
    assert_true(console_may(&admin, true, false, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
