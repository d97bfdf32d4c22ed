#include "shardgate/route.h"

#include <string.h>

/* A pattern is at most: literal {a} literal {b} literal, one of the two being
 * {tenant}; conf has checked that. */
struct pattern {
    struct str before, between, after;
    bool tenant_first, has_name;
};

static struct str slice(const char *from, const char *to) { return (struct str){from, (size_t)(to - from)}; }

static bool parse(const char *text, struct pattern *p)
{
    const char *open = strchr(text, '{');
    const char *close = open ? strchr(open, '}') : NULL;

    if (!close)
        return false;
    p->before = slice(text, open);
    p->tenant_first = str_eq(slice(open + 1, close), STR("tenant"));
    p->between = p->after = str_from(close + 1);
    p->has_name = false;
    open = strchr(close, '{');
    if (!open)
        return p->tenant_first;
    p->between = slice(close + 1, open);
    close = strchr(open, '}');
    if (!close)
        return false;
    p->has_name = true;
    p->after = str_from(close + 1);
    return p->tenant_first != str_eq(slice(open + 1, close), STR("tenant"));
}

static bool ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

/* Where the literal between stands: the one nearest the tenant, since a number
 * cannot hold it and a name can. False if nowhere. */
static bool find_between(const struct pattern *p, struct str s, size_t *at)
{
    if (p->between.len == 0 || s.len < p->between.len)
        return false;
    size_t last = s.len - p->between.len;
    for (size_t i = 0; i <= last; i++) {
        *at = p->tenant_first ? i : last - i;
        if (memcmp(s.ptr + *at, p->between.ptr, p->between.len) == 0)
            return true;
    }
    return false;
}

/* False if s does not have the pattern's shape. */
static bool match(const struct pattern *p, struct str s, struct str *name, struct str *number)
{
    if (!str_starts(s, p->before) || s.len < p->before.len + p->after.len || !ends(s, p->after))
        return false;
    s = (struct str){s.ptr + p->before.len, s.len - p->before.len - p->after.len};
    if (!p->has_name) {
        *name = STR("");
        *number = s;
        return true;
    }
    size_t at;
    if (!find_between(p, s, &at))
        return false;
    struct str first = {s.ptr, at};
    struct str second = {s.ptr + at + p->between.len, s.len - at - p->between.len};
    *name = p->tenant_first ? second : first;
    *number = p->tenant_first ? first : second;
    return name->len > 0;
}

int route_pattern(const char *pattern, struct str text, struct str *name, int64_t *tenant)
{
    struct pattern p;
    struct str number;

    if (text.len == 0 || !parse(pattern, &p) || !match(&p, text, name, &number)) {
        *name = text;
        return 0;
    }
    return str_to_i64(number, tenant) ? 1 : -1;
}
