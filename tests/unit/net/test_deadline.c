/*
 * Deadlines, by a clock of the test's own and by the loop's.
 */
#include "net_test.h"

struct item {
    struct deadline deadline;
    int fired;
};

struct fixture {
    struct loop *loop;
    struct deadline_class class;
    struct item items[8];
    int order[16], count;
    struct item *disarm, *rearm;
    bool end_class;
};

static void on_expired(struct deadline *d, void *ctx)
{
    struct fixture *f = ctx;
    struct item *item = container_of(d, struct item, deadline);
    assert_false(ilist_linked(&d->node));
    item->fired++;
    f->order[f->count++] = (int)(item - f->items);
    if (f->disarm)
        deadline_disarm(&f->disarm->deadline);
    if (f->rearm == item)
        deadline_arm(&f->class, d);
    if (f->end_class) {
        f->end_class = false;
        deadline_class_fini(&f->class);
        memset(&f->class, 0xff, sizeof(f->class)); /* as if freed */
    }
}

static void init(struct fixture *f, uint64_t timeout_ms)
{
    memset(f, 0, sizeof(*f));
    f->loop = new_loop();
    deadline_class_init(&f->class, f->loop, timeout_ms, on_expired, f);
}

static void fini(struct fixture *f)
{
    deadline_class_fini(&f->class);
    loop_free(f->loop);
}

static void they_fire_in_order_and_once(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, 1000);
    uint64_t now = loop_now_ms(f.loop);
    for (int i = 0; i < 3; i++)
        deadline_arm(&f.class, &f.items[i].deadline);
    deadline_arm(&f.class, &f.items[0].deadline); /* again: moves to the end */
    deadline_disarm(&f.items[2].deadline);
    deadline_disarm(&f.items[2].deadline);
    deadline_disarm(&f.items[5].deadline); /* never armed */
    deadline_class_run(&f.class, now + 999);
    assert_int_equal(f.count, 0);
    deadline_class_run(&f.class, now + 1000);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.order[0], 1);
    assert_int_equal(f.order[1], 0);
    deadline_class_run(&f.class, now + 5000);
    assert_int_equal(f.count, 2);
    fini(&f);
}

static void zero_means_never(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, 0);
    deadline_arm(&f.class, &f.items[0].deadline);
    deadline_class_run(&f.class, UINT64_MAX);
    assert_int_equal(f.count, 0);
    f.class.timeout_ms = UINT64_MAX;
    deadline_arm(&f.class, &f.items[0].deadline);
    deadline_class_run(&f.class, UINT64_MAX - 1);
    assert_int_equal(f.count, 0);
    fini(&f);
}

static void a_shortened_timeout_overtakes(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, 1000);
    uint64_t now = loop_now_ms(f.loop);
    deadline_arm(&f.class, &f.items[0].deadline);
    f.class.timeout_ms = 500;
    deadline_arm(&f.class, &f.items[1].deadline);
    f.class.timeout_ms = 700;
    deadline_arm(&f.class, &f.items[2].deadline);
    deadline_class_run(&f.class, now + 500);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.order[0], 1);
    deadline_class_run(&f.class, now + 700);
    assert_int_equal(f.order[1], 2);
    deadline_class_run(&f.class, now + 1000);
    assert_int_equal(f.order[2], 0);
    fini(&f);
}

static void callbacks_may_disarm_arm_and_end_the_class(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, 10);
    for (int i = 0; i < 3; i++)
        deadline_arm(&f.class, &f.items[i].deadline);
    f.disarm = &f.items[1];
    f.rearm = &f.items[0];
    deadline_class_run(&f.class, loop_now_ms(f.loop) + 100);
    assert_int_equal(f.items[0].fired, 1); /* armed again, but not fired again in one run */
    assert_int_equal(f.items[1].fired, 0);
    assert_int_equal(f.items[2].fired, 1);
    f.rearm = NULL;
    deadline_arm(&f.class, &f.items[1].deadline);
    f.disarm = NULL;
    f.end_class = true;
    deadline_class_run(&f.class, loop_now_ms(f.loop) + 100);
    assert_int_equal(f.items[0].fired, 2);
    assert_int_equal(f.items[1].fired, 0); /* dropped with its class */
    loop_free(f.loop);
}

static void the_loop_fires_them(void **state)
{
    (void)state;
    struct fixture slow, fast;
    init(&slow, 60);
    memset(&fast, 0, sizeof(fast));
    fast.loop = slow.loop;
    deadline_class_init(&fast.class, fast.loop, 20, on_expired, &fast);
    uint64_t from = clock_mono_ns();
    loop_turn(slow.loop);
    deadline_arm(&slow.class, &slow.items[0].deadline);
    deadline_arm(&fast.class, &fast.items[0].deadline); /* later armed, earlier due */
    fast.rearm = &fast.items[0];
    WAIT_FOR(slow.loop, fast.count == 1);
    assert_in_range((clock_mono_ns() - from) / 1000000, 15, 2000);
    assert_int_equal(slow.count, 0);
    WAIT_FOR(slow.loop, slow.count == 1);
    assert_in_range((clock_mono_ns() - from) / 1000000, 55, 3000);
    assert_true(fast.count >= 2);
    fast.rearm = NULL;
    /* A disarmed first must not hide the one behind it. */
    deadline_arm(&fast.class, &fast.items[1].deadline);
    usleep(2000);
    loop_turn(fast.loop);
    deadline_arm(&fast.class, &fast.items[2].deadline);
    deadline_disarm(&fast.items[1].deadline);
    WAIT_FOR(fast.loop, fast.items[2].fired == 1);
    assert_int_equal(fast.items[1].fired, 0);
    deadline_class_fini(&fast.class);
    fini(&slow);
}

static void on_expired_end_other(struct deadline *d, void *ctx)
{
    (void)d;
    struct fixture *other = ctx;
    deadline_class_fini(&other->class);
    other->count = -1;
}

static void a_callback_may_end_another_class(void **state)
{
    (void)state;
    struct fixture f;
    struct deadline_class killer;
    struct item trigger = {0};
    init(&f, 5);
    deadline_class_fini(&f.class);
    deadline_class_init(&killer, f.loop, 5, on_expired_end_other, &f);
    deadline_class_init(&f.class, f.loop, 5, on_expired, &f);
    deadline_arm(&killer, &trigger.deadline);
    deadline_arm(&f.class, &f.items[0].deadline);
    usleep(10000);
    WAIT_FOR(f.loop, f.count != 0);
    for (int i = 0; i < 3; i++)
        loop_turn(f.loop);
    assert_int_equal(f.count, -1);
    assert_int_equal(f.items[0].fired, 0);
    deadline_class_fini(&killer);
    loop_free(f.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_fire_in_order_and_once),   cmocka_unit_test(zero_means_never),
        cmocka_unit_test(a_shortened_timeout_overtakes), cmocka_unit_test(callbacks_may_disarm_arm_and_end_the_class),
        cmocka_unit_test(the_loop_fires_them),           cmocka_unit_test(a_callback_may_end_another_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
