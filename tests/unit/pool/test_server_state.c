/* The table of a server's states against the diagram in pool.h. */
#include "support.h"

#include <string.h>

#include "pool_impl.h"

static void table_is_the_diagram(void **state)
{
    (void)state;
    static const char *const moves[SERVER_STATES] = {
        [SERVER_CONNECTING] = "proving closing",
        [SERVER_PROVING] = "idle closing",
        [SERVER_IDLE] = "active cleaning moving closing",
        [SERVER_ACTIVE] = "idle cleaning held closing",
        [SERVER_CLEANING] = "idle closing",
        [SERVER_HELD] = "idle cleaning closing",
        [SERVER_MOVING] = "idle closing",
        [SERVER_CLOSING] = "",
    };
    for (unsigned from = 0; from < SERVER_STATES; from++) {
        for (unsigned to = 0; to < SERVER_STATES; to++) {
            bool want = strstr(moves[from], server_state_name((enum server_state)to)) != NULL;
            assert_int_equal(server_may_move((enum server_state)from, (enum server_state)to), want);
        }
    }
}

static void every_state_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SERVER_STATES; i++)
        assert_string_not_equal(server_state_name((enum server_state)i), "?");
    assert_string_equal(server_state_name((enum server_state)SERVER_STATES), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_the_diagram),
        cmocka_unit_test(every_state_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
