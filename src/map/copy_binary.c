#include "copy_binary.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

static const uint8_t signature[11] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0};

#define HAS_OIDS (UINT32_C(1) << 16)
#define CRITICAL UINT32_C(0xffff0000)
#define EXTENSION_MAX 65536

static uint16_t u16_at(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return be16toh(v);
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static size_t part_size(const struct copy_reader *r)
{
    switch (r->part) {
    case COPY_SIGNATURE:
        return sizeof(signature) + 8;
    case COPY_EXTENSION:
        return r->skip < sizeof(r->held) ? r->skip : sizeof(r->held);
    case COPY_FIELDS:
        return 2;
    case COPY_TENANT:
        return 12;
    case COPY_SHARD_LENGTH:
        return 4;
    case COPY_SHARD:
        return 2;
    case COPY_END:
        break;
    }
    return SIZE_MAX;
}

static bool bad(const struct copy_reader *r, struct error *e, const char *what)
{
    return error_set(e, ERR_DIRECTORY, "tenant_shard_map, row %" PRIu64 " of the copy: %s", r->rows + 1, what);
}

static bool take_header(struct copy_reader *r, const uint8_t *p, struct error *e)
{
    uint32_t flags = u32_at(p + sizeof(signature));

    if (memcmp(p, signature, sizeof(signature)) != 0)
        return bad(r, e, "not PostgreSQL's binary format");
    if (flags & (HAS_OIDS | CRITICAL))
        return bad(r, e, "a version of the binary format that is not known");
    r->skip = u32_at(p + sizeof(signature) + 4);
    if (r->skip > EXTENSION_MAX)
        return bad(r, e, "the header is too long");
    r->part = r->skip ? COPY_EXTENSION : COPY_FIELDS;
    return true;
}

static bool give_row(struct copy_reader *r)
{
    r->rows++;
    r->part = COPY_FIELDS;
    return r->on_row(r->ctx, &r->row);
}

static bool take_part(struct copy_reader *r, const uint8_t *p, size_t size, struct error *e)
{
    switch (r->part) {
    case COPY_SIGNATURE:
        return take_header(r, p, e);
    case COPY_EXTENSION:
        r->skip -= (uint32_t)size;
        if (r->skip == 0)
            r->part = COPY_FIELDS;
        return true;
    case COPY_FIELDS:
        if (u16_at(p) == UINT16_MAX)
            r->part = COPY_END;
        else if (u16_at(p) == 2)
            r->part = COPY_TENANT;
        else
            return bad(r, e, "not two columns");
        return true;
    case COPY_TENANT:
        if (u32_at(p) != 8)
            return bad(r, e, "tenant_id is NULL or not a bigint");
        r->row.tenant = (int64_t)u64_at(p + 4);
        r->part = COPY_SHARD_LENGTH;
        return true;
    case COPY_SHARD_LENGTH:
        r->row.shard = 0;
        r->row.no_shard = u32_at(p) == UINT32_MAX;
        if (r->row.no_shard)
            return give_row(r);
        if (u32_at(p) != 2)
            return bad(r, e, "shard_id is not a smallint");
        r->part = COPY_SHARD;
        return true;
    case COPY_SHARD:
        r->row.shard = (int16_t)u16_at(p);
        return give_row(r);
    case COPY_END:
        break;
    }
    return bad(r, e, "data after the end");
}

void copy_reader_init(struct copy_reader *r, bool (*on_row)(void *ctx, const struct copy_row *row), void *ctx)
{
    memset(r, 0, sizeof(*r));
    r->on_row = on_row;
    r->ctx = ctx;
}

bool copy_reader_feed(struct copy_reader *r, const char *data, size_t len, struct error *e)
{
    const uint8_t *at = (const uint8_t *)data;

    while (len > 0) {
        size_t size = part_size(r), n;

        if (r->part == COPY_END)
            return bad(r, e, "data after the end");
        if (r->held_len == 0 && len >= size) { /* whole in the input */
            if (!take_part(r, at, size, e))
                return false;
            at += size;
            len -= size;
            continue;
        }
        n = size - r->held_len < len ? size - r->held_len : len;
        memcpy(r->held + r->held_len, at, n);
        r->held_len += n;
        at += n;
        len -= n;
        if (r->held_len == size) {
            r->held_len = 0;
            if (!take_part(r, r->held, size, e))
                return false;
        }
    }
    return true;
}

bool copy_reader_ended(const struct copy_reader *r) { return r->part == COPY_END; }
