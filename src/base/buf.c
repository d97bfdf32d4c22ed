/*
 * Layout: [0, off) was consumed, [off, off+len) is unread, [off+len, cap) is
 * free. Consuming only moves off; the unread bytes are moved to the front when
 * room is needed and the move is paid for by as many consumed bytes, or when
 * the ceiling leaves no other way. So each byte is moved O(1) times over a
 * buffer's life.
 */
#include "shardgate/base.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { BUF_MIN_CAP = 256 };

static size_t ceiling_of(const struct buf *b) { return b->max ? b->max : SIZE_MAX / 2; }

static size_t grown_cap(const struct buf *b, size_t need)
{
    size_t max = ceiling_of(b);
    size_t cap = b->cap < BUF_MIN_CAP ? BUF_MIN_CAP : b->cap;

    while (cap < need)
        cap = cap > max / 2 ? max : cap * 2;
    /* The first step may have passed a ceiling below BUF_MIN_CAP. */
    return cap > max ? max : cap;
}

static void compact(struct buf *b)
{
    if (b->off && b->len)
        memmove(b->data, b->data + b->off, b->len);
    b->off = 0;
}

/* A fresh block rather than realloc: only the unread bytes are copied. */
static bool grow(struct buf *b, size_t need)
{
    size_t cap = grown_cap(b, need);
    char *data = mem_try_alloc(cap);

    if (!data)
        return false;
    if (b->data && b->len)
        memcpy(data, b->data + b->off, b->len);
    mem_free(b->data);
    b->data = data;
    b->off = 0;
    b->cap = cap;
    return true;
}

static bool make_room(struct buf *b, size_t len)
{
    size_t need;
    bool fits_compacted;

    if (b->failed || len > ceiling_of(b) - b->len)
        return false;
    need = b->len + len;
    fits_compacted = b->data && b->cap >= need;
    if (fits_compacted && b->cap - b->off >= need)
        return true;
    if (!fits_compacted)
        return grow(b, need);
    /* A block that would do but for its short dead front grows instead, so that
     * the next move is paid for; unless it cannot. */
    if (b->off >= b->len || b->cap >= ceiling_of(b) || !grow(b, b->cap + 1))
        compact(b);
    return true;
}

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.max = max}; }

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    buf_init(b, b->max);
}

char *buf_reserve(struct buf *b, size_t len)
{
    if (!make_room(b, len)) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->off + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
    assert(len <= b->cap - b->off - b->len);
    b->len += len;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    char *room;

    if (len == 0)
        return !b->failed;
    room = buf_reserve(b, len);
    if (!room)
        return false;
    memcpy(room, data, len);
    b->len += len;
    return true;
}

bool buf_append_str(struct buf *b, struct str s) { return buf_append(b, s.ptr, s.len); }

bool buf_append_byte(struct buf *b, uint8_t byte) { return buf_append(b, &byte, 1); }

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    char local[512];
    char *text = local;
    va_list args;
    int n;
    bool ok;

    va_start(args, fmt);
    n = vsnprintf(local, sizeof(local), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(local)) {
        /* Its NUL needs a byte that the ceiling may not have: not in place. */
        text = mem_try_alloc((size_t)n + 1);
        if (text) {
            va_start(args, fmt);
            n = vsnprintf(text, (size_t)n + 1, fmt, args);
            va_end(args);
        }
    }
    if (n < 0 || !text) {
        b->failed = true;
        return false;
    }
    ok = buf_append(b, text, (size_t)n);
    if (text != local)
        mem_free(text);
    return ok;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        b->off = 0;
        b->len = 0;
    } else {
        b->off += len;
        b->len -= len;
    }
}

void buf_release_if_empty(struct buf *b)
{
    if (b->len == 0) {
        mem_free(b->data);
        b->data = NULL;
        b->off = 0;
        b->cap = 0;
    }
}
