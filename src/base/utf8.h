/* UTF-8, as far as logs and error texts need it. Private to base. */
#ifndef SHARDGATE_BASE_UTF8_H
#define SHARDGATE_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the valid character at s, or 0 if there is none: overlong forms,
 * surrogates, values past U+10FFFF and cut sequences are not valid. */
size_t utf8_char_len(const char *s, size_t len);

/* The length to which a text of len bytes that was cut anywhere must shrink so
 * as not to end inside a character. */
size_t utf8_cut(const char *s, size_t len);

#endif
