/* Builders: exact bytes, or parsed back; failures leave nothing behind. */
#include "support.h"

#include <string.h>

#include "shardgate/wire.h"

#define assert_bytes(b, literal)         \
    do {                                 \
        assert_str(buf_str(b), literal); \
        buf_consume((b), (b)->len);      \
    } while (0)

static void test_exact_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "bc"};
    static const uint8_t salt[4] = {1, 2, 0, 255};
    const struct str row[] = {STR("x"), {NULL, 0}, STR("")}, unknown[] = {STR("_pq_.x"), STR("_pq_.y")};
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_auth_ok(&b));
    assert_bytes(&b, "R\0\0\0\x08\0\0\0\0");
    assert_true(wire_put_auth_cleartext(&b));
    assert_bytes(&b, "R\0\0\0\x08\0\0\0\x03");
    assert_true(wire_put_auth_md5(&b, salt));
    assert_bytes(&b, "R\0\0\0\x0c\0\0\0\x05\x01\x02\0\xff");
    assert_true(wire_put_auth_sasl(&b, "SCRAM-SHA-256"));
    assert_bytes(&b, "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_true(wire_put_auth_sasl_continue(&b, STR("r=\0")));
    assert_bytes(&b, "R\0\0\0\x0b\0\0\0\x0br=\0");
    assert_true(wire_put_auth_sasl_final(&b, STR("v=")));
    assert_bytes(&b, "R\0\0\0\x0a\0\0\0\x0cv=");
    assert_true(wire_put_backend_key(&b, 0x01020304, 0xfffefdfc));
    assert_bytes(&b, "K\0\0\0\x0c\1\2\3\4\xff\xfe\xfd\xfc");
    assert_true(wire_put_negotiate_version(&b, 2, unknown, 2));
    assert_bytes(&b, "v\0\0\0\x1a\0\3\0\2\0\0\0\2_pq_.x\0_pq_.y\0");
    assert_true(wire_put_ready(&b, 'T'));
    assert_bytes(&b, "Z\0\0\0\5T");
    assert_true(wire_put_command_complete(&b, "SET"));
    assert_bytes(&b, "C\0\0\0\x08SET\0");
    assert_true(wire_put_parameter_description(&b));
    assert_bytes(&b, "t\0\0\0\6\0\0");
    assert_true(wire_put_row_description(&b, names, 2));
    assert_bytes(&b, "T\0\0\0\x2f\0\2"
                     "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
                     "bc\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    assert_true(wire_put_data_row(&b, row, 3));
    assert_bytes(&b, "D\0\0\0\x13\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0");
    assert_true(wire_put_query(&b, STR("SELECT 1")));
    assert_bytes(&b, "Q\0\0\0\x0dSELECT 1\0");
    assert_true(wire_put_query_head(&b, 8));
    assert_bytes(&b, "Q\0\0\0\x0d");
    buf_fini(&b);
}

static void test_bare(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_empty_query(&b));
    assert_true(wire_put_parse_complete(&b));
    assert_true(wire_put_bind_complete(&b));
    assert_true(wire_put_close_complete(&b));
    assert_true(wire_put_no_data(&b));
    assert_true(wire_put_flush(&b));
    assert_true(wire_put_sync(&b));
    assert_true(wire_put_terminate(&b));
    assert_bytes(&b, "I\0\0\0\4"
                     "1\0\0\0\4"
                     "2\0\0\0\4"
                     "3\0\0\0\4"
                     "n\0\0\0\4"
                     "H\0\0\0\4"
                     "S\0\0\0\4"
                     "X\0\0\0\4");
    buf_fini(&b);
}

/* The body of the one message in b. */
static struct str body_of(const struct buf *b, char type)
{
    struct wire_header h;
    assert_int_equal(wire_header(buf_head(b), b->len, &h), WIRE_HEADER);
    assert_int_equal(h.type, type);
    assert_int_equal(h.size, b->len);
    return (struct str){buf_head(b) + WIRE_HEADER, b->len - WIRE_HEADER};
}

static void test_error_parsed_back(void **state)
{
    (void)state;
    struct buf b;
    struct error e;
    struct wire_error got;
    buf_init(&b, 0);
    error_clear(&e);
    error_set(&e, ERR_TENANT_UNKNOWN, "for the log only");
    assert_true(wire_put_error(&b, &e));
    assert_true(wire_parse_error(body_of(&b, 'E'), &got));
    assert_str(got.severity, "ERROR");
    assert_str(got.sqlstate, "SG002");
    assert_true(str_eq(got.message, str_from(err_info(ERR_TENANT_UNKNOWN)->message)));
    assert_true(str_eq(got.hint, str_from(err_info(ERR_TENANT_UNKNOWN)->hint)));
    assert_int_equal(got.detail.len, 0);
    assert_null(memmem(buf_head(&b), b.len, "for the log", 11));
    buf_consume(&b, b.len);

    error_set(&e, ERR_QUERY_TIMEOUT, "x");
    error_message(&e, "own message");
    error_detail(&e, "own detail");
    error_hint(&e, "own hint");
    assert_true(wire_put_error(&b, &e));
    assert_true(wire_parse_error(body_of(&b, 'E'), &got));
    assert_str(got.severity, "FATAL");
    assert_str(got.message, "own message");
    assert_str(got.detail, "own detail");
    assert_str(got.hint, "own hint");
    buf_fini(&b);
}

static void test_notice_and_status_parsed_back(void **state)
{
    (void)state;
    struct buf b;
    struct wire_error got;
    struct str name, value;
    buf_init(&b, 0);
    assert_true(wire_put_warning(&b, "01000", STR("be aware"), STR("")));
    assert_true(wire_parse_error(body_of(&b, 'N'), &got));
    assert_str(got.severity, "WARNING");
    assert_str(got.sqlstate, "01000");
    assert_str(got.message, "be aware");
    buf_consume(&b, b.len);
    assert_true(wire_put_parameter_status(&b, STR("TimeZone"), STR("")));
    assert_true(wire_parse_parameter_status(body_of(&b, 'S'), &name, &value));
    assert_str(name, "TimeZone");
    assert_int_equal(value.len, 0);
    buf_fini(&b);
}

static void test_row_parsed_back(void **state)
{
    (void)state;
    const struct str row[] = {STR(""), STR("with\0nul"), {NULL, 0}};
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_data_row(&b, row, 3));
    struct wire_row it = {body_of(&b, 'D'), -1};
    for (size_t i = 0; i < 3; i++) {
        struct str value;
        assert_int_equal(wire_row_next(&it, &value), 1);
        assert_true(str_eq(value, row[i]));
        assert_int_equal(value.ptr == NULL, row[i].ptr == NULL);
    }
    struct str none;
    assert_int_equal(wire_row_next(&it, &none), 0);
    buf_fini(&b);
}

/* A text that would end early is refused, and what stood before it stays whole. */
static void test_nul_in_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_sync(&b));
    assert_false(wire_put_query(&b, STR("SELECT\0 1")));
    assert_true(b.failed);
    assert_str(buf_str(&b), "S\0\0\0\4");
    assert_false(wire_put_sync(&b));
    assert_str(buf_str(&b), "S\0\0\0\4");
    buf_fini(&b);
}

static void test_ceiling(void **state)
{
    (void)state;
    struct error e;
    error_clear(&e);
    error_set(&e, ERR_TENANT_REQUIRED, "x");
    struct buf whole;
    buf_init(&whole, 0);
    assert_true(wire_put_error(&whole, &e));
    for (size_t max = 1; max < whole.len; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_false(wire_put_error(&b, &e));
        assert_int_equal(b.len, 0);
        assert_true(b.failed);
        buf_fini(&b);
    }
    buf_fini(&whole);
    struct buf b;
    buf_init(&b, 0);
    assert_false(wire_put_query_head(&b, WIRE_MAX_MESSAGE));
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    buf_init(&b, 0);
    assert_false(wire_put_data_row(&b, NULL, 65536));
    assert_false(wire_put_row_description(&b, NULL, 65536));
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void test_quoting(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_literal(&b, STR("")));
    assert_bytes(&b, "''");
    assert_true(wire_put_literal(&b, (struct str){NULL, 0}));
    assert_bytes(&b, "''");
    assert_true(wire_put_literal(&b, STR("plain")));
    assert_bytes(&b, "'plain'");
    assert_true(wire_put_literal(&b, STR("it's ''")));
    assert_bytes(&b, "'it''s '''''");
    assert_true(wire_put_literal(&b, STR("a\\'b")));
    assert_bytes(&b, " E'a\\\\''b'");
    assert_true(wire_put_identifier(&b, STR("we\"ird\\")));
    assert_bytes(&b, "\"we\"\"ird\\\"");
    assert_false(wire_put_literal(&b, STR("a\0b")));
    buf_fini(&b);
    buf_init(&b, 0);
    assert_false(wire_put_identifier(&b, STR("a\0b")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_bytes),       cmocka_unit_test(test_bare),
        cmocka_unit_test(test_error_parsed_back), cmocka_unit_test(test_notice_and_status_parsed_back),
        cmocka_unit_test(test_row_parsed_back),   cmocka_unit_test(test_nul_in_text),
        cmocka_unit_test(test_ceiling),           cmocka_unit_test(test_quoting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
