#include "conf_option.h"

#include <string.h>

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "This page is made from the option table by `shardgate --print-config-docs`; do not edit it.\n"
    "\n"
    "The configuration is one YAML file. An option's name is its path in the file: `listen.port` is\n"
    "\n"
    "```yaml\n"
    "listen:\n"
    "  port: 6432\n"
    "```\n"
    "\n"
    "`shardgate --check-config` reads a file and reports everything that is wrong with it, each with its line and\n"
    "column. A file with an unknown key, a value of the wrong type or out of range, or options that contradict each "
    "other\n"
    "is refused as a whole; on SIGHUP the old configuration then stays. `config/shardgate.yaml` is a commented tour,\n"
    "`config/minimal.yaml` the least that runs.\n"
    "\n"
    "## Values\n"
    "\n"
    "- **duration**: a number with its unit: `500ms`, `30s`, `5min`, `2h`, `1d`; a plain `0` needs none.\n"
    "- **size**: a number with its unit: `B`, `kB`, `MB`, `GB` (powers of 1024).\n"
    "- **boolean**: `true` or `false` (also `yes`, `no`, `on`, `off`).\n"
    "- **list** and **choices**: a YAML list, or one text with commas: `[a, b]` and `\"a,b\"` are the same.\n"
    "- **octal**: octal digits, as `chmod` takes them.\n"
    "- **ranges**: numbers and ranges of tenants, as a list or as one text with commas: `[1, 5-9]`, "
    "`\"1,5-9,-20--10\"`.\n"
    "- Aliases, anchors, tags and several documents in one file are refused, and so is a key given twice.\n"
    "- Relative paths start at the daemon's working directory.\n"
    "\n"
    "## Environment\n"
    "\n"
    "`${NAME}` in a value is replaced by the environment variable NAME; that it is not set is an error.\n"
    "`${NAME:-text}` stands for `text` where NAME is not set or empty. `$$` is a plain `$`; a `$` before anything but\n"
    "`{` and `$` stands for itself.\n"
    "\n"
    "`SHARD_ID` (0 to 32767) names the instance's home shard, `REGION` (1 to 3 letters or digits) its region; without\n"
    "`REGION` the region is the home shard's.\n"
    "\n"
    "## Secrets\n"
    "\n"
    "A secret may be read from a file: each option of the type **secret** has a sibling of the same name with `_file`\n"
    "appended, for instance `directory.password_file`, whose value is a path. One newline at the end of the file is\n"
    "dropped. Giving both is an error. SHOW CONFIG and the log never show a secret.\n"
    "\n"
    "## Reload\n"
    "\n"
    "SIGHUP, or RELOAD on the admin console, reads the file again. What becomes of a changed option is in its class:\n"
    "\n"
    "- **reload**: it applies at once to all that runs.\n"
    "- **new sessions**: it applies to client connections made from then on.\n"
    "- **restart**: the old value stays until the daemon is started again; the log names the option.\n";

static const char *reload_name(enum conf_reload r)
{
    static const char *const names[] = {
        [CONF_RELOAD] = "reload", [CONF_NEW_SESSIONS] = "new sessions", [CONF_RESTART] = "restart"};
    return names[r];
}

static struct str group_of(const struct option *o)
{
    const char *dot = strchr(o->name, '.');
    return dot ? (struct str){o->name, (size_t)(dot - o->name)} : (struct str){"", 0};
}

/* A bar would end the cell. */
static void print_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)*text);
    }
}

static void print_default(struct buf *out, const struct option *o)
{
    size_t before = out->len;
    if (o->unset) {
        buf_append_str(out, str_from(o->unset));
        return;
    }
    buf_append_byte(out, '`');
    option_print_default(o, out);
    if (out->len == before + 1) { /* nothing: an empty code span is not Markdown */
        out->len = before;
        return;
    }
    buf_append_byte(out, '`');
}

static void print_row(struct buf *out, const struct option *o)
{
    buf_printf(out, "| `%s` | %s | ", o->name, option_type_name(o));
    print_default(out, o);
    buf_append_str(out, STR(" | "));
    option_print_range(o, out);
    if (o->unit && strcmp(o->unit, "percent") == 0)
        buf_append_str(out, STR(" percent"));
    buf_printf(out, " | %s | ", reload_name(o->reload));
    print_cell(out, o->help);
    buf_append_str(out, STR(" |\n"));
}

static void print_head(struct buf *out)
{
    buf_append_str(out, STR("\n| option | type | default | range | on reload | meaning |\n"
                            "| --- | --- | --- | --- | --- | --- |\n"));
}

static void print_group(struct buf *out, struct str group)
{
    if (group.len)
        buf_printf(out, "\n## %.*s\n", (int)group.len, group.ptr);
    else
        buf_append_str(out, STR("\n## Process\n"));
    print_head(out);
    for (size_t i = 0; i < options_main.count; i++)
        if (str_eq(group_of(&options_main.rows[i]), group))
            print_row(out, &options_main.rows[i]);
}

static bool is_first_of_group(size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(group_of(&options_main.rows[j]), group_of(&options_main.rows[i])))
            return false;
    return true;
}

static void print_list(struct buf *out, const struct option_table *t, const char *title, const char *text)
{
    buf_printf(out, "\n## %s\n\n%s\n", title, text);
    print_head(out);
    for (size_t i = 0; i < t->count; i++)
        print_row(out, &t->rows[i]);
}

bool conf_print_docs(struct buf *out)
{
    buf_append_str(out, str_from(introduction));
    for (size_t i = 0; i < options_main.count; i++)
        if (is_first_of_group(i))
            print_group(out, group_of(&options_main.rows[i]));
    print_list(
        out, &options_user, "users",
        "A list, one entry a user. Names must differ. `auth.file` can hold more users; where both name one, this\n"
        "entry's values hold, and the file's secret serves only where the entry has no `password`.");
    print_list(
        out, &options_database, "databases",
        "A list, one entry a database. Without the list clients may name any database. With it, only those listed\n"
        "exist, and an entry named `*` admits all others; any other name is refused with 3D000.");
    return !out->failed;
}
