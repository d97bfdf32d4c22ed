/*
 * Inspection of a whole text: one pass over its tokens, statement by statement,
 * keeping only the first tokens of the current one.
 */
#include "sql_internal.h"

#include <string.h>

struct inspection {
    const struct sql_rules *rules;
    struct sql_inspection *out;
    /* Of the current statement. */
    struct sql_head head;
    struct sql_pin_scan pins;
    bool routine;        /* CREATE [OR REPLACE] FUNCTION or PROCEDURE */
    unsigned body_depth; /* of BEGIN ATOMIC and CASE, up to their END */
    /* Of the text. */
    bool leading_run; /* only tenant commands so far */
    bool transaction_control;
    struct sql_comment_tenant comments; /* those before the first token */
    struct sql_comment_tenant trailing; /* those since the last token */
};

static bool begins_routine(const struct sql_head *head)
{
    const struct sql_token *t = head->tokens;
    unsigned at = 1;
    if (!sql_token_is_word(t, STR("create")))
        return false;
    if (head->count == 4 && sql_token_is_word(&t[1], STR("or")) && sql_token_is_word(&t[2], STR("replace")))
        at = 3;
    return head->count == at + 1 &&
           (sql_token_is_word(&t[at], STR("function")) || sql_token_is_word(&t[at], STR("procedure")));
}

/* The SQL body of a routine holds semicolons of its own. BEGIN, CASE and END may
 * also be names there, but not after a dot or AS. */
static void follow_body(struct inspection *in, const struct sql_token *t)
{
    const struct sql_token *before = &in->pins.before[0];
    if (t->kind != SQL_TOKEN_WORD || sql_token_is_punct(before, '.') || sql_token_is_word(before, STR("as")))
        return;
    if (in->body_depth == 0) {
        if (in->pins.depth == 0 && sql_token_is_word(t, STR("atomic")) && sql_token_is_word(before, STR("begin")))
            in->body_depth = 1;
    } else if (sql_token_is_word(t, STR("case"))) {
        in->body_depth++;
    } else if (sql_token_is_word(t, STR("end"))) {
        in->body_depth--;
    }
}

static void add_token(struct inspection *in, const struct sql_token *t)
{
    if (in->head.count < SQL_HEAD) {
        in->head.tokens[in->head.count++] = *t;
        in->routine = in->routine || (in->head.count <= 4 && begins_routine(&in->head));
    } else if (in->head.count < UINT32_MAX) {
        in->head.count++;
    }
    if (in->routine)
        follow_body(in, t);
    sql_pin_scan_token(&in->pins, t);
    /* What came before this token trails nothing. */
    if (in->out->statements == 0 && in->head.count == 1)
        sql_comment_merge(&in->comments, &in->trailing);
    in->trailing = (struct sql_comment_tenant){SQL_COMMENT_NONE, 0};
}

/* `after` is what follows the statement's semicolon. */
static void end_statement(struct inspection *in, struct str after)
{
    struct sql_inspection *out = in->out;
    char value[sizeof(out->value)] = "";
    if (in->head.count == 0)
        return;
    struct sql_command command = sql_command_classify(&in->head, in->rules, value, sizeof(value));
    if (out->statements++ == 0) {
        out->verb = command.verb;
        out->rest = after;
        memcpy(out->value, value, sizeof(value));
    }
    if (!sql_verb_is_tenant(command.verb))
        in->leading_run = false;
    else if (!in->leading_run)
        out->tenant_command_later = true;
    out->pins |= command.pins | sql_pin_scan_end(&in->pins);
    in->transaction_control = in->transaction_control || command.transaction_control;
    in->head.count = 0;
    in->routine = false;
    in->body_depth = 0;
    memset(&in->pins, 0, sizeof(in->pins));
}

static void finish(struct inspection *in, const char *end)
{
    struct sql_inspection *out = in->out;
    end_statement(in, (struct str){end, 0});
    if (out->statements <= 1)
        out->rest = (struct str){end, 0};
    out->has_transaction_control = out->statements > 1 && in->transaction_control;
    sql_comment_merge(&in->comments, &in->trailing);
    out->comment = in->comments.state;
    out->tenant = in->comments.tenant;
}

static void reset(struct sql_inspection *out, const char *end)
{
    *out = (struct sql_inspection){.verb = SQL_VERB_EMPTY, .rest = {end, 0}};
}

void sql_inspect_full(struct str text, const struct sql_rules *rules, struct sql_inspection *out)
{
    struct inspection in = {.rules = rules, .out = out, .leading_run = true};
    struct sql_lexer lx;
    sql_lexer_init(&lx, text, rules->standard_strings);
    reset(out, lx.end);
    for (;;) {
        struct sql_token t = sql_lexer_next(&lx);
        if (t.kind == SQL_TOKEN_END)
            break;
        if (t.kind == SQL_TOKEN_COMMENT)
            sql_comment_add(&in.trailing, t.text, rules->comment_key);
        else if (sql_token_is_punct(&t, ';') && in.pins.depth == 0 && in.body_depth == 0)
            end_statement(&in, (struct str){lx.p, (size_t)(lx.end - lx.p)});
        else if (t.kind != SQL_TOKEN_LINE_COMMENT)
            add_token(&in, &t);
    }
    finish(&in, lx.end);
}

/* What stands behind leading comments, which are consulted. They end at a token's
 * beginning, so that the quick scan may go on from there. */
static struct str skip_leading_comments(struct str text, const struct sql_rules *rules, struct sql_comment_tenant *sum)
{
    struct sql_lexer lx;
    struct sql_token t;
    sql_lexer_init(&lx, text, rules->standard_strings);
    for (t = sql_lexer_next(&lx); sql_token_is_comment(&t); t = sql_lexer_next(&lx))
        if (t.kind == SQL_TOKEN_COMMENT)
            sql_comment_add(sum, t.text, rules->comment_key);
    return (struct str){t.text.ptr, (size_t)(lx.end - t.text.ptr)};
}

/* The comments behind the last token of a text of which nothing else is to be known. */
static void add_trailing_comments(struct str text, const struct sql_rules *rules, struct sql_comment_tenant *sum)
{
    struct sql_comment_tenant trailing = {SQL_COMMENT_NONE, 0};
    struct sql_lexer lx;
    sql_lexer_init(&lx, text, rules->standard_strings);
    for (struct sql_token t = sql_lexer_next(&lx); t.kind != SQL_TOKEN_END; t = sql_lexer_next(&lx)) {
        if (t.kind == SQL_TOKEN_COMMENT)
            sql_comment_add(&trailing, t.text, rules->comment_key);
        else if (t.kind != SQL_TOKEN_LINE_COMMENT && !sql_token_is_punct(&t, ';'))
            trailing.state = SQL_COMMENT_NONE;
    }
    sql_comment_merge(sum, &trailing);
}

void sql_inspect(struct str text, const struct sql_rules *rules, struct sql_inspection *out)
{
    struct sql_comment_tenant comments = {SQL_COMMENT_NONE, 0};
    struct str body = text;
    bool more_comments;
    if (text.len > 0 && (*text.ptr == '/' || *text.ptr == '-'))
        body = skip_leading_comments(text, rules, &comments);
    enum sql_verb verb = sql_scan_quick(body, &more_comments);
    if (verb == SQL_VERB_EMPTY) {
        sql_inspect_full(text, rules, out);
        return;
    }
    if (more_comments && rules->comment_key.len > 0)
        add_trailing_comments(body, rules, &comments);
    reset(out, text.ptr + text.len);
    out->statements = 1;
    out->verb = verb;
    out->comment = comments.state;
    out->tenant = comments.tenant;
}
