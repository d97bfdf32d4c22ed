/* SHOW commands about the instance, its map and its configuration. */
#include "console.h"

#include <stdio.h>

#include "shardgate/wire.h"

#include "instance_view.h"
#include "ops_state.h"

static void put_pair(struct buf *out, const char *name, uint64_t n)
{
    struct console_row row = {.count = 0};

    row_text(&row, name);
    row_uint(&row, n);
    row_put(&row, out);
}

static void on_lists(struct gather *g, void *ctx)
{
    struct console_run *r = ctx;
    struct buf *out = console_out(r);
    struct instance_view *v = instance_view_new(&r->ops->env, g);
    const struct conf *c = r->ops->env.conf(r->ops->env.ctx);
    uint64_t servers = 0;

    for (size_t i = 0; i < v->shard_count; i++)
        servers += v->shards[i].figures.servers;
    put_pair(out, "workers", v->workers);
    put_pair(out, "clients", v->clients);
    put_pair(out, "clients_waiting", v->waiting);
    put_pair(out, "servers", servers);
    put_pair(out, "shards", v->shard_count);
    put_pair(out, "tenants", v->map.overrides);
    put_pair(out, "users", c->user_count);
    put_pair(out, "databases", c->database_count);
    instance_view_free(v);
    console_note_missing(r, g);
    console_done(r, NULL);
}

static void on_status(struct gather *g, void *ctx)
{
    struct console_run *r = ctx;
    struct console_row row = {.count = 0};
    struct instance_view *v = instance_view_new(&r->ops->env, g);

    row_text(&row, SHARDGATE_VERSION);
    if (v->home_shard >= 0)
        row_int(&row, v->home_shard);
    else
        row_null(&row);
    row_text(&row, v->region[0] ? v->region : NULL);
    row_text(&row, phase_name(v->phase));
    row_bool(&row, v->ready);
    row_text(&row, v->ready ? NULL : v->reason);
    row_milli(&row, v->uptime_ms);
    row_uint(&row, v->clients);
    row_uint(&row, v->waiting);
    row_bool(&row, v->map.degraded);
    row_put(&row, console_out(r));
    instance_view_free(v);
    console_note_missing(r, g);
    console_done(r, NULL);
}

static const char *right_name(enum console_right right)
{
    if (right == CONSOLE_ANY)
        return "any";
    return right == CONSOLE_STATS ? "stats" : "admin";
}

static const char *changes_name(enum conf_reload reload)
{
    if (reload == CONF_RELOAD)
        return "reload";
    return reload == CONF_NEW_SESSIONS ? "new sessions" : "restart";
}

void console_empty(struct console_run *r)
{
    wire_put_empty_query(console_out(r));
    console_done(r, NULL);
}

void console_ok(struct console_run *r) { console_done(r, NULL); }

void console_select_one(struct console_run *r)
{
    struct console_row row = {.count = 0};

    row_int(&row, 1);
    row_put(&row, console_out(r));
    console_done(r, NULL);
}

void console_show_version(struct console_run *r)
{
    struct console_row row = {.count = 0};

    row_text(&row, "shardgate " SHARDGATE_VERSION);
    row_put(&row, console_out(r));
    console_done(r, NULL);
}

void console_show_help(struct console_run *r)
{
    size_t count;
    const struct console_command *table = console_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct console_command *c = &table[i];
        struct console_row row = {.count = 0};
        char name[64];

        if (!c->help)
            continue;
        snprintf(name, sizeof(name), "%s%s%s%s%s", c->words[0], c->words[1] ? " " : "", c->words[1] ? c->words[1] : "",
                 c->operand ? " " : "", c->operand ? c->operand : "");
        row_text(&row, name);
        row_text(&row, right_name(c->right));
        row_text(&row, c->help);
        row_put(&row, console_out(r));
    }
    console_done(r, NULL);
}

void console_show_status(struct console_run *r) { console_ask(r, gather_figures, on_status); }

void console_show_lists(struct console_run *r) { console_ask(r, gather_figures, on_lists); }

void console_show_map(struct console_run *r)
{
    struct console_row row = {.count = 0};
    struct instance_view *v = instance_view_new(&r->ops->env, NULL);
    const struct map_view *m = &v->map;

    row_bool(&row, m->loaded);
    row_text(&row, directory_state_name(m->state));
    row_text(&row, m->source);
    row_bool(&row, m->degraded);
    row_uint(&row, m->revision);
    row_uint(&row, m->generation);
    if (m->has_age)
        row_milli(&row, m->age_ms);
    else
        row_null(&row);
    row_uint(&row, v->shard_count);
    row_uint(&row, m->overrides);
    row_uint(&row, m->bytes);
    row_uint(&row, m->reloads);
    row_uint(&row, m->failures);
    row_uint(&row, m->load_ms);
    row_text(&row, m->last_error[0] ? m->last_error : NULL);
    row_put(&row, console_out(r));
    instance_view_free(v);
    console_done(r, NULL);
}

void console_show_tenant(struct console_run *r)
{
    const struct map *m = r->ops->env.map(r->ops->env.ctx);
    struct console_row row = {.count = 0};
    enum map_why why = MAP_NONE;

    if (!m) {
        struct error e;
        error_set(&e, ERR_MAP_NOT_LOADED, "console");
        console_done(r, &e);
        return;
    }
    const struct map_shard *s = map_lookup(m, r->number, &why);
    row_int(&row, r->number);
    if (s) {
        row_int(&row, s->id);
        row_text(&row, s->region);
        row_text(&row, s->datacenter);
        row_bool(&row, s->active);
    } else {
        why = MAP_NONE;
        for (int i = 0; i < 4; i++)
            row_null(&row);
    }
    row_text(&row, map_why_name(why));
    row_uint(&row, map_revision(m));
    row_put(&row, console_out(r));
    console_done(r, NULL);
}

void console_show_config(struct console_run *r)
{
    const struct conf *c = r->ops->env.conf(r->ops->env.ctx);

    for (size_t i = 0; i < conf_option_count(); i++) {
        struct console_row row = {.count = 0};
        struct conf_option_info info;
        struct buf value;

        buf_init(&value, 1u << 20);
        conf_option_info(i, &info);
        conf_option_value(c, i, &value);
        row_text(&row, info.name);
        row.cell[row.count++] = buf_str(&value);
        row_text(&row, info.dflt);
        row_text(&row, info.unit && info.unit[0] ? info.unit : NULL);
        row_text(&row, changes_name(info.reload));
        row_put(&row, console_out(r));
        buf_fini(&value);
    }
    console_done(r, NULL);
}
