/*
 * shardgatectl: a client of the admin console. One connection, one command, one
 * exit code.
 */
#ifndef SHARDGATE_CTL_H
#define SHARDGATE_CTL_H

#include <jansson.h>
#include <libpq-fe.h>

#include "shardgate/base.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,      /* refused or failed; status: not ready or degraded; tenant: not in the map */
    CTL_UNREACHABLE = 2, /* no connection, or lost before the answer */
    CTL_USAGE = 3,
};

struct ctl_options {
    const char *host, *port, *user, *database; /* NULL: default */
    bool json;
};
struct ctl {
    struct ctl_options options;
    PGconn *conn;
};
struct ctl_command {
    const char *name;
    const char *operand;   /* for help; NULL: none; in [] if optional */
    const char *statement; /* of the console, to which the argument is added */
    bool rows;             /* the answer is a table */
    int (*run)(struct ctl *c, const struct ctl_command *command, const char *argument);
    const char *help;
};

const struct ctl_command *ctl_command_at(size_t i);           /* NULL past the end */
const struct ctl_command *ctl_command_find(const char *name); /* NULL: no such */
void ctl_help(void);
void ctl_command_help(const struct ctl_command *command);

/* Says why on stderr. */
bool ctl_connect(struct ctl *c);
/* NULL after saying why on stderr; *exit_code is then set. */
PGresult *ctl_query(struct ctl *c, const char *statement, int *exit_code);

/* Values are a server's, so made harmless for a terminal before they are printed. */
void ctl_print_table(const PGresult *r);
/* "name: value" lines of one row. */
void ctl_print_row(const PGresult *r, int row);
void ctl_print_json(json_t *j); /* takes j */
json_t *ctl_json_row(const PGresult *r, int row);
json_t *ctl_json_rows(const PGresult *r);
const char *ctl_value(const PGresult *r, int row, const char *column); /* "" for none */

#endif
