#include "conf_expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 128u

static bool is_name(struct str s)
{
    if (s.len == 0 || s.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

/* body: between the braces. */
static bool expand_variable(struct str body, struct buf *out, char *why, size_t why_size)
{
    struct str name = body, fallback = {0};
    bool has_fallback = false;
    for (size_t i = 0; i + 1 < body.len; i++)
        if (body.ptr[i] == ':' && body.ptr[i + 1] == '-') {
            name.len = i;
            fallback = (struct str){body.ptr + i + 2, body.len - i - 2};
            has_fallback = true;
            break;
        }
    if (!is_name(name)) {
        snprintf(why, why_size, "expected ${NAME} or ${NAME:-default}; write $${ for a plain ${");
        return false;
    }
    char cname[NAME_MAX_LEN + 1];
    str_copy(cname, sizeof(cname), name);
    const char *value = getenv(cname);
    if (has_fallback && (!value || !*value))
        return buf_append_str(out, fallback);
    if (!value) {
        snprintf(why, why_size, "the environment variable %.60s is not set", cname);
        return false;
    }
    return buf_append_str(out, str_from(value));
}

bool conf_expand(struct str text, struct buf *out, char *why, size_t why_size)
{
    snprintf(why, why_size, "the value is too long");
    size_t i = 0;
    while (i < text.len) {
        const char *dollar = memchr(text.ptr + i, '$', text.len - i);
        size_t plain = dollar ? (size_t)(dollar - text.ptr) - i : text.len - i;
        if (plain && !buf_append(out, text.ptr + i, plain))
            return false;
        i += plain;
        char after = i + 1 < text.len ? text.ptr[i + 1] : 0;
        if (dollar && after == '{') {
            const char *end = memchr(text.ptr + i, '}', text.len - i);
            if (!end) {
                snprintf(why, why_size, "a ${ has no closing brace; write $${ for a plain ${");
                return false;
            }
            struct str body = {text.ptr + i + 2, (size_t)(end - text.ptr) - i - 2};
            if (!expand_variable(body, out, why, why_size))
                return false;
            i = (size_t)(end - text.ptr) + 1;
        } else if (dollar) {
            if (!buf_append_byte(out, '$'))
                return false;
            i += after == '$' ? 2 : 1;
        }
    }
    return true;
}
