/* What the files of the sql room share. */
#ifndef SHARDGATE_SQL_INTERNAL_H
#define SHARDGATE_SQL_INTERNAL_H

#include "shardgate/sql.h"

/* ---- bytes, by PostgreSQL's scan.l -------------------------------------- */

enum sql_byte_class {
    SQL_BYTE_SPACE = 1 << 0,
    SQL_BYTE_WORD_START = 1 << 1, /* letters, underscore, high bytes */
    SQL_BYTE_DIGIT = 1 << 2,
    SQL_BYTE_DOLLAR = 1 << 3,
    SQL_BYTE_OPERATOR = 1 << 4,
    SQL_BYTE_WORD = SQL_BYTE_WORD_START | SQL_BYTE_DIGIT | SQL_BYTE_DOLLAR,
};
extern const uint8_t sql_byte_class[256];

static inline bool sql_byte_is(char c, unsigned classes) { return sql_byte_class[(unsigned char)c] & classes; }

/* ---- tokens ------------------------------------------------------------- */

static inline bool sql_token_is_punct(const struct sql_token *t, char c)
{
    return t->kind == SQL_TOKEN_PUNCT && t->text.len == 1 && t->text.ptr[0] == c;
}

static inline bool sql_token_is_comment(const struct sql_token *t)
{
    return t->kind == SQL_TOKEN_COMMENT || t->kind == SQL_TOKEN_LINE_COMMENT;
}

/* A bare word, compared without case; most are told apart by length and first byte. */
static inline bool sql_token_is_word(const struct sql_token *t, struct str word)
{
    return t->kind == SQL_TOKEN_WORD && t->text.len == word.len && (t->text.ptr[0] | ' ') == (word.ptr[0] | ' ') &&
           str_eq_nocase(t->text, word);
}
/* The name a token stands for: a bare word, or what is between plain quotes.
 * False for other tokens, U&"" and names that hold a quote: those match nothing of ours. */
bool sql_token_name(const struct sql_token *t, struct str *name);

/* ---- one statement ------------------------------------------------------ */

#define SQL_HEAD 16

/* The first tokens of a statement, comments left out. */
struct sql_head {
    struct sql_token tokens[SQL_HEAD];
    unsigned count; /* of all its tokens: more than SQL_HEAD are not kept */
};

struct sql_command {
    enum sql_verb verb;
    bool transaction_control;
    unsigned pins; /* of what the first words say */
};
/* Tells what the statement's first words make of it; value is written for SET…TENANT. */
struct sql_command sql_command_classify(const struct sql_head *head, const struct sql_rules *rules, char *value,
                                        size_t value_size);
static inline bool sql_verb_is_tenant(enum sql_verb verb)
{
    return verb >= SQL_VERB_SET_TENANT && verb <= SQL_VERB_SHOW_TENANT;
}

/* Decodes a value token of SET; false if it is no simple value or does not fit. */
bool sql_value_decode(const struct sql_token *t, bool standard_strings, char *out, size_t size);

/* Pins that may stand anywhere in a statement: function calls, INTO TEMP, WITH HOLD. */
struct sql_pin_scan {
    struct sql_token before[3]; /* the tokens before the current one, latest first */
    unsigned pins;
    unsigned depth;            /* of parentheses */
    unsigned set_config_depth; /* inside the parentheses of a set_config call, or 0 */
    bool created_temp, on_commit_drop;
    bool declare, declare_query; /* DECLARE statement; its FOR was seen */
};
void sql_pin_scan_token(struct sql_pin_scan *s, const struct sql_token *t);
unsigned sql_pin_scan_end(const struct sql_pin_scan *s);

/* ---- comments ----------------------------------------------------------- */

/* What a row of comments says together. */
struct sql_comment_tenant {
    enum sql_comment state;
    int64_t tenant;
};
void sql_comment_add(struct sql_comment_tenant *sum, struct str comment, struct str key);
void sql_comment_merge(struct sql_comment_tenant *sum, const struct sql_comment_tenant *other);

/* ---- inspection --------------------------------------------------------- */

/* The verb of a text that is one statement of which nothing is to be said but its verb,
 * and perhaps that there are comments; SQL_VERB_EMPTY when only the tokeniser can tell. */
enum sql_verb sql_scan_quick(struct str text, bool *comments);
/* Without the quick scan, which must never change the outcome. */
void sql_inspect_full(struct str text, const struct sql_rules *rules, struct sql_inspection *out);

#endif
