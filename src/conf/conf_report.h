/*
 * Collects what is wrong with a file: the first problem becomes the error,
 * the rest is counted (and listed, where the caller wants all).
 */
#ifndef SHARDGATE_CONF_REPORT_H
#define SHARDGATE_CONF_REPORT_H

#include "shardgate/base.h"

#include "conf_yaml.h"

struct report {
    const char *name; /* of the file */
    struct error *e;  /* gets the first problem */
    struct buf *all;  /* gets a line for each; NULL: not wanted */
    size_t count;
};

#define REPORT_MAX 100u /* lines in `all` */

/* "file:line:column: path: text"; without the position where at.line is 0,
 * without the path where it is "". Returns false. */
bool report_at(struct report *r, struct mark at, const char *path, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A value for a message: in quotes, cut after 40 bytes, nothing unprintable. */
struct quoted {
    char text[64];
};
struct quoted report_quote(struct str s);
/* What stands at a node: "abc", nothing, a list, a section. */
struct quoted report_found(const struct conf_node *n);

/* The candidate nearest to `word`, fed one by one; for "did you mean". */
struct nearest {
    struct str word;
    struct str best;
    unsigned distance; /* of best; above the limit: none yet */
};
void nearest_init(struct nearest *n, struct str word);
void nearest_offer(struct nearest *n, struct str candidate);
/* "" or "; did you mean best?" */
struct quoted_hint {
    char text[112];
};
struct quoted_hint nearest_hint(const struct nearest *n);

#endif
