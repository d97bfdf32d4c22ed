/* Permits: limits hold under threads, no bit and no wake-up is lost. */
#include "support.h"

#include <pthread.h>
#include <sched.h>

#include "permits.h"

static void get_all(struct permits *p, struct permit *pm[PERMIT_KINDS], const int64_t limit[PERMIT_KINDS])
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        pm[k] = permit_get(p, (enum permit_kind)k, STR("x"), limit[k]);
}

static void put_all(struct permits *p, struct permit *pm[PERMIT_KINDS])
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_unref(p, pm[k]);
}

static void same_content_is_one_permit(void **state)
{
    (void)state;
    struct permits *p = permits_new(2);
    struct permit *a = permit_get(p, PERMIT_POOL, STR("a"), 5);
    struct permit *b = permit_get(p, PERMIT_POOL, STR("a"), 7);
    struct permit *c = permit_get(p, PERMIT_SHARD, STR("a"), 5);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal(a->limit, 7);
    permit_unref(p, a);
    permit_unref(p, b);
    permit_unref(p, c);
    permits_free(p);
}

static void all_or_none(void **state)
{
    (void)state;
    struct permits *p = permits_new(2);
    struct permit *pm[PERMIT_KINDS];
    get_all(p, pm, (int64_t[PERMIT_KINDS]){3, 9, 2, PERMIT_NO_LIMIT});
    assert_int_equal(permit_try_all(pm, 0, 0), PERMIT_KINDS);
    assert_int_equal(permit_try_all(pm, 1, 0), PERMIT_KINDS);
    assert_int_equal(permit_try_all(pm, 0, 0), PERMIT_USER);
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        assert_int_equal(pm[k]->used, 2);
        assert_int_equal(permit_held(pm[k], 0), 1);
    }
    permit_set_limit(pm[PERMIT_USER], PERMIT_NO_LIMIT);
    assert_int_equal(permit_try_all(pm, 0, 0), PERMIT_KINDS);
    assert_int_equal(permit_try_all(pm, 0, 0), PERMIT_POOL);
    assert_int_equal(permit_try_all(pm, 0, 1), PERMIT_KINDS); /* from the reserve */
    assert_int_equal(permit_try_all(pm, 0, 1), PERMIT_POOL);
    permit_move(pm[PERMIT_POOL], 0, 1);
    assert_int_equal(permit_held(pm[PERMIT_POOL], 1), 2);
    assert_int_equal(pm[PERMIT_POOL]->used, 4);
    put_all(p, pm);
    permits_free(p);
}

static void bits_are_claimed_in_turns(void **state)
{
    (void)state;
    struct permits *p = permits_new(64);
    struct permit *pm = permit_get(p, PERMIT_POOL, STR("a"), 10);
    assert_int_equal(permit_claim(pm, 0), -1);
    assert_true(permit_mark(pm, 0));
    assert_false(permit_mark(pm, 0));
    assert_int_equal(permit_claim(pm, 0), -1); /* not to itself */
    assert_true(permit_mark(pm, 63));
    assert_true(permit_mark(pm, 5));
    assert_int_equal(permit_claim(pm, 3), 5);
    assert_int_equal(permit_claim(pm, 63), 0);
    assert_int_equal(permit_claim(pm, 5), 63);
    assert_false(permit_unmark(pm, 5));
    assert_int_equal(permit_share(pm, 7), 3); /* 10 among 4 */
    assert_int_equal(permit_share(pm, 0), 10);
    permit_set_limit(pm, 1);
    assert_int_equal(permit_share(pm, 1), 1);
    permit_unref(p, pm);
    permits_free(p);
}

/* Threads that take, hold and release; one that cannot take marks itself, tries
 * again and sleeps until a releaser has cleared its bit, as pools do. */
enum { THREADS = 4, ROUNDS = 20000 };
struct player {
    struct permits *permits;
    struct permit *pm[PERMIT_KINDS];
    unsigned worker;
    atomic_bool *told; /* by worker */
    atomic_int *inside, *most;
};

static void tell_one(struct player *me)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        int w;
        if (permit_has_room(me->pm[k], 0) && (w = permit_claim(me->pm[k], me->worker)) >= 0)
            atomic_store(&me->told[w], true);
    }
}

static void acquire(struct player *me)
{
    unsigned k;
    while ((k = permit_try_all(me->pm, me->worker, 0)) < PERMIT_KINDS) {
        for (unsigned j = 0; j < k; j++) {
            int w = permit_claim(me->pm[j], me->worker);
            if (w >= 0)
                atomic_store(&me->told[w], true);
        }
        permit_mark(me->pm[k], me->worker);
        if (permit_has_room(me->pm[k], 0)) {
            permit_unmark(me->pm[k], me->worker);
            continue;
        }
        while (!atomic_exchange(&me->told[me->worker], false))
            sched_yield(); /* hangs the test if a wake-up is lost */
    }
}

static void *play(void *arg)
{
    struct player *me = arg;
    for (int i = 0; i < ROUNDS; i++) {
        acquire(me);
        int n = atomic_fetch_add(me->inside, 1) + 1, most = atomic_load(me->most);
        while (n > most && !atomic_compare_exchange_weak(me->most, &most, n))
            ;
        atomic_fetch_sub(me->inside, 1);
        for (unsigned k = 0; k < PERMIT_KINDS; k++)
            permit_release(me->pm[k], me->worker);
        tell_one(me);
        if (i % 64 == 0) { /* references come and go meanwhile */
            struct permit *extra = permit_get(me->permits, PERMIT_POOL, STR("extra"), 1);
            permit_unref(me->permits, extra);
        }
    }
    return NULL;
}

static void run_threads(const int64_t limit[PERMIT_KINDS], int most_allowed)
{
    struct permits *p = permits_new(THREADS);
    struct permit *pm[PERMIT_KINDS];
    get_all(p, pm, limit);
    atomic_bool told[THREADS] = {0};
    atomic_int inside = 0, most = 0;
    struct player players[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        players[i] = (struct player){.permits = p, .worker = i, .told = told, .inside = &inside, .most = &most};
        for (unsigned k = 0; k < PERMIT_KINDS; k++)
            players[i].pm[k] = pm[k];
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(most <= most_allowed);
    for (unsigned k = 0; k < PERMIT_KINDS; k++) {
        assert_int_equal(pm[k]->used, 0);
        for (unsigned w = 0; w < THREADS; w++)
            assert_int_equal(permit_held(pm[k], w), 0);
    }
    put_all(p, pm);
    permits_free(p);
}

static void one_permit_for_four_threads(void **state)
{
    (void)state;
    run_threads((int64_t[PERMIT_KINDS]){1, 1, PERMIT_NO_LIMIT, 1}, 1);
}

static void last_kind_is_exhausted(void **state)
{
    (void)state;
    run_threads((int64_t[PERMIT_KINDS]){3, PERMIT_NO_LIMIT, 3, 2}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_content_is_one_permit), cmocka_unit_test(all_or_none),
        cmocka_unit_test(bits_are_claimed_in_turns),  cmocka_unit_test(one_permit_for_four_threads),
        cmocka_unit_test(last_kind_is_exhausted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
