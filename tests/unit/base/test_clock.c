#include "support.h"

#include <time.h>

static void test_monotonic(void **state)
{
    (void)state;
    struct timespec pause = {0, 2000000};
    uint64_t a = clock_mono_ns();

    nanosleep(&pause, NULL);
    assert_true(clock_mono_ns() - a >= 2000000);
}

static void test_wall(void **state)
{
    (void)state;
    uint64_t before = (uint64_t)time(NULL);
    uint64_t now = clock_wall_us() / 1000000;

    /* time() may lag the precise clock by a tick. */
    assert_in_range(now, before, before + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_wall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
