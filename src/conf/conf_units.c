#include "conf_units.h"

#include <inttypes.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};
/* From large to small. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}, {0}};
static const struct unit sizes[] = {{"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}, {0}};

static const struct unit *units_of(const struct option *o)
{
    return o->type == TYPE_DURATION ? durations : o->type == TYPE_SIZE ? sizes : NULL;
}

bool units_print(const struct option *o, int64_t number, struct buf *out)
{
    const struct unit *u = units_of(o);
    for (; u && u->name && number != 0; u++)
        if (number % u->factor == 0)
            return buf_printf(out, "%" PRId64 "%s", number / u->factor, u->name);
    return buf_printf(out, "%" PRId64, number);
}

static bool parse_octal(struct str text, int64_t *out)
{
    int64_t value = 0;
    if (text.len == 0 || text.len > 7)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7')
            return false;
        value = value * 8 + (text.ptr[i] - '0');
    }
    *out = value;
    return true;
}

bool units_parse(const struct option *o, struct str text, int64_t *out)
{
    const struct unit *u = units_of(o);
    if (option_is_octal(o))
        return parse_octal(text, out);
    if (!u)
        return str_to_i64(text, out);
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    int64_t number;
    if (!str_to_i64((struct str){text.ptr, digits}, &number))
        return false;
    struct str name = str_trim((struct str){text.ptr + digits, text.len - digits});
    if (name.len == 0 && number == 0) {
        *out = 0;
        return true;
    }
    for (; u->name; u++)
        if (str_eq(name, str_from(u->name)))
            return !__builtin_mul_overflow(number, u->factor, out);
    return false;
}
