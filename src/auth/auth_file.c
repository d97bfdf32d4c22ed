/*
 * Lines of "name" "secret"; two quotes inside stand for one. What follows the
 * secret on its line is ignored (old dumps of pg_shadow have more columns there),
 * and so are empty lines and those that begin with a semicolon. All this is as
 * PgBouncer reads it; where PgBouncer would skip the rest of a broken file with
 * a word in its log, the file is refused.
 */
#include "auth_file.h"

#include <string.h>

#include "auth_secret.h"

struct cursor {
    char *p, *end;
    unsigned line;
};

/* Why a quoted text could not be read, or NULL. Decodes in place. */
static const char *take_quoted(struct cursor *c, struct str *out)
{
    if (c->p == c->end || *c->p != '"')
        return "expected a quote (\")";
    char *to = ++c->p;
    out->ptr = to;
    for (; c->p < c->end; c->p++) {
        if (*c->p == '\n')
            break;
        if (*c->p == 0)
            return "a zero byte is not allowed";
        if (*c->p == '"') {
            if (c->p + 1 == c->end || c->p[1] != '"') {
                c->p++;
                out->len = (size_t)(to - out->ptr);
                return NULL;
            }
            c->p++;
        }
        *to++ = *c->p;
    }
    return "a quote (\") is not closed on its line";
}

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r'))
        c->p++;
}

static const char *take_line(struct cursor *c, struct str *name, struct str *secret)
{
    const char *why = take_quoted(c, name);
    if (why)
        return *why == 'e' ? "expected a quoted user name (comments begin with ;)" : why;
    if (name->len == 0 || name->len > AUTH_NAME_MAX)
        return "a user name has 1 to 127 bytes";
    skip_blanks(c);
    why = take_quoted(c, secret);
    return why && *why == 'e' ? "expected a quoted secret after the user name" : why;
}

static void skip_line(struct cursor *c)
{
    char *newline = c->p < c->end ? memchr(c->p, '\n', (size_t)(c->end - c->p)) : NULL;
    c->p = newline ? newline + 1 : c->end;
    c->line++;
}

bool auth_file_parse(const char *name, char *text, size_t len, auth_file_cb cb, void *arg, struct error *e)
{
    struct cursor c = {text, text + len, 1};
    while (c.p < c.end) {
        struct str user, secret;
        struct error inner;
        skip_blanks(&c);
        if (c.p < c.end && *c.p != ';' && *c.p != '\n') {
            const char *why = take_line(&c, &user, &secret);
            if (why)
                return error_set(e, ERR_CONFIG, "%s:%u: %s", name, c.line, why);
            error_clear(&inner);
            if (!cb(arg, user, secret, &inner))
                return error_set(e, ERR_CONFIG, "%s:%u: %s", name, c.line, inner.cause);
        }
        skip_line(&c);
    }
    return true;
}

bool auth_file_read(const char *path, auth_file_cb cb, void *arg, struct error *e)
{
    struct buf text;
    if (!conf_read_file(path, AUTH_FILE_MAX, &text, e))
        return false;
    bool good = auth_file_parse(path, text.data ? text.data + text.off : NULL, text.len, cb, arg, e);
    conf_wipe(&text);
    return good;
}
