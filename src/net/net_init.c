#include <signal.h>
#include <stdlib.h>

#include "shardgate/net.h"

/* Called again (by each loop_new), it only reads the environment. */
void net_init(void)
{
    /* What libpq reads from the environment and no connection string can
     * override. All else is given explicitly, see pqconn_string.c; those
     * variables stay, since the configuration may refer to them. */
    static const char *const variables[] = {
        "PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION",
    };
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (getenv(variables[i]))
            unsetenv(variables[i]);
    /* Name look-ups block a pool thread each; four is too few when a name server is silent. */
    if (!getenv("UV_THREADPOOL_SIZE"))
        setenv("UV_THREADPOOL_SIZE", "16", 1);
    signal(SIGPIPE, SIG_IGN);
}
