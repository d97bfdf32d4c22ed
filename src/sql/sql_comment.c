/*
 * Comments that name the tenant: the whole content is a list of key=value pairs
 * joined by commas, as sqlcommenter writes them (keys and values URL-encoded,
 * values in single quotes with \' inside) or by hand (tenant_id = 42). A comment
 * with anything else in it is prose and says nothing.
 */
#include "sql_internal.h"

#include <string.h>

#define NUMBER_SIZE 32 /* a decoded tenant number; longer ones are invalid */

static bool in_key(char c)
{
    return sql_byte_is(c, SQL_BYTE_WORD_START | SQL_BYTE_DIGIT) || c == '.' || c == '-' || c == '%';
}

static void skip_space(struct str *s)
{
    while (s->len > 0 && sql_byte_is(*s->ptr, SQL_BYTE_SPACE)) {
        s->ptr++;
        s->len--;
    }
}

static struct str take(struct str *s, size_t n)
{
    struct str taken = {s->ptr, n};
    s->ptr += n;
    s->len -= n;
    return taken;
}

static bool take_byte(struct str *s, char c)
{
    if (s->len == 0 || *s->ptr != c)
        return false;
    take(s, 1);
    return true;
}

static struct str take_key(struct str *s)
{
    size_t n = 0;
    while (n < s->len && in_key(s->ptr[n]))
        n++;
    return take(s, n);
}

/* The quote was taken; takes up to the closing one, which \' is not. */
static bool take_quoted(struct str *s, struct str *value)
{
    for (size_t n = 0; n < s->len; n++) {
        if (s->ptr[n] == '\\') {
            n++;
        } else if (s->ptr[n] == '\'') {
            *value = take(s, n);
            take(s, 1);
            return true;
        }
    }
    return false;
}

static struct str take_bare(struct str *s)
{
    size_t n = 0;
    while (n < s->len && !sql_byte_is(s->ptr[n], SQL_BYTE_SPACE) && s->ptr[n] != ',' && s->ptr[n] != '\'')
        n++;
    return take(s, n);
}

/* Takes `key = value` and what follows it: a comma or the end. */
static bool take_pair(struct str *s, struct str *key, struct str *value)
{
    skip_space(s);
    *key = take_key(s);
    skip_space(s);
    if (key->len == 0 || !take_byte(s, '='))
        return false;
    skip_space(s);
    if (take_byte(s, '\'')) {
        if (!take_quoted(s, value))
            return false;
    } else {
        *value = take_bare(s);
    }
    skip_space(s);
    if (s->len == 0)
        return true;
    if (!take_byte(s, ','))
        return false;
    skip_space(s);
    return s->len > 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes backslashes and %XX. False if it does not fit. */
static bool decode(struct str s, char *out, size_t size, size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            c = s.ptr[++i];
        } else if (c == '%' && s.len - i > 2 && hex_digit(s.ptr[i + 1]) >= 0 && hex_digit(s.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(s.ptr[i + 1]) * 16 + hex_digit(s.ptr[i + 2]));
            i += 2;
        }
        if (n == size)
            return false;
        out[n++] = c;
    }
    *len = n;
    return true;
}

static bool key_is(struct str key, struct str wanted)
{
    char decoded[64];
    size_t len;
    if (!memchr(key.ptr, '%', key.len))
        return str_eq(key, wanted);
    return decode(key, decoded, sizeof(decoded), &len) && str_eq((struct str){decoded, len}, wanted);
}

static struct sql_comment_tenant parse_tenant(struct str value)
{
    char number[NUMBER_SIZE];
    size_t len;
    struct sql_comment_tenant parsed = {SQL_COMMENT_TENANT, 0};
    if (!decode(value, number, sizeof(number), &len) ||
        !str_to_i64(str_trim((struct str){number, len}), &parsed.tenant))
        return (struct sql_comment_tenant){SQL_COMMENT_INVALID, 0};
    return parsed;
}

void sql_comment_merge(struct sql_comment_tenant *sum, const struct sql_comment_tenant *other)
{
    if (other->state == SQL_COMMENT_NONE || sum->state == SQL_COMMENT_INVALID)
        return;
    if (sum->state == SQL_COMMENT_NONE || other->state == SQL_COMMENT_INVALID)
        *sum = *other;
    else if (other->state == SQL_COMMENT_SEVERAL || sum->tenant != other->tenant)
        *sum = (struct sql_comment_tenant){SQL_COMMENT_SEVERAL, 0};
}

void sql_comment_add(struct sql_comment_tenant *sum, struct str comment, struct str key)
{
    struct sql_comment_tenant found = {SQL_COMMENT_NONE, 0};
    struct str content = {comment.ptr + 2, comment.len - 4}, name, value;
    if (key.len == 0)
        return;
    do {
        if (!take_pair(&content, &name, &value))
            return;
        if (key_is(name, key)) {
            struct sql_comment_tenant one = parse_tenant(value);
            sql_comment_merge(&found, &one);
        }
    } while (content.len > 0);
    sql_comment_merge(sum, &found);
}
