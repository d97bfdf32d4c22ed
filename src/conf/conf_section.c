#include "conf_read.h"

#include "conf_value.h"

static const struct option *find_secret_of_file(const struct option_table *t, struct str name)
{
    struct str suffix = STR("_file");
    if (name.len <= suffix.len || !str_eq((struct str){name.ptr + name.len - suffix.len, suffix.len}, suffix))
        return NULL;
    const struct option *o = option_find(t, (struct str){name.ptr, name.len - suffix.len});
    return o && o->type == TYPE_SECRET ? o : NULL;
}

struct mark section_mark(const struct section *s, const char *name)
{
    const struct option *o = option_find(s->table, str_from(name));
    return o ? s->at[o - s->table->rows] : (struct mark){0};
}

bool section_read(struct report *r, const struct section *s, struct str name, const char *path,
                  const struct conf_node *n)
{
    const struct option *o = option_find(s->table, name);
    bool from_file = !o;
    if (!o)
        o = find_secret_of_file(s->table, name);
    if (!o)
        return false;
    struct mark *at = &s->at[o - s->table->rows];
    if (at->line) {
        report_at(r, n->key_at, path, "%s is already given in line %u%s", o->name, at->line,
                  o->type == TYPE_SECRET ? "; give it once, as a value or as a file" : "");
        return true;
    }
    *at = n->key_at;
    if (from_file)
        value_read_file(r, o, path, n, s->base);
    else
        value_read(r, o, path, n, s->base);
    return true;
}
