#include "shardgate/base.h"

#include <stdio.h>
#include <string.h>

#include "utf8.h"

static const struct err_info table[ERR__COUNT] = {
    [ERR_OK] = {"OK", "00000", SEVERITY_ERROR, "no error", ""},
#define ERR(name, sqlstate, severity, message, hint) \
    [ERR_##name] = {#name, sqlstate, SEVERITY_##severity, message, hint},
#include "shardgate/errors.def"
#undef ERR
};

/* By way of a copy, since the arguments may well be texts of the same error:
 * error_set(e, code, "while loading: %s", e->cause). */
static void put_text(char *dst, size_t size, const char *fmt, va_list args) PRINTF_LIKE(3, 0);
static void put_text(char *dst, size_t size, const char *fmt, va_list args)
{
    char text[sizeof(((struct error *)0)->cause)];
    int n = fmt ? vsnprintf(text, size, fmt, args) : 0;
    size_t len = n < 0 ? 0 : (size_t)n;

    if (len >= size)
        len = utf8_cut(text, size - 1);
    memcpy(dst, text, len);
    dst[len] = '\0';
}

const struct err_info *err_info(enum err_code code)
{
    return (unsigned)code < ERR__COUNT ? &table[code] : &table[ERR_INTERNAL];
}

void error_clear(struct error *e)
{
    e->fatal = false;
    e->code = ERR_OK;
    e->fatal = false;
    e->message[0] = e->detail[0] = e->hint[0] = e->sqlstate[0] = e->cause[0] = '\0';
}

bool error_set(struct error *e, enum err_code code, const char *cause_fmt, ...)
{
    va_list args;

    va_start(args, cause_fmt);
    put_text(e->cause, sizeof(e->cause), cause_fmt, args);
    va_end(args);
    e->code = code;
    e->fatal = false;
    e->message[0] = e->detail[0] = e->hint[0] = e->sqlstate[0] = '\0';
    return false;
}

void error_message(struct error *e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put_text(e->message, sizeof(e->message), fmt, args);
    va_end(args);
}

void error_detail(struct error *e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put_text(e->detail, sizeof(e->detail), fmt, args);
    va_end(args);
}

void error_hint(struct error *e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put_text(e->hint, sizeof(e->hint), fmt, args);
    va_end(args);
}

const char *error_sqlstate(const struct error *e) { return e->sqlstate[0] ? e->sqlstate : err_info(e->code)->sqlstate; }

const char *error_text(const struct error *e) { return e->message[0] ? e->message : err_info(e->code)->message; }

const char *error_hint_text(const struct error *e) { return e->hint[0] ? e->hint : err_info(e->code)->hint; }
