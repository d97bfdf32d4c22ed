/* Startup packets: whole, at each split, byte by byte, against a guard page. */
#include "support.h"

#include <string.h>

#include "shardgate/wire.h"

#define PACKET(literal) ((struct str){(literal), sizeof(literal) - 1})

/* Gives the first n bytes of the packet, and nothing behind them. */
static ssize_t parse_prefix(struct str packet, size_t n, struct wire_startup *out, const char **why)
{
    char *p = guard_copy(packet.ptr, n);
    ssize_t rc = wire_startup_parse(p, n, out, why);
    guard_free(p, n);
    return rc;
}

static void expect_whole(struct str packet, enum wire_startup_kind kind)
{
    struct wire_startup out;
    for (size_t n = 0; n < packet.len; n++)
        assert_int_equal(parse_prefix(packet, n, &out, NULL), WIRE_MORE);
    assert_int_equal(parse_prefix(packet, packet.len, &out, NULL), packet.len);
    assert_int_equal(out.kind, kind);
}

/* Bad from `since` bytes on, and not before. */
static void expect_bad(struct str packet, size_t since)
{
    struct wire_startup out;
    for (size_t n = 0; n <= packet.len; n++) {
        const char *why = NULL;
        ssize_t rc = parse_prefix(packet, n, &out, &why);
        assert_int_equal(rc, n < since ? WIRE_MORE : WIRE_BAD);
        assert_true((rc == WIRE_BAD) == (why != NULL));
    }
}

static void test_startup(void **state)
{
    (void)state;
    struct str packet = PACKET("\0\0\0\x2b\0\x03\0\0user\0app.42\0database\0gb/42\0empty\0\0\0");
    struct wire_startup out;
    struct str name, value;
    expect_whole(packet, WIRE_STARTUP);
    assert_int_equal(wire_startup_parse(packet.ptr, packet.len, &out, NULL), packet.len);
    assert_int_equal(out.major, 3);
    assert_int_equal(out.minor, 0);
    assert_true(wire_startup_next(&out.params, &name, &value));
    assert_str(name, "user");
    assert_str(value, "app.42");
    assert_true(wire_startup_next(&out.params, &name, &value));
    assert_str(name, "database");
    assert_str(value, "gb/42");
    assert_true(wire_startup_next(&out.params, &name, &value));
    assert_str(name, "empty");
    assert_int_equal(value.len, 0);
    assert_false(wire_startup_next(&out.params, &name, &value));
    assert_false(wire_startup_next(&out.params, &name, &value));
}

static void test_following_bytes_are_not_consumed(void **state)
{
    (void)state;
    struct str two = PACKET("\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x09\0\x03\0\0\0");
    struct wire_startup out;
    assert_int_equal(wire_startup_parse(two.ptr, two.len, &out, NULL), 8);
    assert_int_equal(out.kind, WIRE_SSL_REQUEST);
    assert_int_equal(wire_startup_parse(two.ptr + 8, two.len - 8, &out, NULL), 9);
    assert_int_equal(out.kind, WIRE_STARTUP);
    assert_int_equal(out.params.len, 0);
}

static void test_requests(void **state)
{
    (void)state;
    expect_whole(PACKET("\0\0\0\x08\x04\xd2\x16\x2f"), WIRE_SSL_REQUEST);
    expect_whole(PACKET("\0\0\0\x08\x04\xd2\x16\x30"), WIRE_GSSENC_REQUEST);
    expect_whole(PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\xde\xad\xbe\xef"), WIRE_CANCEL_REQUEST);
    expect_bad(PACKET("\0\0\0\x09\x04\xd2\x16\x2f\0"), 8);
    expect_bad(PACKET("\0\0\0\x09\x04\xd2\x16\x30\0"), 8);
}

static void test_cancel_keys(void **state)
{
    (void)state;
    char packet[12 + 257] = "\0\0\0\x10\x04\xd2\x16\x2e\x01\x02\x03\x04";
    struct wire_startup out;
    for (size_t key = 0; key <= 257; key++) {
        size_t len = 12 + key;
        packet[2] = (char)(len >> 8);
        packet[3] = (char)len;
        memset(packet + 12, 'k', key);
        ssize_t rc = wire_startup_parse(packet, len, &out, NULL);
        assert_int_equal(rc, key >= 4 && key <= 256 ? (ssize_t)len : WIRE_BAD);
        if (rc != WIRE_BAD) {
            assert_int_equal(out.pid, 0x01020304);
            assert_int_equal(out.key.len, key);
            assert_ptr_equal(out.key.ptr, packet + 12);
        }
    }
}

static void test_versions(void **state)
{
    (void)state;
    struct wire_startup out;
    struct str v32 = PACKET("\0\0\0\x09\0\x03\0\x02\0"), v2 = PACKET("\0\0\0\x0c\0\x02\0\0abcd");
    assert_int_equal(wire_startup_parse(v32.ptr, v32.len, &out, NULL), 9);
    assert_int_equal(out.minor, 2);
    /* Another layout: the caller refuses it by its number. */
    assert_int_equal(wire_startup_parse(v2.ptr, v2.len, &out, NULL), 12);
    assert_int_equal(out.major, 2);
    assert_int_equal(out.params.len, 0);
}

static void test_malformed(void **state)
{
    (void)state;
    expect_bad(PACKET("GET / HTTP/1.1\r\n"), 1);
    expect_bad(PACKET("\x16\x03\x01\x02\0\x01"), 1);
    expect_bad(PACKET("\0\x01\0\0"), 2);
    expect_bad(PACKET("\0\0\0\0"), 4);
    expect_bad(PACKET("\0\0\0\x07"), 4);
    expect_bad(PACKET("\0\0\x27\x11"), 4); /* 10001 */
    expect_bad(PACKET("\xff\xff\xff\xff"), 1);
    expect_bad(PACKET("\0\0\0\x08\0\x03\0\0"), 8);                /* no terminator */
    expect_bad(PACKET("\0\0\0\x0d\0\x03\0\0user\0"), 13);         /* no value */
    expect_bad(PACKET("\0\0\0\x0f\0\x03\0\0user\0me"), 15);       /* value not ended */
    expect_bad(PACKET("\0\0\0\x10\0\x03\0\0user\0me\0"), 16);     /* list not ended */
    expect_bad(PACKET("\0\0\0\x12\0\x03\0\0user\0me\0\0\0"), 18); /* bytes behind it */
    expect_bad(PACKET("\0\0\0\x0a\0\x03\0\0\0x"), 10);
}

static void test_largest(void **state)
{
    (void)state;
    char *packet = guard_alloc(WIRE_MAX_STARTUP);
    struct wire_startup out;
    memcpy(packet, "\0\0\x27\x10\0\x03\0\0user\0", 13);
    memset(packet + 13, 'u', WIRE_MAX_STARTUP - 13);
    packet[WIRE_MAX_STARTUP - 2] = packet[WIRE_MAX_STARTUP - 1] = 0;
    assert_int_equal(wire_startup_parse(packet, WIRE_MAX_STARTUP, &out, NULL), WIRE_MAX_STARTUP);
    guard_free(packet, WIRE_MAX_STARTUP);
}

static void test_header(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        ssize_t rc;
        uint32_t size;
    } rows[] = {
        {{"Q\0\0\0\x04", 5}, 5, 5},        {{"Q\x40\0\0\0", 5}, 5, 0x40000001}, {{"Q\x40\0\0\1", 5}, WIRE_BAD, 0},
        {{"Q\0\0\0\x03", 5}, WIRE_BAD, 0}, {{"Q\0\0\0\0", 5}, WIRE_BAD, 0},     {{"Q\xff\xff\xff\xff", 5}, WIRE_BAD, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wire_header h;
        for (size_t n = 0; n <= 5; n++) {
            char *p = guard_copy(rows[i].bytes.ptr, n);
            assert_int_equal(wire_header(p, n, &h), n < 5 ? WIRE_MORE : rows[i].rc);
            guard_free(p, n);
        }
        if (rows[i].rc > 0) {
            assert_int_equal(h.type, 'Q');
            assert_int_equal(h.size, rows[i].size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_startup),  cmocka_unit_test(test_following_bytes_are_not_consumed),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_cancel_keys),
        cmocka_unit_test(test_versions), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_largest),  cmocka_unit_test(test_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
