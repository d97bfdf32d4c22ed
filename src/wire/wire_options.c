/*
 * The `options` startup parameter. PostgreSQL splits it into words as
 * pg_split_opts does and hands them to the switch parser of a backend; of its
 * switches we know the two that set a parameter, -c and --.
 */
#include "shardgate/wire.h"

#include "wire_bytes.h"

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Takes one word, decoded into the scratch, which moves on behind it. */
static bool next_word(struct wire_options *it, struct str *word)
{
    *word = STR("");
    if (it->rest.len == 0)
        return false;
    const char *p = it->rest.ptr, *end = p + it->rest.len;
    while (p < end && is_space(*p))
        p++;
    char *out = it->scratch;
    bool found = p < end, escaped = false;
    for (; p < end && (escaped || !is_space(*p)); p++) {
        if (!escaped && *p == '\\') {
            escaped = true;
        } else {
            escaped = false;
            *out++ = *p;
        }
    }
    *word = (struct str){it->scratch, (size_t)(out - it->scratch)};
    it->scratch = out;
    it->rest = (struct str){p, (size_t)(end - p)};
    return found;
}

/* Splits at the first '='; the name's dashes become underscores in place. */
static bool split_setting(struct str setting, struct str *name, struct str *value)
{
    const char *equals = setting.len > 0 ? memchr(setting.ptr, '=', setting.len) : NULL;
    if (!equals || equals == setting.ptr)
        return false;
    *name = (struct str){setting.ptr, (size_t)(equals - setting.ptr)};
    *value = str_after(setting, name->len + 1);
    return true;
}

static void dashes_to_underscores(char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (name[i] == '-')
            name[i] = '_';
}

int wire_options_next(struct wire_options *it, struct str *name, struct str *value)
{
    *value = STR("");
    char *start = it->scratch;
    struct str word, setting;
    if (!next_word(it, &word))
        return 0;
    *name = word;
    if (word.len == 2 && word.ptr[0] == '-' && word.ptr[1] == 'c') {
        start = it->scratch;
        if (!next_word(it, &setting))
            return -1;
        *name = setting;
    } else if (word.len > 2 && word.ptr[0] == '-' && (word.ptr[1] == 'c' || word.ptr[1] == '-')) {
        start += 2;
        setting = str_after(word, 2);
    } else {
        return -1;
    }
    if (!split_setting(setting, name, value))
        return -1;
    dashes_to_underscores(start, name->len);
    return 1;
}

static bool append_escaped(struct buf *out, struct str s)
{
    size_t clean = 0; /* first byte not yet written */
    if (s.len == 0)
        return !out->failed;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\\' && !is_space(s.ptr[i]))
            continue;
        buf_append(out, s.ptr + clean, i - clean);
        buf_append_byte(out, '\\');
        clean = i;
    }
    return buf_append(out, s.ptr + clean, s.len - clean);
}

bool wire_options_append(struct buf *out, struct str name, struct str value)
{
    return buf_append_str(out, STR(" -c ")) && append_escaped(out, name) && buf_append_byte(out, '=') &&
           append_escaped(out, value);
}
