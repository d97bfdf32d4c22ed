/*
 * Draining and stopping.
 *
 *   RUNNING --SIGTERM--> DRAINING (/readyz 503) --drain_delay--> sessions end with
 *   their transactions --all gone, or shutdown_timeout--> STOPPING --> exit 0
 *   any --SIGINT, or a second SIGTERM--> STOPPING
 *   RUNNING --DRAIN--> DRAINING without an end
 */
#include "daemon.h"

static void begin_drain(struct daemon *d)
{
    for (unsigned i = 0; i < d->worker_count; i++) {
        if (d->exit_when_drained)
            worker_close_listeners(d->workers[i]);
        worker_drain(d->workers[i]);
    }
    if (d->exit_when_drained)
        timer_start(d->stop_timer, (uint64_t)d->conf->shutdown_timeout, 0);
}

static void on_drain_timer(void *ctx) { begin_drain(ctx); }

static void on_stop_timer(void *ctx)
{
    log_event(LOG_WARN, "shutdown timeout: ending the clients that are left");
    daemon_shutdown(ctx);
}

struct drained {
    struct post post;
    struct daemon *daemon;
};

static void on_drained(struct post *p, void *ctx)
{
    struct daemon *d = ctx;
    mem_free(container_of(p, struct drained, post));
    if (++d->drained >= d->worker_count && d->exit_when_drained && d->phase == OPS_DRAINING) {
        log_event(LOG_INFO, "drained");
        daemon_shutdown(d);
    }
}

void daemon_on_drained(void *ctx, struct worker *from)
{
    struct daemon *d = ctx;
    struct drained *m = mem_zalloc(sizeof *m);
    (void)from;
    m->post.run = on_drained;
    if (!loop_post(d->loop, &m->post))
        mem_free(m);
}

void daemon_drain(struct daemon *d, bool then_exit)
{
    if (d->phase == OPS_STOPPING)
        return;
    if (d->phase == OPS_DRAINING && then_exit && d->exit_when_drained) {
        daemon_shutdown(d); /* asked twice */
        return;
    }
    if (d->phase == OPS_DRAINING && d->exit_when_drained)
        return; /* DRAIN after SIGTERM: it drains already, and still ends */
    log_event(LOG_INFO, "draining", log_int("delay_ms", then_exit ? d->conf->drain_delay : 0));
    d->phase = OPS_DRAINING;
    d->exit_when_drained = then_exit;
    d->drained = 0;
    if (!d->drain_timer) {
        d->drain_timer = timer_new(d->loop, on_drain_timer, d);
        d->stop_timer = timer_new(d->loop, on_stop_timer, d);
    }
    if (then_exit) {
        notify_state("STOPPING=1");
        timer_start(d->drain_timer, (uint64_t)d->conf->drain_delay, 0);
    } else {
        begin_drain(d);
    }
}

void daemon_shutdown(struct daemon *d)
{
    if (d->phase == OPS_STOPPING)
        return;
    log_event(LOG_INFO, "stopping");
    notify_state("STOPPING=1");
    d->phase = OPS_STOPPING;
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_stop(d->workers[i]);
    loop_stop(d->loop);
}
