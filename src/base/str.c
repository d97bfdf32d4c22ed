#include "shardgate/base.h"

#include <string.h>

static unsigned char lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c; }

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Splits an optional sign off and reads the rest; false if it is no number or
 * its magnitude is past 64 bits. */
static bool parse_decimal(struct str s, bool *negative, uint64_t *magnitude)
{
    uint64_t value = 0;
    size_t i = 0;

    *negative = s.len > 0 && s.ptr[0] == '-';
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        i = 1;
    if (i == s.len)
        return false;
    for (; i < s.len; i++) {
        char c = s.ptr[i];

        if (c < '0' || c > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
            return false;
    }
    *magnitude = value;
    return true;
}

struct str str_from(const char *cstring) { return (struct str){cstring, cstring ? strlen(cstring) : 0}; }

bool str_eq(struct str a, struct str b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)b.ptr[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

struct str str_trim(struct str s)
{
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative;
    uint64_t magnitude;

    if (!parse_decimal(s, &negative, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1u : 0u))
        return false;
    /* The unsigned negation also takes INT64_MIN, whose magnitude no int64 holds. */
    *out = (int64_t)(negative ? -magnitude : magnitude);
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    bool negative;
    uint64_t magnitude;

    if (!parse_decimal(s, &negative, &magnitude) || (negative && magnitude != 0))
        return false;
    *out = magnitude;
    return true;
}

bool str_copy(char *dst, size_t size, struct str s)
{
    size_t n;

    if (size == 0)
        return false;
    n = s.len < size ? s.len : size - 1;
    if (n)
        memcpy(dst, s.ptr, n);
    dst[n] = '\0';
    return n == s.len;
}

char *str_dup(struct str s) { return mem_strndup(s.ptr, s.len); }
