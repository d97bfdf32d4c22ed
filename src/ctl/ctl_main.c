#include "ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct option long_options[] = {
    {"host", required_argument, NULL, 'h'}, {"port", required_argument, NULL, 'p'},
    {"user", required_argument, NULL, 'U'}, {"dbname", required_argument, NULL, 'd'},
    {"json", no_argument, NULL, 'j'},       {"help", no_argument, NULL, 'H'},
    {"version", no_argument, NULL, 'V'},    {NULL, 0, NULL, 0},
};

static int usage_error(const char *what, const char *of)
{
    fprintf(stderr, "shardgatectl: %s%s%s; see shardgatectl --help\n", what, *of ? " " : "", of);
    return CTL_USAGE;
}

struct request {
    bool help, version;
    const char *command, *argument;
    int extra; /* arguments too many */
};

static bool parse(int argc, char **argv, struct ctl_options *o, struct request *q)
{
    int c;

    while ((c = getopt_long(argc, argv, "h:p:U:d:j", long_options, NULL)) != -1) {
        switch (c) {
        case 'h':
            o->host = optarg;
            break;
        case 'p':
            o->port = optarg;
            break;
        case 'U':
            o->user = optarg;
            break;
        case 'd':
            o->database = optarg;
            break;
        case 'j':
            o->json = true;
            break;
        case 'V':
            q->version = true;
            break;
        case 'H':
            q->help = true;
            break;
        default: /* getopt has said why */
            return false;
        }
    }
    q->command = optind < argc ? argv[optind] : NULL;
    q->argument = optind + 1 < argc ? argv[optind + 1] : NULL;
    q->extra = argc - optind - 2;
    return true;
}

static int check_argument(const struct ctl_command *command, const struct request *q)
{
    int64_t number;

    if (!command->operand && q->argument)
        return usage_error(command->name, "takes no argument");
    if (command->operand && command->operand[0] != '[' && !q->argument)
        return usage_error(command->name, "needs an argument");
    if (q->extra > 0)
        return usage_error(command->name, "takes one argument");
    if (q->argument && !str_to_i64(str_from(q->argument), &number))
        return usage_error("not a whole number:", q->argument);
    return CTL_OK;
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    struct request q = {0};

    if (!parse(argc, argv, &c.options, &q))
        return usage_error("cannot go on", "");
    if (q.version) {
        puts("shardgatectl " SHARDGATE_VERSION);
        return CTL_OK;
    }
    if (!q.command && q.help) {
        ctl_help();
        return CTL_OK;
    }
    if (!q.command)
        return usage_error("a command is needed", "");
    const struct ctl_command *command = ctl_command_find(q.command);
    if (!command)
        return usage_error("no such command:", q.command);
    if (q.help) {
        ctl_command_help(command);
        return CTL_OK;
    }
    int result = check_argument(command, &q);
    if (result != CTL_OK)
        return result;
    result = ctl_connect(&c) ? command->run(&c, command, q.argument) : CTL_UNREACHABLE;
    PQfinish(c.conn);
    if (fflush(stdout) != 0)
        return usage_error("cannot write the output", "");
    return result;
}
