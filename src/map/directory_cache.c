/*
 * When the disk cache is read and written; both on the thread pool. A whole load is
 * written at once, deltas at most once in CACHE_EVERY_MS: the file may be a bit
 * behind, and the directory brings it up to date.
 */
#include <errno.h>
#include <unistd.h>

#include "directory_private.h"

#define CACHE_EVERY_MS 60000

static void on_read(struct work *w)
{
    struct cache_job *j = container_of(w, struct cache_job, work);

    j->map = map_cache_read(j->path, &j->error);
}

static void on_read_done(struct work *w)
{
    struct cache_job *j = container_of(w, struct cache_job, work);
    struct directory *d = container_of(j, struct directory, reader);

    j->busy = false;
    if (!j->map)
        log_event(LOG_WARN, "map cache not used", log_err(&j->error));
    if (j->map && !d->map && !d->stopping) { /* the directory was not faster */
        d->from_cache = true;
        log_event(LOG_INFO, "map published", log_str("from", "cache"), log_int("revision", map_revision(j->map)),
                  log_int("shards", map_shard_count(j->map)), log_int("overrides", map_override_count(j->map)));
        directory_publish(d, j->map);
    } else {
        map_unref(j->map);
    }
    j->map = NULL;
    mem_free(j->path);
    directory_work_end(d);
}

static bool begin(struct directory *d, struct cache_job *j, void (*run)(struct work *w), void (*done)(struct work *w))
{
    error_clear(&j->error);
    j->path = mem_strdup(d->conf->directory_cache);
    j->work.run = run;
    j->work.done = done;
    j->busy = true;
    directory_work_begin(d);
    if (work_submit(d->loop, &j->work))
        return true;
    j->busy = false;
    mem_free(j->path);
    directory_work_end(d);
    return false;
}

void cache_start_reading(struct directory *d)
{
    if (!*d->conf->directory_cache)
        return;
    if (access(d->conf->directory_cache, F_OK) != 0 && errno == ENOENT) {
        log_event(LOG_INFO, "no map cache yet", log_str("path", d->conf->directory_cache));
        return;
    }
    (void)begin(d, &d->reader, on_read, on_read_done);
}

static void on_write(struct work *w)
{
    struct cache_job *j = container_of(w, struct cache_job, work);

    j->ok = map_cache_write(j->map, j->path, &j->error);
}

static void on_write_done(struct work *w)
{
    struct cache_job *j = container_of(w, struct cache_job, work);
    struct directory *d = container_of(j, struct directory, writer);

    j->busy = false;
    if (j->ok)
        log_event(LOG_DEBUG, "map cache written", log_str("path", j->path), log_int("revision", map_revision(j->map)));
    else
        log_event(LOG_ERROR, "map cache not written", log_err(&j->error));
    map_unref(j->map);
    j->map = NULL;
    mem_free(j->path);
    if (d->cache_dirty && !d->stopping)
        timer_start(d->cache_timer, CACHE_EVERY_MS, 0);
    directory_work_end(d);
}

static void write_now(struct directory *d)
{
    d->cache_dirty = false;
    if (!*d->conf->directory_cache)
        return;
    d->cache_written_ms = loop_now_ms(d->loop);
    d->writer.map = map_ref(d->map);
    if (!begin(d, &d->writer, on_write, on_write_done)) {
        map_unref(d->map);
        d->writer.map = NULL;
    }
}

static void on_timer(void *ctx)
{
    struct directory *d = ctx;

    if (d->cache_dirty && !d->writer.busy)
        write_now(d);
}

void cache_map_changed(struct directory *d, bool whole)
{
    uint64_t since = loop_now_ms(d->loop) - d->cache_written_ms;

    if (!d->cache_timer)
        d->cache_timer = timer_new(d->loop, on_timer, d);
    if (d->writer.busy) {
        d->cache_dirty = true;
    } else if (whole || since >= CACHE_EVERY_MS) {
        write_now(d);
    } else if (!d->cache_dirty) {
        d->cache_dirty = true;
        timer_start(d->cache_timer, CACHE_EVERY_MS - since, 0);
    }
}

void cache_stop(struct directory *d)
{
    timer_free(d->cache_timer);
    d->cache_timer = NULL;
}
