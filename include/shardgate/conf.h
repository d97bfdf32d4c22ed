/*
 * conf: the YAML file, read into an immutable struct. One table (options.def)
 * is the source of parsing, defaults, ranges, --print-config-docs, SHOW CONFIG
 * and docs/configuration.md.
 */
#ifndef SHARDGATE_CONF_H
#define SHARDGATE_CONF_H

#include "shardgate/base.h"

enum conf_reload { CONF_RELOAD, CONF_NEW_SESSIONS, CONF_RESTART };

enum conf_pool_mode { CONF_MODE_DEFAULT = -1, CONF_MODE_TRANSACTION, CONF_MODE_SESSION };
enum conf_auth_type { CONF_AUTH_TRUST, CONF_AUTH_PASSWORD, CONF_AUTH_MD5, CONF_AUTH_SCRAM };
enum conf_missing_tenant { CONF_MISSING_REFUSE, CONF_MISSING_PRIMARY };
enum conf_source { /* bits, in the order they are consulted */
                   CONF_SOURCE_STARTUP = 1 << 0,
                   CONF_SOURCE_USER = 1 << 1,
                   CONF_SOURCE_DATABASE = 1 << 2,
                   CONF_SOURCE_SET = 1 << 3,
                   CONF_SOURCE_COMMENT = 1 << 4,
};

struct conf_strings {
    char **items;
    size_t count;
};
struct conf_range { /* inclusive */
    int64_t min, max;
};
struct conf_user {
    char *name;
    char *password;             /* plain, md5… or SCRAM-SHA-256$… verifier; NULL: no password login */
    char *server_user;          /* user on the shard; NULL: the connection string's, else the same name */
    char *server_password;      /* NULL: the connection string's, else a plain password */
    struct conf_range *tenants; /* the tenants this user may act for: sorted, disjoint */
    size_t tenant_count;        /* 0: any */
    enum conf_pool_mode mode;
    int64_t max_clients;            /* 0: no limit */
    int64_t max_server_connections; /* 0: no limit */
    int64_t pool_size;              /* 0: pool.size */
};
struct conf_database {
    char *name;
    char *server_database; /* NULL: the connection string's dbname, else the same name */
    enum conf_pool_mode mode;
    int64_t max_server_connections; /* 0: no limit */
    int64_t pool_size;              /* 0: pool.size */
};

/* One generation of the configuration: plain data, never changed once loaded,
 * shared by all threads. Durations are milliseconds, sizes bytes; unix_mode is
 * the mode itself (0777). Texts and secrets of options are never NULL: "" where
 * nothing is set. */
struct conf { /* in the table's order: NOLINT(clang-analyzer-optin.performance.Padding) */
#define OPTION_BOOL(field, name, dflt, reload, help) bool field;
#define OPTION_INT(field, name, dflt, min, max, unit, reload, help) int64_t field;
#define OPTION_DURATION(field, name, dflt, min, max, reload, help) int64_t field;
#define OPTION_SIZE(field, name, dflt, min, max, reload, help) int64_t field;
#define OPTION_STRING(field, name, dflt, reload, help) char *field;
#define OPTION_SECRET(field, name, reload, help) char *field;
#define OPTION_STRINGS(field, name, dflt, reload, help) struct conf_strings field;
#define OPTION_ENUM(field, name, type, choices, dflt, reload, help) type field;
#define OPTION_SET(field, name, choices, dflt, reload, help) unsigned field;
#include "shardgate/options.def"
    struct conf_user *users;
    size_t user_count;
    struct conf_database *databases;
    size_t database_count;
    char *path;         /* file it came from */
    int16_t home_shard; /* SHARD_ID of the environment; -1: none */
    char region[4];     /* REGION of the environment; "": the home shard's */
    atomic_uint refs;
};

/* Reads `path`. On failure returns NULL with file, line, column, what stands there
 * and what was expected in e->cause (and e->detail). Checks the whole file,
 * including relations between options. */
struct conf *conf_load(const char *path, struct error *e) MUST_CHECK;
/* The same from memory: for tests and fuzzing. */
struct conf *conf_parse(const char *name, struct str yaml, struct error *e) MUST_CHECK;
/* As conf_load, and appends each of the problems (at most 100) as a line to `problems`: for --check-config. */
struct conf *conf_check(const char *path, struct buf *problems, struct error *e) MUST_CHECK;
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c);

/* Names of options that differ and need a restart, comma-separated, into `out`;
 * returns how many. The new generation then carries the old values of those. */
size_t conf_keep_restart_options(const struct conf *old, struct conf *new_, struct buf *out);

/* For SHOW CONFIG and the documents. Values of secrets read as "****". */
struct conf_option_info {
    const char *name, *type, *unit, *dflt, *range, *help;
    enum conf_reload reload;
    char text[2][128]; /* dflt and range point here: not to be copied as a struct */
};
size_t conf_option_count(void);
void conf_option_info(size_t i, struct conf_option_info *out);
bool conf_option_value(const struct conf *c, size_t i, struct buf *out);
/* docs/configuration.md as Markdown. */
bool conf_print_docs(struct buf *out);

/* A regular file, whole, into `out` (initialized here, and empty on failure);
 * e->cause names the path and the reason. */
bool conf_read_file(const char *path, size_t max, struct buf *out, struct error *e) MUST_CHECK;
/* Overwrites what a buffer held before it is freed. */
void conf_wipe(struct buf *b);

#endif
