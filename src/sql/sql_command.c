/*
 * What the first words of a statement make of it: transaction control, the
 * tenant's setting, and commands that leave state on a server connection. The
 * shapes are those of PostgreSQL's gram.y; a statement that has another one is
 * left to the server, which will refuse it.
 */
#include "sql_internal.h"

#include <string.h>

/* Reading a head word by word. */
struct cursor {
    const struct sql_head *head;
    unsigned at;
};

static const struct sql_token *peek(const struct cursor *c)
{
    static const struct sql_token none = {SQL_TOKEN_END, {"", 0}};
    return c->at < c->head->count && c->at < SQL_HEAD ? &c->head->tokens[c->at] : &none;
}

static bool take_word(struct cursor *c, struct str word)
{
    if (!sql_token_is_word(peek(c), word))
        return false;
    c->at++;
    return true;
}

/* Both words, or none is taken. */
static bool take_words(struct cursor *c, struct str first, struct str second)
{
    struct cursor ahead = *c;
    if (!take_word(&ahead, first) || !take_word(&ahead, second))
        return false;
    *c = ahead;
    return true;
}

static bool at_end(const struct cursor *c) { return c->at == c->head->count; }

/* A setting's name, whose parts may be quoted one by one or together. Takes it
 * whole; tells whether it is `wanted`. */
static bool take_setting(struct cursor *c, struct str wanted)
{
    struct str part;
    bool same = true;
    while (sql_token_name(peek(c), &part) || peek(c)->kind == SQL_TOKEN_QUOTED) {
        if (peek(c)->kind == SQL_TOKEN_QUOTED && !sql_token_name(peek(c), &part))
            same = false;
        c->at++;
        same = same && part.len <= wanted.len && str_eq_nocase(part, (struct str){wanted.ptr, part.len});
        if (same)
            wanted = (struct str){wanted.ptr + part.len, wanted.len - part.len};
        if (!sql_token_is_punct(peek(c), '.'))
            break;
        c->at++;
        same = same && wanted.len > 0 && wanted.ptr[0] == '.';
        if (same)
            wanted = (struct str){wanted.ptr + 1, wanted.len - 1};
    }
    return same && wanted.len == 0;
}

static bool is_setting(const struct cursor *c, struct str wanted)
{
    struct cursor ahead = *c;
    return take_setting(&ahead, wanted);
}

/* Settings that servers report by ParameterStatus, so that the session sees them
 * change and can bring another server to the same values. */
static bool is_reported(const struct cursor *c)
{
    static const struct str reported[] = {
        {"client_encoding", 15}, {"datestyle", 9},         {"timezone", 8},
        {"intervalstyle", 13},   {"application_name", 16}, {"standard_conforming_strings", 27},
    };
    for (size_t i = 0; i < ARRAY_LEN(reported); i++)
        if (is_setting(c, reported[i]))
            return true;
    return false;
}

/* ---- transactions ------------------------------------------------------- */

static bool take_isolation(struct cursor *c)
{
    return take_words(c, STR("read"), STR("committed")) || take_words(c, STR("read"), STR("uncommitted")) ||
           take_words(c, STR("repeatable"), STR("read")) || take_word(c, STR("serializable"));
}

static bool take_mode(struct cursor *c)
{
    if (take_words(c, STR("isolation"), STR("level")))
        return take_isolation(c);
    return take_words(c, STR("read"), STR("only")) || take_words(c, STR("read"), STR("write")) ||
           take_words(c, STR("not"), STR("deferrable")) || take_word(c, STR("deferrable"));
}

/* Transaction modes up to the end, with or without commas between them. */
static bool modes_to_end(struct cursor *c)
{
    if (at_end(c))
        return true;
    while (take_mode(c)) {
        if (at_end(c))
            return true;
        if (sql_token_is_punct(peek(c), ','))
            c->at++;
    }
    return false;
}

static void skip_work(struct cursor *c)
{
    if (!take_word(c, STR("work")))
        take_word(c, STR("transaction"));
}

static enum sql_verb begin_verb(struct cursor *c)
{
    skip_work(c);
    return modes_to_end(c) ? SQL_VERB_BEGIN : SQL_VERB_OTHER;
}

static enum sql_verb start_verb(struct cursor *c)
{
    return take_word(c, STR("transaction")) && modes_to_end(c) ? SQL_VERB_BEGIN : SQL_VERB_OTHER;
}

/* AND CHAIN begins another transaction: that is not the plain verb. */
static enum sql_verb end_verb(struct cursor *c, enum sql_verb verb)
{
    skip_work(c);
    if (take_words(c, STR("and"), STR("no")) && !take_word(c, STR("chain")))
        return SQL_VERB_OTHER;
    return at_end(c) ? verb : SQL_VERB_OTHER;
}

static enum sql_verb rollback_verb(struct cursor *c)
{
    struct cursor ahead = *c;
    struct str name;
    skip_work(&ahead);
    if (!take_word(&ahead, STR("to")))
        return end_verb(c, SQL_VERB_ROLLBACK);
    /* SAVEPOINT may itself be the name. */
    if (ahead.head->count > ahead.at + 1)
        take_word(&ahead, STR("savepoint"));
    if (!sql_token_name(peek(&ahead), &name) && peek(&ahead)->kind != SQL_TOKEN_QUOTED)
        return SQL_VERB_OTHER;
    ahead.at++;
    return at_end(&ahead) ? SQL_VERB_ROLLBACK_TO : SQL_VERB_OTHER;
}

/* ---- settings ----------------------------------------------------------- */

/* A value that cannot be told becomes one that is no number, for the caller to refuse. */
static void unreadable(char *value) { memcpy(value, "?", 2); }

/* `= value` or `TO value`, to the end. False for DEFAULT. */
static bool tenant_value(struct cursor *c, bool standard_strings, char *value, size_t size)
{
    bool to = take_word(c, STR("to")), negative = false;
    const struct sql_token *t = peek(c);
    unreadable(value);
    if (!to) {
        if (t->kind != SQL_TOKEN_OPERATOR || !str_eq(t->text, STR("=")))
            return true;
        c->at++;
    }
    if (take_word(c, STR("default")))
        return !at_end(c);
    t = peek(c);
    if (t->kind == SQL_TOKEN_OPERATOR && t->text.len == 1 && (*t->text.ptr == '-' || *t->text.ptr == '+')) {
        negative = *t->text.ptr == '-';
        c->at++;
        t = peek(c);
        if (t->kind != SQL_TOKEN_NUMBER)
            return true;
    }
    value[0] = '-';
    size_t sign = negative ? 1 : 0;
    bool decoded = sql_value_decode(t, standard_strings, value + sign, size - sign);
    c->at++;
    if (!decoded || !at_end(c) || value[0] == 0)
        unreadable(value);
    return true;
}

static struct sql_command set_command(struct cursor *c, const struct sql_rules *rules, char *value, size_t size)
{
    struct sql_command plain = {SQL_VERB_OTHER, false, 0}, pinned = {SQL_VERB_OTHER, false, SQL_PIN_SET};
    bool local = take_word(c, STR("local"));
    if (!local) {
        struct cursor ahead = *c;
        /* SESSION AUTHORIZATION and SESSION CHARACTERISTICS last beyond the transaction. */
        if (take_word(&ahead, STR("session")) && !sql_token_is_word(peek(&ahead), STR("authorization")) &&
            !sql_token_is_word(peek(&ahead), STR("characteristics")))
            *c = ahead;
    }
    if (is_setting(c, rules->parameter)) {
        take_setting(c, rules->parameter);
        bool given = tenant_value(c, rules->standard_strings, value, size);
        if (!given)
            value[0] = 0;
        plain.verb = local ? SQL_VERB_SET_LOCAL_TENANT : given ? SQL_VERB_SET_TENANT : SQL_VERB_RESET_TENANT;
        return plain;
    }
    if (local || sql_token_is_word(peek(c), STR("transaction")) || sql_token_is_word(peek(c), STR("constraints")))
        return plain;
    if (sql_token_is_word(peek(c), STR("names")) || take_words(c, STR("time"), STR("zone")) || is_reported(c))
        return plain;
    return pinned;
}

static struct sql_command reset_command(struct cursor *c, const struct sql_rules *rules)
{
    struct sql_command reset = {SQL_VERB_OTHER, false, SQL_PIN_SET};
    struct cursor ahead = *c;
    if (take_setting(&ahead, rules->parameter) && at_end(&ahead))
        return (struct sql_command){SQL_VERB_RESET_TENANT, false, 0};
    if (take_words(c, STR("time"), STR("zone")) || is_reported(c) || sql_token_is_word(peek(c), STR("transaction")))
        reset.pins = 0;
    else if (take_word(c, STR("all")) && at_end(c))
        reset.verb = SQL_VERB_RESET_ALL;
    return reset;
}

static struct sql_command show_command(struct cursor *c, const struct sql_rules *rules)
{
    bool tenant = take_setting(c, rules->parameter) && at_end(c);
    return (struct sql_command){tenant ? SQL_VERB_SHOW_TENANT : SQL_VERB_OTHER, false, 0};
}

static struct sql_command prepare_command(struct cursor *c)
{
    /* PREPARE transaction AS … is a statement of that name. */
    bool transaction = take_word(c, STR("transaction")) && peek(c)->kind == SQL_TOKEN_STRING;
    return (struct sql_command){SQL_VERB_OTHER, transaction, transaction ? 0 : SQL_PIN_PREPARE};
}

static struct sql_command discard_command(struct cursor *c)
{
    bool all = take_word(c, STR("all")) && at_end(c);
    return (struct sql_command){all ? SQL_VERB_DISCARD_ALL : SQL_VERB_OTHER, false, 0};
}

struct sql_command sql_command_classify(const struct sql_head *head, const struct sql_rules *rules, char *value,
                                        size_t value_size)
{
    struct cursor c = {head, 0};
    struct sql_command other = {SQL_VERB_OTHER, false, 0};
    if (take_word(&c, STR("begin")))
        return (struct sql_command){begin_verb(&c), true, 0};
    if (take_word(&c, STR("start")))
        return (struct sql_command){start_verb(&c), true, 0};
    if (take_word(&c, STR("commit")) || take_word(&c, STR("end")))
        return (struct sql_command){end_verb(&c, SQL_VERB_COMMIT), true, 0};
    if (take_word(&c, STR("rollback")))
        return (struct sql_command){rollback_verb(&c), true, 0};
    if (take_word(&c, STR("abort")))
        return (struct sql_command){end_verb(&c, SQL_VERB_ROLLBACK), true, 0};
    if (take_word(&c, STR("set")))
        return set_command(&c, rules, value, value_size);
    if (take_word(&c, STR("reset")))
        return reset_command(&c, rules);
    if (take_word(&c, STR("show")))
        return show_command(&c, rules);
    if (take_word(&c, STR("prepare")))
        return prepare_command(&c);
    if (take_word(&c, STR("discard")))
        return discard_command(&c);
    if (take_word(&c, STR("listen")))
        other.pins = SQL_PIN_LISTEN;
    else if (take_word(&c, STR("load")))
        other.pins = SQL_PIN_LOAD;
    else if (take_word(&c, STR("savepoint")) || take_word(&c, STR("release")))
        other.transaction_control = true;
    return other;
}
