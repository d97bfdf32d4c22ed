#include "utf8.h"

#include <stdbool.h>

static bool is_tail(unsigned char c) { return (c & 0xc0) == 0x80; }

/* The length that a first byte announces; 0 if it can start no character. */
static size_t announced_len(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c < 0xc2)
        return 0;
    return c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

size_t utf8_char_len(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n = len ? announced_len(u[0]) : 0;

    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (!is_tail(u[i]))
            return 0;
    }
    /* The second byte tells overlong forms, surrogates and values too large. */
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
        (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return n;
}

size_t utf8_cut(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t start = len;

    while (start > 0 && len - start < 3 && is_tail(u[start - 1]))
        start--;
    if (start == 0)
        return len;
    return announced_len(u[start - 1]) > len - (start - 1) ? start - 1 : len;
}
