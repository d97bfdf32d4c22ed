/* The queue of expected replies. */
#include "support.h"

#include "shardgate/pool.h"

static void order_and_ready(void **state)
{
    (void)state;
    struct expect_queue q = {0};
    assert_null(expect_head(&q));
    expect_pop(&q);
    static const char kinds[] = "PBDESQF";
    for (unsigned i = 0; i < 7; i++)
        assert_true(expect_push(&q, (uint8_t)kinds[i], i % 2 ? EXPECT_SKIP : EXPECT_FORWARD));
    assert_int_equal(q.ready_pending, 3);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(expect_head(&q)->kind, kinds[i]);
        assert_int_equal(expect_head(&q)->action, i % 2 ? EXPECT_SKIP : EXPECT_FORWARD);
        expect_pop(&q);
    }
    assert_int_equal(q.ready_pending, 0);
    assert_int_equal(q.count, 0);
    assert_int_equal(q.cap, 0); /* never left its inline ring */
}

static void grows_around_the_end(void **state)
{
    (void)state;
    struct expect_queue q = {0};
    unsigned pushed = 0, popped = 0;
    for (unsigned round = 1; round < 200; round++) {
        for (unsigned i = 0; i < round % 13 + 3; i++)
            assert_true(expect_push(&q, (uint8_t)('A' + pushed++ % 26), EXPECT_FORWARD));
        for (unsigned i = 0; i < round % 7 + 2 && q.count; i++) {
            assert_int_equal(expect_head(&q)->kind, 'A' + popped++ % 26);
            expect_pop(&q);
        }
    }
    while (q.count) {
        assert_int_equal(expect_head(&q)->kind, 'A' + popped++ % 26);
        expect_pop(&q);
    }
    assert_int_equal(popped, pushed);
    assert_int_equal(q.ready_pending, 0);
    expect_clear(&q);
    assert_int_equal(q.cap, 0);
    assert_true(expect_push(&q, 'Q', EXPECT_FORWARD)); /* and again */
    assert_int_equal(expect_head(&q)->kind, 'Q');
}

static void is_bounded(void **state)
{
    (void)state;
    struct expect_queue q = {0};
    unsigned n = 0;
    while (expect_push(&q, 'S', EXPECT_FORWARD))
        n++;
    assert_int_equal(n, 1u << 20);
    assert_int_equal(q.ready_pending, n);
    expect_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_ready),
        cmocka_unit_test(grows_around_the_end),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
