#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shardgate/route.h"

struct row {
    const char *pattern, *text;
    int result;
    const char *name;
    int64_t tenant;
};

static const struct row rows[] = {
    {"{user}.{tenant}", "app.42", 1, "app", 42},
    {"{user}.{tenant}", "a.b.42", 1, "a.b", 42},
    {"{user}.{tenant}", "app.-1", 1, "app", -1},
    {"{user}.{tenant}", "app", 0, "app", 0},
    {"{user}.{tenant}", "", 0, "", 0},
    {"{user}.{tenant}", ".42", 0, ".42", 0},
    {"{user}.{tenant}", "app.", -1, "app", 0},
    {"{user}.{tenant}", "app.x", -1, "app", 0},
    {"{user}.{tenant}", "app.9223372036854775807", 1, "app", INT64_MAX},
    {"{user}.{tenant}", "app.9223372036854775808", -1, "app", 0},
    {"{user}.{tenant}", "app. 42", -1, "app", 0},
    {"{database}/{tenant}", "gb/42", 1, "gb", 42},
    {"{tenant}.{user}", "42.john.doe", 1, "john.doe", 42},
    {"{tenant}.{user}", "x.john", -1, "john", 0},
    {"{tenant}", "42", 1, "", 42},
    {"{tenant}", "x", -1, "", 0},
    {"t_{tenant}", "t_7", 1, "", 7},
    {"t_{tenant}", "u_7", 0, "u_7", 0},
    {"t_{tenant}", "t", 0, "t", 0},
    {"<{user}::{tenant}>", "<a::b::9>", 1, "a::b", 9},
    {"<{user}::{tenant}>", "<a::9", 0, "<a::9", 0},
    {"<{user}::{tenant}>", "<>", 0, "<>", 0},
    {"{user}{tenant}", "a1", 0, "a1", 0},
    {"{user}", "a", 0, "a", 0},
    {"{user", "a", 0, "a", 0},
    {"", "a", 0, "a", 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct str name = {0};
        int64_t tenant = 0;
        int got = route_pattern(r->pattern, str_from(r->text), &name, &tenant);

        if (got != r->result || !str_eq(name, str_from(r->name)) || (got == 1 && tenant != r->tenant))
            fail_msg("row %zu: %s on %s gives %d, %.*s", i, r->pattern, r->text, got, (int)name.len, name.ptr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
