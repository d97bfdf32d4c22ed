#include "auth_base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool auth_base64_encode(struct buf *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        char quad[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], left > 1 ? alphabet[v >> 6 & 63] : '=',
                        left > 2 ? alphabet[v & 63] : '='};
        if (!buf_append(out, quad, 4))
            return false;
    }
    return !out->failed;
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many of the last four characters are padding. */
static size_t padding_of(struct str s)
{
    if (s.len == 0 || s.ptr[s.len - 1] != '=')
        return 0;
    return s.ptr[s.len - 2] == '=' ? 2 : 1;
}

bool auth_base64_decode(struct str text, uint8_t *out, size_t size, size_t *len)
{
    if (text.len % 4 != 0)
        return false;
    size_t pad = padding_of(text), digits = text.len - pad, to = 0;
    uint32_t bits = 0, count = 0;
    if (text.len / 4 * 3 - pad > size)
        return false;
    for (size_t i = 0; i < digits; i++) {
        int v = value_of(text.ptr[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[to++] = (uint8_t)(bits >> count);
        }
    }
    if (bits & ((1u << count) - 1)) /* bits that encode nothing: two texts for one value */
        return false;
    *len = to;
    return true;
}
