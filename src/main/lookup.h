/* shardgate --lookup: one tenant's shard, from the directory or the cache. */
#ifndef SHARDGATE_LOOKUP_H
#define SHARDGATE_LOOKUP_H

#include "shardgate/conf.h"

/* Takes c. Exit status: 0 found, 1 not in the map or no map, 2 not a tenant. */
int lookup_run(struct conf *c, const char *tenant);

#endif
