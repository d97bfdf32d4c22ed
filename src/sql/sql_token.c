/* What a token means: words, names, decoded constants. */
#include "sql_internal.h"

#include <string.h>

bool sql_token_name(const struct sql_token *t, struct str *name)
{
    if (t->kind == SQL_TOKEN_WORD) {
        *name = t->text;
        return true;
    }
    if (t->kind != SQL_TOKEN_QUOTED || t->text.ptr[0] != '"')
        return false;
    *name = (struct str){t->text.ptr + 1, t->text.len - 2};
    return !memchr(name->ptr, '"', name->len);
}

struct sink {
    char *out;
    size_t room; /* without the terminator */
    bool full;
};

static void put(struct sink *k, char c)
{
    if (k->room == 0) {
        k->full = true;
        return;
    }
    *k->out++ = c;
    k->room--;
}

/* All parts of a string constant of which only '' and, with escapes, a backslash
 * before a byte that stands for itself are undone. */
static bool decode_string(struct str s, bool escapes, struct sink *k)
{
    bool inside = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\'') {
            bool doubled = inside && i + 1 < s.len && s.ptr[i + 1] == '\'';
            if (doubled)
                put(k, s.ptr[i++]);
            else
                inside = !inside;
        } else if (!inside && c == '-') {
            return false; /* a comment between the parts: no number is written like that */
        } else if (inside && c == '\\' && escapes) {
            if (sql_byte_is(s.ptr[++i], SQL_BYTE_WORD))
                return false; /* \n, \x41, \101: no number needs them */
            put(k, s.ptr[i]);
        } else if (inside) {
            put(k, c);
        }
    }
    return true;
}

static bool decode_constant(struct str s, bool standard_strings, struct sink *k)
{
    switch (s.ptr[0]) {
    case '\'':
        return decode_string(s, !standard_strings, k);
    case 'e':
    case 'E':
        return decode_string((struct str){s.ptr + 1, s.len - 1}, true, k);
    case 'n':
    case 'N':
        return decode_string((struct str){s.ptr + 1, s.len - 1}, !standard_strings, k);
    case '$': {
        size_t tag = (size_t)((const char *)memchr(s.ptr + 1, '$', s.len - 1) - s.ptr) + 1;
        for (size_t i = tag; i < s.len - tag; i++)
            put(k, s.ptr[i]);
        return true;
    }
    default: /* B'', X'', U&'' */
        return false;
    }
}

bool sql_value_decode(const struct sql_token *t, bool standard_strings, char *out, size_t size)
{
    struct sink k = {out, size - 1, false};
    struct str name;
    bool simple = true;
    if (t->kind == SQL_TOKEN_STRING) {
        simple = decode_constant(t->text, standard_strings, &k);
    } else if (t->kind == SQL_TOKEN_NUMBER || sql_token_name(t, &name)) {
        if (t->kind == SQL_TOKEN_NUMBER)
            name = t->text;
        for (size_t i = 0; i < name.len; i++)
            put(&k, name.ptr[i]);
    } else {
        return false;
    }
    *k.out = 0;
    return simple && !k.full;
}
