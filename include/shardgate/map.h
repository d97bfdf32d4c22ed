/*
 * map: which shard a tenant is on. An immutable snapshot for look-ups; the
 * directory follower that makes snapshots; the disk cache; shard health.
 */
#ifndef SHARDGATE_MAP_H
#define SHARDGATE_MAP_H

#include "shardgate/base.h"
#include "shardgate/conf.h"
#include "shardgate/net.h"

/* ---- snapshot ----------------------------------------------------------- */

struct map_shard {
    int16_t id;     /* 0..32767 */
    char region[4]; /* "USA" */
    char datacenter[33];
    char *conninfo;
    bool primary, active;
    bool has_range;
    int64_t min, max; /* inclusive, where has_range */
    unsigned index;   /* position in its map, 0..map_shard_count-1 */
};

enum map_why { MAP_NONE, MAP_OVERRIDE, MAP_RANGE, MAP_LEARNED /* directory, on a miss */ };

struct map;
/* No lock, no atomic, no allocation; NULL if the tenant is not in the map.
 * Inactive shards are returned too; where the range of one overlaps an active
 * one, the active shard wins. why may be NULL. */
const struct map_shard *map_lookup(const struct map *m, int64_t tenant, enum map_why *why);
const char *map_why_name(enum map_why why); /* "override", "range", "learned", "none" */
size_t map_shard_count(const struct map *m);
const struct map_shard *map_shard_at(const struct map *m, size_t index);
const struct map_shard *map_shard_by_id(const struct map *m, int16_t id);
const struct map_shard *map_primary(const struct map *m); /* first active primary, or NULL */
uint64_t map_revision(const struct map *m);               /* the directory's; 0 if it keeps none */
uint64_t map_generation(const struct map *m);             /* ours: grows with every published map */
size_t map_override_count(const struct map *m);
size_t map_shard_overrides(const struct map *m, int16_t id); /* of one shard */
size_t map_bytes(const struct map *m);
struct map *map_ref(struct map *m); /* any thread */
void map_unref(struct map *m);

/* Building: add shards and overrides in any order, then finish (which validates
 * and takes the builder). Later additions of a tenant win. Adding is cheap and
 * only notes; finish does the work and may run on another thread, as it touches
 * nothing but the builder and immutable maps. */
struct map_builder;
struct map_builder *map_builder_new(uint64_t revision);
/* On top of `base`: only changes are added. Shards stay those of `base` if none
 * is added, else all must be added again. */
struct map_builder *map_builder_delta(struct map *base, uint64_t revision);
void map_builder_reserve(struct map_builder *b, size_t overrides);                         /* a hint */
bool map_builder_shard(struct map_builder *b, const struct map_shard *s, struct error *e); /* copies */
bool map_builder_override(struct map_builder *b, int64_t tenant, int16_t shard_id, enum map_why why);
bool map_builder_remove(struct map_builder *b, int64_t tenant);
struct map_limits { /* of directory.max_*_loss, percent */
    int64_t shard_loss, tenant_loss;
};
/* old may be NULL. On failure NULL, and e->cause says what is wrong where. */
struct map *map_builder_finish(struct map_builder *b, const struct map *old, struct map_limits limits,
                               struct error *e) MUST_CHECK;
void map_builder_free(struct map_builder *b);

/* ---- disk cache --------------------------------------------------------- */

bool map_cache_write(const struct map *m, const char *path, struct error *e) MUST_CHECK;
struct map *map_cache_read(const char *path, struct error *e) MUST_CHECK;

/* ---- directory follower (control thread) -------------------------------- */

enum directory_state { DIRECTORY_OFF, DIRECTORY_CONNECTING, DIRECTORY_LOADING, DIRECTORY_FOLLOWING, DIRECTORY_FAILED };
const char *directory_state_name(enum directory_state s);

struct directory_status { /* a copy; for health, SHOW MAP and metrics */
    enum directory_state state;
    bool loaded;
    bool degraded;   /* running on the cache or on an old map after failures */
    char source[16]; /* "directory", "cache", "none" */
    uint64_t revision, generation;
    uint64_t confirmed_ms; /* loop time when the directory last confirmed the map; 0 never */
    uint64_t reloads, failures;
    uint64_t load_ms;     /* how long the last full load took */
    char last_error[320]; /* "" after a success */
};

struct directory;
struct directory_events {
    /* A new map to publish; the callee refs it if it keeps it. */
    void (*on_map)(void *ctx, struct map *m);
    void *ctx;
};
struct directory *directory_new(struct loop *l, const struct conf *c, const struct directory_events *ev);
/* Loads the cache file if there is one, begins to connect, and follows. */
void directory_start(struct directory *d);
void directory_stop(struct directory *d);                            /* closes; frees later on the loop */
void directory_configure(struct directory *d, const struct conf *c); /* after SIGHUP; keeps a ref */
/* Full reload (SIGHUP, RELOAD). `done` is called once, later, e NULL on success;
 * reloads asked for while one runs share the next one. done may be NULL. */
void directory_reload(struct directory *d, void (*done)(void *ctx, const struct error *e), void *ctx);
/* Point query for a tenant that the map lacks; single-flight by tenant,
 * negative cache. found: a new map with it has been given to on_map before. */
void directory_lookup(struct directory *d, int64_t tenant,
                      void (*done)(void *ctx, int64_t tenant, bool found, const struct error *e), void *ctx);
void directory_status(const struct directory *d, struct directory_status *out);
const struct counters *directory_counters(const struct directory *d);

/* ---- shard health (control thread; status readable from any thread) ------ */

enum health_state { HEALTH_UNKNOWN, HEALTH_UP, HEALTH_RECOVERY, HEALTH_DOWN };
const char *health_state_name(enum health_state s);

/* Parameters a server reports at connect, as learned by the last good probe. */
#define HEALTH_PARAMETERS 13
extern const char *const health_parameter_names[HEALTH_PARAMETERS];
struct health_status {
    int16_t shard_id;
    enum health_state state;
    uint64_t checked_ms, changed_ms; /* loop time of the control thread */
    uint64_t latency_us;
    char error[200];
};
struct health;
struct health *health_new(struct loop *l, const struct conf *c);
void health_configure(struct health *h, const struct conf *c);
void health_set_map(struct health *h, struct map *m); /* probes its shards from now on */
void health_stop(struct health *h);
/* Any thread. False if the shard is not known. */
bool health_get(struct health *h, int16_t shard_id, struct health_status *out);
/* Any thread: reported parameters of any shard that was up, as NUL-terminated
 * copies into values[][64]; false if none was ever reached. */
bool health_parameters(struct health *h, char values[HEALTH_PARAMETERS][64]);

#endif
