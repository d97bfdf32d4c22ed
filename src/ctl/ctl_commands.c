#include "ctl.h"

#include <stdio.h>
#include <string.h>

static void build(char *to, size_t size, const struct ctl_command *command, const char *argument)
{
    snprintf(to, size, "%s%s%s", command->statement, argument ? " " : "", argument ? argument : "");
}

static int run_statement(struct ctl *c, const struct ctl_command *command, const char *argument)
{
    char statement[80];
    int code = CTL_OK;

    build(statement, sizeof(statement), command, argument);
    PGresult *r = ctl_query(c, statement, &code);
    if (!r)
        return code;
    if (command->rows && c->options.json)
        ctl_print_json(ctl_json_rows(r));
    else if (command->rows)
        ctl_print_table(r);
    else if (c->options.json)
        ctl_print_json(json_pack("{s:s, s:b}", "command", statement, "done", 1));
    else
        printf("%s: done\n", statement);
    PQclear(r);
    return CTL_OK;
}

/* One row, told line by line. */
static int run_single(struct ctl *c, const struct ctl_command *command, const char *argument)
{
    char statement[80];
    int code = CTL_OK;

    build(statement, sizeof(statement), command, argument);
    PGresult *r = ctl_query(c, statement, &code);
    if (!r)
        return code;
    if (PQntuples(r) != 1) {
        fprintf(stderr, "shardgatectl: %s did not answer with one row; is this shardgate's console?\n", statement);
        code = CTL_FAILED;
    } else if (c->options.json) {
        ctl_print_json(ctl_json_row(r, 0));
    } else {
        ctl_print_row(r, 0);
    }
    if (strcmp(ctl_value(r, 0, "why"), "none") == 0)
        code = CTL_FAILED;
    PQclear(r);
    return code;
}

static void print_status(const PGresult *status, const PGresult *map, const PGresult *shards)
{
    bool ready = strcmp(ctl_value(status, 0, "ready"), "yes") == 0;
    bool degraded = strcmp(ctl_value(map, 0, "degraded"), "yes") == 0;

    printf("%s%s%s\n", ready ? "ready" : "NOT READY: ", ctl_value(status, 0, "reason"),
           degraded ? ", DEGRADED: the map is not confirmed by the directory" : "");
    putchar('\n');
    ctl_print_row(status, 0);
    puts("\nmap");
    ctl_print_row(map, 0);
    puts("\nshards");
    ctl_print_table(shards);
}

static int run_status(struct ctl *c, const struct ctl_command *command, const char *argument)
{
    static const char *const statements[] = {"SHOW STATUS", "SHOW MAP", "SHOW SHARDS"};
    PGresult *r[ARRAY_LEN(statements)] = {NULL};
    int code = CTL_OK;

    (void)command;
    (void)argument;
    for (size_t i = 0; i < ARRAY_LEN(statements) && code == CTL_OK; i++)
        r[i] = ctl_query(c, statements[i], &code);
    if (code == CTL_OK) {
        if (c->options.json)
            ctl_print_json(json_pack("{s:o, s:o, s:o}", "status", ctl_json_row(r[0], 0), "map", ctl_json_row(r[1], 0),
                                     "shards", ctl_json_rows(r[2])));
        else
            print_status(r[0], r[1], r[2]);
        if (strcmp(ctl_value(r[0], 0, "ready"), "yes") != 0 || strcmp(ctl_value(r[1], 0, "degraded"), "yes") == 0)
            code = CTL_FAILED;
    }
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        PQclear(r[i]);
    return code;
}

static const struct ctl_command table[] = {
    {"status", NULL, NULL, true, run_status,
     "Is the instance ready, is its map confirmed, how are its shards.\n"
     "Exit code 0: ready; 1: not ready, or degraded; 2: cannot be reached."},
    {"tenant", "N", "SHOW TENANT", true, run_single,
     "The shard of a tenant, and why: override, range, learned, none.\n"
     "Exit code 1: the tenant is not in the map. A negative number: tenant -- -5"},
    {"shards", NULL, "SHOW SHARDS", true, run_statement, "Shards of the map: range, health, pause."},
    {"map", NULL, "SHOW MAP", true, run_single, "The tenant map: revision, age, source, last error."},
    {"pools", NULL, "SHOW POOLS", true, run_statement, "Pools of each worker: clients waiting, servers by state."},
    {"clients", NULL, "SHOW CLIENTS", true, run_statement, "Client connections: tenant, shard, state."},
    {"servers", NULL, "SHOW SERVERS", true, run_statement, "Server connections."},
    {"stats", NULL, "SHOW STATS", true, run_statement, "Counters by shard."},
    {"workers", NULL, "SHOW WORKERS", true, run_statement, "Worker threads."},
    {"lists", NULL, "SHOW LISTS", true, run_statement, "How many there are of each thing."},
    {"config", NULL, "SHOW CONFIG", true, run_statement, "Options in use; secrets are hidden."},
    {"version", NULL, "SHOW VERSION", true, run_single,
     "The version of the instance; --version is that of this command."},
    {"reload", NULL, "RELOAD", false, run_statement,
     "Reload configuration and map, and wait for both.\nExit code 1: one was refused, and the old one stays."},
    {"pause", "[SHARD]", "PAUSE", false, run_statement,
     "Hold new transactions, of one shard or all, and wait until those under way have ended.\n"
     "Exit code 1: some have not within timeout.query_wait; the pause stands."},
    {"resume", "[SHARD]", "RESUME", false, run_statement, "Go on after a pause."},
    {"reconnect", "[SHARD]", "RECONNECT", false, run_statement,
     "Replace server connections: idle ones now, others when their transaction ends."},
    {"kill", "ID", "KILL", false, run_statement, "End a client connection; the id is that of clients."},
    {"drain", NULL, "DRAIN", false, run_statement,
     "Take no new clients, let transactions end, answer 503 on /readyz; the process stays."},
    {"shutdown", NULL, "SHUTDOWN", false, run_statement, "End the process now."},
};

const struct ctl_command *ctl_command_at(size_t i) { return i < ARRAY_LEN(table) ? &table[i] : NULL; }

const struct ctl_command *ctl_command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    }
    return NULL;
}
