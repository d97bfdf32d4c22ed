/*
 * What the tests of the follower and of health share: a PostgreSQL of their own, a
 * database a test, and an owner that keeps what it is given.
 */
#ifndef SHARDGATE_DIRECTORY_TEST_H
#define SHARDGATE_DIRECTORY_TEST_H

#include "../net/net_test.h"
#include "directory_private.h"
#include "support.h"

static struct pg_temp pg;
static int databases;

struct owner {
    struct loop *loop;
    struct conf *conf;
    struct directory *directory;
    struct map *map; /* the last one */
    unsigned maps;
    char database[32];
    char extra[512]; /* lines of the section directory: of the configuration */
    bool told, ok, found;
    unsigned tellings;
    struct error error;
};

static inline int start_server(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR + 1);
    return pg_temp_start(&pg);
}

static inline int stop_server(void **state)
{
    (void)state;
    return pg_temp_stop(&pg);
}

static inline void run_command(const char *command)
{
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static inline void sql_in(const char *database, const char *sql)
{
    char command[4096];

    assert_null(strchr(sql, '"'));
    snprintf(command, sizeof(command),
             "PGOPTIONS='-c client_min_messages=error' psql -qX -v ON_ERROR_STOP=1 -h '%s' -p %d -U postgres -d '%s' "
             "-c \"%s\" >/dev/null",
             pg.folder, pg.port, database, sql);
    run_command(command);
}

static inline void sql(const struct owner *o, const char *text) { sql_in(o->database, text); }

static inline void load_schema(const struct owner *o)
{
    const char *source = getenv("SHARDGATE_SOURCE");
    char command[1024];

    snprintf(
        command, sizeof(command),
        "psql -qX -v ON_ERROR_STOP=1 -h '%s' -p %d -U postgres -d '%s' -f '%s/config/sql/directory.sql' >/dev/null",
        pg.folder, pg.port, o->database, source ? source : ".");
    run_command(command);
}

static inline void load_bare_tables(const struct owner *o)
{
    sql(o, "CREATE TABLE shard_config (shard_id smallint PRIMARY KEY, region_code char(3), datacenter varchar(32), "
           "connection_string text, is_primary boolean, is_active boolean, min_tenant_id bigint, "
           "max_tenant_id bigint, created_at timestamptz)");
    sql(o, "CREATE TABLE tenant_shard_map (tenant_id bigint PRIMARY KEY, shard_id smallint REFERENCES shard_config, "
           "region_code char(3), created_at timestamptz)");
}

static inline void load_shards(const struct owner *o)
{
    sql(o, "INSERT INTO shard_config (shard_id, region_code, datacenter, connection_string, is_primary, is_active, "
           "min_tenant_id, max_tenant_id) VALUES (1, 'USA', 'a', 'host=a user=u dbname=d', true, true, 0, 99), "
           "(2, 'DEU', 'b', 'host=b user=u dbname=d', false, true, 100, 199), "
           "(3, 'SG', 'c', 'host=c user=u dbname=d', false, true, NULL, NULL)");
}

static inline struct conf *make_conf(const struct owner *o)
{
    struct error e;
    char yaml[2048];
    struct conf *c;

    snprintf(yaml, sizeof(yaml), "directory:\n  connection: \"host=%s port=%d user=postgres dbname=%s\"\n%s", pg.folder,
             pg.port, o->database, o->extra);
    c = conf_parse("test.yaml", str_from(yaml), &e);
    if (!c)
        fail_msg("%s", e.cause);
    return c;
}

static inline void on_map(void *ctx, struct map *m)
{
    struct owner *o = ctx;

    map_unref(o->map);
    o->map = map_ref(m);
    o->maps++;
}

/* A database without tables. */
static inline void owner_init(struct owner *o, const char *extra)
{
    char create[64];

    memset(o, 0, sizeof(*o));
    snprintf(o->database, sizeof(o->database), "dir%d", ++databases);
    snprintf(create, sizeof(create), "CREATE DATABASE %s", o->database);
    sql_in("postgres", create);
    snprintf(o->extra, sizeof(o->extra), "%s", extra);
    o->loop = new_loop();
}

static inline void follow(struct owner *o)
{
    struct directory_events ev = {.on_map = on_map, .ctx = o};

    o->conf = make_conf(o);
    o->directory = directory_new(o->loop, o->conf, &ev);
    directory_start(o->directory);
}

static inline void owner_fini(struct owner *o)
{
    directory_stop(o->directory);
    for (int i = 0; i < 20; i++)
        loop_turn(o->loop);
    loop_free(o->loop);
    map_unref(o->map);
    conf_unref(o->conf);
}

static inline struct directory_status status(const struct owner *o)
{
    struct directory_status s;

    directory_status(o->directory, &s);
    return s;
}

static inline int at(const struct owner *o, int64_t tenant)
{
    const struct map_shard *s = o->map ? map_lookup(o->map, tenant, NULL) : NULL;

    return s ? s->id : -1;
}

static inline uint64_t counter(const struct owner *o, enum counter id)
{
    return atomic_load(&directory_counters(o->directory)->v[id]);
}

static inline void on_reloaded(void *ctx, const struct error *e)
{
    struct owner *o = ctx;

    o->told = true;
    o->tellings++;
    o->ok = !e;
    if (e)
        o->error = *e;
}

static inline bool reload(struct owner *o)
{
    o->told = false;
    directory_reload(o->directory, on_reloaded, o);
    assert_false(o->told);
    WAIT_FOR(o->loop, o->told);
    return o->ok;
}

static inline void on_looked_up(void *ctx, int64_t tenant, bool found, const struct error *e)
{
    struct owner *o = ctx;

    (void)tenant;
    o->told = true;
    o->tellings++;
    o->ok = !e;
    o->found = found;
    if (e)
        o->error = *e;
    if (found)
        assert_int_not_equal(at(o, tenant), -1); /* on_map came before */
}

static inline bool look_up(struct owner *o, int64_t tenant)
{
    o->told = false;
    directory_lookup(o->directory, tenant, on_looked_up, o);
    assert_false(o->told);
    WAIT_FOR(o->loop, o->told);
    return o->found;
}

#endif
