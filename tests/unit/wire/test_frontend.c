/* Bodies of frontend messages: right ones, and every prefix and extension of them. */
#include "support.h"

#include <string.h>

#include "shardgate/wire.h"

/* All parsers take the same shape here, so that one loop can cut their input. */
typedef bool parse_cb(struct str body);

static bool query(struct str body)
{
    struct str text;
    return wire_parse_query(body, &text);
}

static bool parse(struct str body)
{
    struct wire_parse out;
    return wire_parse_parse(body, &out);
}

static bool target(struct str body)
{
    char kind;
    struct str name;
    return wire_parse_target(body, &kind, &name);
}

static bool execute(struct str body)
{
    struct str portal;
    int32_t rows;
    return wire_parse_execute(body, &portal, &rows);
}

static bool password(struct str body)
{
    struct str text;
    return wire_parse_password(body, &text);
}

static bool sasl(struct str body)
{
    struct str mechanism, data;
    return wire_parse_sasl_initial(body, &mechanism, &data);
}

static bool guarded(parse_cb *parser, const char *bytes, size_t len)
{
    char *p = guard_copy(bytes, len);
    bool ok = parser((struct str){p, len});
    guard_free(p, len);
    return ok;
}

/* Only the whole body is right: no prefix of it, and nothing behind it. */
static void expect_exact(parse_cb *parser, struct str body)
{
    char longer[64];
    for (size_t n = 0; n < body.len; n++)
        assert_false(guarded(parser, body.ptr, n));
    assert_true(guarded(parser, body.ptr, body.len));
    memcpy(longer, body.ptr, body.len);
    longer[body.len] = 0;
    assert_false(guarded(parser, longer, body.len + 1));
    longer[body.len] = 'x';
    assert_false(guarded(parser, longer, body.len + 1));
}

static void test_exact(void **state)
{
    (void)state;
    expect_exact(query, (struct str){"SELECT 1\0", 9});
    expect_exact(query, (struct str){"\0", 1});
    expect_exact(parse, (struct str){"s1\0SELECT $1\0\0\1\0\0\0\x17", 19});
    expect_exact(parse, (struct str){"\0\0\0\0", 4});
    expect_exact(target, (struct str){"Sname\0", 6});
    expect_exact(target, (struct str){"P\0", 2});
    expect_exact(execute, (struct str){"\0\0\0\0\0", 5});
    expect_exact(execute, (struct str){"p\0\xff\xff\xff\xff", 6});
    expect_exact(password, (struct str){"secret\0", 7});
    expect_exact(sasl, (struct str){"SCRAM-SHA-256\0\0\0\0\3n,,", 21});
    expect_exact(sasl, (struct str){"SCRAM-SHA-256\0\xff\xff\xff\xff", 18});
    expect_exact(sasl, (struct str){"X\0\0\0\0\0", 6});
}

static void test_values(void **state)
{
    (void)state;
    struct wire_parse p;
    struct str a, b;
    char kind;
    int32_t rows;
    assert_true(wire_parse_query((struct str){"SELECT 1\0", 9}, &a));
    assert_str(a, "SELECT 1");
    assert_true(wire_parse_parse((struct str){"s1\0SELECT $1\0\0\1\0\0\0\x17", 19}, &p));
    assert_str(p.name, "s1");
    assert_str(p.text, "SELECT $1");
    assert_int_equal(p.params, 1);
    assert_memory_equal(p.types, "\0\0\0\x17", 4);
    assert_true(wire_parse_target((struct str){"Pc1\0", 4}, &kind, &a));
    assert_int_equal(kind, 'P');
    assert_str(a, "c1");
    assert_false(wire_parse_target((struct str){"Xc1\0", 4}, &kind, &a));
    assert_true(wire_parse_execute((struct str){"p\0\0\0\1\0", 6}, &a, &rows));
    assert_int_equal(rows, 256);
    assert_true(wire_parse_sasl_initial((struct str){"M\0\0\0\0\1x", 7}, &a, &b));
    assert_str(a, "M");
    assert_str(b, "x");
    assert_true(wire_parse_sasl_initial((struct str){"M\0\xff\xff\xff\xff", 6}, &a, &b));
    assert_null(b.ptr);
    assert_false(wire_parse_sasl_initial((struct str){"M\0\xff\xff\xff\xfe", 6}, &a, &b));
    assert_false(wire_parse_sasl_initial((struct str){"M\0\x7f\xff\xff\xff", 6}, &a, &b));
}

static void test_embedded_nul(void **state)
{
    (void)state;
    assert_false(query((struct str){"SELECT\0 1\0", 10}));
    assert_false(password((struct str){"a\0b\0", 4}));
}

static void test_bind_names(void **state)
{
    (void)state;
    struct str body = {"portal\0stmt\0\0\0\0\1", 16}, portal, statement;
    for (size_t n = 0; n <= body.len; n++) {
        char *p = guard_copy(body.ptr, n);
        ssize_t rc = wire_parse_bind_names((struct str){p, n}, &portal, &statement);
        assert_int_equal(rc, n < 12 ? WIRE_MORE : 12);
        if (rc > 0) {
            assert_str(portal, "portal");
            assert_str(statement, "stmt");
        }
        guard_free(p, n);
    }
}

static void test_known_types(void **state)
{
    (void)state;
    for (int c = -128; c < 128; c++)
        assert_int_equal(wire_frontend_known((char)c), c > 0 && strchr("BCDEFHPQSXcdf", c));
    assert_false(wire_frontend_known('p')); /* passwords are for the login only */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_values),      cmocka_unit_test(test_embedded_nul),
        cmocka_unit_test(test_bind_names), cmocka_unit_test(test_known_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
