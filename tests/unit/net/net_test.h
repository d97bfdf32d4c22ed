/*
 * What the tests of net share.
 */
#ifndef SHARDGATE_NET_TEST_H
#define SHARDGATE_NET_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shardgate/net.h"

/* Turns the loop until the condition holds, for 10 s at most. */
#define WAIT_FOR(loop, condition)                              \
    do {                                                       \
        uint64_t give_up_ns = clock_mono_ns() + 10000000000u;  \
        while (!(condition) && clock_mono_ns() < give_up_ns) { \
            loop_turn(loop);                                   \
            if (!(condition))                                  \
                usleep(200);                                   \
        }                                                      \
        assert_true(condition);                                \
    } while (0)

static inline struct loop *new_loop(void)
{
    struct error e;
    struct loop *l = loop_new(&e);
    assert_non_null(l);
    return l;
}

/* A PostgreSQL cluster of the test's own; see tests/support/pg_temp.sh. */
struct pg_temp {
    int port;
    char folder[128];
};

static inline void pg_temp_script(char *out, size_t size, const char *arguments)
{
    const char *source = getenv("SHARDGATE_SOURCE");
    snprintf(out, size, "'%s/tests/support/pg_temp.sh' %s", source ? source : ".", arguments);
}

static inline int pg_temp_start(struct pg_temp *pg)
{
    struct error e;
    char arguments[64], command[512];
    pg->port = 0;
    int fd = listen_tcp("127.0.0.1", &pg->port, 1, false, &e);
    if (fd < 0)
        return -1;
    close(fd); /* free, at least a moment ago */
    snprintf(arguments, sizeof(arguments), "start %d", pg->port);
    pg_temp_script(command, sizeof(command), arguments);
    FILE *f = popen(command, "r");
    if (!f)
        return -1;
    bool ok = fgets(pg->folder, sizeof(pg->folder), f) != NULL;
    int status = pclose(f);
    pg->folder[strcspn(pg->folder, "\n")] = '\0';
    return ok && status == 0 ? 0 : -1;
}

static inline int pg_temp_stop(const struct pg_temp *pg)
{
    char arguments[160], command[512];
    snprintf(arguments, sizeof(arguments), "stop '%s'", pg->folder);
    pg_temp_script(command, sizeof(command), arguments);
    return system(command) == 0 ? 0 : -1;
}

#endif
