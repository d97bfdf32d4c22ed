/* A YAML node read into the field that an option names. */
#ifndef SHARDGATE_CONF_VALUE_H
#define SHARDGATE_CONF_VALUE_H

#include "conf_option.h"
#include "conf_report.h"

#define VALUE_MAX 65536u /* bytes of one value, after ${VAR} */

/* Problems go to `r` with `path` as the option's name; the field then keeps its
 * old value. */
bool value_read(struct report *r, const struct option *o, const char *path, const struct conf_node *n, void *base);
/* The same from the file that the node names, for secrets. */
bool value_read_file(struct report *r, const struct option *o, const char *path, const struct conf_node *n, void *base);

/* `1,5-9,-20--10` added to the ranges; false with *bad the item at fault. */
struct range_list {
    struct conf_range *items;
    size_t count, cap;
};
bool ranges_parse(struct str text, struct range_list *out, struct str *bad);
/* Sorts, and joins what overlaps or touches. */
void ranges_normalize(struct range_list *l);

#endif
