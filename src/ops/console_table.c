#include "console.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_LEN(array)
#define SHOW .tag = "SHOW", .right = CONSOLE_STATS
#define ADMIN(word) .words = {word}, .tag = word, .right = CONSOLE_ADMIN
#define TOLERATED(word, answer)                                                                       \
    {                                                                                                 \
        .words = {word}, .argument = CONSOLE_IGNORED, .local = true, .tag = answer, .run = console_ok \
    }

static const char *const status_columns[] = {"version", "home_shard",     "region",  "phase",           "ready",
                                             "reason",  "uptime_seconds", "clients", "clients_waiting", "map_degraded"};
static const char *const map_columns[] = {"loaded",     "state",       "source",  "degraded",  "revision",
                                          "generation", "age_seconds", "shards",  "tenants",   "bytes",
                                          "reloads",    "failures",    "load_ms", "last_error"};
static const char *const shards_columns[] = {
    "shard",  "region",     "datacenter",          "primary", "active",      "min_tenant", "max_tenant",      "health",
    "usable", "latency_ms", "checked_seconds_ago", "paused",  "backing_off", "servers",    "clients_waiting", "error"};
static const char *const stats_columns[] = {"shard", "region",
/* Names as in the metrics, without "shard_". */
#define SHARD_COUNTER(name, metric, help) &(metric)[6],
#include "shardgate/metrics.def"
                                            "query_avg_ms", "wait_avg_ms"};
static const char *const pools_columns[] = {
    "worker",         "shard",        "database",           "user",          "mode",           "clients_waiting",
    "servers_active", "servers_idle", "servers_connecting", "servers_other", "oldest_wait_ms", "paused"};
static const char *const clients_columns[] = {"id",    "worker",      "user",   "database",     "address",
                                              "port",  "application", "state",  "tenant",       "tenant_source",
                                              "shard", "server",      "pinned", "connected_ms", "wait_ms"};
static const char *const servers_columns[] = {"id",  "worker", "shard", "database", "user",   "state",
                                              "pid", "tls",    "dirty", "age_ms",   "idle_ms"};
static const char *const tenant_columns[] = {"tenant", "shard", "region", "datacenter", "active", "why", "revision"};
static const char *const config_columns[] = {"name", "value", "default", "unit", "changes"};
static const char *const workers_columns[] = {"worker",          "responding", "clients",
                                              "clients_waiting", "servers",    "servers_in_use"};
static const char *const lists_columns[] = {"list", "items"};
static const char *const version_columns[] = {"version"};
static const char *const help_columns[] = {"command", "right", "help"};
static const char *const one_columns[] = {"?column?"};

static const struct console_command table[] = {
    {.words = {"SHOW", "STATUS"},
     SHOW,
     COLUMNS(status_columns),
     .run = console_show_status,
     .help = "This instance in one row: phase, ready or why not, clients."},
    {.words = {"SHOW", "POOLS"},
     SHOW,
     COLUMNS(pools_columns),
     .run = console_show_pools,
     .help = "Pools of each worker: clients waiting, servers by state."},
    {.words = {"SHOW", "CLIENTS"},
     SHOW,
     COLUMNS(clients_columns),
     .run = console_show_clients,
     .help = "Client connections: tenant, shard, state."},
    {.words = {"SHOW", "SERVERS"},
     SHOW,
     COLUMNS(servers_columns),
     .run = console_show_servers,
     .help = "Server connections."},
    {.words = {"SHOW", "SHARDS"},
     SHOW,
     COLUMNS(shards_columns),
     .run = console_show_shards,
     .help = "Shards of the map: range, health, pause."},
    {.words = {"SHOW", "MAP"},
     SHOW,
     COLUMNS(map_columns),
     .run = console_show_map,
     .help = "The tenant map: revision, age, source, last error."},
    {.words = {"SHOW", "STATS"},
     SHOW,
     COLUMNS(stats_columns),
     .run = console_show_stats,
     .help = "Counters by shard, over all workers."},
    {.words = {"SHOW", "CONFIG"},
     SHOW,
     COLUMNS(config_columns),
     .run = console_show_config,
     .help = "Options in use; secrets are hidden."},
    {.words = {"SHOW", "WORKERS"},
     SHOW,
     COLUMNS(workers_columns),
     .run = console_show_workers,
     .help = "Worker threads."},
    {.words = {"SHOW", "LISTS"},
     SHOW,
     COLUMNS(lists_columns),
     .run = console_show_lists,
     .help = "How many there are of each thing."},
    {.words = {"SHOW", "TENANT"},
     .operand = "n",
     .argument = CONSOLE_NUMBER,
     SHOW,
     COLUMNS(tenant_columns),
     .run = console_show_tenant,
     .help = "A tenant's shard, and why: override, range, learned or none."},
    {.words = {"SHOW", "VERSION"},
     .tag = "SHOW",
     .local = true,
     COLUMNS(version_columns),
     .run = console_show_version,
     .help = "The version of shardgate."},
    {.words = {"SHOW", "HELP"}, .tag = "SHOW", .local = true, COLUMNS(help_columns), .run = console_show_help},
    {.words = {"HELP"},
     .tag = "HELP",
     .local = true,
     COLUMNS(help_columns),
     .run = console_show_help,
     .help = "This list."},
    {ADMIN("RELOAD"), .run = console_reload, .help = "Reload configuration and map, as SIGHUP does; waits for both."},
    {ADMIN("PAUSE"), .operand = "[shard]", .argument = CONSOLE_SHARD, .run = console_pause,
     .help = "Hold new transactions, of one shard or all, and wait until those under way have ended."},
    {ADMIN("RESUME"), .operand = "[shard]", .argument = CONSOLE_SHARD, .run = console_resume,
     .help = "Go on after PAUSE."},
    {ADMIN("RECONNECT"), .operand = "[shard]", .argument = CONSOLE_SHARD, .run = console_reconnect,
     .help = "Replace server connections: idle ones now, others when their transaction ends."},
    {ADMIN("KILL"), .operand = "client_id", .argument = CONSOLE_NUMBER, .run = console_kill,
     .help = "End a client connection; the id is that of SHOW CLIENTS."},
    {ADMIN("DRAIN"), .run = console_drain,
     .help = "Take no new clients, let transactions end, answer 503 on /readyz; the process stays."},
    {ADMIN("SHUTDOWN"), .run = console_shutdown, .help = "End the process now, as SIGINT does."},
    /* What drivers send of themselves. */
    TOLERATED("SET", "SET"),
    TOLERATED("RESET", "RESET"),
    TOLERATED("DISCARD", "DISCARD ALL"),
    TOLERATED("BEGIN", "BEGIN"),
    TOLERATED("START", "START TRANSACTION"),
    TOLERATED("COMMIT", "COMMIT"),
    TOLERATED("END", "COMMIT"),
    TOLERATED("ROLLBACK", "ROLLBACK"),
    TOLERATED("ABORT", "ROLLBACK"),
    {.words = {"SELECT", "1"}, .local = true, .tag = "SELECT 1", COLUMNS(one_columns), .run = console_select_one},
    {.words = {"SELECT", "VERSION"},
     .argument = CONSOLE_PARENTHESES,
     .local = true,
     .tag = "SELECT 1",
     COLUMNS(version_columns),
     .run = console_show_version},
};

const struct console_command *console_table(size_t *count)
{
    *count = ARRAY_LEN(table);
    return table;
}

bool console_may(const struct console_command *c, bool admin, bool stats, struct error *e)
{
    if (admin || c->right == CONSOLE_ANY || (stats && c->right == CONSOLE_STATS))
        return true;
    error_set(e, ERR_NOT_PERMITTED, "%s%s%s", c->words[0], c->words[1] ? " " : "", c->words[1] ? c->words[1] : "");
    if (c->right == CONSOLE_STATS)
        error_hint(e, "Only users listed in admin.users or admin.stats_users may do this.");
    return false;
}
