/*
 * An ops room over two workers that are fakes; they and the control have real
 * loops, each in its thread.
 */
#ifndef OPS_BENCH_H
#define OPS_BENCH_H

#include "support.h"

#include <pthread.h>
#include <string.h>

#include "shardgate/ops.h"

#include "fake_workers.h"

#define BENCH_WORKERS 2

struct bench {
    struct loop *control;
    struct ops *ops;
    struct conf *conf;
    struct map *map;
    struct ops_worker workers[BENCH_WORKERS];
    struct pools pools[BENCH_WORKERS];
    struct sessions sessions[BENCH_WORKERS];
    struct counters counters[BENCH_WORKERS];
    pthread_t threads[BENCH_WORKERS], control_thread;
    bool stuck[BENCH_WORKERS]; /* its loop does not run */
    struct error *reload_error;
    bool reload_never;
    bool stopped; /* a test has ended the control loop itself */
    atomic_bool drained, shut_down;
};

static struct conf *bench_conf(void *ctx) { return ((struct bench *)ctx)->conf; }
static struct map *bench_map(void *ctx) { return ((struct bench *)ctx)->map; }
static void bench_drain(void *ctx) { ((struct bench *)ctx)->drained = true; }
static void bench_shutdown(void *ctx) { ((struct bench *)ctx)->shut_down = true; }

static enum ops_phase bench_phase(void *ctx)
{
    struct bench *b = ctx;

    if (b->shut_down)
        return OPS_STOPPING;
    return b->drained ? OPS_DRAINING : OPS_RUNNING;
}

static uint64_t bench_started(void *ctx)
{
    (void)ctx;
    return 0;
}

static void bench_reload(void *ctx, void (*done)(void *done_ctx, const struct error *e), void *done_ctx)
{
    struct bench *b = ctx;

    if (!b->reload_never)
        done(done_ctx, b->reload_error);
}

struct bench_stop {
    struct post post;
    struct ops *ops; /* of the control loop */
};

static void bench_stop_run(struct post *p, void *ctx)
{
    struct bench_stop *s = container_of(p, struct bench_stop, post);

    if (s->ops)
        ops_stop(s->ops);
    loop_stop(ctx);
    mem_free(s);
}

static void bench_stop_loop(struct loop *l, pthread_t thread, struct ops *ops)
{
    struct bench_stop *s = mem_zalloc(sizeof(*s));

    s->post.run = bench_stop_run;
    s->ops = ops;
    assert_true(loop_post(l, &s->post));
    pthread_join(thread, NULL);
}

static void *bench_thread(void *loop)
{
    loop_run(loop);
    return NULL;
}

static struct map *bench_make_map(void)
{
    struct error e;
    struct map_builder *b = map_builder_new(11);
    char conninfo[] = "host=/tmp dbname=app";
    struct map_limits limits = {100, 100};

    for (int i = 0; i < 2; i++) {
        struct map_shard s = {.id = (int16_t)(3 + i),
                              .region = "USA",
                              .datacenter = "iad",
                              .conninfo = conninfo,
                              .primary = i == 0,
                              .active = i == 0,
                              .has_range = true,
                              .min = 100 * i + 1,
                              .max = 100 * i + 100};
        assert_true(map_builder_shard(b, &s, &e));
    }
    assert_true(map_builder_override(b, 7000, 4, MAP_OVERRIDE));
    struct map *m = map_builder_finish(b, NULL, limits, &e);
    assert_non_null(m);
    return m;
}

/* yaml: more of the configuration, or "". */
static void bench_start(struct bench *b, const char *yaml)
{
    struct error e;
    struct buf text;

    buf_init(&text, 0);
    buf_printf(&text, "directory:\n  connection: host=/tmp dbname=d\n%s", yaml);
    b->conf = conf_parse("test", buf_str(&text), &e);
    if (!b->conf)
        fail_msg("%s", e.cause);
    buf_fini(&text);
    b->map = bench_make_map();
    b->control = loop_new(&e);
    loop_set_context(b->control, b->control);
    for (unsigned i = 0; i < BENCH_WORKERS; i++) {
        b->pools[i].shard = 3;
        b->sessions[i].id = 100 + i;
        b->workers[i] = (struct ops_worker){loop_new(&e), &b->pools[i], &b->sessions[i], &b->counters[i]};
        loop_set_context(b->workers[i].loop, b->workers[i].loop);
        if (!b->stuck[i])
            assert_int_equal(pthread_create(&b->threads[i], NULL, bench_thread, b->workers[i].loop), 0);
    }
    struct ops_env env = {.control = b->control,
                          .workers = b->workers,
                          .worker_count = BENCH_WORKERS,
                          .hub = (struct session_hub *)b,
                          .ctx = b,
                          .conf = bench_conf,
                          .map = bench_map,
                          .phase = bench_phase,
                          .started_ms = bench_started,
                          .reload = bench_reload,
                          .drain = bench_drain,
                          .shutdown = bench_shutdown};
    b->ops = ops_new(&env);
    if (!ops_start(b->ops, &e))
        fail_msg("%s", e.cause);
    assert_int_equal(pthread_create(&b->control_thread, NULL, bench_thread, b->control), 0);
}

static void bench_end(struct bench *b)
{
    for (unsigned i = 0; i < BENCH_WORKERS; i++) {
        if (!b->stuck[i])
            bench_stop_loop(b->workers[i].loop, b->threads[i], NULL);
    }
    if (!b->stopped)
        bench_stop_loop(b->control, b->control_thread, b->ops);
    for (unsigned i = 0; i < BENCH_WORKERS; i++)
        loop_free(b->workers[i].loop);
    loop_free(b->control);
    ops_free(b->ops);
    map_unref(b->map);
    conf_unref(b->conf);
}

#endif
