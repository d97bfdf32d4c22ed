#include "conf_value.h"

#include <stdlib.h>
#include <string.h>

/* The dash between two numbers, not a sign: it follows a digit. */
static size_t find_dash(struct str s)
{
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] != '-')
            continue;
        struct str left = str_trim((struct str){s.ptr, i});
        if (left.len > 0 && left.ptr[left.len - 1] >= '0' && left.ptr[left.len - 1] <= '9')
            return i;
    }
    return 0;
}

static bool parse_range(struct str s, struct conf_range *out)
{
    size_t dash = find_dash(s);
    if (dash == 0) {
        if (!str_to_i64(s, &out->min))
            return false;
        out->max = out->min;
        return true;
    }
    return str_to_i64(str_trim((struct str){s.ptr, dash}), &out->min) &&
           str_to_i64(str_trim((struct str){s.ptr + dash + 1, s.len - dash - 1}), &out->max) && out->min <= out->max;
}

static bool add_range(struct range_list *l, struct conf_range range)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        struct conf_range *items = mem_try_realloc(l->items, cap * sizeof(*items));
        if (!items)
            return false;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = range;
    return true;
}

static int by_min(const void *a, const void *b)
{
    const struct conf_range *x = a, *y = b;
    return x->min < y->min ? -1 : x->min > y->min;
}

bool ranges_parse(struct str text, struct range_list *out, struct str *bad)
{
    for (size_t from = 0; from <= text.len;) {
        const char *comma = from < text.len ? memchr(text.ptr + from, ',', text.len - from) : NULL;
        size_t end = comma ? (size_t)(comma - text.ptr) : text.len;
        struct str item = str_trim((struct str){text.ptr + from, end - from});
        struct conf_range range;
        *bad = item;
        if (!parse_range(item, &range) || !add_range(out, range))
            return false;
        from = end + 1;
    }
    return true;
}

void ranges_normalize(struct range_list *l)
{
    size_t to = 0;
    if (l->count == 0)
        return;
    qsort(l->items, l->count, sizeof(*l->items), by_min);
    for (size_t i = 1; i < l->count; i++) {
        struct conf_range *last = &l->items[to];
        const struct conf_range *next = &l->items[i];
        if (last->max == INT64_MAX || next->min <= last->max + 1) {
            if (next->max > last->max)
                last->max = next->max;
        } else {
            l->items[++to] = *next;
        }
    }
    l->count = to + 1;
}
