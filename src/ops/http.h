/*
 * http: the health and metrics server. libmicrohttpd runs one thread of its own;
 * what a page says is worked out on the control thread:
 *
 *   MHD thread: request -> suspend --post--> control: (gather) render -> resume
 *                                                      MHD thread: send <-'
 *
 * A request is freed when both threads are through with it.
 */
#ifndef SHARDGATE_OPS_HTTP_H
#define SHARDGATE_OPS_HTTP_H

#include <pthread.h>

#include "shardgate/base.h"

struct MHD_Daemon;
struct ops;

struct http {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;  /* guards what follows and the flags of every request */
    struct ilist requests; /* all that are not freed */
    bool stopping;
};

void http_init(struct http *h);
bool http_start(struct ops *o, struct error *e) MUST_CHECK;
void http_stop(struct ops *o);  /* control thread */
void http_fini(struct http *h); /* after all loops have ended */

#endif
