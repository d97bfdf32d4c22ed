/*
 * Writing the cache: beside the old file under a name of its own, synced, renamed
 * over it, and the folder synced. A crash or a full disk at any point leaves the old
 * file whole. Only the owner may read it: it holds connection strings.
 *
 * Blocks for as long as the disk takes: to be called off the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "map_cache.h"

#define OUT_SIZE ((size_t)256 * 1024)

struct out {
    int fd;
    XXH3_state_t *hash;
    uint8_t *data;
    size_t used;
    int failed; /* errno of the first failure */
};

static void flush(struct out *o)
{
    size_t done = 0;

    while (!o->failed && done < o->used) {
        ssize_t n = write(o->fd, o->data + done, o->used - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            o->failed = n == 0 ? ENOSPC : errno;
    }
    o->used = 0;
}

static void emit(struct out *o, const void *data, size_t len)
{
    const uint8_t *from = data;

    while (len > 0) {
        size_t n = OUT_SIZE - o->used < len ? OUT_SIZE - o->used : len;

        memcpy(o->data + o->used, from, n);
        o->used += n;
        from += n;
        len -= n;
        if (o->used == OUT_SIZE) {
            XXH3_128bits_update(o->hash, o->data, o->used);
            flush(o);
        }
    }
}

static void emit_header(struct out *o, const struct map *m)
{
    uint8_t h[CACHE_HEADER] = CACHE_MAGIC;
    uint64_t length = CACHE_HEADER + m->shards->count * CACHE_SHARD + m->overrides * CACHE_OVERRIDE + CACHE_CHECKSUM;

    for (size_t i = 0; i < m->shards->count; i++)
        length += strlen(m->shards->items[i].datacenter) + strlen(m->shards->items[i].conninfo);
    put32(h + 8, CACHE_VERSION);
    put64(h + 16, m->revision);
    put64(h + 24, length);
    put32(h + 32, (uint32_t)m->shards->count);
    put64(h + 40, m->overrides);
    emit(o, h, sizeof(h));
}

static void emit_shard(struct out *o, const struct map_shard *s)
{
    uint8_t r[CACHE_SHARD] = {0};
    size_t datacenter = strlen(s->datacenter), conninfo = strlen(s->conninfo);

    put16(r, (uint16_t)s->id);
    r[2] =
        (uint8_t)((s->primary ? CACHE_PRIMARY : 0) | (s->active ? CACHE_ACTIVE : 0) | (s->has_range ? CACHE_RANGE : 0));
    memcpy(r + 3, s->region, strnlen(s->region, 3));
    put64(r + 6, (uint64_t)s->min);
    put64(r + 14, (uint64_t)s->max);
    r[22] = (uint8_t)datacenter;
    put32(r + 23, (uint32_t)conninfo);
    emit(o, r, sizeof(r));
    emit(o, s->datacenter, datacenter);
    emit(o, s->conninfo, conninfo);
}

static void emit_overrides(struct out *o, const struct map *m)
{
    struct map_walk w = {0};
    int64_t tenant;
    struct map_slot slot;

    while (!o->failed && map_walk_next(m, &w, &tenant, &slot)) {
        uint8_t r[CACHE_OVERRIDE];

        put64(r, (uint64_t)tenant);
        put16(r + 8, (uint16_t)slot.shard);
        r[10] = slot.kind == SLOT_LEARNED ? CACHE_LEARNED : 0;
        emit(o, r, sizeof(r));
    }
}

static void emit_checksum(struct out *o)
{
    XXH128_canonical_t sum;

    XXH3_128bits_update(o->hash, o->data, o->used);
    XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(o->hash));
    flush(o);
    memcpy(o->data, &sum, sizeof(sum));
    o->used = sizeof(sum);
    flush(o);
}

/* 0 or the errno. */
static int write_all(int fd, const struct map *m)
{
    struct out o = {.fd = fd, .hash = XXH3_createState(), .data = mem_try_alloc(OUT_SIZE)};

    if (!o.hash || !o.data) {
        o.failed = ENOMEM;
    } else {
        XXH3_128bits_reset(o.hash);
        emit_header(&o, m);
        for (size_t i = 0; i < m->shards->count; i++)
            emit_shard(&o, &m->shards->items[i]);
        emit_overrides(&o, m);
        emit_checksum(&o);
    }
    if (!o.failed && fsync(fd) != 0)
        o.failed = errno;
    XXH3_freeState(o.hash);
    mem_free(o.data);
    return o.failed;
}

/* The rename itself must survive a power failure. */
static int sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? mem_strdup(".")
                   : slash == path ? mem_strdup("/")
                                   : mem_strndup(path, (size_t)(slash - path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed = 0;

    mem_free(folder);
    if (fd < 0)
        return errno;
    if (fsync(fd) != 0 && errno != EINVAL) /* some file systems cannot */
        failed = errno;
    close(fd);
    return failed;
}

bool map_cache_write(const struct map *m, const char *path, struct error *e)
{
    static const char suffix[] = ".XXXXXX";
    size_t len = strlen(path);
    char *name = mem_alloc(len + sizeof(suffix));
    int fd, failed;

    memcpy(name, path, len);
    memcpy(name + len, suffix, sizeof(suffix));
    fd = mkostemp(name, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        failed = errno;
        mem_free(name);
        return error_set(e, ERR_DIRECTORY, "map cache %s: cannot create a file beside it: %s", path, strerror(failed));
    }
    failed = write_all(fd, m);
    if (close(fd) != 0 && !failed)
        failed = errno;
    if (!failed && rename(name, path) != 0)
        failed = errno;
    if (failed)
        unlink(name);
    else
        failed = sync_folder(path);
    mem_free(name);
    if (failed)
        return error_set(e, ERR_DIRECTORY, "map cache %s: cannot write: %s", path, strerror(failed));
    return true;
}
