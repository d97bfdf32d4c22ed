#include "conf_option.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf_units.h"

static void free_string(char **s)
{
    if (*s)
        mem_free_secret(*s, strlen(*s));
    *s = NULL;
}

static void strings_fini(struct conf_strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        mem_free(s->items[i]);
    mem_free(s->items);
    *s = (struct conf_strings){0};
}

bool conf_strings_add(struct conf_strings *s, struct str item)
{
    if (s->count == STRINGS_MAX)
        return false;
    if ((s->count & (s->count - 1)) == 0) { /* grows at 0, 1, 2, 4, 8… */
        size_t cap = s->count ? s->count * 2 : 1;
        char **items = mem_try_realloc(s->items, cap * sizeof(*items));
        if (!items)
            return false;
        s->items = items;
    }
    s->items[s->count++] = str_dup(item);
    return true;
}

bool option_item(const char *list, size_t i, struct str *out)
{
    const char *p = list;
    if (!p || !*p)
        return false;
    for (; i > 0; i--) {
        p = strchr(p, ',');
        if (!p)
            return false;
        p++;
    }
    *out = str_trim((struct str){p, strcspn(p, ",")});
    return true;
}

static unsigned parse_set(const char *choices, const char *list)
{
    unsigned set = 0;
    struct str item, choice;
    for (size_t i = 0; option_item(list, i, &item); i++)
        for (size_t j = 0; option_item(choices, j, &choice); j++)
            set |= str_eq(item, choice) ? 1u << j : 0u;
    return set;
}

bool option_is_octal(const struct option *o) { return o->unit && strcmp(o->unit, "octal") == 0; }

const struct option *option_find(const struct option_table *t, struct str name)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(str_from(t->rows[i].name), name))
            return &t->rows[i];
    return NULL;
}

/* The table writes an octal option as decimal digits that read as octal. */
static int64_t from_octal_digits(int64_t digits)
{
    int64_t value = 0;
    for (int64_t place = 1; digits > 0; digits /= 10, place *= 8)
        value += digits % 10 * place;
    return value;
}

static void set_default(const struct option *o, void *base)
{
    void *field = option_field(o, base);
    struct str item;
    switch (o->type) {
    case TYPE_BOOL:
        *(bool *)field = o->number != 0;
        return;
    case TYPE_INT:
        *(int64_t *)field = option_is_octal(o) ? from_octal_digits(o->number) : o->number;
        return;
    case TYPE_DURATION:
    case TYPE_SIZE:
        *(int64_t *)field = o->number;
        return;
    case TYPE_STRING:
    case TYPE_SECRET:
        *(char **)field = o->text ? mem_strdup(o->text) : NULL;
        return;
    case TYPE_STRINGS:
        for (size_t i = 0; option_item(o->text, i, &item); i++)
            if (!conf_strings_add(field, item))
                abort(); /* our own table */
        return;
    case TYPE_ENUM:
        *(int *)field = (int)o->number;
        return;
    case TYPE_SET:
        *(unsigned *)field = parse_set(o->choices, o->text);
        return;
    case TYPE_RANGES:
        return;
    }
}

void options_set_defaults(const struct option_table *t, void *base)
{
    for (size_t i = 0; i < t->count; i++)
        set_default(&t->rows[i], base);
}

void option_clear(const struct option *o, void *base)
{
    void *field = option_field(o, base);
    if (o->type == TYPE_STRING || o->type == TYPE_SECRET)
        free_string(field);
    else if (o->type == TYPE_STRINGS)
        strings_fini(field);
    else if (o->type == TYPE_RANGES) {
        mem_free(*(struct conf_range **)field);
        *(struct conf_range **)field = NULL;
        *(size_t *)(void *)((char *)base + o->count_offset) = 0;
    }
}

void options_fini(const struct option_table *t, void *base)
{
    for (size_t i = 0; i < t->count; i++)
        option_clear(&t->rows[i], base);
}

static bool strings_equal(const struct conf_strings *a, const struct conf_strings *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool option_equal(const struct option *o, const void *a, const void *b)
{
    const void *x = option_field(o, a), *y = option_field(o, b);
    switch (o->type) {
    case TYPE_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case TYPE_INT:
    case TYPE_DURATION:
    case TYPE_SIZE:
        return *(const int64_t *)x == *(const int64_t *)y;
    case TYPE_STRING:
    case TYPE_SECRET: {
        const char *s = *(char *const *)x, *t = *(char *const *)y;
        return s == t || (s && t && strcmp(s, t) == 0);
    }
    case TYPE_STRINGS:
        return strings_equal(x, y);
    case TYPE_ENUM:
    case TYPE_SET:
        return *(const int *)x == *(const int *)y;
    case TYPE_RANGES:
        break; /* not at the top level, where options are compared */
    }
    return false;
}

void option_copy(const struct option *o, void *to, const void *from)
{
    void *dst = option_field(o, to);
    const void *src = option_field(o, from);
    option_clear(o, to);
    switch (o->type) {
    case TYPE_BOOL:
        *(bool *)dst = *(const bool *)src;
        break;
    case TYPE_INT:
    case TYPE_DURATION:
    case TYPE_SIZE:
        *(int64_t *)dst = *(const int64_t *)src;
        break;
    case TYPE_STRING:
    case TYPE_SECRET:
        *(char **)dst = *(char *const *)src ? mem_strdup(*(char *const *)src) : NULL;
        break;
    case TYPE_STRINGS: {
        const struct conf_strings *list = src;
        for (size_t i = 0; i < list->count; i++)
            if (!conf_strings_add(dst, str_from(list->items[i])))
                abort(); /* it held them before */
        break;
    }
    case TYPE_ENUM:
    case TYPE_SET:
        *(int *)dst = *(const int *)src;
        break;
    case TYPE_RANGES:
        break;
    }
}

static bool print_list(const char *list, struct buf *out)
{
    struct str item;
    for (size_t i = 0; option_item(list, i, &item); i++)
        buf_printf(out, "%s%.*s", i ? ", " : "", (int)item.len, item.ptr);
    return !out->failed;
}

bool option_print_range(const struct option *o, struct buf *out)
{
    if (o->choices)
        return print_list(o->choices, out);
    if (o->type == TYPE_BOOL)
        return buf_append_str(out, STR("true, false"));
    if (o->type != TYPE_INT && o->type != TYPE_DURATION && o->type != TYPE_SIZE)
        return true;
    return units_print(o, o->min, out) && buf_append_str(out, STR(" to ")) && units_print(o, o->max, out);
}

bool option_print_default(const struct option *o, struct buf *out)
{
    struct str item;
    switch (o->type) {
    case TYPE_BOOL:
        return buf_append_str(out, o->number ? STR("true") : STR("false"));
    case TYPE_INT:
    case TYPE_DURATION:
    case TYPE_SIZE:
        return units_print(o, o->number, out);
    case TYPE_ENUM:
        return o->number < 0 || !option_item(o->choices, (size_t)o->number, &item) || buf_append_str(out, item);
    case TYPE_STRING:
    case TYPE_SECRET:
        return buf_append_str(out, str_from(o->text ? o->text : ""));
    default:
        return print_list(o->text, out);
    }
}

static bool print_set(const struct option *o, unsigned set, struct buf *out)
{
    struct str choice;
    const char *comma = "";
    for (size_t i = 0; option_item(o->choices, i, &choice); i++)
        if (set & 1u << i) {
            buf_printf(out, "%s%.*s", comma, (int)choice.len, choice.ptr);
            comma = ",";
        }
    return !out->failed;
}

bool option_print(const struct option *o, const void *base, struct buf *out)
{
    const void *field = option_field(o, base);
    const struct conf_strings *list = field;
    struct str item;
    switch (o->type) {
    case TYPE_BOOL:
        return buf_append_str(out, *(const bool *)field ? STR("true") : STR("false"));
    case TYPE_INT:
        if (option_is_octal(o))
            return buf_printf(out, "%" PRIo64, (uint64_t) * (const int64_t *)field);
        return units_print(o, *(const int64_t *)field, out);
    case TYPE_DURATION:
    case TYPE_SIZE:
        return units_print(o, *(const int64_t *)field, out);
    case TYPE_STRING:
        return buf_append_str(out, str_from(*(char *const *)field ? *(char *const *)field : ""));
    case TYPE_SECRET:
        return !*(char *const *)field || !**(char *const *)field || buf_append_str(out, STR("****"));
    case TYPE_STRINGS:
        for (size_t i = 0; i < list->count; i++)
            buf_printf(out, "%s%s", i ? "," : "", list->items[i]);
        return !out->failed;
    case TYPE_ENUM:
        return *(const int *)field < 0 || !option_item(o->choices, (size_t) * (const int *)field, &item) ||
               buf_append_str(out, item);
    case TYPE_SET:
        return print_set(o, *(const unsigned *)field, out);
    case TYPE_RANGES:
        break;
    }
    return true;
}

const char *option_type_name(const struct option *o)
{
    static const char *const names[] = {
        [TYPE_BOOL] = "boolean", [TYPE_INT] = "integer",   [TYPE_DURATION] = "duration", [TYPE_SIZE] = "size",
        [TYPE_STRING] = "text",  [TYPE_SECRET] = "secret", [TYPE_STRINGS] = "list",      [TYPE_ENUM] = "choice",
        [TYPE_SET] = "choices",  [TYPE_RANGES] = "ranges",
    };
    return option_is_octal(o) ? "octal" : names[o->type];
}
