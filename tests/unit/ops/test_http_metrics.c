#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_pages.h"

static struct instance_view view;
static struct shard_view shards[2];

static void set_up(void)
{
    memset(&view, 0, sizeof(view));
    memset(shards, 0, sizeof(shards));
    view.home_shard = -1;
    view.shards = shards;
    view.shard_count = 2;
    strcpy(shards[0].region, "USA");
    strcpy(shards[1].region, "D\"\\");
    shards[0].id = 1;
    shards[1].id = 2;
}

/* The page, NUL-terminated; owned: buf_fini. */
static const char *page(struct buf *out)
{
    buf_init(out, 0);
    assert_int_equal(http_render_metrics(&view, out), 200);
    buf_append_byte(out, '\0');
    assert_false(out->failed);
    return buf_head(out);
}

static void assert_line(const char *text, const char *line)
{
    char wanted[300];

    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (!strstr(text, wanted))
        fail_msg("no line %s", line);
}

static void test_values(void **state)
{
    (void)state;
    struct buf out;

    set_up();
    view.home_shard = 4;
    strcpy(view.region, "DEU");
    view.ready = true;
    view.clients = 12;
    view.map.revision = 77;
    view.map.has_age = true;
    view.map.age_ms = 1500;
    view.counters[COUNTER_LOGINS] = 123456789012;
    view.counters[COUNTER_DIRECTORY_ERRORS] = 5;
    shards[0].health = HEALTH_UP;
    shards[0].figures.v[SHARD_TRANSACTIONS] = 8;
    shards[1].figures.v[SHARD_WAITS] = 9;
    shards[1].figures.servers = 3;
    const char *text = page(&out);
    assert_line(text, "shardgate_up{version=\"" SHARDGATE_VERSION "\",home_shard=\"4\",region=\"DEU\"} 1");
    assert_line(text, "shardgate_ready 1");
    assert_line(text, "shardgate_clients 12");
    assert_line(text, "shardgate_map_revision 77");
    assert_line(text, "shardgate_map_age_seconds 1.5");
    assert_line(text, "shardgate_logins_total 123456789012");
    assert_line(text, "shardgate_directory_errors_total 5");
    assert_line(text, "shardgate_shard_up{shard=\"1\",region=\"USA\"} 1");
    assert_line(text, "shardgate_shard_up{shard=\"2\",region=\"D\\\"\\\\\"} 0");
    assert_line(text, "shardgate_shard_transactions_total{shard=\"1\",region=\"USA\"} 8");
    assert_line(text, "shardgate_shard_waits_total{shard=\"2\",region=\"D\\\"\\\\\"} 9");
    assert_line(text, "shardgate_shard_server_connections{shard=\"2\",region=\"D\\\"\\\\\"} 3");
    buf_fini(&out);
}

static void test_no_age_before_the_directory(void **state)
{
    (void)state;
    struct buf out;

    set_up();
    assert_null(strstr(page(&out), "\nshardgate_map_age_seconds "));
    buf_fini(&out);
}

static void test_histogram(void **state)
{
    (void)state;
    struct buf out;
    struct histogram_figures *h = &shards[0].figures.h[SHARD_QUERY_TIME];

    set_up();
    h->bucket[0] = 1;
    h->bucket[3] = 2;
    h->bucket[HISTOGRAM_BUCKETS - 1] = 4;
    h->sum_ns = 2500000000;
    const char *text = page(&out);
    assert_line(text, "shardgate_shard_query_seconds_bucket{shard=\"1\",region=\"USA\",le=\"1e-06\"} 1");
    assert_line(text, "shardgate_shard_query_seconds_bucket{shard=\"1\",region=\"USA\",le=\"4e-06\"} 1");
    assert_line(text, "shardgate_shard_query_seconds_bucket{shard=\"1\",region=\"USA\",le=\"6.4e-05\"} 3");
    assert_line(text, "shardgate_shard_query_seconds_bucket{shard=\"1\",region=\"USA\",le=\"+Inf\"} 7");
    assert_line(text, "shardgate_shard_query_seconds_sum{shard=\"1\",region=\"USA\"} 2.500000000");
    assert_line(text, "shardgate_shard_query_seconds_count{shard=\"1\",region=\"USA\"} 7");
    buf_fini(&out);
}

/* Each sample stands under the TYPE line of its own metric, and each metric is there once. */
static void test_shape(void **state)
{
    (void)state;
    struct buf out;
    char current[100] = "";
    size_t metrics, types = 0;

    set_up();
    char *text = strdup(page(&out)), *at = text, *line;
    metric_table(&metrics);
    while ((line = strsep(&at, "\n")) && *line) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            types++;
            assert_int_equal(sscanf(line, "# TYPE %99s", current), 1);
        } else if (line[0] != '#') {
            assert_int_equal(strncmp(line, current, strlen(current)), 0);
            assert_non_null(strchr("{ _", line[strlen(current)]));
        }
        assert_null(strstr(line, "tenant="));
    }
    assert_int_equal(types, metrics);
    free(text);
    buf_fini(&out);
}

static void test_docs(void **state)
{
    (void)state;
    struct buf out;
    size_t count;
    const struct metric_info *table = metric_table(&count);

    buf_init(&out, 0);
    assert_true(ops_print_metrics_docs(&out));
    buf_append_byte(&out, '\0');
    for (size_t i = 0; i < count; i++) {
        assert_non_null(strstr(buf_head(&out), table[i].metric));
        assert_non_null(strstr(buf_head(&out), table[i].help));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_no_age_before_the_directory),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_shape),
        cmocka_unit_test(test_docs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
