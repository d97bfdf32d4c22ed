#include "lookup.h"

#include <inttypes.h>
#include <stdio.h>

#include "shardgate/map.h"

struct lookup_run {
    struct loop *loop;
    struct directory *directory;
    int64_t tenant;
    struct map *map;
    int status;
};

static void print(const struct lookup_run *r, const struct map_shard *s, enum map_why why)
{
    printf("tenant      %" PRId64 "\n", r->tenant);
    printf("shard       %d\n", s->id);
    printf("region      %s\n", s->region);
    printf("datacenter  %s\n", s->datacenter);
    printf("active      %s\n", s->active ? "yes" : "no");
    printf("why         %s\n", map_why_name(why));
    printf("revision    %" PRIu64 "\n", map_revision(r->map));
}

static bool found(struct lookup_run *r)
{
    enum map_why why;
    const struct map_shard *s = r->map ? map_lookup(r->map, r->tenant, &why) : NULL;
    if (!s)
        return false;
    print(r, s, why);
    r->status = 0;
    loop_stop(r->loop);
    return true;
}

static void on_answer(void *ctx, int64_t tenant, bool in_directory, const struct error *e)
{
    struct lookup_run *r = ctx;
    (void)in_directory;
    if (found(r))
        return;
    fprintf(stderr, "tenant %" PRId64 ": %s\n", tenant, e ? e->cause : "not in the map");
    loop_stop(r->loop);
}

static void on_map(void *ctx, struct map *m)
{
    struct lookup_run *r = ctx;
    if (r->map)
        map_unref(r->map);
    r->map = map_ref(m);
}

static void on_loaded(void *ctx, const struct error *e)
{
    struct lookup_run *r = ctx;
    if (e && !r->map) {
        fprintf(stderr, "no map: %s\n", e->cause);
        loop_stop(r->loop);
        return;
    }
    if (e)
        fprintf(stderr, "the directory cannot be read, answering from the cache: %s\n", e->cause);
    if (!found(r))
        directory_lookup(r->directory, r->tenant, on_answer, r);
}

int lookup_run(struct conf *c, const char *text)
{
    struct lookup_run r = {.status = 1};
    struct error e;
    error_clear(&e);
    if (!str_to_i64(str_from(text), &r.tenant)) {
        fprintf(stderr, "shardgate: --lookup needs a whole number, not \"%s\"\n", text);
        conf_unref(c);
        return 2;
    }
    log_set_level(LOG_ERROR);
    r.loop = loop_new(&e);
    if (!r.loop) {
        fprintf(stderr, "%s\n", e.cause);
        conf_unref(c);
        return 1;
    }
    struct directory_events events = {on_map, &r};
    r.directory = directory_new(r.loop, c, &events);
    directory_start(r.directory);
    directory_reload(r.directory, on_loaded, &r);
    loop_run(r.loop);
    directory_stop(r.directory);
    loop_free(r.loop);
    if (r.map)
        map_unref(r.map);
    conf_unref(c);
    return r.status;
}
