/*
 * The lexer. The first byte says whether strings are standard. Invariants: tokens
 * tile the text but for white space, and each token alone is the same token.
 */
#include "fuzz.h"

#include <string.h>

#include "shardgate/sql.h"

static void check_space(const char *p, const char *end)
{
    for (; p < end; p++)
        must(*p == ' ' || (*p >= '\t' && *p <= '\r'));
}

static void check_alone(struct sql_token t, bool standard_strings)
{
    struct sql_lexer lx;
    sql_lexer_init(&lx, t.text, standard_strings);
    struct sql_token again = sql_lexer_next(&lx);
    must(again.kind == t.kind && again.text.ptr == t.text.ptr && again.text.len == t.text.len);
    must(sql_lexer_next(&lx).kind == SQL_TOKEN_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool standard_strings = data[0] & 1;
    struct str text = {(const char *)data + 1, size - 1};
    struct sql_lexer lx;
    const char *at = text.ptr;
    sql_lexer_init(&lx, text, standard_strings);
    for (;;) {
        struct sql_token t = sql_lexer_next(&lx);
        if (t.kind == SQL_TOKEN_END)
            break;
        must(within(t.text, text) && t.text.len > 0 && t.text.ptr >= at);
        check_space(at, t.text.ptr);
        check_alone(t, standard_strings);
        at = t.text.ptr + t.text.len;
        must(t.kind != SQL_TOKEN_BAD || at == text.ptr + text.len);
    }
    check_space(at, text.ptr + text.len);
    return 0;
}
