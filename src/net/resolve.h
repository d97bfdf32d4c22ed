/*
 * Name look-ups off the loop.
 */
#ifndef SHARDGATE_RESOLVE_H
#define SHARDGATE_RESOLVE_H

#include <netdb.h>

#include "shardgate/net.h"

/* list NULL: failed, why says so. Called once, later; list lives during the call. */
typedef void (*resolve_cb)(void *ctx, const struct addrinfo *list, const char *why);

struct resolve;
/* NULL: could not be started. */
struct resolve *resolve_start(struct loop *l, const char *name, resolve_cb done, void *ctx);
void resolve_cancel(struct resolve *r); /* done is not called any more */

#endif
