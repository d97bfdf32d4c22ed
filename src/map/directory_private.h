/*
 * The directory follower's parts. All of it lives on the control thread's loop.
 */
#ifndef SHARDGATE_DIRECTORY_PRIVATE_H
#define SHARDGATE_DIRECTORY_PRIVATE_H

#include <uthash.h>

#include "copy_binary.h"
#include "map_private.h"

/* ---- statements (directory_sql.c) ------------------------------------------ */

/* Qualified, quoted table names; owned. */
struct directory_names {
    char *config, *tenants, *revision, *removed;
};
void directory_names_init(struct directory_names *n, const char *schema);
void directory_names_fini(struct directory_names *n);

/* The statements, appended to a buffer as text with its zero byte. */
extern const char directory_sql_origin[]; /* which cluster, on which timeline */
extern const char directory_sql_detect[]; /* $1..$4: config, tenants, revision, removed */
void directory_sql_poll(struct buf *b, const struct directory_names *n);
void directory_sql_begin(struct buf *b, const struct directory_names *n, bool tracked);
void directory_sql_shards(struct buf *b, const struct directory_names *n);
void directory_sql_overrides(struct buf *b, const struct directory_names *n);
void directory_sql_delta(struct buf *b, const struct directory_names *n, uint64_t since);
void directory_sql_lookup(struct buf *b, const struct directory_names *n, bool tracked); /* $1: bigint[] */

/* ---- one load (directory_load.c) -------------------------------------------- */

enum load_step { LOAD_IDLE, LOAD_POLL, LOAD_BEGIN, LOAD_SHARDS, LOAD_COPY, LOAD_COMMIT, LOAD_BUILD };

struct load {
    enum load_step step;
    bool full;         /* all rows, else those since the map's revision */
    bool forced;       /* asked for: published even if it changes nothing */
    uint64_t revision; /* of the snapshot being read; 0 where none is kept */
    uint64_t started_ms;
    char origin[64]; /* of the connection it began on */
    struct map *old; /* what the new map is compared with, and a delta's base; may be NULL */
    struct map_builder *builder;
    struct copy_reader reader;
    bool refused;   /* error says why; the rest of the transaction is only ended */
    bool abandoned; /* another directory is followed now: drop what is built */
    struct error error;
    struct work work; /* LOAD_BUILD */
    struct map_limits limits;
    struct map *built;
    bool same; /* built equals old: nothing to publish */
};

/* ---- look-ups on a miss (directory_lookup.c) --------------------------------- */

struct lookups {
    struct lookup *all;      /* uthash by tenant */
    struct ilist queued;     /* not asked yet */
    struct ilist asked;      /* in the query under way */
    struct miss *misses;     /* uthash by tenant: known not to be there */
    struct ilist miss_order; /* oldest first */
    struct ilist answers;    /* known at once, told later */
    struct timer *answer_timer;
    struct pqconn *conn;
    bool connected, asking;
    unsigned stale; /* answers in a row that were older than the map */
    uint64_t retry_at_ms;
    struct error error; /* of the last failure, until retry_at_ms */
};

/* ---- the disk cache (directory_cache.c) --------------------------------------- */

struct cache_job {
    struct work work;
    bool busy;
    char *path;
    struct map *map;
    struct error error;
    bool ok;
};

/* ---- the follower -------------------------------------------------------------- */

struct reload_request {
    struct ilist node;
    void (*done)(void *ctx, const struct error *e);
    void *ctx;
};

struct directory {
    struct loop *loop;
    struct conf *conf;
    struct directory_events events;
    struct counters counters;
    enum directory_state state;
    struct map *map; /* the published one; NULL at first */
    bool from_cache;
    bool troubled; /* the last attempt failed or was refused */
    bool stopping;
    struct directory_names names;
    struct pqconn *conn;
    bool tracked;        /* the directory keeps revisions */
    char origin[64];     /* cluster and timeline of the map; "": not known */
    char new_origin[64]; /* of the connection */
    struct timer *timer; /* FAILED: connect again; FOLLOWING: poll */
    uint64_t backoff_ms; /* pause after the next failure */
    bool poll_wanted;    /* news came while a load was running */
    bool follow_wanted;  /* connected anew while the last connection's build still runs */
    uint64_t polled_ms;
    uint64_t refused_revision; /* not tried again; 0: none */
    struct load load;
    struct ilist waiting; /* reload_request: for the next full load */
    struct ilist serving; /* of the one under way */
    struct lookups lookups;
    struct cache_job reader, writer;
    bool cache_dirty;
    uint64_t cache_written_ms;
    struct timer *cache_timer;
    unsigned works; /* on the thread pool: they point here */
    uint64_t reloads, failures, confirmed_ms, load_ms;
    char last_error[320];
    uint64_t random;
    struct reap reap;
};

/* directory.c */
void directory_publish(struct directory *d, struct map *m); /* takes m */
void directory_poll_soon(struct directory *d);
/* Called by a load at its end, in place of each other. */
void directory_load_published(struct directory *d, struct map *m); /* takes m */
void directory_load_unchanged(struct directory *d);
void directory_load_refused(struct directory *d, const struct error *e);
void directory_next(struct directory *d);
void directory_failed(struct directory *d, const struct error *e);
void directory_work_begin(struct directory *d);
void directory_work_end(struct directory *d);                /* may free d later on the loop */
uint64_t directory_jitter(struct directory *d, uint64_t ms); /* ms, a quarter more or less */

/* directory_load.c */
void load_poll(struct directory *d); /* asks for the revision; loads only if it has moved */
void load_start(struct directory *d, bool full, bool forced);
void load_drop(struct directory *d); /* the connection is gone; a build goes on */

/* directory_lookup.c */
void lookups_init(struct directory *d);
void lookups_reset(struct directory *d); /* another directory: ask there */
void lookups_forget_misses(struct directory *d);
void lookups_fini(struct directory *d, const struct error *e); /* answers all */

/* directory_cache.c */
void cache_start_reading(struct directory *d);
void cache_map_changed(struct directory *d, bool whole); /* to be written: now, or with others later */
void cache_stop(struct directory *d);

#endif
