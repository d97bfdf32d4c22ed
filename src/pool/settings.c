/*
 * Startup settings, interned by worker: equal settings are one object, so that a
 * pool key compares them by pointer.
 */
#include <stdlib.h>
#include <string.h>

#include "pool_impl.h"

struct settings_entry {
    struct hash_node node;
    struct settings *settings; /* its slices point into `text` */
    char *text;
};

/* By name; equal names stay in the order in which their text was copied. */
static int compare_names(const void *a, const void *b)
{
    const struct setting *x = a, *y = b;
    size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
    int c = n ? memcmp(x->name.ptr, y->name.ptr, n) : 0;
    if (c == 0)
        c = (x->name.len > y->name.len) - (x->name.len < y->name.len);
    return c ? c : (x->name.ptr > y->name.ptr) - (x->name.ptr < y->name.ptr);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Copies names and values into `text` (names in lower case), then sorts; of two
 * settings of one name the later wins, as in PostgreSQL. */
static unsigned normalize(struct setting *to, char *text, const struct setting *items, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        to[i].name = (struct str){text, items[i].name.len};
        for (size_t j = 0; j < items[i].name.len; j++)
            *text++ = lower(items[i].name.ptr[j]);
        to[i].value = (struct str){text, items[i].value.len};
        if (items[i].value.len)
            memcpy(text, items[i].value.ptr, items[i].value.len);
        text += items[i].value.len;
    }
    qsort(to, count, sizeof(*to), compare_names);
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        kept -= kept > 0 && str_eq(to[kept - 1].name, to[i].name);
        to[kept++] = to[i];
    }
    return kept;
}

static uint64_t hash_settings(const struct settings *s)
{
    uint64_t h = (uint64_t)s->replication;
    for (unsigned i = 0; i < s->count; i++)
        h = hash_str(hash_str(h, s->items[i].name), s->items[i].value);
    return h;
}

static bool same(const struct settings *a, const struct settings *b)
{
    if (a->count != b->count || a->replication != b->replication)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (!str_eq(a->items[i].name, b->items[i].name) || !str_eq(a->items[i].value, b->items[i].value))
            return false;
    }
    return true;
}

static void free_entry(struct settings_entry *e)
{
    mem_free((char *)(uintptr_t)e->settings->options.ptr);
    mem_free(e->settings);
    mem_free(e->text);
    mem_free(e);
}

static struct settings_entry *new_entry(const struct setting *items, unsigned count, enum settings_replication r)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += items[i].name.len + items[i].value.len;
    struct settings_entry *e = mem_zalloc(sizeof(*e));
    e->settings = mem_zalloc(sizeof(*e->settings) + count * sizeof(struct setting));
    e->text = mem_alloc(bytes + 1);
    e->settings->count = normalize(e->settings->items, e->text, items, count);
    e->settings->replication = r;
    return e;
}

static struct settings_entry *find(struct pools *ps, const struct settings *s, uint64_t hash)
{
    for (struct hash_node *n = hash_index_first(&ps->settings, hash); n; n = hash_index_next(n)) {
        struct settings_entry *e = container_of(n, struct settings_entry, node);
        if (e->settings == s || same(e->settings, s))
            return e;
    }
    return NULL;
}

static void make_options(struct settings *s)
{
    struct buf b;
    buf_init(&b, 0);
    for (unsigned i = 0; i < s->count; i++)
        wire_options_append(&b, s->items[i].name, s->items[i].value);
    s->options.len = b.len;
    s->options.ptr = str_dup(buf_str(&b));
    buf_fini(&b);
}

struct settings *settings_get(struct pools *ps, const struct setting *items, unsigned count,
                              enum settings_replication r)
{
    struct settings_entry *e = new_entry(items, count, r);
    uint64_t hash = hash_settings(e->settings);
    struct settings_entry *old = find(ps, e->settings, hash);
    if (old) {
        free_entry(e);
        e = old;
    } else {
        make_options(e->settings);
        hash_index_add(&ps->settings, &e->node, hash);
    }
    e->settings->refs++;
    return e->settings;
}

void settings_unref(struct pools *ps, struct settings *s)
{
    if (!s || --s->refs > 0)
        return;
    struct settings_entry *e = find(ps, s, hash_settings(s));
    hash_index_remove(&ps->settings, &e->node);
    free_entry(e);
}
