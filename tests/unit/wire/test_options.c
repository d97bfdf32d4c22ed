/* The `options` startup parameter, as pg_split_opts and the switch parser read it. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "shardgate/wire.h"

/* Renders what the iterator gives: "name=value;…", and "!word" where it refuses. */
static void render(const char *options, char *out, size_t size)
{
    size_t len = strlen(options), n = 0;
    char *text = guard_copy(options, len), *scratch = guard_alloc(len);
    struct wire_options it = {{text, len}, scratch};
    struct str name, value;
    int rc;
    out[0] = 0;
    while ((rc = wire_options_next(&it, &name, &value)) != 0) {
        int w = rc > 0 ? snprintf(out + n, size - n, "%.*s=%.*s;", (int)name.len, name.ptr, (int)value.len, value.ptr)
                       : snprintf(out + n, size - n, "!%.*s", (int)name.len, name.ptr);
        n += (size_t)w;
        if (rc < 0)
            break;
    }
    guard_free(scratch, len);
    guard_free(text, len);
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *options, *want;
    } rows[] = {
        {"", ""},
        {"   \t\n\v\f\r ", ""},
        {"-c shardgate.tenant_id=42", "shardgate.tenant_id=42;"},
        {"-cshardgate.tenant_id=42", "shardgate.tenant_id=42;"},
        {"--shardgate.tenant_id=42", "shardgate.tenant_id=42;"},
        {"--shardgate.tenant-id=4-2", "shardgate.tenant_id=4-2;"},
        {"-c search-path=a-b", "search_path=a-b;"},
        {"  -c   a=1\t--b=2\n-cc=3  ", "a=1;b=2;c=3;"},
        {"-c a=", "a=;"},
        {"-c a=b=c", "a=b=c;"},
        {"-c a=x\\ y", "a=x y;"},
        {"-c a=x\\\\y", "a=x\\y;"},
        {"-c a=x\\\ty", "a=x\ty;"},
        {"-c a=x\\yz", "a=xyz;"},
        {"-c a=x\\", "a=x;"},
        {"-c a\\ b=1", "a b=1;"},
        {"\\-c a=1", "a=1;"},
        {"-c -c=1", "_c=1;"},
        {"-c", "!-c"},
        {"-c a=1 -c", "a=1;!-c"},
        {"-c a", "!a"},
        {"-c =1", "!=1"},
        {"-ca", "!-ca"},
        {"--a", "!--a"},
        {"--", "!--"},
        {"--=1", "!--=1"},
        {"-", "!-"},
        {"-d 5", "!-d"},
        {"-B 100", "!-B"},
        {"a=1", "!a=1"},
        {"-C a=1", "!-C"},
        {"-fs -c a=1", "!-fs"},
        {"\\ -c a=1", "! -c"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got[256];
        render(rows[i].options, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
    }
}

static void test_slices_stay_valid(void **state)
{
    (void)state;
    char scratch[32];
    struct wire_options it = {STR("-c a=1 --bb=22"), scratch};
    struct str n1, v1, n2, v2;
    assert_int_equal(wire_options_next(&it, &n1, &v1), 1);
    assert_int_equal(wire_options_next(&it, &n2, &v2), 1);
    assert_str(n1, "a");
    assert_str(v1, "1");
    assert_str(n2, "bb");
    assert_str(v2, "22");
}

static void test_append_is_undone_by_the_split(void **state)
{
    (void)state;
    static const char *const values[] = {"", "42", "a b", "\\", "a\\ b", " \t\n\v\f\r", "-c x=1", "=", "\\\\ \\"};
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_true(wire_options_append(&b, STR("some.name"), str_from(values[i])));
    assert_true(wire_options_append(&b, STR("last"), (struct str){NULL, 0}));
    char *scratch = guard_alloc(b.len);
    struct wire_options it = {buf_str(&b), scratch};
    struct str name, value;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(wire_options_next(&it, &name, &value), 1);
        assert_str(name, "some.name");
        assert_true(str_eq(value, str_from(values[i])));
    }
    assert_int_equal(wire_options_next(&it, &name, &value), 1);
    assert_int_equal(value.len, 0);
    assert_int_equal(wire_options_next(&it, &name, &value), 0);
    guard_free(scratch, b.len);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_slices_stay_valid),
        cmocka_unit_test(test_append_is_undone_by_the_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
