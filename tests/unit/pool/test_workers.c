/* Several workers and one limit: idle servers move, nobody starves. */
#include "pool_test.h"

#include <pthread.h>

static struct pg_temp pg;
static char conninfo[256];

static void idle_server_moves(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    rig_open(&r, 2, "pool: {size: 1}", conninfo);
    struct pool *p0 = rig_pool(&r, 0), *p1 = rig_pool(&r, 1);
    client_get(&r, &a, p0);
    int pid = client_pid(&a);
    uint64_t expires = a.server->expires_ms;
    client_query(&r, &a, "SET application_name = 'moving'");
    client_put(&a);
    client_get(&r, &b, p1); /* begs for it */
    assert_int_equal(client_pid(&b), pid);
    assert_str(b.server->params->value[PARAM_APPLICATION_NAME], "moving");
    assert_int_equal(p0->total, 0);
    assert_int_equal(b.server->expires_ms, expires);
    assert_string_equal(client_query(&r, &b, "SELECT 1"), "1");
    /* In use there: it comes when it is given back. */
    client_ask(&a, p0);
    rig_run_for(&r, 50);
    assert_null(a.server);
    client_put(&b);
    WAIT(&r, a.server);
    assert_int_equal(client_pid(&a), pid);
    client_put(&a);
    assert_int_equal(p0->group[PERMIT_POOL]->permit->used, 1);
    assert_int_equal(p0->group[PERMIT_POOL]->permit->starving, 0);
    pool_unref(p0);
    pool_unref(p1);
    rig_close(&r);
}

static void other_pools_server_makes_room(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    rig_open(&r, 2, "pool: {max_per_shard: 1}", conninfo);
    struct pool *p0 = rig_pool(&r, 0);
    struct pool *q1 = rig_pool_for(&r, 1, (struct pool_want){.database = "postgres"});
    client_get(&r, &a, p0);
    client_put(&a);
    client_get(&r, &b, q1);
    assert_string_equal(client_query(&r, &b, "SELECT current_database()"), "postgres");
    assert_int_equal(p0->total, 0);
    client_ask(&a, p0);
    rig_run_for(&r, 30);
    assert_null(a.server);
    client_put(&b);
    WAIT(&r, a.server);
    client_put(&a);
    assert_int_equal(p0->group[PERMIT_SHARD]->permit->used, 1);
    pool_unref(p0);
    pool_unref(q1);
    rig_close(&r);
}

static void shares_even_out(void **state)
{
    (void)state;
    struct rig r;
    struct client a[8], b[8];
    rig_open(&r, 2, "pool: {size: 4}", conninfo);
    struct pool *p0 = rig_pool(&r, 0), *p1 = rig_pool(&r, 1);
    for (unsigned i = 0; i < 8; i++)
        client_ask(&a[i], p0);
    WAIT(&r, a[0].server && a[1].server && a[2].server && a[3].server);
    for (unsigned i = 0; i < 8; i++)
        client_ask(&b[i], p1);
    rig_run_for(&r, 20);
    for (unsigned round = 0; round < 60; round++) {
        struct client *all[16];
        for (unsigned i = 0; i < 8; i++)
            all[i] = &a[i], all[8 + i] = &b[i];
        for (unsigned i = 0; i < 16; i++) {
            if (all[i]->server) {
                client_put(all[i]);
                client_ask(all[i], i < 8 ? p0 : p1);
            }
        }
        rig_run_for(&r, 3);
        assert_true(p0->group[PERMIT_POOL]->permit->used <= 4);
    }
    assert_int_equal(p0->total, 2);
    assert_int_equal(p1->total, 2);
    for (unsigned i = 0; i < 8; i++) {
        waiter_cancel(&a[i].waiter);
        waiter_cancel(&b[i].waiter);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (a[i].server)
            client_put(&a[i]);
        if (b[i].server)
            client_put(&b[i]);
    }
    assert_int_equal(p0->group[PERMIT_POOL]->permit->starving, 0);
    pool_unref(p0);
    pool_unref(p1);
    rig_close(&r);
}

static void reconnect_while_moving(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    rig_open(&r, 2, "pool: {size: 1}", conninfo);
    struct pool *p0 = rig_pool(&r, 0), *p1 = rig_pool(&r, 1);
    client_get(&r, &a, p0);
    int pid = client_pid(&a);
    client_ask(&b, p1);
    rig_run_for(&r, 20);
    client_put(&a); /* is moving now */
    assert_int_equal(p0->count[SERVER_MOVING], 1);
    pools_reconnect(r.pools[0], SHARD_ALL);
    WAIT(&r, b.server); /* a new one, with the permit of the old */
    assert_int_not_equal(client_pid(&b), pid);
    client_put(&b);
    pool_unref(p0);
    pool_unref(p1);
    rig_close(&r);
}

static void receiver_has_gone(void **state)
{
    (void)state;
    struct rig r;
    struct client a, b;
    rig_open(&r, 2, "pool: {size: 1}", conninfo);
    struct pool *p0 = rig_pool(&r, 0), *p1 = rig_pool(&r, 1);
    client_get(&r, &a, p0);
    client_ask(&b, p1);
    rig_run_for(&r, 20);
    client_put(&a);
    waiter_cancel(&b.waiter);
    pool_unref(p1); /* the pool there is gone when the server comes */
    struct permit *permit = permit_ref(r.permits, p0->group[PERMIT_POOL]->permit);
    WAIT(&r, atomic_load(&permit->used) == 0);
    client_get(&r, &a, p0);
    client_put(&a);
    permit_unref(r.permits, permit);
    pool_unref(p0);
    rig_close(&r);
}

/* ---- threads ------------------------------------------------------------------- */

enum { CLIENTS = 6, ROUNDS = 150 };

struct runner;
struct runner_client {
    struct client client; /* first */
    struct runner *runner;
    unsigned rounds;
};
struct runner {
    unsigned worker;
    struct team *team;
    struct loop *loop;
    struct pools *pools;
    struct pool *pool[2];
    struct runner_client clients[CLIENTS];
    unsigned left;
    struct timer *begin;
};
struct team {
    struct permits *permits;
    struct conf *conf;
    struct map *map;
    struct runner runner[2];
    struct permit *permit;
    int64_t limit;
    atomic_int failures;
};

static bool team_post(void *ctx, unsigned to, struct post *p)
{
    const struct runner *r = ctx;
    return loop_post(r->team->runner[to].loop, p);
}

static void on_team_closed(void *ctx)
{
    const struct runner *r = ctx;
    loop_stop(r->loop);
}

static void next_round(struct runner_client *rc);

static void on_answer(struct stream *stream, int events)
{
    struct server *s = container_of(stream, struct server, stream);
    struct runner_client *rc = s->owner;
    on_client_server(stream, events);
    if (rc->client.lost) {
        atomic_fetch_add(&rc->runner->team->failures, 1);
        next_round(rc);
    } else if (s->expect.count == 0) {
        client_put(&rc->client);
        next_round(rc);
    }
}

static void use(struct runner_client *rc)
{
    rc->client.server->stream.ready = on_answer;
    client_send(&rc->client, "SELECT 1");
}

static void on_runner_served(struct waiter *w, struct server *s, const struct error *e)
{
    struct runner_client *rc = container_of(w, struct runner_client, client.waiter);
    if (e || !s) {
        atomic_fetch_add(&rc->runner->team->failures, 1);
        next_round(rc);
        return;
    }
    client_link(&rc->client, s);
    use(rc);
}

static void next_round(struct runner_client *rc)
{
    struct runner *r = rc->runner;
    struct team *t = r->team;
    if (atomic_load(&t->permit->used) > t->limit)
        atomic_fetch_add(&t->failures, 1);
    if (rc->rounds++ == ROUNDS) {
        if (--r->left == 0) {
            pool_unref(r->pool[0]);
            pool_unref(r->pool[1]);
            pools_close(r->pools);
        }
        return;
    }
    memset(&rc->client, 0, sizeof(rc->client));
    rc->client.waiter.done = on_runner_served;
    struct server *s = pool_checkout(r->pool[(rc - r->clients) % 2], &rc->client.waiter);
    if (s) {
        client_link(&rc->client, s);
        use(rc);
    }
}

static void on_begin(void *ctx)
{
    struct runner *r = ctx;
    timer_free(r->begin);
    for (unsigned i = 0; i < CLIENTS; i++)
        next_round(&r->clients[i]);
}

static void *run_worker(void *arg)
{
    struct runner *r = arg;
    loop_run(r->loop);
    return NULL;
}

/* Clients of two pools in each worker, all through `limit` connections. */
static void run_team(const char *yaml, enum permit_kind kind, int64_t limit)
{
    struct team t = {.limit = limit};
    t.permits = permits_new(2);
    t.conf = make_conf(yaml);
    t.map = make_map(1, conninfo);
    for (unsigned w = 0; w < 2; w++) {
        struct runner *r = &t.runner[w];
        r->worker = w;
        r->team = &t;
        r->loop = new_loop();
        struct pools_hooks hooks = {.post = team_post, .closed = on_team_closed, .ctx = r};
        r->pools = pools_new(r->loop, t.conf, t.permits, w, &hooks);
        pools_set_map(r->pools, t.map);
        struct rig view = {.pools = {r->pools}};
        r->pool[0] = rig_pool(&view, 0);
        r->pool[1] = rig_pool_for(&view, 0, (struct pool_want){.application_name = "other"});
        r->left = CLIENTS;
        for (unsigned i = 0; i < CLIENTS; i++)
            r->clients[i].runner = r;
        r->begin = timer_new(r->loop, on_begin, r);
        timer_start(r->begin, 1, 0);
    }
    t.permit = permit_ref(t.permits, t.runner[0].pool[0]->group[kind]->permit);
    pthread_t threads[2];
    for (unsigned w = 0; w < 2; w++)
        assert_int_equal(pthread_create(&threads[w], NULL, run_worker, &t.runner[w]), 0);
    for (unsigned w = 0; w < 2; w++)
        pthread_join(threads[w], NULL); /* hangs the test if a client starves for ever */
    assert_int_equal(t.failures, 0);
    assert_int_equal(t.permit->used, 0);
    permit_unref(t.permits, t.permit);
    for (unsigned w = 0; w < 2; w++)
        loop_free(t.runner[w].loop);
    map_unref(t.map);
    conf_unref(t.conf);
    permits_free(t.permits);
}

static void threads_share_one_connection(void **state)
{
    (void)state;
    run_team("pool: {size: 1}\ntimeout: {query_wait: 20s}", PERMIT_POOL, 1);
}

static void threads_share_three_of_a_shard(void **state)
{
    (void)state;
    run_team("pool: {max_per_shard: 3}\ntimeout: {query_wait: 20s}", PERMIT_SHARD, 3);
}

static int start(void **state)
{
    (void)state;
    if (pg_temp_start(&pg) != 0)
        return -1;
    snprintf(conninfo, sizeof(conninfo), "host=%s port=%d", pg.folder, pg.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

int main(void)
{
    log_open(getenv("TEST_LOG") ? "" : "/dev/null", LOG_DEBUG, LOG_LOGFMT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_server_moves),
        cmocka_unit_test(other_pools_server_makes_room),
        cmocka_unit_test(shares_even_out),
        cmocka_unit_test(reconnect_while_moving),
        cmocka_unit_test(receiver_has_gone),
        cmocka_unit_test(threads_share_one_connection),
        cmocka_unit_test(threads_share_three_of_a_shard),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
