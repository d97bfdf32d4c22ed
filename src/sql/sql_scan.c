/*
 * The quick scan: tells in about two instructions a byte that a text is one
 * ordinary statement, so that most texts are never tokenised. It looks at bytes
 * without knowing what is a string or a comment; whenever one of a few patterns
 * occurs it gives up, and the tokeniser decides. It may give up for nothing, but
 * it must not call a text plain of which the tokeniser has something to say:
 *
 *   what must be seen                    the pattern
 *   a second statement                   ;
 *   a comment that names the tenant      / and *, which is reported and not a reason to give up
 *   set_config(                          t_c, then all of set_config
 *   pg_advisory…, pg_try_…, pg_temp.     g_a or g_t, then the name's beginning
 *   SELECT … INTO TEMP                   temp at the beginning of a word
 *   all else                             the first word
 *
 * Sixteen bytes at a time, by the compilers' generic vectors.
 */
#include "sql_internal.h"

#include <endian.h>
#include <string.h>

#define LANES 16
#define LOOKAHEAD 3 /* bytes after the sixteen that their patterns need */

typedef unsigned char lanes __attribute__((vector_size(LANES)));
typedef uint64_t halves __attribute__((vector_size(LANES)));

static inline lanes load(const char *p)
{
    lanes v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* All ones in each lane at which a pattern may begin; 19 bytes can be read. */
static inline halves find_patterns(const char *p)
{
    const lanes space = (lanes){0} + (unsigned char)' ';
    lanes a = load(p), b = load(p + 1), c = load(p + 2) | space, d = load(p + 3) | space;
    lanes low = a | space, star = (lanes)(b == '*'), under = (lanes)(b == '_');
    lanes temp = (lanes)((b | space) == 'e') & (lanes)(c == 'm') & (lanes)(d == 'p');
    lanes t = (lanes)(low == 't') & (temp | (under & (lanes)(c == 'c')));
    lanes g = (lanes)(low == 'g') & under & ((lanes)(c == 'a') | (lanes)(c == 't'));
    return (halves)((lanes)(a == ';') | ((lanes)(a == '/') & star) | t | g);
}

static bool ahead(const char *p, const char *end, struct str lower)
{
    return (size_t)(end - p) >= lower.len && str_eq_nocase((struct str){p, lower.len}, lower);
}

/* Whether what may begin at p does, and is no comment. */
static bool is_pattern(const char *start, const char *p, const char *end, bool *comments)
{
    switch (*p | ' ') {
    case '/':
        *comments = true;
        return false;
    case 't':
        return ahead(p, end, STR("t_config")) ||
               (ahead(p, end, STR("temp")) && (p == start || !sql_byte_is(p[-1], SQL_BYTE_WORD)));
    case 'g':
        return ahead(p, end, STR("g_advisory_lock")) || ahead(p, end, STR("g_try_advisory_lock")) ||
               ahead(p, end, STR("g_temp"));
    default: /* a semicolon */
        return true;
    }
}

static bool any_in_half(const char *start, const char *p, const char *end, uint64_t found, bool *comments)
{
    char lane[sizeof(found)];
    memcpy(lane, &found, sizeof(found));
    for (size_t i = 0; i < sizeof(lane); i++)
        if (lane[i] && is_pattern(start, p + i, end, comments))
            return true;
    return false;
}

/* Whether a pattern begins in the 16 bytes at p, which stand at `at` of the text. */
static inline bool any_pattern(const char *p, const char *start, const char *at, const char *end, bool *comments)
{
    halves found = find_patterns(p);
    return (found[0] && any_in_half(start, at, end, found[0], comments)) ||
           (found[1] && any_in_half(start, at + LANES / 2, end, found[1], comments));
}

static bool short_body_is_plain(const char *start, const char *end, bool *comments)
{
    char copy[2 * LANES + LOOKAHEAD] = {0};
    memcpy(copy, start, (size_t)(end - start));
    return !any_pattern(copy, start, start, end, comments) &&
           !any_pattern(copy + LANES, start, start + LANES, end, comments);
}

static bool body_is_plain(const char *start, const char *end, bool *comments)
{
    const char *p = start, *last = end - (LANES + LOOKAHEAD);
    if ((size_t)(end - start) < LANES + LOOKAHEAD)
        return short_body_is_plain(start, end, comments);
    for (; p < last; p += LANES)
        if (any_pattern(p, start, p, end, comments))
            return false;
    if (any_pattern(last, start, last, end, comments))
        return false;
    /* In the last three bytes only the short patterns can begin. */
    if ((end[-2] == '/' && end[-1] == '*') || (end[-3] == '/' && end[-2] == '*'))
        *comments = true;
    return end[-1] != ';' && end[-2] != ';' && end[-3] != ';';
}

/* Words of up to eight bytes as one number, the first byte lowest. */
#define BYTE(c, i) ((uint64_t)(unsigned char)(c) << (8 * (i)))
#define WORD4(a, b, c, d) (BYTE(a, 0) | BYTE(b, 1) | BYTE(c, 2) | BYTE(d, 3))
#define WORD6(a, b, c, d, e, f) (WORD4(a, b, c, d) | BYTE(e, 4) | BYTE(f, 5))

/* The word at p in lower case, or 0 if it is longer than eight bytes. */
static uint64_t take_word(const char **p, const char *end)
{
    const uint64_t space = UINT64_C(0x2020202020202020);
    uint64_t word = 0;
    const char *start = *p, *at = start;
    while (at < end && sql_byte_is(*at, SQL_BYTE_WORD))
        at++;
    size_t len = (size_t)(at - start);
    if (len == 0 || len > sizeof(word))
        return 0;
    *p = at;
    if ((size_t)(end - start) >= sizeof(word))
        memcpy(&word, start, sizeof(word));
    else
        memcpy(&word, start, len);
    return (le64toh(word) | space) & (UINT64_MAX >> (64 - 8 * len));
}

/* Statements that leave nothing behind but by what the patterns show. */
static bool is_ordinary(uint64_t word)
{
    switch (word) {
    case WORD6('s', 'e', 'l', 'e', 'c', 't'):
    case WORD6('i', 'n', 's', 'e', 'r', 't'):
    case WORD6('u', 'p', 'd', 'a', 't', 'e'):
    case WORD6('d', 'e', 'l', 'e', 't', 'e'):
    case WORD6('v', 'a', 'l', 'u', 'e', 's'):
    case WORD4('w', 'i', 't', 'h'):
    case WORD4('c', 'o', 'p', 'y'):
    case WORD4('c', 'a', 'l', 'l'):
    case WORD4('m', 'e', 'r', 'g') | BYTE('e', 4):
        return true;
    default:
        return false;
    }
}

/* Transaction control that is the whole text. */
static enum sql_verb lone_verb(uint64_t word)
{
    switch (word) {
    case WORD4('b', 'e', 'g', 'i') | BYTE('n', 4):
        return SQL_VERB_BEGIN;
    case WORD6('c', 'o', 'm', 'm', 'i', 't'):
    case BYTE('e', 0) | BYTE('n', 1) | BYTE('d', 2):
        return SQL_VERB_COMMIT;
    case WORD6('r', 'o', 'l', 'l', 'b', 'a') | BYTE('c', 6) | BYTE('k', 7):
        return SQL_VERB_ROLLBACK;
    default:
        return SQL_VERB_OTHER;
    }
}

enum sql_verb sql_scan_quick(struct str text, bool *comments)
{
    *comments = false;
    if (text.len == 0)
        return SQL_VERB_EMPTY;
    const char *p = text.ptr, *end = p + text.len;
    while (p < end && sql_byte_is(*p, SQL_BYTE_SPACE))
        p++;
    uint64_t word = take_word(&p, end);
    while (end > p && sql_byte_is(end[-1], SQL_BYTE_SPACE))
        end--;
    if (end > p && end[-1] == ';')
        end--;
    if (is_ordinary(word))
        return body_is_plain(p, end, comments) ? SQL_VERB_OTHER : SQL_VERB_EMPTY;
    while (p < end && sql_byte_is(*p, SQL_BYTE_SPACE))
        p++;
    enum sql_verb verb = p == end ? lone_verb(word) : SQL_VERB_OTHER;
    return verb == SQL_VERB_OTHER ? SQL_VERB_EMPTY : verb;
}
