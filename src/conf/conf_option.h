/*
 * Options as rows of a table: the top level's from options.def, and those of
 * one entry of `users` and of `databases`. What can be done to a field knowing
 * only its row is here; reading YAML into it is conf_value's.
 */
#ifndef SHARDGATE_CONF_OPTION_H
#define SHARDGATE_CONF_OPTION_H

#include "shardgate/base.h"
#include "shardgate/conf.h"

enum option_type {
    TYPE_BOOL,
    TYPE_INT,
    TYPE_DURATION,
    TYPE_SIZE,
    TYPE_STRING,
    TYPE_SECRET,
    TYPE_STRINGS,
    TYPE_ENUM,
    TYPE_SET,
    TYPE_RANGES, /* users[].tenants */
};

struct option {
    const char *name;
    enum option_type type;
    enum conf_reload reload;
    size_t offset;       /* of the field in its struct */
    size_t count_offset; /* TYPE_RANGES: of the number of items */
    int64_t number;      /* default of numbers, bools and enums */
    const char *text;    /* default of strings, lists and sets; NULL leaves a string NULL */
    int64_t min, max;
    const char *unit;
    const char *choices; /* comma-separated; an enum's value is the index, a set's bit 1 << index */
    const char *unset;   /* documents: what holds where the key is left out, instead of the default */
    const char *help;
};

struct option_table {
    const struct option *rows;
    size_t count;
};
extern const struct option_table options_main, options_user, options_database;

const struct option *option_find(const struct option_table *t, struct str name); /* NULL */
bool option_is_octal(const struct option *o);
/* Item i of comma-separated text, trimmed; false past the last. Empty text has none. */
bool option_item(const char *list, size_t i, struct str *out);

static inline void *option_field(const struct option *o, const void *base)
{
    return (char *)(uintptr_t)base + o->offset;
}

/* All rows of a struct whose memory is zero, resp. its end. */
void options_set_defaults(const struct option_table *t, void *base);
void options_fini(const struct option_table *t, void *base);

/* One field, made free of its old value first. */
void option_clear(const struct option *o, void *base);
bool option_equal(const struct option *o, const void *a, const void *b);
void option_copy(const struct option *o, void *to, const void *from);
bool option_print(const struct option *o, const void *base, struct buf *out); /* a secret as **** */

/* "0 to 65535", "transaction, session", "" where anything goes. */
bool option_print_range(const struct option *o, struct buf *out);
bool option_print_default(const struct option *o, struct buf *out);
const char *option_type_name(const struct option *o);

#define STRINGS_MAX 10000u
/* One more item; the list grows by doubling. False past STRINGS_MAX or out of memory. */
bool conf_strings_add(struct conf_strings *s, struct str item) MUST_CHECK;

#endif
