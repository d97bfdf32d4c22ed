/*
 * ops: what operators and load balancers see. The admin console, the HTTP
 * health and metrics pages. Reads all other rooms; owns none of their state.
 */
#ifndef SHARDGATE_OPS_H
#define SHARDGATE_OPS_H

#include "shardgate/base.h"
#include "shardgate/conf.h"
#include "shardgate/map.h"
#include "shardgate/net.h"
#include "shardgate/pool.h"
#include "shardgate/session.h"

/* One worker as ops sees it. pools and sessions are touched only by messages
 * posted to loop; counters and node statistics may be read from any thread. */
struct ops_worker {
    struct loop *loop;
    struct pools *pools;
    struct sessions *sessions;
    const struct counters *counters;
};

enum ops_phase { OPS_STARTING, OPS_RUNNING, OPS_DRAINING, OPS_STOPPING };

/* The process as the daemon shows it to ops. Functions are called on the
 * control thread only; data that workers' threads need they get by messages. */
struct ops_env {
    struct loop *control;
    struct ops_worker *workers; /* fixed after the start */
    unsigned worker_count;
    struct session_hub *hub;
    struct directory *directory; /* control thread */
    struct health *health;       /* any thread for health_get */
    void *ctx;
    struct conf *(*conf)(void *ctx); /* the generation in use, borrowed */
    struct map *(*map)(void *ctx);   /* borrowed; NULL before the first */
    enum ops_phase (*phase)(void *ctx);
    uint64_t (*started_ms)(void *ctx); /* loop time of control */
    /* Reload configuration and map, as SIGHUP does; done on the control thread. */
    void (*reload)(void *ctx, void (*done)(void *done_ctx, const struct error *e), void *done_ctx);
    void (*drain)(void *ctx);    /* as SIGTERM does, but stays up: /readyz 503, clients asked to leave */
    void (*shutdown)(void *ctx); /* as SIGINT does */
};

struct ops;
struct ops *ops_new(const struct ops_env *env); /* env is copied */
/* Opens the HTTP server where configured. Logs "http listening" address= port=. */
bool ops_start(struct ops *o, struct error *e) MUST_CHECK;
void ops_stop(struct ops *o); /* stops HTTP; control thread */
void ops_free(struct ops *o); /* after all loops have ended */
struct console_ops ops_console(struct ops *o);

/* docs/metrics.md as Markdown. */
bool ops_print_metrics_docs(struct buf *out);

#endif
