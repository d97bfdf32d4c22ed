/* Numbers with the units of durations and sizes. */
#ifndef SHARDGATE_CONF_UNITS_H
#define SHARDGATE_CONF_UNITS_H

#include "conf_option.h"

/* In the largest unit that divides the number: 30000 as 30s. */
bool units_print(const struct option *o, int64_t number, struct buf *out);
/* A plain integer, octal digits, or a number and its unit; 0 needs none. Does not check the range. */
bool units_parse(const struct option *o, struct str text, int64_t *out);

#endif
