#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "http_pages.h"

/* Two shards of two regions, the first up, in the state that a test then bends. */
static struct instance_view *view_new(void)
{
    struct instance_view *v = mem_zalloc(sizeof(*v));

    v->home_shard = 7;
    strcpy(v->region, "DEU");
    v->phase = OPS_RUNNING;
    v->uptime_ms = 1500;
    v->workers = 2;
    v->map.loaded = v->map.has_age = true;
    v->map.age_ms = 2500;
    v->map.revision = 99;
    v->map.generation = 3;
    v->map.overrides = 1000;
    strcpy(v->map.source, "directory");
    v->shard_count = 2;
    v->shards = mem_zalloc(2 * sizeof(v->shards[0]));
    v->shards[0] = (struct shard_view){.id = 9,
                                       .region = "USA",
                                       .datacenter = "iad \"1\"",
                                       .active = true,
                                       .health = HEALTH_DOWN,
                                       .error = "secret host",
                                       .figures.shard_id = 9};
    v->shards[1] = (struct shard_view){.id = 7,
                                       .region = "DEU",
                                       .datacenter = "fra",
                                       .active = true,
                                       .primary = true,
                                       .health = HEALTH_UP,
                                       .usable = true,
                                       .latency_us = 1250,
                                       .figures.shard_id = 7};
    instance_view_sort(v);
    instance_view_judge(v);
    return v;
}

static json_t *parse(const struct buf *b)
{
    json_t *j = json_loadb(buf_head(b), b->len, 0, NULL);
    assert_non_null(j);
    return j;
}

static bool flag(const json_t *j, const char *key) { return json_is_true(json_object_get(j, key)); }

static const char *text(const json_t *j, const char *key) { return json_string_value(json_object_get(j, key)); }

static void test_paths(void **state)
{
    (void)state;
    int64_t shard = 0;

    assert_int_equal(http_page_find("/livez", &shard), HTTP_LIVE);
    assert_int_equal(http_page_find("/readyz", &shard), HTTP_READY);
    assert_int_equal(http_page_find("/healthz", &shard), HTTP_HEALTH);
    assert_int_equal(http_page_find("/metrics", &shard), HTTP_METRICS);
    assert_int_equal(http_page_find("/shards/12", &shard), HTTP_SHARD);
    assert_int_equal(shard, 12);
    assert_int_equal(http_page_find("/shards/", &shard), HTTP_NONE);
    assert_int_equal(http_page_find("/shards/1/2", &shard), HTTP_NONE);
    assert_int_equal(http_page_find("/shards/99999999999999999999", &shard), HTTP_NONE);
    assert_int_equal(http_page_find("/", &shard), HTTP_NONE);
    assert_int_equal(http_page_find("", &shard), HTTP_NONE);
    assert_int_equal(http_page_find("/readyz/", &shard), HTTP_NONE);
}

static void check_ready(struct instance_view *v, unsigned status, const char *reason)
{
    struct buf out;

    buf_init(&out, 0);
    instance_view_judge(v);
    assert_int_equal(http_render_ready(v, &out), status);
    json_t *j = parse(&out);
    assert_int_equal(flag(j, "ready"), status == 200);
    if (reason)
        assert_non_null(strstr(text(j, "reason"), reason));
    else
        assert_true(json_is_null(json_object_get(j, "reason")));
    json_decref(j);
    buf_fini(&out);
}

static void test_ready(void **state)
{
    (void)state;
    struct instance_view *v = view_new();

    check_ready(v, 200, NULL);
    v->phase = OPS_DRAINING;
    check_ready(v, 503, "draining");
    v->phase = OPS_STARTING;
    check_ready(v, 503, "starting");
    v->phase = OPS_RUNNING;
    v->map.loaded = false;
    check_ready(v, 503, "map");
    v->map.loaded = true;
    strcpy(v->region, "USA"); /* whose only shard is down */
    check_ready(v, 503, "USA");
    v->region[0] = '\0';
    check_ready(v, 200, NULL);
    v->shards[0].usable = false;
    check_ready(v, 503, "no shard");
    instance_view_free(v);
}

static void test_health(void **state)
{
    (void)state;
    struct instance_view *v = view_new();
    struct buf out;

    buf_init(&out, 0);
    strcpy(v->map.last_error, "broken \xff text");
    assert_int_equal(http_render_health(v, &out), 200);
    json_t *j = parse(&out);
    assert_int_equal(json_integer_value(json_object_get(j, "instance")), 7);
    assert_string_equal(text(j, "region"), "DEU");
    assert_string_equal(text(j, "version"), SHARDGATE_VERSION);
    assert_string_equal(text(j, "phase"), "running");
    assert_true(flag(j, "ready"));
    json_t *map = json_object_get(j, "map");
    assert_int_equal(json_integer_value(json_object_get(map, "revision")), 99);
    assert_int_equal(json_integer_value(json_object_get(map, "tenants")), 1000);
    assert_true(json_real_value(json_object_get(map, "age_seconds")) > 2.4);
    assert_string_equal(text(map, "last_error"), "broken ? text");
    json_t *shards = json_object_get(j, "shards");
    assert_int_equal(json_array_size(shards), 2);
    json_t *up = json_array_get(shards, 0), *down = json_array_get(shards, 1);
    assert_int_equal(json_integer_value(json_object_get(up, "id")), 7);
    assert_true(json_real_value(json_object_get(up, "latency_ms")) > 1.2);
    assert_true(json_is_null(json_object_get(up, "error")));
    assert_string_equal(text(down, "datacenter"), "iad \"1\"");
    assert_string_equal(text(down, "error"), "unreachable");
    json_decref(j);
    buf_append_byte(&out, '\0');
    assert_null(strstr(buf_head(&out), "secret"));
    buf_fini(&out);
    instance_view_free(v);
}

static void test_shard(void **state)
{
    (void)state;
    struct instance_view *v = view_new();
    const struct {
        int64_t id;
        unsigned status;
    } rows[] = {{7, 200}, {9, 503}, {8, 404}, {-1, 404}, {65543, 404}, {INT64_MAX, 404}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(http_render_shard(v, rows[i].id, &out), rows[i].status);
        json_decref(parse(&out));
        buf_fini(&out);
    }
    instance_view_free(v);
}

static void test_full_body(void **state)
{
    (void)state;
    struct instance_view *v = view_new();
    struct buf out;

    buf_init(&out, 100);
    http_render_health(v, &out);
    assert_true(out.failed);
    buf_fini(&out);
    instance_view_free(v);
}

static void test_add(void **state)
{
    (void)state;
    struct instance_view *v = view_new();
    struct shard_figures s[2] = {{.shard_id = 9, .servers = 3, .paused = true}, {.shard_id = 500, .servers = 1}};
    struct worker_figures f = {.clients = 2, .waiting = 1, .shards = s, .shard_count = 2};

    s[0].v[SHARD_QUERIES] = 10;
    s[0].h[SHARD_QUERY_TIME].bucket[2] = 4;
    s[0].h[SHARD_QUERY_TIME].sum_ns = 100;
    instance_view_add(v, &f);
    s[0].paused = false;
    instance_view_add(v, &f);
    const struct shard_view *nine = instance_view_shard(v, 9);
    assert_int_equal(nine->figures.servers, 6);
    assert_true(nine->figures.paused);
    assert_int_equal(nine->figures.v[SHARD_QUERIES], 20);
    assert_int_equal(histogram_figures_count(&nine->figures.h[SHARD_QUERY_TIME]), 8);
    assert_int_equal(nine->figures.h[SHARD_QUERY_TIME].sum_ns, 200);
    assert_int_equal(v->responding, 2);
    assert_int_equal(v->waiting, 2);
    assert_null(instance_view_shard(v, 500));
    instance_view_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths), cmocka_unit_test(test_ready),     cmocka_unit_test(test_health),
        cmocka_unit_test(test_shard), cmocka_unit_test(test_full_body), cmocka_unit_test(test_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
