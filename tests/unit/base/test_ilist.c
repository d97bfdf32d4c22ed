#include "support.h"

struct item {
    int value;
    struct ilist link;
};

static int sum_digits(const struct ilist *head)
{
    int digits = 0;

    ILIST_EACH (node, head)
        digits = digits * 10 + container_of(node, struct item, link)->value;
    return digits;
}

static void test_order(void **state)
{
    (void)state;
    struct ilist head;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}}, d = {4, {0}};

    ilist_init(&head);
    assert_true(ilist_empty(&head));
    assert_null(ilist_first(&head));
    assert_null(ilist_pop_front(&head));
    assert_false(ilist_linked(&a.link));
    ilist_push_back(&head, &b.link);
    ilist_push_back(&head, &d.link);
    ilist_push_front(&head, &a.link);
    ilist_insert_before(&d.link, &c.link);
    assert_int_equal(sum_digits(&head), 1234);
    assert_true(ilist_linked(&c.link));
    assert_ptr_equal(ilist_pop_front(&head), &a.link);
    ilist_remove(&c.link);
    ilist_remove(&c.link);
    assert_false(ilist_linked(&c.link));
    assert_int_equal(sum_digits(&head), 24);
}

static void test_remove_while_walking(void **state)
{
    (void)state;
    struct ilist head;
    struct item items[5] = {{0}};
    int seen = 0;

    ilist_init(&head);
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        ilist_push_back(&head, &items[i].link);
    ILIST_EACH (node, &head) {
        ilist_remove(node);
        seen++;
    }
    assert_int_equal(seen, 5);
    assert_true(ilist_empty(&head));
}

static void test_remove_of_zeroed_node(void **state)
{
    (void)state;
    struct ilist node = {0};

    ilist_remove(&node);
    assert_false(ilist_linked(&node));
}

static void test_fsm(void **state)
{
    (void)state;
    enum { A, B, C };
    static const uint32_t allowed[] = {[A] = FSM_TO(B) | FSM_TO(C), [B] = FSM_TO(C), [C] = 0};

    assert_true(fsm_allows(allowed, A, B));
    assert_true(fsm_allows(allowed, A, C));
    assert_true(fsm_allows(allowed, B, C));
    assert_false(fsm_allows(allowed, B, A));
    assert_false(fsm_allows(allowed, A, A));
    assert_false(fsm_allows(allowed, C, A));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_remove_while_walking),
        cmocka_unit_test(test_remove_of_zeroed_node),
        cmocka_unit_test(test_fsm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
