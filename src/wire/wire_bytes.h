/*
 * Reading and writing the protocol's integers and strings, for the files of
 * this room only. A reader is a slice that shrinks from its front; each take_*
 * returns false, and leaves the slice alone, when it is too short.
 */
#ifndef SHARDGATE_WIRE_BYTES_H
#define SHARDGATE_WIRE_BYTES_H

#include <string.h>

#include "shardgate/base.h"

static inline uint16_t be16(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint16_t)(u[0] << 8 | u[1]);
}

static inline uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static inline void store_be16(char *p, uint16_t v)
{
    p[0] = (char)(v >> 8);
    p[1] = (char)v;
}

static inline void store_be32(char *p, uint32_t v)
{
    p[0] = (char)(v >> 24);
    p[1] = (char)(v >> 16);
    p[2] = (char)(v >> 8);
    p[3] = (char)v;
}

static inline struct str str_after(struct str s, size_t n) { return (struct str){s.ptr + n, s.len - n}; }

static inline bool take_u16(struct str *s, uint16_t *out)
{
    if (s->len < 2)
        return false;
    *out = be16(s->ptr);
    *s = str_after(*s, 2);
    return true;
}

static inline bool take_u32(struct str *s, uint32_t *out)
{
    if (s->len < 4)
        return false;
    *out = be32(s->ptr);
    *s = str_after(*s, 4);
    return true;
}

/* A NUL-terminated string; the terminator is taken too, but is not in *out. */
static inline bool take_string(struct str *s, struct str *out)
{
    const char *nul = s->len > 0 ? memchr(s->ptr, 0, s->len) : NULL;
    if (!nul)
        return false;
    *out = (struct str){s->ptr, (size_t)(nul - s->ptr)};
    *s = str_after(*s, out->len + 1);
    return true;
}

/* A string that is the whole of what is left. */
static inline bool take_last_string(struct str *s, struct str *out) { return take_string(s, out) && s->len == 0; }

#endif
