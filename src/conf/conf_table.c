#include "conf_option.h"

#include <limits.h>

static const struct option main_rows[] = {
#define OPTION_BOOL(f, n, d, r, h) \
    {.name = n, .type = TYPE_BOOL, .reload = CONF_##r, .offset = offsetof(struct conf, f), .number = d, .help = h},
#define OPTION_INT(f, n, d, lo, hi, u, r, h) \
    {.name = n,                              \
     .type = TYPE_INT,                       \
     .reload = CONF_##r,                     \
     .offset = offsetof(struct conf, f),     \
     .number = d,                            \
     .min = lo,                              \
     .max = hi,                              \
     .unit = u,                              \
     .help = h},
#define OPTION_DURATION(f, n, d, lo, hi, r, h) \
    {.name = n,                                \
     .type = TYPE_DURATION,                    \
     .reload = CONF_##r,                       \
     .offset = offsetof(struct conf, f),       \
     .number = d,                              \
     .min = lo,                                \
     .max = hi,                                \
     .unit = "ms",                             \
     .help = h},
#define OPTION_SIZE(f, n, d, lo, hi, r, h) \
    {.name = n,                            \
     .type = TYPE_SIZE,                    \
     .reload = CONF_##r,                   \
     .offset = offsetof(struct conf, f),   \
     .number = d,                          \
     .min = lo,                            \
     .max = hi,                            \
     .unit = "B",                          \
     .help = h},
#define OPTION_STRING(f, n, d, r, h) \
    {.name = n, .type = TYPE_STRING, .reload = CONF_##r, .offset = offsetof(struct conf, f), .text = d, .help = h},
#define OPTION_SECRET(f, n, r, h) \
    {.name = n, .type = TYPE_SECRET, .reload = CONF_##r, .offset = offsetof(struct conf, f), .text = "", .help = h},
#define OPTION_STRINGS(f, n, d, r, h) \
    {.name = n, .type = TYPE_STRINGS, .reload = CONF_##r, .offset = offsetof(struct conf, f), .text = d, .help = h},
#define OPTION_ENUM(f, n, t, c, d, r, h) \
    {.name = n,                          \
     .type = TYPE_ENUM,                  \
     .reload = CONF_##r,                 \
     .offset = offsetof(struct conf, f), \
     .number = d,                        \
     .choices = c,                       \
     .help = h},
#define OPTION_SET(f, n, c, d, r, h)     \
    {.name = n,                          \
     .type = TYPE_SET,                   \
     .reload = CONF_##r,                 \
     .offset = offsetof(struct conf, f), \
     .text = d,                          \
     .choices = c,                       \
     .help = h},
#include "shardgate/options.def"
};

/* Enum fields are read and written as int whatever their type. */
#define OPTION_ENUM(f, n, t, c, d, r, h) _Static_assert(sizeof(t) == sizeof(int), n);
#include "shardgate/options.def"

#define FIELD(f) .offset = offsetof(struct conf_user, f), .reload = CONF_NEW_SESSIONS
static const struct option user_rows[] = {
    {.name = "name",
     .type = TYPE_STRING,
     FIELD(name),
     .unset = "required",
     .help = "Name that clients log in with, 1 to 127 bytes."},
    {.name = "password",
     .type = TYPE_SECRET,
     FIELD(password),
     .unset = "no login by password",
     .help = "Plain text, md5 hash, or SCRAM-SHA-256 verifier as PostgreSQL stores it (`rolpassword`). "
             "Left out, the secret of the same user in auth.file serves."},
    {.name = "server_user",
     .type = TYPE_STRING,
     FIELD(server_user),
     .unset = "the connection string's user, else the same name",
     .help = "User on the shards."},
    {.name = "server_password",
     .type = TYPE_SECRET,
     FIELD(server_password),
     .unset = "the connection string's password, else a plain `password`",
     .help = "Its password on the shards."},
    {.name = "tenants",
     .type = TYPE_RANGES,
     FIELD(tenants),
     .count_offset = offsetof(struct conf_user, tenant_count),
     .unset = "any tenant",
     .help = "Tenants that this user may act for: numbers and ranges, as a list or as a text such as `1,5-9`."},
    {.name = "pool_mode",
     .type = TYPE_ENUM,
     FIELD(mode),
     .number = CONF_MODE_DEFAULT,
     .choices = "transaction,session",
     .unset = "the database's, else pool.mode",
     .help = "When this user's server connections go back to the pool."},
    {.name = "max_clients",
     .type = TYPE_INT,
     FIELD(max_clients),
     .max = 1000000,
     .unset = "limits.max_clients_per_user",
     .help = "Client connections of this user."},
    {.name = "max_server_connections",
     .type = TYPE_INT,
     FIELD(max_server_connections),
     .max = 100000,
     .unset = "no limit",
     .help = "Server connections of this user to one shard, over all databases."},
    {.name = "pool_size",
     .type = TYPE_INT,
     FIELD(pool_size),
     .max = 100000,
     .unset = "the database's, else pool.size",
     .help = "Server connections for this user, one shard and database."},
};
#undef FIELD

#define FIELD(f) .offset = offsetof(struct conf_database, f), .reload = CONF_NEW_SESSIONS
static const struct option database_rows[] = {
    {.name = "name",
     .type = TYPE_STRING,
     FIELD(name),
     .unset = "required",
     .help = "Name that clients connect to, 1 to 127 bytes."},
    {.name = "server_database",
     .type = TYPE_STRING,
     FIELD(server_database),
     .unset = "the connection string's dbname, else the same name",
     .help = "Database on the shards."},
    {.name = "pool_mode",
     .type = TYPE_ENUM,
     FIELD(mode),
     .number = CONF_MODE_DEFAULT,
     .choices = "transaction,session",
     .unset = "pool.mode",
     .help = "When server connections for this database go back to the pool."},
    {.name = "max_server_connections",
     .type = TYPE_INT,
     FIELD(max_server_connections),
     .max = 100000,
     .unset = "no limit",
     .help = "Server connections for this database to one shard, over all users."},
    {.name = "pool_size",
     .type = TYPE_INT,
     FIELD(pool_size),
     .max = 100000,
     .unset = "pool.size",
     .help = "Server connections for this database, one shard and user."},
};
#undef FIELD

const struct option_table options_main = {main_rows, ARRAY_LEN(main_rows)};
const struct option_table options_user = {user_rows, ARRAY_LEN(user_rows)};
const struct option_table options_database = {database_rows, ARRAY_LEN(database_rows)};
