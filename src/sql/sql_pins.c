/* State left behind by what may stand anywhere in a statement. */
#include "sql_internal.h"

#include <string.h>

static bool is_advisory(struct str name)
{
    static const struct str functions[] = {
        {"pg_advisory_lock", 16},
        {"pg_advisory_lock_shared", 23},
        {"pg_try_advisory_lock", 20},
        {"pg_try_advisory_lock_shared", 27},
    };
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (str_eq_nocase(name, functions[i]))
            return true;
    return false;
}

static void on_call(struct sql_pin_scan *s, const struct sql_token *function)
{
    struct str name;
    s->depth++;
    if (!sql_token_name(function, &name) || name.len < sizeof("set_config") - 1)
        return;
    if (is_advisory(name)) {
        s->pins |= SQL_PIN_ADVISORY;
    } else if (str_eq_nocase(name, STR("set_config"))) {
        if (s->set_config_depth) /* one inside the other: not worth telling apart */
            s->pins |= SQL_PIN_SET_CONFIG;
        else
            s->set_config_depth = s->depth;
    }
}

/* set_config(name, value, true) is as local to the transaction as SET LOCAL. */
static void on_close(struct sql_pin_scan *s)
{
    if (s->set_config_depth && s->depth == s->set_config_depth) {
        s->set_config_depth = 0;
        if (!sql_token_is_word(&s->before[0], STR("true")) || !sql_token_is_punct(&s->before[1], ','))
            s->pins |= SQL_PIN_SET_CONFIG;
    }
    if (s->depth > 0)
        s->depth--;
}

/* pg_temp.name, pg_temp_3.name */
static void on_dot(struct sql_pin_scan *s, const struct sql_token *schema)
{
    struct str name, temp = STR("pg_temp");
    if (sql_token_name(schema, &name) && name.len >= temp.len && str_eq_nocase((struct str){name.ptr, temp.len}, temp))
        s->pins |= SQL_PIN_TEMP;
}

/* t is TEMP or TEMPORARY: after CREATE, CREATE OR REPLACE or SELECT … INTO, with
 * LOCAL or GLOBAL between; INSERT INTO temp names a table. */
static void on_temp(struct sql_pin_scan *s)
{
    const struct sql_token *before = s->before;
    if (sql_token_is_word(before, STR("local")) || sql_token_is_word(before, STR("global")))
        before++;
    if (sql_token_is_word(before, STR("create")) || sql_token_is_word(before, STR("replace")))
        s->created_temp = true;
    else if (sql_token_is_word(before, STR("into")) && !sql_token_is_word(before + 1, STR("insert")) &&
             !sql_token_is_word(before + 1, STR("merge")))
        s->pins |= SQL_PIN_TEMP;
}

static void on_word(struct sql_pin_scan *s, const struct sql_token *t)
{
    switch (t->text.len) {
    case 3:
        if (sql_token_is_word(t, STR("for")))
            s->declare_query = true;
        break;
    case 4:
        if (sql_token_is_word(t, STR("temp")))
            on_temp(s);
        else if (s->declare && !s->declare_query && sql_token_is_word(t, STR("hold")) &&
                 sql_token_is_word(&s->before[0], STR("with")))
            s->pins |= SQL_PIN_CURSOR;
        else if (s->created_temp && sql_token_is_word(t, STR("drop")) &&
                 sql_token_is_word(&s->before[0], STR("commit")) && sql_token_is_word(&s->before[1], STR("on")))
            s->on_commit_drop = true;
        break;
    case 7:
        /* Only as the first word: there is nothing before it. */
        if (s->before[0].text.len == 0 && sql_token_is_word(t, STR("declare")))
            s->declare = true;
        break;
    case 9:
        if (sql_token_is_word(t, STR("temporary")))
            on_temp(s);
        break;
    default:
        break;
    }
}

void sql_pin_scan_token(struct sql_pin_scan *s, const struct sql_token *t)
{
    if (t->kind == SQL_TOKEN_WORD) {
        on_word(s, t);
    } else if (t->kind == SQL_TOKEN_PUNCT && t->text.len == 1) {
        if (t->text.ptr[0] == '(')
            on_call(s, &s->before[0]);
        else if (t->text.ptr[0] == ')')
            on_close(s);
        else if (t->text.ptr[0] == '.')
            on_dot(s, &s->before[0]);
    }
    s->before[2] = s->before[1];
    s->before[1] = s->before[0];
    s->before[0] = *t;
}

unsigned sql_pin_scan_end(const struct sql_pin_scan *s)
{
    unsigned pins = s->pins;
    if (s->set_config_depth)
        pins |= SQL_PIN_SET_CONFIG;
    if (s->created_temp && !s->on_commit_drop)
        pins |= SQL_PIN_TEMP;
    return pins;
}

const char *sql_pin_name(unsigned pins)
{
    static const char *const names[] = {"SET",  "LISTEN",        "PREPARE",   "temporary object", "WITH HOLD cursor",
                                        "LOAD", "advisory lock", "set_config"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (pins >> i & 1)
            return names[i];
    return "";
}
