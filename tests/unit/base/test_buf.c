#include "support.h"

#include <stdlib.h>
#include <string.h>

static void test_empty(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_str(buf_str(&b), "");
    assert_non_null(buf_head(&b));
    assert_true(buf_append(&b, NULL, 0));
    assert_null(b.data);
    buf_consume(&b, 0);
    buf_consume(&b, 10);
    buf_release_if_empty(&b);
    buf_fini(&b);
    buf_fini(&b);
}

static void test_append_and_consume(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_true(buf_append_str(&b, STR("hello")));
    assert_true(buf_append_byte(&b, ' '));
    assert_true(buf_printf(&b, "%s %d", "world", 7));
    assert_str(buf_str(&b), "hello world 7");
    buf_consume(&b, 6);
    assert_str(buf_str(&b), "world 7");
    assert_int_equal(*buf_head(&b), 'w');
    buf_consume(&b, 7);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.off, 0);
    buf_fini(&b);
}

static void test_consume_is_lazy(void **state)
{
    (void)state;
    struct buf b;
    const char *data;

    buf_init(&b, 0);
    assert_true(buf_append_str(&b, STR("0123456789")));
    data = b.data;
    for (size_t i = 1; i < 10; i++) {
        buf_consume(&b, 1);
        assert_ptr_equal(b.data, data);
        assert_int_equal(b.off, i);
    }
    buf_fini(&b);
}

static void test_reserve_and_commit(void **state)
{
    (void)state;
    struct buf b;
    char *room;

    buf_init(&b, 1000);
    room = buf_reserve(&b, 1000);
    assert_non_null(room);
    memset(room, 'x', 1000);
    assert_int_equal(b.len, 0);
    buf_commit(&b, 300);
    assert_int_equal(b.len, 300);
    assert_non_null(buf_reserve(&b, 700));
    assert_false(b.failed);
    assert_null(buf_reserve(&b, 701));
    assert_true(b.failed);
    assert_int_equal(b.len, 300);
    buf_fini(&b);
    assert_false(b.failed);
    assert_int_equal(b.max, 1000);
}

static void test_ceiling(void **state)
{
    (void)state;
    /* Around the least capacity too, and where a terminator would not fit. */
    static const size_t ceilings[] = {1, 2, 255, 256, 257, 511, 512, 513, 5000};

    for (size_t i = 0; i < ARRAY_LEN(ceilings); i++) {
        size_t max = ceilings[i];
        struct buf b;

        buf_init(&b, max);
        assert_true(buf_printf(&b, "%*d", (int)max, 7));
        assert_int_equal(b.len, max);
        assert_true(b.cap <= max);
        assert_false(buf_append_byte(&b, 'x'));
        assert_true(b.failed);
        buf_consume(&b, max);
        /* Sticky: what was left out does not come back by making room. */
        assert_false(buf_append_byte(&b, 'x'));
        assert_false(buf_append(&b, NULL, 0));
        assert_false(buf_printf(&b, "x"));
        buf_fini(&b);
    }
}

static void test_length_overflow(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_true(buf_append_str(&b, STR("abc")));
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_str(buf_str(&b), "abc");
    buf_fini(&b);
    assert_null(buf_reserve(&b, SIZE_MAX / 2 + 1));
    buf_fini(&b);
}

static void test_growth_is_geometric(void **state)
{
    (void)state;
    struct buf b;
    size_t moves = 0;
    size_t cap = 0;

    buf_init(&b, 0);
    for (size_t i = 0; i < 1u << 20; i++) {
        assert_true(buf_append_byte(&b, (uint8_t)i));
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_in_range(moves, 1, 20);
    buf_fini(&b);
}

/* A queue that is never quite empty must neither grow for ever nor lose its order. */
static void test_steady_queue_is_bounded(void **state)
{
    (void)state;
    struct buf b;
    uint8_t in = 0;
    uint8_t out = 0;

    buf_init(&b, 0);
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 37; i++)
            assert_true(buf_append_byte(&b, in++));
        for (int i = 0; i < (round < 10 ? 5 : 37); i++) {
            assert_int_equal((uint8_t)*buf_head(&b), out);
            out++;
            buf_consume(&b, 1);
        }
    }
    assert_in_range(b.cap, 1, 2048);
    buf_fini(&b);
}

/* At the ceiling there is no room to grow: the unread bytes move instead. */
static void test_full_queue_moves(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 1000);
    assert_true(buf_printf(&b, "%1000d", 7));
    buf_consume(&b, 1);
    assert_true(buf_append_byte(&b, '8'));
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[b.off + 998], '7');
    assert_int_equal(b.data[b.off + 999], '8');
    buf_fini(&b);
}

static void test_random_against_model(void **state)
{
    (void)state;
    struct buf b;
    char *model = malloc(1u << 20);
    size_t start = 0;
    size_t end = 0;
    unsigned seed = 20261122;

    assert_non_null(model);
    buf_init(&b, 4096);
    for (int i = 0; i < 6000 && end + 300 < 1u << 20; i++) {
        size_t n = (size_t)rand_r(&seed) % 300;

        if (rand_r(&seed) % 2 && n <= 4096 - (end - start)) {
            for (size_t k = 0; k < n; k++)
                model[end + k] = (char)rand_r(&seed);
            assert_true(buf_append(&b, model + end, n));
            end += n;
        } else {
            n = n < end - start ? n : end - start;
            buf_consume(&b, n);
            start += n;
            if (n == 0)
                buf_release_if_empty(&b);
        }
        assert_int_equal(b.len, end - start);
        assert_true(b.len == 0 || memcmp(buf_head(&b), model + start, b.len) == 0);
    }
    free(model);
    buf_fini(&b);
}

static void test_release(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_true(buf_append_str(&b, STR("x")));
    buf_release_if_empty(&b);
    assert_str(buf_str(&b), "x");
    buf_consume(&b, 1);
    assert_non_null(b.data);
    buf_release_if_empty(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    assert_true(buf_append_str(&b, STR("y")));
    buf_fini(&b);
}

static void test_long_printf(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    for (int width = 509; width < 516; width++) {
        assert_true(buf_printf(&b, "%*d", width, 5));
        assert_int_equal(b.len, (size_t)width);
        assert_int_equal(b.data[b.off + b.len - 1], '5');
        buf_consume(&b, b.len);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_consume_is_lazy),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_length_overflow),
        cmocka_unit_test(test_growth_is_geometric),
        cmocka_unit_test(test_steady_queue_is_bounded),
        cmocka_unit_test(test_full_queue_moves),
        cmocka_unit_test(test_random_against_model),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_long_printf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
