/*
 * Reading the cache, twice: first for the checksum, then for the map. So nothing in
 * the file is believed before all of it is known to be what was written, and even
 * then sizes are checked and the map is validated like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "map_cache.h"

#define IN_SIZE ((size_t)256 * 1024)

struct in {
    int fd;
    const char *path;
    uint8_t *data;
    size_t off, len; /* what is buffered */
    uint64_t left;   /* bytes of the file before the checksum, not taken yet */
    struct error *e;
};

static bool bad(struct in *in, const char *what)
{
    return error_set(in->e, ERR_MAP_INVALID, "map cache %s: %s", in->path, what);
}

static bool read_fully(struct in *in, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t n = read(in->fd, to, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(in->e, ERR_DIRECTORY, "map cache %s: cannot read: %s", in->path, strerror(errno));
        if (n == 0)
            return bad(in, "the file ends too soon");
        to += n;
        len -= (size_t)n;
    }
    return true;
}

/* len bytes, valid until the next take; len <= IN_SIZE. */
static const uint8_t *take(struct in *in, size_t len)
{
    const uint8_t *at;

    if (len > in->left) {
        bad(in, "the sizes in it do not agree");
        return NULL;
    }
    if (in->len < len) {
        uint64_t unread = in->left - in->len;
        size_t room = IN_SIZE - in->len, more = unread < room ? (size_t)unread : room;

        memmove(in->data, in->data + in->off, in->len);
        in->off = 0;
        if (!read_fully(in, in->data + in->len, more))
            return NULL;
        in->len += more;
    }
    at = in->data + in->off;
    in->off += len;
    in->len -= len;
    in->left -= len;
    return at;
}

/* Any length. */
static bool take_text(struct in *in, char *to, size_t len)
{
    while (len > 0) {
        size_t n = len < IN_SIZE / 2 ? len : IN_SIZE / 2;
        const uint8_t *from = take(in, n);

        if (!from)
            return false;
        if (memchr(from, 0, n))
            return bad(in, "a text holds a zero byte");
        memcpy(to, from, n);
        to += n;
        len -= n;
    }
    *to = '\0';
    return true;
}

static bool read_shard(struct in *in, struct map_builder *b)
{
    const uint8_t *r = take(in, CACHE_SHARD);
    struct map_shard s = {0};
    size_t datacenter, conninfo;
    bool ok;

    if (!r)
        return false;
    s.id = (int16_t)get16(r);
    s.primary = r[2] & CACHE_PRIMARY;
    s.active = r[2] & CACHE_ACTIVE;
    s.has_range = r[2] & CACHE_RANGE;
    memcpy(s.region, r + 3, 3);
    s.min = (int64_t)get64(r + 6);
    s.max = (int64_t)get64(r + 14);
    datacenter = r[22];
    conninfo = get32(r + 23);
    if (datacenter >= sizeof(s.datacenter) || conninfo > MAP_CONNINFO_MAX || conninfo > in->left)
        return bad(in, "the sizes in it do not agree");
    s.conninfo = mem_try_alloc(conninfo + 1);
    if (!s.conninfo)
        return error_set(in->e, ERR_OUT_OF_MEMORY, "map cache %s: out of memory", in->path);
    ok = take_text(in, s.datacenter, datacenter) && take_text(in, s.conninfo, conninfo) &&
         map_builder_shard(b, &s, in->e);
    mem_free_secret(s.conninfo, conninfo);
    return ok;
}

static bool read_overrides(struct in *in, struct map_builder *b, uint64_t count)
{
    for (; count > 0; count--) {
        const uint8_t *r = take(in, CACHE_OVERRIDE);

        if (!r)
            return false;
        if (!map_builder_override(b, (int64_t)get64(r), (int16_t)get16(r + 8),
                                  r[10] & CACHE_LEARNED ? MAP_LEARNED : MAP_OVERRIDE))
            return error_set(in->e, ERR_OUT_OF_MEMORY, "map cache %s: out of memory", in->path);
    }
    return true;
}

static struct map *read_map(struct in *in, uint64_t length)
{
    const uint8_t *h = take(in, CACHE_HEADER);
    struct map_builder *b;
    uint64_t overrides;
    uint32_t shards;

    if (!h)
        return NULL;
    if (memcmp(h, CACHE_MAGIC, 8) != 0 || get32(h + 8) != CACHE_VERSION) {
        bad(in, "not a map cache of this version");
        return NULL;
    }
    shards = get32(h + 32);
    overrides = get64(h + 40);
    /* The counts fit the length, so that they bound the memory to be used. */
    if (get64(h + 24) != length || shards > in->left / CACHE_SHARD || overrides > in->left / CACHE_OVERRIDE) {
        bad(in, "the sizes in it do not agree");
        return NULL;
    }
    b = map_builder_new(get64(h + 16));
    map_builder_reserve(b, overrides);
    while (shards > 0 && read_shard(in, b))
        shards--;
    if (shards > 0 || !read_overrides(in, b, overrides) || (in->left > 0 && !bad(in, "the sizes in it do not agree"))) {
        map_builder_free(b);
        return NULL;
    }
    return map_builder_finish(b, NULL, (struct map_limits){100, 100}, in->e);
}

/* A file that others may write to could send tenants anywhere. */
static bool check_file(struct in *in, uint64_t *length)
{
    struct stat st;

    if (fstat(in->fd, &st) != 0)
        return error_set(in->e, ERR_DIRECTORY, "map cache %s: %s", in->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return bad(in, "not a regular file");
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return bad(in, "others may write to it");
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return bad(in, "it belongs to another user");
    if (st.st_size < CACHE_HEADER + CACHE_CHECKSUM)
        return bad(in, "the file ends too soon");
    *length = (uint64_t)st.st_size;
    return true;
}

static bool hash_file(struct in *in, uint64_t length, XXH3_state_t *hash)
{
    uint8_t want[CACHE_CHECKSUM];
    XXH128_canonical_t got;

    XXH3_128bits_reset(hash);
    for (uint64_t left = length - CACHE_CHECKSUM; left > 0;) {
        size_t n = left < IN_SIZE ? (size_t)left : IN_SIZE;

        if (!read_fully(in, in->data, n))
            return false;
        XXH3_128bits_update(hash, in->data, n);
        left -= n;
    }
    if (!read_fully(in, want, sizeof(want)))
        return false;
    XXH128_canonicalFromHash(&got, XXH3_128bits_digest(hash));
    if (memcmp(&got, want, sizeof(want)) != 0)
        return bad(in, "the checksum is wrong");
    return lseek(in->fd, 0, SEEK_SET) == 0 || bad(in, strerror(errno));
}

static bool check_sum(struct in *in, uint64_t length)
{
    XXH3_state_t *hash = XXH3_createState();
    bool ok = hash ? hash_file(in, length, hash)
                   : error_set(in->e, ERR_OUT_OF_MEMORY, "map cache %s: out of memory", in->path);

    XXH3_freeState(hash);
    return ok;
}

struct map *map_cache_read(const char *path, struct error *e)
{
    struct in in = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .path = path, .e = e};
    struct map *m = NULL;
    uint64_t length = 0;

    if (in.fd < 0) {
        error_set(e, ERR_DIRECTORY, "map cache %s: %s", path, strerror(errno));
        return NULL;
    }
    in.data = mem_try_alloc(IN_SIZE);
    if (!in.data) {
        error_set(e, ERR_OUT_OF_MEMORY, "map cache %s: out of memory", path);
    } else if (check_file(&in, &length) && check_sum(&in, length)) {
        in.left = length - CACHE_CHECKSUM;
        m = read_map(&in, length);
    }
    mem_free(in.data);
    close(in.fd);
    return m;
}
