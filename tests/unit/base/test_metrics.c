#include "support.h"

#include <pthread.h>
#include <string.h>

static void test_bounds(void **state)
{
    (void)state;
    assert_true(histogram_bound_ns(0) == 1000);
    assert_true(histogram_bound_ns(1) == 4000);
    assert_true(histogram_bound_ns(5) == 1024000);
    for (unsigned i = 1; i < HISTOGRAM_BUCKETS - 1; i++)
        assert_true(histogram_bound_ns(i) == 4 * histogram_bound_ns(i - 1));
    assert_true(histogram_bound_ns(HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
    assert_true(histogram_bound_ns(HISTOGRAM_BUCKETS + 100) == UINT64_MAX);
}

static void test_observe(void **state)
{
    (void)state;
    struct histogram h;

    memset(&h, 0, sizeof(h));
    histogram_observe(&h, 0);
    histogram_observe(&h, 1000); /* bounds belong to their bucket, as Prometheus has it */
    histogram_observe(&h, 1001);
    histogram_observe(&h, histogram_bound_ns(HISTOGRAM_BUCKETS - 2));
    histogram_observe(&h, histogram_bound_ns(HISTOGRAM_BUCKETS - 2) + 1);
    assert_int_equal(h.bucket[0], 2);
    assert_int_equal(h.bucket[1], 1);
    assert_int_equal(h.bucket[HISTOGRAM_BUCKETS - 2], 1);
    assert_int_equal(h.bucket[HISTOGRAM_BUCKETS - 1], 1);
    assert_true(h.sum_ns == 2001 + 2 * histogram_bound_ns(HISTOGRAM_BUCKETS - 2) + 1);
    histogram_observe(&h, UINT64_MAX);
    assert_int_equal(h.bucket[HISTOGRAM_BUCKETS - 1], 2);
}

static void test_counters(void **state)
{
    (void)state;
    struct counters c;
    struct shard_stats s;

    memset(&c, 0, sizeof(c));
    memset(&s, 0, sizeof(s));
    counter_add(&c, COUNTER_LOGINS, 2);
    counter_add(&c, COUNTER_LOGINS, 3);
    shard_add(&s, SHARD_QUERIES, 7);
    assert_int_equal(c.v[COUNTER_LOGINS], 5);
    assert_int_equal(c.v[COUNTER_LOGIN_FAILURES], 0);
    assert_int_equal(s.v[SHARD_QUERIES], 7);
}

static bool is_metric_name(const char *s) { return s[0] && strspn(s, "abcdefghijklmnopqrstuvwxyz_") == strlen(s); }

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s);
    size_t t = strlen(tail);

    return n >= t && strcmp(s + n - t, tail) == 0;
}

static void test_table(void **state)
{
    (void)state;
    size_t count;
    size_t of_type[4] = {0};
    const struct metric_info *table = metric_table(&count);

    for (size_t i = 0; i < count; i++) {
        bool counts = table[i].type == METRIC_COUNTER || table[i].type == METRIC_SHARD_COUNTER;

        of_type[table[i].type]++;
        assert_true(is_metric_name(table[i].metric));
        assert_true(table[i].help[0] != '\0');
        assert_int_equal(ends_with(table[i].metric, "_total"), counts);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(table[i].metric, table[k].metric);
    }
    assert_int_equal(of_type[METRIC_COUNTER], COUNTER__COUNT);
    assert_int_equal(of_type[METRIC_SHARD_COUNTER], SHARD_COUNTER__COUNT);
    assert_int_equal(of_type[METRIC_SHARD_HISTOGRAM], SHARD_HISTOGRAM__COUNT);
}

enum { ROUNDS = 100000 };

static void *write_counter(void *arg)
{
    struct counters *c = arg;

    for (int i = 0; i < ROUNDS; i++)
        counter_add(c, COUNTER_CANCELS, 1);
    return NULL;
}

/* One writer, one reader without a lock: never backwards, nothing lost. */
static void test_reader_in_another_thread(void **state)
{
    (void)state;
    struct counters c;
    pthread_t writer;
    uint64_t last = 0;

    memset(&c, 0, sizeof(c));
    assert_int_equal(pthread_create(&writer, NULL, write_counter, &c), 0);
    while (last < ROUNDS) {
        uint64_t now = atomic_load_explicit(&c.v[COUNTER_CANCELS], memory_order_relaxed);

        assert_true(now >= last);
        last = now;
    }
    pthread_join(writer, NULL);
    assert_true(last == ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_reader_in_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
