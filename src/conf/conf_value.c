#include "conf_value.h"

#include <stdio.h>
#include <string.h>

#include "conf_expand.h"
#include "conf_units.h"

/* Where a value is read: all that a message needs. */
struct target {
    struct report *r;
    const struct option *o;
    const char *path;
    void *field;
};

/* "an integer from 0 to 65535" */
struct expected {
    char text[200];
};

static struct expected describe(const struct option *o)
{
    static const char *const forms[] = {
        [TYPE_BOOL] = "one of ",
        [TYPE_INT] = "an integer from ",
        [TYPE_DURATION] = "a duration with a unit (ms, s, min, h, d) from ",
        [TYPE_SIZE] = "a size with a unit (B, kB, MB, GB) from ",
        [TYPE_STRING] = "a text",
        [TYPE_SECRET] = "a text",
        [TYPE_STRINGS] = "a list or a comma-separated text",
        [TYPE_ENUM] = "one of ",
        [TYPE_SET] = "a list of ",
        [TYPE_RANGES] = "tenant numbers and ranges such as 1, 5-9",
    };
    struct expected x;
    struct buf range;
    buf_init(&range, 0);
    option_print_range(o, &range);
    snprintf(x.text, sizeof(x.text), "%s%.*s", option_is_octal(o) ? "octal digits from " : forms[o->type],
             (int)range.len, buf_str(&range).ptr);
    buf_fini(&range);
    return x;
}

static bool refuse_value(const struct target *t, struct mark at, struct str text)
{
    struct nearest near;
    struct str choice;
    nearest_init(&near, text);
    for (size_t i = 0; option_item(t->o->choices, i, &choice); i++)
        nearest_offer(&near, choice);
    return report_at(t->r, at, t->path, "expected %s, found %s%s", describe(t->o).text,
                     text.len ? report_quote(text).text : "an empty text", nearest_hint(&near).text);
}

static bool refuse_node(const struct target *t, const struct conf_node *n)
{
    return report_at(t->r, n->at, t->path, "expected %s, found %s", describe(t->o).text, report_found(n).text);
}

static bool set_bool(const struct target *t, struct mark at, struct str text)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq_nocase(text, str_from(words[i]))) {
            *(bool *)t->field = i % 2 != 0;
            return true;
        }
    return refuse_value(t, at, text);
}

static bool set_number(const struct target *t, struct mark at, struct str text)
{
    int64_t number, min = t->o->min, max = t->o->max;
    if (option_is_octal(t->o)) /* the table's digits read as octal: 777 is the only bound in use */
        max = 0777;
    if (!units_parse(t->o, text, &number) || number < min || number > max)
        return refuse_value(t, at, text);
    *(int64_t *)t->field = number;
    return true;
}

static bool set_string(const struct target *t, struct mark at, struct str text)
{
    char **field = t->field;
    if (strcmp(t->o->name, "name") == 0 && (text.len == 0 || text.len > 127))
        return report_at(t->r, at, t->path, "expected a name of 1 to 127 bytes, found %zu", text.len);
    if (text.len == 0 && !t->o->text) /* not set is not the same as empty */
        return report_at(t->r, at, t->path, "is empty; leave the key out instead");
    if (*field)
        mem_free_secret(*field, strlen(*field));
    *field = str_dup(text);
    return true;
}

static bool add_choice(const struct target *t, struct mark at, struct str text)
{
    struct str choice;
    for (size_t i = 0; option_item(t->o->choices, i, &choice); i++) {
        if (!str_eq(text, choice))
            continue;
        if (t->o->type == TYPE_ENUM)
            *(int *)t->field = (int)i;
        else
            *(unsigned *)t->field |= 1u << i;
        return true;
    }
    return refuse_value(t, at, text);
}

static bool add_ranges(const struct target *t, struct mark at, struct str text, struct range_list *l)
{
    struct str bad;
    return ranges_parse(text, l, &bad) || refuse_value(t, at, bad);
}

/* One item of a list, or the whole of a scalar that is a list. */
static bool add_item(const struct target *t, struct mark at, struct str item, struct range_list *ranges)
{
    if (t->o->type == TYPE_SET)
        return add_choice(t, at, item);
    if (t->o->type == TYPE_RANGES)
        return add_ranges(t, at, item, ranges);
    if (item.len == 0)
        return report_at(t->r, at, t->path, "an item of the list is empty");
    return conf_strings_add(t->field, item) || report_at(t->r, at, t->path, "the list is too long");
}

/* The scalar's text with ${VAR} replaced; `out` is to be wiped after use. */
static bool expand(const struct target *t, const struct conf_node *n, struct buf *out)
{
    char why[160];
    buf_init(out, VALUE_MAX);
    if (n->kind != NODE_SCALAR || conf_node_is_null(n))
        return refuse_node(t, n);
    if (conf_expand(n->text, out, why, sizeof(why)))
        return true;
    conf_wipe(out);
    return report_at(t->r, n->at, t->path, "%s", why);
}

static bool read_items(const struct target *t, struct mark at, struct str text, struct range_list *ranges)
{
    if (str_trim(text).len == 0 && t->o->type != TYPE_RANGES)
        return true; /* "" is the empty list */
    for (size_t from = 0; from <= text.len;) {
        const char *comma = from < text.len ? memchr(text.ptr + from, ',', text.len - from) : NULL;
        size_t end = comma ? (size_t)(comma - text.ptr) : text.len;
        if (!add_item(t, at, str_trim((struct str){text.ptr + from, end - from}), ranges))
            return false;
        from = end + 1;
    }
    return true;
}

static bool read_list_node(const struct target *t, const struct conf_node *n, struct range_list *ranges)
{
    struct buf text;
    bool good = true;
    if (n->kind != NODE_LIST) {
        good = expand(t, n, &text);
        if (good) {
            good = read_items(t, n->at, buf_str(&text), ranges);
            conf_wipe(&text);
        }
        return good;
    }
    for (const struct conf_node *item = n->first; item && good; item = item->next) {
        good = expand(t, item, &text);
        if (good) {
            good = add_item(t, item->at, str_trim(buf_str(&text)), ranges);
            conf_wipe(&text);
        }
    }
    return good;
}

/* A list replaces the default only as a whole. */
static bool read_list(const struct target *t, const struct conf_node *n, void *base)
{
    struct range_list ranges = {0};
    option_clear(t->o, base);
    if (t->o->type == TYPE_SET)
        *(unsigned *)t->field = 0;
    bool good = read_list_node(t, n, &ranges);
    if (good && t->o->type == TYPE_RANGES && ranges.count == 0)
        good = report_at(t->r, n->at, t->path, "the list is empty; leave the key out to allow any tenant");
    if (good && t->o->type == TYPE_RANGES) {
        ranges_normalize(&ranges);
        *(struct conf_range **)t->field = ranges.items;
        *(size_t *)(void *)((char *)base + t->o->count_offset) = ranges.count;
        ranges.items = NULL;
    }
    mem_free(ranges.items);
    return good;
}

static bool read_scalar(const struct target *t, const struct conf_node *n)
{
    struct buf text;
    if (!expand(t, n, &text))
        return false;
    struct str s = buf_str(&text);
    bool good;
    switch (t->o->type) {
    case TYPE_BOOL:
        good = set_bool(t, n->at, s);
        break;
    case TYPE_INT:
    case TYPE_DURATION:
    case TYPE_SIZE:
        good = set_number(t, n->at, s);
        break;
    case TYPE_ENUM:
        good = add_choice(t, n->at, s);
        break;
    default:
        good = set_string(t, n->at, s);
        break;
    }
    conf_wipe(&text);
    return good;
}

bool value_read(struct report *r, const struct option *o, const char *path, const struct conf_node *n, void *base)
{
    struct target t = {r, o, path, option_field(o, base)};
    if (o->type == TYPE_STRINGS || o->type == TYPE_SET || o->type == TYPE_RANGES)
        return read_list(&t, n, base);
    return read_scalar(&t, n);
}

/* What a secret's file holds, without the newline that editors put at its end. */
static bool set_from_file(const struct target *t, struct mark at, struct str content)
{
    if (content.len > 0 && content.ptr[content.len - 1] == '\n')
        content.len -= content.len > 1 && content.ptr[content.len - 2] == '\r' ? 2 : 1;
    if (content.len == 0)
        return report_at(t->r, at, t->path, "the file is empty");
    if (memchr(content.ptr, 0, content.len))
        return report_at(t->r, at, t->path, "the file holds a zero byte");
    return set_string(t, at, content);
}

bool value_read_file(struct report *r, const struct option *o, const char *path, const struct conf_node *n, void *base)
{
    struct target t = {r, o, path, option_field(o, base)};
    struct buf name, content;
    struct error e;
    if (!expand(&t, n, &name))
        return false;
    bool good = buf_append_byte(&name, 0);
    if (!good)
        return report_at(r, n->at, path, "the value is too long");
    error_clear(&e);
    good = conf_read_file(buf_head(&name), VALUE_MAX, &content, &e);
    buf_fini(&name);
    if (!good)
        return report_at(r, n->at, path, "%s", e.cause);
    good = set_from_file(&t, n->at, buf_str(&content));
    conf_wipe(&content);
    return good;
}
