#include "conf_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 16u /* options of one entry */

struct named {
    const char *name;
    struct mark at;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0)
        return x->at.line < y->at.line ? -1 : x->at.line > y->at.line;
    return order;
}

static void refuse_duplicates(struct report *r, const char *what, struct named *names, size_t count)
{
    if (count > 1)
        qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i].name, names[i - 1].name) == 0)
            report_at(r, names[i].at, what, "%s is already in the list, in line %u",
                      report_quote(str_from(names[i].name)).text, names[i - 1].at.line);
}

static void refuse_key(struct report *r, const struct option_table *t, const char *path, const struct conf_node *n)
{
    struct nearest near;
    char file[PATH_MAX_LEN];
    nearest_init(&near, n->key);
    for (size_t i = 0; i < t->count; i++)
        nearest_offer(&near, str_from(t->rows[i].name));
    if (near.best.len == 0) /* "passwrd_file" */
        for (size_t i = 0; i < t->count; i++)
            if (t->rows[i].type == TYPE_SECRET) {
                snprintf(file, sizeof(file), "%s_file", t->rows[i].name);
                nearest_offer(&near, str_from(file));
                if (near.best.len)
                    break;
            }
    report_at(r, n->key_at, path, "no such option%s", nearest_hint(&near).text);
}

/* One `- name: …` into `base`, whose memory is zero. Returns its name, NULL without. */
static const char *read_entry(struct report *r, const struct option_table *t, const char *what, size_t index,
                              const struct conf_node *entry, void *base)
{
    struct mark at[ROWS_MAX] = {0};
    struct section s = {t, base, at};
    char path[PATH_MAX_LEN];
    options_set_defaults(t, base);
    snprintf(path, sizeof(path), "%s[%zu]", what, index);
    if (entry->kind != NODE_MAP) {
        report_at(r, entry->at, path, "expected a section with a name, found %s", report_found(entry).text);
        return NULL;
    }
    for (const struct conf_node *n = entry->first; n; n = n->next) {
        snprintf(path, sizeof(path), "%s[%zu].%.100s", what, index, n->key.ptr);
        if (!section_read(r, &s, n->key, path, n))
            refuse_key(r, t, path, n);
    }
    if (!section_mark(&s, "name").line) {
        snprintf(path, sizeof(path), "%s[%zu]", what, index);
        report_at(r, entry->at, path, "has no name");
    }
    return *(char **)option_field(option_find(t, STR("name")), base);
}

/* The whole list: `items` of `size` bytes each, or NULL. */
static void *read_items(struct report *r, const struct option_table *t, const char *what, const struct conf_node *n,
                        size_t size, size_t *count)
{
    *count = 0;
    if (conf_node_is_null(n))
        return NULL;
    if (n->kind != NODE_LIST) {
        report_at(r, n->at, what, "expected a list of sections (- name: ...), found %s", report_found(n).text);
        return NULL;
    }
    if (n->count == 0)
        return NULL;
    char *items = mem_try_array(n->count, size);
    struct named *names = mem_try_array(n->count, sizeof(*names));
    if (!items || !names) {
        report_at(r, n->at, what, "out of memory");
        mem_free(items);
        mem_free(names);
        return NULL;
    }
    memset(items, 0, n->count * size);
    size_t named = 0;
    for (const struct conf_node *entry = n->first; entry; entry = entry->next, (*count)++) {
        const char *name = read_entry(r, t, what, *count, entry, items + *count * size);
        if (name)
            names[named++] = (struct named){name, entry->at};
    }
    refuse_duplicates(r, what, names, named);
    mem_free(names);
    return items;
}

void conf_read_users(struct report *r, struct conf *c, const struct conf_node *n)
{
    c->users = read_items(r, &options_user, "users", n, sizeof(*c->users), &c->user_count);
}

void conf_read_databases(struct report *r, struct conf *c, const struct conf_node *n)
{
    c->databases = read_items(r, &options_database, "databases", n, sizeof(*c->databases), &c->database_count);
}

void conf_free_lists(struct conf *c)
{
    for (size_t i = 0; i < c->user_count; i++)
        options_fini(&options_user, &c->users[i]);
    for (size_t i = 0; i < c->database_count; i++)
        options_fini(&options_database, &c->databases[i]);
    mem_free(c->users);
    mem_free(c->databases);
}
