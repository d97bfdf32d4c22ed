/*
 * From a YAML tree to a struct conf. The path of a node in the tree is the name
 * of an option (`listen: {port: 6432}` is listen.port), so the walk needs to
 * know nothing about any option but its row in the table.
 *
 * All of a file is read before it is refused, so that the report has every
 * problem. Relations are checked last and only if each option alone is right:
 * they would otherwise complain about defaults in the place of refused values.
 */
#include "conf_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_yaml.h"

struct walk {
    struct report *r;
    struct conf *c;
    struct section options;
};

static size_t count_dots(struct str s)
{
    size_t dots = 0;
    for (size_t i = 0; i < s.len; i++)
        dots += s.ptr[i] == '.';
    return dots;
}

/* The first `dots + 1` parts of an option's name: a section's name, or its own. */
static struct str name_prefix(const char *name, size_t dots)
{
    size_t len = 0;
    for (; name[len]; len++)
        if (name[len] == '.' && dots-- == 0)
            break;
    return (struct str){name, len};
}

static bool is_section(struct str path)
{
    size_t dots = count_dots(path);
    for (size_t i = 0; i < options_main.count; i++) {
        struct str prefix = name_prefix(options_main.rows[i].name, dots);
        if (str_eq(prefix, path) && options_main.rows[i].name[prefix.len] == '.')
            return true;
    }
    return false;
}

/* An option of another section whose last part is the key. */
static struct str find_last_part(struct str key)
{
    for (size_t i = 0; i < options_main.count; i++) {
        const char *dot = strrchr(options_main.rows[i].name, '.');
        if (dot && str_eq(str_from(dot + 1), key))
            return str_from(options_main.rows[i].name);
    }
    return (struct str){0};
}

/* The right name with a slip, or the right last part in the wrong section. */
static void refuse_key(struct walk *w, const char *path, const struct conf_node *n)
{
    struct nearest near;
    struct str name = str_from(path), elsewhere = find_last_part(n->key);
    size_t dots = count_dots(name);
    nearest_init(&near, name);
    for (size_t i = 0; i < options_main.count; i++)
        nearest_offer(&near, name_prefix(options_main.rows[i].name, dots));
    nearest_offer(&near, STR("users"));
    nearest_offer(&near, STR("databases"));
    if (elsewhere.len && (dots == 0 || near.best.len == 0))
        near.best = elsewhere;
    report_at(w->r, n->key_at, path, "no such option%s", nearest_hint(&near).text);
}

/* Recursion is bounded by the depth of the tree. */
static void read_section(struct walk *w, const char *prefix, const struct conf_node *section)
{
    char path[PATH_MAX_LEN];
    for (const struct conf_node *n = section->first; n; n = n->next) {
        int len = snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", n->key.ptr);
        if (len >= (int)sizeof(path))
            report_at(w->r, n->key_at, path, "no such option");
        else if (str_eq(str_from(path), STR("users")))
            conf_read_users(w->r, w->c, n);
        else if (str_eq(str_from(path), STR("databases")))
            conf_read_databases(w->r, w->c, n);
        else if (section_read(w->r, &w->options, str_from(path), path, n))
            continue;
        else if (!is_section(str_from(path)))
            refuse_key(w, path, n);
        else if (n->kind == NODE_MAP)
            read_section(w, path, n);
        else if (!conf_node_is_null(n))
            report_at(w->r, n->at, path, "expected a section, found %s", report_found(n).text);
    }
}

static void read_root(struct walk *w, const struct conf_node *root)
{
    if (!root || conf_node_is_null(root))
        return;
    if (root->kind == NODE_MAP)
        read_section(w, "", root);
    else
        report_at(w->r, root->at, "", "expected sections such as listen:, found %s", report_found(root).text);
}

static void read_tree(struct report *r, struct conf *c, const struct conf_tree *tree)
{
    struct mark *at = mem_zalloc(options_main.count * sizeof(*at));
    struct walk w = {r, c, {&options_main, c, at}};
    read_root(&w, conf_tree_root(tree));
    conf_read_environment(r, c);
    if (r->count == 0)
        conf_check_relations(r, &w.options, c);
    mem_free(at);
}

static struct conf *parse(const char *name, struct str yaml, struct buf *problems, struct error *e)
{
    struct report r = {.name = name, .e = e, .all = problems};
    struct mark at;
    char why[200];
    error_clear(e);
    struct conf_tree *tree = conf_tree_read(yaml, &at, why, sizeof(why));
    if (!tree) {
        report_at(&r, at, "", "%s", why);
        return NULL;
    }
    struct conf *c = mem_zalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    c->path = mem_strdup(name);
    c->home_shard = -1;
    options_set_defaults(&options_main, c);
    read_tree(&r, c, tree);
    conf_tree_free(tree);
    if (r.count) {
        conf_unref(c);
        return NULL;
    }
    return c;
}

struct conf *conf_ref(struct conf *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void conf_unref(struct conf *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    options_fini(&options_main, c);
    conf_free_lists(c);
    mem_free(c->path);
    mem_free(c);
}

struct conf *conf_parse(const char *name, struct str yaml, struct error *e) { return parse(name, yaml, NULL, e); }

struct conf *conf_check(const char *path, struct buf *problems, struct error *e)
{
    struct buf text;
    error_clear(e);
    if (!conf_read_file(path, TREE_MAX_BYTES, &text, e)) {
        error_detail(e, "%s", e->cause);
        if (problems)
            buf_printf(problems, "%s\n", e->cause);
        return NULL;
    }
    struct conf *c = parse(path, buf_str(&text), problems, e);
    conf_wipe(&text);
    return c;
}

struct conf *conf_load(const char *path, struct error *e) { return conf_check(path, NULL, e); }
