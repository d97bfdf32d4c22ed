#include "console.h"

#include <string.h>

#include "shardgate/sql.h"

/* An empty text, and one of comments only, is answered as PostgreSQL does. */
static const struct console_command empty = {.local = true, .run = console_empty};

static struct sql_token next(struct sql_lexer *lx)
{
    struct sql_token t;

    do
        t = sql_lexer_next(lx);
    while (t.kind == SQL_TOKEN_COMMENT || t.kind == SQL_TOKEN_LINE_COMMENT);
    return t;
}

static bool is_punct(struct sql_token t, const char *what)
{
    return t.kind == SQL_TOKEN_PUNCT && str_eq(t.text, str_from(what));
}

static bool is_end(struct sql_token t) { return t.kind == SQL_TOKEN_END || is_punct(t, ";"); }

/* Only semicolons and comments may follow: one command at a time. */
static bool at_end(struct sql_lexer *lx, struct sql_token t)
{
    while (is_punct(t, ";"))
        t = next(lx);
    return t.kind == SQL_TOKEN_END;
}

static bool matches(const struct console_command *c, struct sql_token first, struct sql_token second)
{
    if (!str_eq_nocase(first.text, str_from(c->words[0])))
        return false;
    return !c->words[1] || str_eq_nocase(second.text, str_from(c->words[1]));
}

static const struct console_command *find(struct sql_token first, struct sql_token second)
{
    size_t count;
    const struct console_command *table = console_table(&count);

    for (size_t i = 0; i < count; i++) {
        if (first.kind == SQL_TOKEN_WORD && matches(&table[i], first, second))
            return &table[i];
    }
    return NULL;
}

static bool refuse(struct error *e, const char *what, struct str near)
{
    int len = near.len > 40 ? 40 : (int)near.len;

    error_set(e, ERR_SYNTAX, "%s near \"%.*s\"", what, len, near.len ? near.ptr : "");
    if (near.len)
        error_detail(e, "%s near \"%.*s\".", what, len, near.ptr);
    else
        error_detail(e, "%s.", what);
    return false;
}

static bool read_number(struct sql_lexer *lx, struct sql_token t, int64_t *number, struct error *e)
{
    char digits[32];
    struct str sign = {NULL, 0};

    if (t.kind == SQL_TOKEN_OPERATOR && (str_eq(t.text, STR("-")) || str_eq(t.text, STR("+")))) {
        sign = t.text;
        t = next(lx);
    }
    struct str s = t.text;
    if (t.kind == SQL_TOKEN_STRING && s.len >= 2 && s.ptr[0] == '\'' && sign.len == 0)
        s = (struct str){s.ptr + 1, s.len - 2};
    else if (t.kind != SQL_TOKEN_NUMBER)
        return refuse(e, "A number is expected", t.text);
    if (sign.len + s.len >= sizeof(digits))
        return refuse(e, "The number is out of range", s);
    if (sign.len)
        digits[0] = sign.ptr[0];
    memcpy(digits + sign.len, s.ptr, s.len);
    if (!str_to_i64((struct str){digits, sign.len + s.len}, number))
        return refuse(e, "A whole number is expected", t.text);
    return true;
}

static bool read_argument(struct sql_lexer *lx, const struct console_command *c, struct sql_token t, bool *has_number,
                          int64_t *number, struct error *e)
{
    switch (c->argument) {
    case CONSOLE_NO_ARGUMENT:
        break;
    case CONSOLE_SHARD:
        if (is_end(t))
            break;
        /* fall through */
    case CONSOLE_NUMBER:
        *has_number = true;
        if (!read_number(lx, t, number, e))
            return false;
        t = next(lx);
        break;
    case CONSOLE_PARENTHESES:
        if (is_punct(t, "(") && is_punct(next(lx), ")"))
            t = next(lx);
        else
            return refuse(e, "() is expected", t.text);
        break;
    case CONSOLE_IGNORED:
        while (!is_end(t) && t.kind != SQL_TOKEN_BAD)
            t = next(lx);
        break;
    }
    return at_end(lx, t) || refuse(e, "Too much, or more than one command,", t.text);
}

bool console_parse(struct str text, const struct console_command **command, bool *has_number, int64_t *number,
                   struct error *e)
{
    struct sql_lexer lx;

    *has_number = false;
    *number = 0;
    sql_lexer_init(&lx, text, true);
    struct sql_token first = next(&lx);
    if (at_end(&lx, first)) {
        *command = &empty;
        return true;
    }
    struct sql_token second = next(&lx);
    *command = find(first, second);
    if (!*command)
        return refuse(e, "No such command",
                      (struct str){first.text.ptr, (size_t)(second.text.ptr - first.text.ptr) + second.text.len});
    return read_argument(&lx, *command, (*command)->words[1] ? next(&lx) : second, has_number, number, e);
}
