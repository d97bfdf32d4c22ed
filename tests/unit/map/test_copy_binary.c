/* The reader of binary COPY: whole, at each split, byte by byte, against a guard
 * page; and everything it must refuse. */
#include <string.h>

#include "copy_binary.h"
#include "support.h"

/* Two rows and a NULL, as PostgreSQL 15 sends them. */
static const char stream[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
                             "\0\2\0\0\0\10\0\0\0\0\0\0\0\52\0\0\0\2\0\7"
                             "\0\2\0\0\0\10\200\0\0\0\0\0\0\0\377\377\377\377"
                             "\0\2\0\0\0\10\177\377\377\377\377\377\377\377\0\0\0\2\377\376"
                             "\377\377";
#define STREAM_LEN (sizeof(stream) - 1)
#define HEADER_LEN 19

struct seen {
    struct copy_row rows[4];
    size_t count, stop_after;
};

static bool on_row(void *ctx, const struct copy_row *row)
{
    struct seen *s = ctx;

    assert_true(s->count < ARRAY_LEN(s->rows));
    s->rows[s->count++] = *row;
    return s->count != s->stop_after;
}

static bool feed(struct copy_reader *r, const char *data, size_t len, struct error *e)
{
    char *copy = guard_copy(data, len);
    bool ok = copy_reader_feed(r, copy, len, e);

    guard_free(copy, len);
    return ok;
}

static void check(const struct copy_reader *r, const struct seen *s)
{
    assert_true(copy_reader_ended(r));
    assert_int_equal(r->rows, 3);
    assert_int_equal(s->count, 3);
    assert_int_equal(s->rows[0].tenant, 42);
    assert_int_equal(s->rows[0].shard, 7);
    assert_false(s->rows[0].no_shard);
    assert_int_equal(s->rows[1].tenant, INT64_MIN);
    assert_true(s->rows[1].no_shard);
    assert_int_equal(s->rows[2].tenant, INT64_MAX);
    assert_int_equal(s->rows[2].shard, -2);
    assert_false(s->rows[2].no_shard);
}

static void test_each_split(void **state)
{
    (void)state;
    for (size_t split = 0; split <= STREAM_LEN; split++) {
        struct copy_reader r;
        struct seen s = {0};
        struct error e;

        copy_reader_init(&r, on_row, &s);
        assert_true(feed(&r, stream, split, &e));
        assert_int_equal(copy_reader_ended(&r), split == STREAM_LEN);
        assert_true(feed(&r, stream + split, STREAM_LEN - split, &e));
        check(&r, &s);
    }
}

static void test_each_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= STREAM_LEN; size++) {
        struct copy_reader r;
        struct seen s = {0};
        struct error e;

        copy_reader_init(&r, on_row, &s);
        for (size_t at = 0; at < STREAM_LEN; at += size)
            assert_true(feed(&r, stream + at, STREAM_LEN - at < size ? STREAM_LEN - at : size, &e));
        check(&r, &s);
    }
}

static void test_header_extension(void **state)
{
    char data[STREAM_LEN + 100];
    struct copy_reader r;
    struct seen s = {0};
    struct error e;

    (void)state;
    memset(data, 'x', sizeof(data));
    memcpy(data, stream, HEADER_LEN);
    data[HEADER_LEN - 1] = 100;
    memcpy(data + HEADER_LEN + 100, stream + HEADER_LEN, STREAM_LEN - HEADER_LEN);
    copy_reader_init(&r, on_row, &s);
    for (size_t at = 0; at < sizeof(data); at++)
        assert_true(feed(&r, data + at, 1, &e));
    check(&r, &s);
}

/* The byte at `at` replaced by `with`. */
static void refuse(size_t at, char with, const char *why)
{
    char data[STREAM_LEN];

    memcpy(data, stream, STREAM_LEN);
    data[at] = with;
    for (size_t size = 1; size <= STREAM_LEN; size += STREAM_LEN - 1) {
        struct copy_reader r;
        struct seen s = {0};
        struct error e = {0};
        bool ok = true;

        copy_reader_init(&r, on_row, &s);
        for (size_t i = 0; ok && i < STREAM_LEN; i += size)
            ok = feed(&r, data + i, size, &e);
        assert_false(ok);
        assert_int_equal(e.code, ERR_DIRECTORY);
        if (!strstr(e.cause, why))
            fail_msg("refused for \"%s\", not for \"%s\"", e.cause, why);
    }
}

static void test_refused(void **state)
{
    struct copy_reader r;
    struct seen s = {0};
    struct error e;

    (void)state;
    for (size_t i = 0; i < 11; i++)
        refuse(i, 'x', "not PostgreSQL's binary format");
    refuse(12, 1, "not known"); /* OIDs */
    refuse(11, 1, "not known"); /* a critical flag */
    refuse(15, 1, "the header is too long");
    refuse(20, 3, "row 1 of the copy: not two columns");
    refuse(19, 1, "not two columns");
    refuse(24, 4, "tenant_id is NULL or not a bigint");
    refuse(21, -1, "tenant_id is NULL");
    refuse(36, 4, "shard_id is not a smallint");
    refuse(40, 9, "row 2 of the copy: not two columns");
    copy_reader_init(&r, on_row, &s);
    assert_true(feed(&r, stream, STREAM_LEN, &e));
    assert_false(feed(&r, "\0", 1, &e));
}

static void test_stopped_by_the_callee(void **state)
{
    struct copy_reader r;
    struct seen s = {.stop_after = 1};
    struct error e = {0};

    (void)state;
    copy_reader_init(&r, on_row, &s);
    assert_false(feed(&r, stream, STREAM_LEN, &e));
    assert_int_equal(s.count, 1);
    assert_int_equal(e.code, ERR_OK);
}

/* No byte anywhere makes it read past its input or call back too often. */
static void test_noise(void **state)
{
    uint64_t x = 99;

    (void)state;
    for (int n = 0; n < 5000; n++) {
        char data[STREAM_LEN];
        struct copy_reader r;
        struct seen s = {0};
        struct error e;

        memcpy(data, stream, STREAM_LEN);
        for (int i = 0; i < 3; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            data[(x >> 33) % STREAM_LEN] = (char)(x >> 20);
        }
        copy_reader_init(&r, on_row, &s);
        if (feed(&r, data, STREAM_LEN, &e))
            assert_true(r.rows <= 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_split),
        cmocka_unit_test(test_each_size),
        cmocka_unit_test(test_header_extension),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_stopped_by_the_callee),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
