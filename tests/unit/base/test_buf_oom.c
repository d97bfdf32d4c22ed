/* Every point at which a buffer asks for memory, made to fail in turn. */
#include "support.h"

#include <string.h>

#include "fault.h"

/* Builds a message in many steps; checks once, as builders do. */
static bool build(struct buf *b)
{
    char *room;

    buf_append_str(b, STR("head "));
    buf_printf(b, "%300d", 1);
    buf_printf(b, "%2000d", 2);
    buf_consume(b, 5);
    for (int i = 0; i < 5000; i++)
        buf_append_byte(b, 'x');
    room = buf_reserve(b, 9000);
    if (room) {
        memset(room, 'y', 9000);
        buf_commit(b, 9000);
    }
    return !b->failed;
}

static void test_sweep(void **state)
{
    (void)state;
    bool done = false;
    long n;

    for (n = 0; !done; n++) {
        struct buf b;

        assert_true(n < 100);
        buf_init(&b, 1u << 20);
        fault_malloc_after(n);
        done = build(&b);
        fault_malloc_off();
        assert_true(done == (fault_malloc_failures() == 0));
        if (done)
            assert_int_equal(b.len, 300 + 2000 + 5000 + 9000);
        else
            assert_true(b.failed && b.len <= b.cap - b.off);
        buf_fini(&b);
    }
    /* The sweep is worth nothing if there was nothing to fail. */
    assert_true(n > 4);
}

/* What was in the buffer before the failure is still there after it. */
static void test_failed_growth_keeps_content(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_true(buf_append_str(&b, STR("kept")));
    fault_malloc_after(0);
    assert_null(buf_reserve(&b, 100000));
    fault_malloc_off();
    assert_str(buf_str(&b), "kept");
    buf_fini(&b);
}

/* Growing is only the cheaper way here: without memory the bytes move instead. */
static void test_moves_when_it_cannot_grow(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 0);
    assert_true(buf_printf(&b, "%*d", 256, 3));
    assert_int_equal(b.cap, 256);
    buf_consume(&b, 10);
    fault_malloc_after(0);
    assert_true(buf_append_str(&b, STR("0123456789")));
    fault_malloc_off();
    assert_int_equal(b.len, 256);
    assert_str(((struct str){buf_head(&b) + 245, 11}), "30123456789");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_failed_growth_keeps_content),
        cmocka_unit_test(test_moves_when_it_cannot_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
