#include "ctl.h"

#include <stdio.h>
#include <string.h>

void ctl_help(void)
{
    puts("shardgatectl: operates a shardgate instance through its admin console.\n"
         "\n"
         "Usage: shardgatectl [options] COMMAND [ARGUMENT]\n"
         "\n"
         "Options:\n"
         "  -h, --host HOST      host or socket folder (PGHOST, else 127.0.0.1)\n"
         "  -p, --port PORT      port (PGPORT, else 6432)\n"
         "  -U, --user USER      a user of admin.users, or of admin.stats_users for what only shows (PGUSER)\n"
         "  -d, --dbname NAME    the console's database name, admin.database (shardgate)\n"
         "  -j, --json           JSON instead of tables\n"
         "      --help           this text; after a command: that command's\n"
         "      --version        the version of shardgatectl\n"
         "\n"
         "The password comes from PGPASSWORD or the password file, as for psql; other PG* variables count too.\n"
         "\n"
         "Commands:");
    const struct ctl_command *c;
    for (size_t i = 0; (c = ctl_command_at(i)); i++) {
        char name[40];
        snprintf(name, sizeof(name), "%s%s%s", c->name, c->operand ? " " : "", c->operand ? c->operand : "");
        printf("  %-20s %.*s\n", name, (int)strcspn(c->help, "\n"), c->help);
    }
    puts("\nExit codes: 0 done; 1 refused, failed or, for status, not ready; 2 cannot connect; 3 wrong usage.");
}

void ctl_command_help(const struct ctl_command *command)
{
    printf("Usage: shardgatectl [options] %s%s%s\n\n%s\n", command->name, command->operand ? " " : "",
           command->operand ? command->operand : "", command->help);
}
