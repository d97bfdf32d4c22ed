/*
 * What the tests of pools share: workers whose loops are turned by hand, a map of
 * one shard, and clients that talk to servers as a session does.
 */
#ifndef SHARDGATE_POOL_TEST_H
#define SHARDGATE_POOL_TEST_H

#include "support.h"

#include "../net/net_test.h"
#include "pool_impl.h"

#define WORKERS_MAX 2u

struct rig {
    unsigned workers;
    struct permits *permits;
    struct loop *loop[WORKERS_MAX];
    struct pools *pools[WORKERS_MAX];
    struct conf *conf;
    struct map *map;
};

struct client {
    struct waiter waiter;
    struct server *server;
    unsigned answers; /* calls of done */
    bool failed, sent_away;
    struct error error;
    struct buf in;
    char value[256];  /* first column of the last row */
    char sqlstate[6]; /* of the last error */
    bool lost;
};

/* Turns every loop of the rig until the condition holds, for 15 s at most. */
#define WAIT(rig, condition)                                  \
    do {                                                      \
        uint64_t give_up_ns = clock_mono_ns() + 15000000000u; \
        while (!(condition) && clock_mono_ns() < give_up_ns)  \
            rig_turn(rig);                                    \
        assert_true(condition);                               \
    } while (0)

static inline void rig_turn(struct rig *r)
{
    for (unsigned i = 0; i < r->workers; i++)
        loop_turn(r->loop[i]);
    usleep(100);
}

static inline void rig_run_for(struct rig *r, unsigned ms)
{
    uint64_t until = clock_mono_ns() + ms * UINT64_C(1000000);
    while (clock_mono_ns() < until)
        rig_turn(r);
}

static inline bool rig_post(void *ctx, unsigned to, struct post *p)
{
    struct rig *r = ctx;
    return loop_post(r->loop[to], p);
}

static inline struct conf *make_conf(const char *yaml)
{
    struct error e;
    char text[2048];
    error_clear(&e);
    snprintf(text, sizeof(text), "directory: {connection: 'host=127.0.0.1'}\nusers: [{name: app, password: x}]\n%s",
             yaml);
    struct conf *c = conf_parse("test", str_from(text), &e);
    if (!c)
        fail_msg("%s", e.cause);
    return c;
}

static inline struct map *make_map(int16_t id, const char *conninfo)
{
    struct error e;
    struct map_builder *b = map_builder_new(1);
    struct map_shard s = {.id = id,
                          .region = "USA",
                          .conninfo = (char *)(uintptr_t)conninfo,
                          .active = true,
                          .primary = true,
                          .has_range = true,
                          .min = 1,
                          .max = 100};
    assert_true(map_builder_shard(b, &s, &e));
    struct map *m = map_builder_finish(b, NULL, (struct map_limits){100, 100}, &e);
    assert_non_null(m);
    return m;
}

static inline void rig_map(struct rig *r, int16_t id, const char *conninfo)
{
    struct map *old = r->map;
    r->map = make_map(id, conninfo);
    for (unsigned i = 0; i < r->workers; i++)
        pools_set_map(r->pools[i], r->map);
    if (old)
        map_unref(old);
}

static inline void rig_open(struct rig *r, unsigned workers, const char *yaml, const char *conninfo)
{
    memset(r, 0, sizeof(*r));
    r->workers = workers;
    r->conf = make_conf(yaml);
    r->permits = permits_new(workers);
    struct pools_hooks hooks = {rig_post, r};
    for (unsigned i = 0; i < workers; i++) {
        r->loop[i] = new_loop();
        r->pools[i] = pools_new(r->loop[i], r->conf, r->permits, i, &hooks);
    }
    rig_map(r, 1, conninfo);
}

/* Fails if any pool or server is left open. */
static inline void rig_close(struct rig *r)
{
    for (unsigned i = 0; i < r->workers; i++)
        pools_close(r->pools[i]);
    for (unsigned i = 0; i < r->workers; i++)
        WAIT(r, permits_attached(r->permits, i) == NULL);
    rig_run_for(r, 5);
    for (unsigned i = 0; i < r->workers; i++)
        loop_free(r->loop[i]);
    map_unref(r->map);
    conf_unref(r->conf);
    permits_free(r->permits);
}

struct pool_want {
    const char *database, *user, *password;
    enum conf_pool_mode mode;
    int64_t size;
    const char *application_name;
    bool forced_user;
};

static inline struct pool *rig_pool_for(struct rig *r, unsigned worker, struct pool_want want)
{
    struct pools *ps = r->pools[worker];
    struct setting setting = {STR("application_name"),
                              want.application_name ? str_from(want.application_name) : STR("")};
    struct settings *settings = settings_get(ps, &setting, want.application_name ? 1 : 0, REPLICATION_NONE);
    struct pool_key key = {
        .shard = map_shard_at(pools_map(ps), 0),
        .database = str_from(want.database ? want.database : "app"),
        .user = str_from(want.user ? want.user : "postgres"),
        .password = want.password ? str_from(want.password) : (struct str){0},
        .forced_user = want.forced_user,
        .settings = settings,
        .mode = want.mode,
        .size = want.size,
    };
    struct pool *p = pool_get(ps, &key);
    settings_unref(ps, settings);
    return p;
}

static inline struct pool *rig_pool(struct rig *r, unsigned worker)
{
    return rig_pool_for(r, worker, (struct pool_want){0});
}

/* ---- clients ------------------------------------------------------------------ */

static inline void client_message(struct client *c, char type, struct str body)
{
    struct wire_row row = {body, -1};
    struct wire_error we;
    struct str v, name;
    if (type == 'D' && wire_row_next(&row, &v) == 1)
        str_copy(c->value, sizeof(c->value), v);
    else if (type == 'E' && wire_parse_error(body, &we))
        str_copy(c->sqlstate, sizeof(c->sqlstate), we.sqlstate);
    else if (type == 'S' && wire_parse_parameter_status(body, &name, &v))
        server_note_parameter(c->server, name, v);
    else if (type == 'Z') {
        c->server->txn = body.ptr[0];
        while (c->server->expect.count && expect_head(&c->server->expect)->kind != 'Q')
            expect_pop(&c->server->expect);
        expect_pop(&c->server->expect);
    }
}

static inline void on_client_server(struct stream *stream, int events)
{
    struct server *s = container_of(stream, struct server, stream);
    struct client *c = s->owner;
    char chunk[4096];
    ssize_t n;
    (void)events;
    while ((n = stream_read(stream, chunk, sizeof(chunk))) > 0)
        assert_true(buf_append(&c->in, chunk, (size_t)n));
    struct wire_header h;
    while (wire_header(buf_head(&c->in), c->in.len, &h) > 0 && c->in.len >= h.size) {
        client_message(c, h.type, (struct str){buf_head(&c->in) + WIRE_HEADER, h.size - WIRE_HEADER});
        buf_consume(&c->in, h.size);
    }
    buf_release_if_empty(&c->in);
    if (n == 0 || n == STREAM_ERROR) {
        c->lost = true;
        c->server = NULL;
        server_close(s, "lost in a test");
    }
}

static inline void client_link(struct client *c, struct server *s)
{
    assert_int_equal(s->state, SERVER_ACTIVE);
    c->server = s;
    s->owner = c;
    s->stream.ready = on_client_server;
}

static inline void on_client_served(struct waiter *w, struct server *s, const struct error *e)
{
    struct client *c = container_of(w, struct client, waiter);
    assert_null(w->pool);
    c->answers++;
    c->failed = e != NULL;
    c->sent_away = !s && !e;
    if (e)
        c->error = *e;
    if (s)
        client_link(c, s);
}

/* A new client asks; it may have its server at once, or later. */
static inline void client_ask(struct client *c, struct pool *p)
{
    memset(c, 0, sizeof(*c));
    c->waiter.done = on_client_served;
    struct server *s = pool_checkout(p, &c->waiter);
    assert_int_equal(c->answers, 0); /* never from within */
    if (s)
        client_link(c, s);
}

static inline void client_get(struct rig *r, struct client *c, struct pool *p)
{
    client_ask(c, p);
    WAIT(r, c->server || c->answers);
    if (!c->server)
        fail_msg("no server: %s / %s", c->error.cause, error_text(&c->error));
}

static inline void client_send(struct client *c, const char *sql)
{
    struct buf b;
    buf_init(&b, 0);
    assert_true(wire_put_query(&b, str_from(sql)));
    assert_true(expect_push(&c->server->expect, 'Q', EXPECT_FORWARD));
    struct iovec iov = {(char *)(uintptr_t)buf_head(&b), b.len};
    assert_int_equal(stream_writev(&c->server->stream, &iov, 1), b.len);
    buf_fini(&b);
}

/* The first column of the last row, or "ERROR sqlstate". */
static inline const char *client_query(struct rig *r, struct client *c, const char *sql)
{
    c->value[0] = c->sqlstate[0] = '\0';
    client_send(c, sql);
    WAIT(r, c->lost || c->server->expect.count == 0);
    if (c->sqlstate[0] || c->lost)
        snprintf(c->value, sizeof(c->value), "ERROR %.5s", c->lost ? "lost" : c->sqlstate);
    return c->value;
}

static inline void client_put(struct client *c)
{
    struct server *s = c->server;
    c->server = NULL;
    server_checkin(s);
}

static inline int client_pid(const struct client *c) { return server_pid(c->server); }

#endif
