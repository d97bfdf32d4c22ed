#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "shardgate/net.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_process(void)
{
    /* What libpq reads from the environment and no connection string can
     * override. All else is given explicitly, see pqconn_string.c; those
     * variables stay, since the configuration may refer to them. */
    static const char *const variables[] = {
        "PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION",
    };
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    signal(SIGPIPE, SIG_IGN);
    /* Cancel requests and name look-ups block a pool thread each; four is too
     * few when a shard's host is silent. */
    setenv("UV_THREADPOOL_SIZE", "16", 0);
}

void net_init(void)
{
    pthread_once(&once, init_process);
}
