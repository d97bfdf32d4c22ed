/*
 * The quick scan: tells in about two instructions a byte that a text is one
 * ordinary statement, so that most texts are never tokenised. It looks at bytes
 * without knowing what is a string or a comment; whenever one of a few patterns
 * occurs it gives up, and the tokeniser decides. It may give up for nothing, but
 * it must not call a text plain of which the tokeniser has something to say:
 *
 *   what must be seen                    the pattern
 *   a second statement                   ;
 *   a comment that names the tenant      / and *
 *   set_config(                          t_ of set_c
 *   pg_advisory…, pg_try_…, pg_temp.     g_ of pg_a, pg_t
 *   SELECT … INTO TEMP                   tem of temp
 *   all else                             the first word
 *
 * Sixteen bytes at a time, by the compilers' generic vectors.
 */
#include "sql_internal.h"

#include <string.h>

#define LANES 16
#define LOOKAHEAD 2 /* bytes after a lane that its pattern needs */

typedef unsigned char lanes __attribute__((vector_size(LANES)));
typedef uint64_t halves __attribute__((vector_size(LANES)));

static inline lanes load(const char *p)
{
    lanes v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Whether a pattern may begin in the 16 bytes at p; 18 can be read. */
static inline bool may_hit(const char *p)
{
    const lanes space = (lanes){0} + (unsigned char)' ';
    lanes a = load(p), b = load(p + 1), c = load(p + 2);
    lanes t = (lanes)((a | space) == 't'), g = (lanes)((a | space) == 'g');
    lanes under = (lanes)(b == '_');
    lanes em = (lanes)((b | space) == 'e') & (lanes)((c | space) == 'm');
    lanes hits = (lanes)(a == ';') | ((lanes)(a == '/') & (lanes)(b == '*')) | (t & (under | em)) | (g & under);
    halves h = (halves)hits;
    return (h[0] | h[1]) != 0;
}

static bool follows(const char *p, const char *end, struct str lower)
{
    return (size_t)(end - p) >= lower.len && str_eq_nocase((struct str){p, lower.len}, lower);
}

/* Whether a pattern does begin at one of the bytes from p up to stop. */
static bool hits(const char *start, const char *p, const char *stop, const char *end)
{
    for (; p < stop; p++) {
        if (*p == ';' || (*p == '/' && follows(p, end, STR("/*"))))
            return true;
        char low = (char)(*p | ' ');
        if (low == 't' && (follows(p, end, STR("t_config")) ||
                           (follows(p, end, STR("temp")) && (p == start || !sql_byte_is(p[-1], SQL_BYTE_WORD)))))
            return true;
        if (low == 'g' && (follows(p, end, STR("g_advisory_lock")) || follows(p, end, STR("g_try_advisory_lock")) ||
                           follows(p, end, STR("g_temp"))))
            return true;
    }
    return false;
}

static bool body_is_plain(const char *start, const char *end)
{
    const char *p = start;
    for (; (size_t)(end - p) >= LANES + LOOKAHEAD; p += LANES)
        if (may_hit(p) && hits(start, p, p + LANES, end))
            return false;
    char tail[2 * LANES + LOOKAHEAD] = {0};
    memcpy(tail, p, (size_t)(end - p));
    return !((may_hit(tail) || may_hit(tail + LANES)) && hits(start, p, end, end));
}

/* Statements that leave nothing behind but by what the patterns show. */
static bool ordinary_word(struct str word)
{
    switch (word.ptr[0] | ' ') {
    case 's':
        return str_eq_nocase(word, STR("select"));
    case 'i':
        return str_eq_nocase(word, STR("insert"));
    case 'u':
        return str_eq_nocase(word, STR("update"));
    case 'd':
        return str_eq_nocase(word, STR("delete"));
    case 'w':
        return str_eq_nocase(word, STR("with"));
    case 'c':
        return str_eq_nocase(word, STR("copy")) || str_eq_nocase(word, STR("call"));
    case 'v':
        return str_eq_nocase(word, STR("values"));
    case 'm':
        return str_eq_nocase(word, STR("merge"));
    default:
        return false;
    }
}

bool sql_scan_plain(struct str text)
{
    if (text.len == 0)
        return false;
    const char *p = text.ptr, *end = p + text.len;
    while (p < end && sql_byte_is(*p, SQL_BYTE_SPACE))
        p++;
    const char *word = p;
    while (p < end && sql_byte_is(*p, SQL_BYTE_WORD))
        p++;
    if (p == word || !ordinary_word((struct str){word, (size_t)(p - word)}))
        return false;
    while (end > p && sql_byte_is(end[-1], SQL_BYTE_SPACE))
        end--;
    if (end > p && end[-1] == ';')
        end--;
    return body_is_plain(p, end);
}
