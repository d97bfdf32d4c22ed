/* Reading the tree into a struct conf, in steps. */
#ifndef SHARDGATE_CONF_READ_H
#define SHARDGATE_CONF_READ_H

#include "conf_option.h"
#include "conf_report.h"

#define PATH_MAX_LEN 200u /* of an option's name in messages */

/* One struct being read: its table, and where each of its options stands. */
struct section {
    const struct option_table *table;
    void *base;
    struct mark *at; /* one for each row; line 0: not given */
};

/* Reads `n` into the option called `name`, or into the secret `x` where the name
 * is x_file. False if there is no such option; problems only go to `r`. */
bool section_read(struct report *r, const struct section *s, struct str name, const char *path,
                  const struct conf_node *n);
/* Where an option stands, for checks of relations. */
struct mark section_mark(const struct section *s, const char *name);

void conf_read_users(struct report *r, struct conf *c, const struct conf_node *n);
void conf_read_databases(struct report *r, struct conf *c, const struct conf_node *n);
void conf_free_lists(struct conf *c);
/* SHARD_ID and REGION. */
void conf_read_environment(struct report *r, struct conf *c);
/* What one option alone cannot tell. */
void conf_check_relations(struct report *r, const struct section *s, const struct conf *c);

#endif
