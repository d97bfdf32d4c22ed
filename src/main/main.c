/* The command line of shardgate. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "lookup.h"

static const char usage[] = "shardgate - a sharding-aware PostgreSQL connection router\n"
                            "\n"
                            "  shardgate -c FILE                    run\n"
                            "  shardgate -c FILE --check-config     check the configuration and leave\n"
                            "  shardgate -c FILE --lookup TENANT    print the tenant's shard, and why, and leave\n"
                            "  shardgate --print-config-docs        every option, as Markdown\n"
                            "  shardgate --print-metrics-docs       every metric, as Markdown\n"
                            "  shardgate --version, --help\n"
                            "\n"
                            "  -c, --config FILE   the configuration (default: /etc/shardgate/shardgate.yaml)\n"
                            "\n"
                            "Signals: HUP reloads configuration and map, TERM drains and leaves, INT leaves\n"
                            "at once, USR1 reopens the log.\n";

enum { OPT_CHECK = 256, OPT_LOOKUP, OPT_CONFIG_DOCS, OPT_METRICS_DOCS };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"lookup", required_argument, NULL, OPT_LOOKUP},
    {"print-config-docs", no_argument, NULL, OPT_CONFIG_DOCS},
    {"print-metrics-docs", no_argument, NULL, OPT_METRICS_DOCS},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int print(bool (*make)(struct buf *out))
{
    struct buf out;
    buf_init(&out, 0);
    bool ok = make(&out);
    struct str text = buf_str(&out);
    ok = ok && fwrite(text.ptr, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    buf_fini(&out);
    return ok ? 0 : 1;
}

static struct conf *load(const char *path)
{
    struct error e;
    error_clear(&e);
    struct conf *c = conf_load(path, &e);
    if (!c) {
        fprintf(stderr, "%s\n", e.cause);
        if (e.hint[0])
            fprintf(stderr, "%s\n", e.hint);
    }
    return c;
}

static int check(const char *path)
{
    struct error e;
    struct buf problems;
    error_clear(&e);
    buf_init(&problems, 0);
    struct conf *c = conf_check(path, &problems, &e);
    struct auth_users *users = c && daemon_check_conf(c, &e) ? auth_users_load(c, &e) : NULL;
    if (!c && problems.len)
        fprintf(stderr, "%.*s", (int)problems.len, buf_head(&problems));
    else if (!users)
        fprintf(stderr, "%s\n", e.cause);
    else
        printf("%s: ok\n", path);
    bool ok = users != NULL;
    buf_fini(&problems);
    auth_users_unref(users);
    if (c)
        conf_unref(c);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *path = "/etc/shardgate/shardgate.yaml", *tenant = NULL;
    bool check_only = false;
    int opt;
    while ((opt = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            path = optarg;
            break;
        case OPT_CHECK:
            check_only = true;
            break;
        case OPT_LOOKUP:
            tenant = optarg;
            break;
        case OPT_CONFIG_DOCS:
            return print(conf_print_docs);
        case OPT_METRICS_DOCS:
            return print(ops_print_metrics_docs);
        case 'V':
            puts("shardgate " SHARDGATE_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs("Try shardgate --help.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "shardgate: unexpected argument %s\nTry shardgate --help.\n", argv[optind]);
        return 2;
    }
    if (check_only)
        return check(path);
    struct conf *c = load(path);
    if (!c)
        return 1;
    return tenant ? lookup_run(c, tenant) : daemon_run(c);
}
