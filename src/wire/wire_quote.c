/*
 * Quoting for the SQL that the router itself sends. The bytes must be in an
 * encoding in which every byte below 128 stands for itself, as all of
 * PostgreSQL's server encodings are.
 */
#include "shardgate/wire.h"

#include "wire_bytes.h"

/* Appends s, with each `quote` and, if asked, each backslash doubled. */
static bool append_doubled(struct buf *b, struct str s, char quote, bool backslashes)
{
    size_t clean = 0; /* first byte not yet written */
    if (s.len == 0)
        return !b->failed;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == 0) /* neither a literal nor a name can hold one */
            b->failed = true;
        if (s.ptr[i] != quote && !(backslashes && s.ptr[i] == '\\'))
            continue;
        buf_append(b, s.ptr + clean, i + 1 - clean);
        clean = i;
    }
    return buf_append(b, s.ptr + clean, s.len - clean);
}

bool wire_put_literal(struct buf *b, struct str value)
{
    /* E'' reads the same whatever standard_conforming_strings says. The space
     * keeps the E apart from a word before it. */
    bool backslashes = value.len > 0 && memchr(value.ptr, '\\', value.len);
    buf_append_str(b, backslashes ? STR(" E'") : STR("'"));
    append_doubled(b, value, '\'', backslashes);
    return buf_append_byte(b, '\'') && !b->failed;
}

bool wire_put_identifier(struct buf *b, struct str name)
{
    buf_append_byte(b, '"');
    append_doubled(b, name, '"', false);
    return buf_append_byte(b, '"') && !b->failed;
}
