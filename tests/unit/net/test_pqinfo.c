/*
 * Connection strings: what is taken, and that errors never show a password.
 */
#include "net_test.h"

static void both_forms_are_read(void **state)
{
    (void)state;
    struct pqinfo i;
    struct error e;
    assert_true(pqinfo_parse(&i, "host=h port=1 dbname=d user=u password='p w' sslmode=require", &e));
    assert_string_equal(i.host, "h");
    assert_string_equal(i.port, "1");
    assert_string_equal(i.dbname, "d");
    assert_string_equal(i.user, "u");
    assert_string_equal(i.password, "p w");
    size_t n = 0;
    while (i.keywords[n])
        n++;
    assert_int_equal(n, 6);
    assert_null(i.values[n]);
    pqinfo_fini(&i);
    assert_true(pqinfo_parse(&i, "postgresql://u@h1,h2:5/d%20b?sslmode=disable", &e));
    assert_string_equal(i.host, "h1,h2");
    assert_string_equal(i.dbname, "d b");
    assert_null(i.password);
    pqinfo_fini(&i);
    assert_true(pqinfo_parse(&i, "", &e));
    assert_null(i.host);
    assert_null(i.keywords[0]);
    pqinfo_fini(&i);
}

static void errors_say_why_without_the_password(void **state)
{
    (void)state;
    static const struct {
        const char *conninfo, *says;
    } cases[] = {
        {"hots=x", "hots"},
        {"host", "missing \"=\" after \"host\""},
        {"password=my SECRET", "missing \"=\""},
        {"password=my SECRET=1", "invalid connection option"},
        {"password='SECRET", "unterminated"},
        {"postgresql://u:SECRET%zz@h/d", "percent-encoded"},
        {"postgresql://u:SECRET@h:5x/d?SECRET=1", "invalid"},
        {"service=prod", "service files are not read"},
    };
    for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
        struct pqinfo i;
        struct error e;
        if (pqinfo_parse(&i, cases[n].conninfo, &e)) {
            fail_msg("%s was taken", cases[n].conninfo);
        }
        assert_int_equal(e.code, ERR_CONFIG);
        if (!strstr(e.cause, cases[n].says) || strstr(e.cause, "SECRET"))
            fail_msg("%s: %s", cases[n].conninfo, e.cause);
        pqinfo_fini(&i); /* harmless after a failure */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_are_read),
        cmocka_unit_test(errors_say_why_without_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
