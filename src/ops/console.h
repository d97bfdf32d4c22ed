/*
 * console: the admin console's commands. One table (console_table.c) is the source
 * of parsing, permission, columns, HELP and the function of each.
 *
 *   worker: run -> parse, may it? -> local command ----------------.
 *                                 -> post -> control: command.run  |
 *                                            (gather, wait)        |
 *   worker: call->done <------------- post <- console_done <-------'
 */
#ifndef SHARDGATE_OPS_CONSOLE_H
#define SHARDGATE_OPS_CONSOLE_H

#include "shardgate/ops.h"

#include "gather.h"

enum console_right { CONSOLE_ANY, CONSOLE_STATS, CONSOLE_ADMIN };
enum console_argument {
    CONSOLE_NO_ARGUMENT,
    CONSOLE_NUMBER,      /* required, any int64 */
    CONSOLE_SHARD,       /* optional shard id; must be in the map */
    CONSOLE_IGNORED,     /* whatever follows: SET …, BEGIN … */
    CONSOLE_PARENTHESES, /* () */
};
struct console_run;
struct console_command {
    const char *words[2]; /* upper case; the second may be NULL */
    const char *operand;  /* for HELP and hints; NULL: none */
    enum console_argument argument;
    enum console_right right;
    bool local;      /* run on the caller's thread; touches nothing shared */
    const char *tag; /* of CommandComplete; NULL: run writes its own */
    const char *const *columns;
    unsigned column_count;
    void (*run)(struct console_run *r); /* ends in console_done, once */
    const char *help;                   /* NULL: tolerated for drivers' sake, not advertised */
};
struct console_run {
    struct post post;
    struct ilist node; /* of ops.pauses */
    struct deadline tick;
    uint64_t give_up_ms;
    struct ops *ops;
    struct console_call *call;
    const struct console_command *command;
    bool has_number;
    int64_t number;
};

const struct console_command *console_table(size_t *count);
/* False with e = SYNTAX. */
bool console_parse(struct str text, const struct console_command **command, bool *has_number, int64_t *number,
                   struct error *e);
/* False with e = NOT_PERMITTED. */
bool console_may(const struct console_command *c, bool admin, bool stats, struct error *e);

/* Ends a run: e, or CommandComplete with the command's tag; r is gone. */
void console_done(struct console_run *r, const struct error *e);
/* Asks all workers; done gets the run as ctx. */
void console_ask(struct console_run *r, void (*collect)(struct gather_part *p, struct ops_worker *w),
                 void (*done)(struct gather *g, void *ctx));
/* Appends the workers' rows, and a notice if a worker is missing. */
void console_put_parts(struct console_run *r, const struct gather *g);
void console_note_missing(struct console_run *r, const struct gather *g);
struct buf *console_out(struct console_run *r);

/* For ops.c. */
void console_pause_tick(struct deadline *d, void *ctx);
void console_stop_all(struct ops *o);
void console_free_all(struct ops *o);

/* ---- one row --------------------------------------------------------------- */

#define CONSOLE_COLUMNS_MAX 32
struct console_row {
    struct str cell[CONSOLE_COLUMNS_MAX];
    char digits[CONSOLE_COLUMNS_MAX][24];
    unsigned count;
};
void row_text(struct console_row *r, const char *s); /* NULL is NULL; s stays until row_put */
void row_int(struct console_row *r, int64_t n);
void row_uint(struct console_row *r, uint64_t n);
void row_bool(struct console_row *r, bool b); /* yes, no */
void row_null(struct console_row *r);
void row_milli(struct console_row *r, uint64_t thousandths); /* 1500 as 1.500 */
void row_put(struct console_row *r, struct buf *out);        /* and empties it */

/* ---- the commands ----------------------------------------------------------- */

void console_empty(struct console_run *r);
void console_ok(struct console_run *r);
void console_select_one(struct console_run *r);
void console_show_version(struct console_run *r);
void console_show_help(struct console_run *r);
void console_show_status(struct console_run *r);
void console_show_map(struct console_run *r);
void console_show_tenant(struct console_run *r);
void console_show_config(struct console_run *r);
void console_show_lists(struct console_run *r);
void console_show_shards(struct console_run *r);
void console_show_stats(struct console_run *r);
void console_show_workers(struct console_run *r);
void console_show_pools(struct console_run *r);
void console_show_clients(struct console_run *r);
void console_show_servers(struct console_run *r);
void console_reload(struct console_run *r);
void console_pause(struct console_run *r);
void console_resume(struct console_run *r);
void console_reconnect(struct console_run *r);
void console_kill(struct console_run *r);
void console_drain(struct console_run *r);
void console_shutdown(struct console_run *r);

#endif
