#include "conf_option.h"

size_t conf_keep_restart_options(const struct conf *old, struct conf *new_, struct buf *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < options_main.count; i++) {
        const struct option *o = &options_main.rows[i];
        if (o->reload != CONF_RESTART || option_equal(o, old, new_))
            continue;
        option_copy(o, new_, old);
        buf_printf(out, "%s%s", kept++ ? ", " : "", o->name);
    }
    return kept;
}

size_t conf_option_count(void) { return options_main.count; }

/* Both texts come from our own table and fit. */
static const char *print_to(bool (*print)(const struct option *o, struct buf *out), const struct option *o, char *to,
                            size_t size)
{
    struct buf b;
    buf_init(&b, 0);
    print(o, &b);
    str_copy(to, size, buf_str(&b));
    buf_fini(&b);
    return to;
}

void conf_option_info(size_t i, struct conf_option_info *out)
{
    const struct option *o = &options_main.rows[i];
    out->name = o->name;
    out->type = option_type_name(o);
    out->unit = o->unit ? o->unit : "";
    out->dflt = print_to(option_print_default, o, out->text[0], sizeof(out->text[0]));
    out->range = print_to(option_print_range, o, out->text[1], sizeof(out->text[1]));
    out->help = o->help;
    out->reload = o->reload;
}

bool conf_option_value(const struct conf *c, size_t i, struct buf *out)
{
    return option_print(&options_main.rows[i], c, out);
}
