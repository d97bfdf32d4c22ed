/*
 * PostgreSQL's lexical rules, after src/backend/parser/scan.l. Only extents and
 * kinds are told: nothing is decoded, and what the server's scanner refuses
 * outright (a bad escape, junk after a number) is cut in some way, since the
 * server then refuses the text as a whole.
 *
 * Client encodings whose second bytes may be ASCII (SJIS, BIG5, GBK, GB18030,
 * UHC, JOHAB) are read as bytes; the server converts before it scans.
 */
#include "shardgate/sql.h"

#include <string.h>

#include "sql_internal.h"

const uint8_t sql_byte_class[256] = {
    [' '] = SQL_BYTE_SPACE,
    ['\t' ... '\r'] = SQL_BYTE_SPACE,
    ['0' ... '9'] = SQL_BYTE_DIGIT,
    ['A' ... 'Z'] = SQL_BYTE_WORD_START,
    ['a' ... 'z'] = SQL_BYTE_WORD_START,
    ['_'] = SQL_BYTE_WORD_START,
    [0x80 ... 0xff] = SQL_BYTE_WORD_START,
    ['$'] = SQL_BYTE_DOLLAR,
    ['~'] = SQL_BYTE_OPERATOR,
    ['!'] = SQL_BYTE_OPERATOR,
    ['@'] = SQL_BYTE_OPERATOR,
    ['#'] = SQL_BYTE_OPERATOR,
    ['^'] = SQL_BYTE_OPERATOR,
    ['&'] = SQL_BYTE_OPERATOR,
    ['|'] = SQL_BYTE_OPERATOR,
    ['`'] = SQL_BYTE_OPERATOR,
    ['?'] = SQL_BYTE_OPERATOR,
    ['+'] = SQL_BYTE_OPERATOR,
    ['-'] = SQL_BYTE_OPERATOR,
    ['*'] = SQL_BYTE_OPERATOR,
    ['/'] = SQL_BYTE_OPERATOR,
    ['%'] = SQL_BYTE_OPERATOR,
    ['<'] = SQL_BYTE_OPERATOR,
    ['>'] = SQL_BYTE_OPERATOR,
    ['='] = SQL_BYTE_OPERATOR,
};

/* Every skip_* takes the first byte to look at and returns the first one past
 * the thing, or NULL when the thing does not end. */

static const char *skip_class(const char *p, const char *end, unsigned classes)
{
    while (p < end && sql_byte_is(*p, classes))
        p++;
    return p;
}

static const char *skip_line(const char *p, const char *end)
{
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    return p;
}

/* Both ends of a comment have a slash: only those are looked at. */
static const char *skip_comment(const char *p, const char *end)
{
    size_t depth = 1;
    const char *slash;
    while (p < end && (slash = memchr(p, '/', (size_t)(end - p)))) {
        bool closes = slash > p && slash[-1] == '*';
        bool opens = !closes && slash + 1 < end && slash[1] == '*';
        if (closes && --depth == 0)
            return slash + 1;
        if (opens)
            depth++;
        p = slash + (opens ? 2 : 1);
    }
    return NULL;
}

static const char *skip_quoted_name(const char *p, const char *end)
{
    while ((p = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL)) {
        p++;
        if (p == end || *p != '"')
            return p;
        p++;
    }
    return NULL;
}

struct quoting {
    bool backslash; /* escapes the next byte */
    bool doubling;  /* two quotes are one, and do not end the string */
};

static const char *skip_string_part(const char *p, const char *end, struct quoting q)
{
    for (; p < end; p++) {
        if (*p == '\\' && q.backslash) {
            p++;
        } else if (*p == '\'') {
            if (!q.doubling || p + 1 == end || p[1] != '\'')
                return p + 1;
            p++;
        }
    }
    return NULL;
}

/* White space with a newline in it, in which line comments may stand, and then
 * a quote: the string goes on behind that. NULL otherwise. */
static const char *skip_to_continuation(const char *p, const char *end)
{
    bool newline = false;
    for (; p < end; p++) {
        if (*p == '\n' || *p == '\r') {
            newline = true;
        } else if (*p == '-') {
            if (p + 1 == end || p[1] != '-')
                return NULL;
            p = skip_line(p, end) - 1;
        } else if (!sql_byte_is(*p, SQL_BYTE_SPACE)) {
            return newline && *p == '\'' ? p + 1 : NULL;
        }
    }
    return NULL;
}

static const char *skip_string(const char *p, const char *end, struct quoting q)
{
    for (const char *next = p; next; next = skip_to_continuation(p, end)) {
        p = skip_string_part(next, end, q);
        if (!p)
            return NULL;
    }
    return p;
}

/* p is at a dollar sign. Returns p + 1 when no dollar quote begins there. */
static const char *skip_dollar_quote(const char *p, const char *end)
{
    const char *tag_end = p + 1;
    if (tag_end < end && sql_byte_is(*tag_end, SQL_BYTE_WORD_START))
        tag_end = skip_class(tag_end, end, SQL_BYTE_WORD_START | SQL_BYTE_DIGIT);
    if (tag_end == end || *tag_end != '$')
        return p + 1;
    size_t delimiter = (size_t)(tag_end + 1 - p);
    const char *body = p + delimiter;
    const char *close = memmem(body, (size_t)(end - body), p, delimiter);
    return close ? close + delimiter : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
    p = skip_class(p, end, SQL_BYTE_DIGIT);
    /* 1..10 is a range of integers, not 1. and .10 */
    if (p < end && *p == '.' && !(p + 1 < end && p[1] == '.'))
        p = skip_class(p + 1, end, SQL_BYTE_DIGIT);
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *digits = p + 1;
        if (digits < end && (*digits == '+' || *digits == '-'))
            digits++;
        if (digits < end && sql_byte_is(*digits, SQL_BYTE_DIGIT))
            p = skip_class(digits, end, SQL_BYTE_DIGIT);
    }
    return p;
}

static bool outside_standard(char c) { return c != 0 && strchr("~!@#^&|`?%", c); }

/* A run of operator bytes ends before a comment. It does not end in + or - unless
 * it has a byte that no operator of the SQL standard has: a=-1 is a = -1. */
static const char *skip_operator(const char *p, const char *end)
{
    const char *stop = p + 1;
    bool special = outside_standard(*p);
    while (stop < end && sql_byte_is(*stop, SQL_BYTE_OPERATOR)) {
        if (stop + 1 < end && ((stop[0] == '/' && stop[1] == '*') || (stop[0] == '-' && stop[1] == '-')))
            break;
        special = special || outside_standard(*stop);
        stop++;
    }
    while (!special && stop - p > 1 && (stop[-1] == '+' || stop[-1] == '-'))
        stop--;
    return stop;
}

static struct sql_token token(struct sql_lexer *lx, enum sql_token_kind kind, const char *stop)
{
    const char *start = lx->p;
    if (!stop) {
        kind = SQL_TOKEN_BAD;
        stop = lx->end;
    }
    lx->p = stop;
    return (struct sql_token){kind, {start, (size_t)(stop - start)}};
}

/* A word, or one of the constants that begin with a letter. */
static struct sql_token next_word(struct sql_lexer *lx)
{
    const char *p = lx->p, *end = lx->end;
    if (end - p >= 2 && p[1] == '\'') {
        switch (*p) {
        case 'b':
        case 'B':
        case 'x':
        case 'X':
            return token(lx, SQL_TOKEN_STRING, skip_string(p + 2, end, (struct quoting){false, false}));
        case 'e':
        case 'E':
            return token(lx, SQL_TOKEN_STRING, skip_string(p + 2, end, (struct quoting){true, true}));
        case 'n':
        case 'N':
            return token(lx, SQL_TOKEN_STRING, skip_string(p + 2, end, (struct quoting){!lx->standard_strings, true}));
        default:
            break;
        }
    }
    if (end - p >= 3 && (*p == 'u' || *p == 'U') && p[1] == '&') {
        if (p[2] == '\'')
            return token(lx, SQL_TOKEN_STRING, skip_string(p + 3, end, (struct quoting){false, true}));
        if (p[2] == '"')
            return token(lx, SQL_TOKEN_QUOTED, skip_quoted_name(p + 3, end));
    }
    return token(lx, SQL_TOKEN_WORD, skip_class(p, end, SQL_BYTE_WORD));
}

static struct sql_token next_operator(struct sql_lexer *lx)
{
    const char *p = lx->p, *end = lx->end;
    if (end - p >= 2 && p[0] == '-' && p[1] == '-')
        return token(lx, SQL_TOKEN_LINE_COMMENT, skip_line(p, end));
    if (end - p >= 2 && p[0] == '/' && p[1] == '*')
        return token(lx, SQL_TOKEN_COMMENT, skip_comment(p + 2, end));
    const char *stop = skip_operator(p, end);
    bool arrow = stop - p == 2 && p[0] == '=' && p[1] == '>';
    return token(lx, arrow ? SQL_TOKEN_PUNCT : SQL_TOKEN_OPERATOR, stop);
}

static struct sql_token next_dollar(struct sql_lexer *lx)
{
    const char *p = lx->p, *end = lx->end;
    if (end - p >= 2 && sql_byte_is(p[1], SQL_BYTE_DIGIT))
        return token(lx, SQL_TOKEN_PARAM, skip_class(p + 1, end, SQL_BYTE_DIGIT));
    const char *stop = skip_dollar_quote(p, end);
    return token(lx, stop == p + 1 ? SQL_TOKEN_PUNCT : SQL_TOKEN_STRING, stop);
}

static struct sql_token next_punct(struct sql_lexer *lx)
{
    const char *p = lx->p, *end = lx->end;
    char second = end - p >= 2 ? p[1] : 0;
    bool two = (*p == ':' && (second == ':' || second == '=')) || (*p == '.' && second == '.');
    return token(lx, SQL_TOKEN_PUNCT, p + (two ? 2 : 1));
}

void sql_lexer_init(struct sql_lexer *lx, struct str text, bool standard_strings)
{
    const char *p = text.ptr ? text.ptr : "";
    *lx = (struct sql_lexer){p, p + text.len, standard_strings};
}

struct sql_token sql_lexer_next(struct sql_lexer *lx)
{
    lx->p = skip_class(lx->p, lx->end, SQL_BYTE_SPACE);
    const char *p = lx->p, *end = lx->end;
    if (p == end)
        return token(lx, SQL_TOKEN_END, end);
    unsigned class = sql_byte_class[(unsigned char)*p];
    if (class & SQL_BYTE_WORD_START)
        return next_word(lx);
    if (class & SQL_BYTE_OPERATOR)
        return next_operator(lx);
    if ((class & SQL_BYTE_DIGIT) || (*p == '.' && end - p >= 2 && sql_byte_is(p[1], SQL_BYTE_DIGIT)))
        return token(lx, SQL_TOKEN_NUMBER, skip_number(p, end));
    switch (*p) {
    case '\'':
        return token(lx, SQL_TOKEN_STRING, skip_string(p + 1, end, (struct quoting){!lx->standard_strings, true}));
    case '"':
        return token(lx, SQL_TOKEN_QUOTED, skip_quoted_name(p + 1, end));
    case '$':
        return next_dollar(lx);
    default:
        return next_punct(lx);
    }
}
