/*
 * The control thread: signals, the directory, shard health, the HTTP pages, and
 * the birth and end of the workers. It publishes map and configuration to the
 * workers as immutable snapshots.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- from the directory and the workers ---------------------------------------- */

static void on_map(void *ctx, struct map *m)
{
    struct daemon *d = ctx;
    struct map *old = d->map;
    d->map = map_ref(m);
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_set_map(d->workers[i], m);
    health_set_map(d->health, m);
    log_event(LOG_INFO, "map published", log_int("revision", map_revision(m)), log_int("generation", map_generation(m)),
              log_int("shards", map_shard_count(m)), log_int("tenants", map_override_count(m)));
    if (d->conf->home_shard >= 0 && !map_shard_by_id(m, d->conf->home_shard))
        log_event(LOG_WARN, "SHARD_ID is not in the map", log_int("shard", d->conf->home_shard));
    if (old)
        map_unref(old);
}

struct lookup {
    struct post post;
    struct daemon *daemon;
    struct worker *from;
    int64_t tenant;
};

static void on_looked_up(void *ctx, int64_t tenant, bool found, const struct error *e)
{
    struct lookup *l = ctx;
    (void)found; /* a found tenant is in the map that was published before this */
    worker_answer(l->from, tenant, e);
    mem_free(l);
}

static void on_lookup_post(struct post *p, void *ctx)
{
    struct lookup *l = container_of(p, struct lookup, post);
    struct daemon *d = ctx;
    if (d->phase == OPS_STOPPING)
        mem_free(l);
    else
        directory_lookup(d->directory, l->tenant, on_looked_up, l);
}

static void on_lookup(void *ctx, struct worker *from, int64_t tenant)
{
    struct daemon *d = ctx;
    struct lookup *l = mem_zalloc(sizeof *l);
    *l = (struct lookup){.post = {.run = on_lookup_post}, .daemon = d, .from = from, .tenant = tenant};
    if (!loop_post(d->loop, &l->post))
        mem_free(l);
}

/* ---- signals ---------------------------------------------------------------------- */

static void on_reloaded(void *ctx, const struct error *e)
{
    (void)ctx;
    if (e && e->code != ERR_CONFIG) /* that was logged with its line */
        log_event(LOG_ERROR, "reload failed", log_err(e));
}

static void on_signal(void *ctx, int signum)
{
    struct daemon *d = ctx;
    switch (signum) {
    case SIGHUP:
        daemon_reload(d, on_reloaded, d);
        break;
    case SIGTERM:
        daemon_drain(d, true);
        break;
    case SIGINT:
        daemon_shutdown(d);
        break;
    case SIGUSR1:
        if (!log_reopen())
            log_event(LOG_ERROR, "cannot reopen the log", log_str("file", d->conf->log_file));
        break;
    default:
        break;
    }
}

/* ---- for ops ------------------------------------------------------------------------ */

static struct conf *ops_conf(void *ctx) { return ((struct daemon *)ctx)->conf; }
static struct map *ops_map(void *ctx) { return ((struct daemon *)ctx)->map; }
static enum ops_phase ops_phase(void *ctx) { return ((struct daemon *)ctx)->phase; }
static uint64_t ops_started(void *ctx) { return ((struct daemon *)ctx)->started_ms; }
static void ops_reload(void *ctx, void (*done)(void *done_ctx, const struct error *e), void *done_ctx)
{
    daemon_reload(ctx, done, done_ctx);
}
static void ops_drain(void *ctx) { daemon_drain(ctx, false); }
static void ops_shutdown(void *ctx) { daemon_shutdown(ctx); }

static struct ops_env make_env(struct daemon *d, struct ops_worker *for_ops)
{
    return (struct ops_env){
        .control = d->loop,
        .workers = for_ops,
        .worker_count = d->worker_count,
        .hub = d->shared.hub,
        .directory = d->directory,
        .health = d->health,
        .ctx = d,
        .conf = ops_conf,
        .map = ops_map,
        .phase = ops_phase,
        .started_ms = ops_started,
        .reload = ops_reload,
        .drain = ops_drain,
        .shutdown = ops_shutdown,
    };
}

/* ---- start and end --------------------------------------------------------------------- */

static unsigned worker_count(const struct conf *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long n = c->workers > 0 ? (long)c->workers : cores > 0 ? cores : 1;
    return n > 64 ? 64 : (unsigned)n;
}

static bool write_pid_file(const char *path, struct error *e)
{
    if (!path[0])
        return true;
    FILE *f = fopen(path, "w");
    if (!f || fprintf(f, "%ld\n", (long)getpid()) < 0 || fclose(f) != 0)
        return error_set(e, ERR_CONFIG, "cannot write pid_file %s: %s", path, strerror(errno));
    return true;
}

static bool make_workers(struct daemon *d, struct error *e)
{
    d->workers = mem_zalloc(d->worker_count * sizeof(struct worker *));
    d->shared.workers = d->workers;
    d->shared.worker_count = d->worker_count;
    for (unsigned i = 0; i < d->worker_count; i++) {
        d->workers[i] = worker_new(&d->shared, i, d->conf, d->users, e);
        if (!d->workers[i])
            return false;
    }
    return true;
}

static bool start(struct daemon *d, struct ops_worker *for_ops, struct error *e)
{
    /* The console is made before the workers, which are made before ops sees them. */
    struct ops_env env = make_env(d, for_ops);
    d->ops = ops_new(&env);
    d->shared.console = ops_console(d->ops);
    if (!make_workers(d, e))
        return false;
    for (unsigned i = 0; i < d->worker_count; i++)
        for_ops[i] = worker_for_ops(d->workers[i]);
    if (!daemon_listen(d, e))
        return false;
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        if (!loop_on_signal(d->loop, signals[i], on_signal))
            return error_set(e, ERR_INTERNAL, "cannot watch signal %d", signals[i]);
    }
    directory_start(d->directory);
    if (!ops_start(d->ops, e))
        return false;
    /* Last of what may fail for reasons outside: a second start must not take the first one's file. */
    if (!write_pid_file(d->conf->pid_file, e))
        return false;
    d->owns_pid_file = d->conf->pid_file[0] != '\0';
    for (unsigned i = 0; i < d->worker_count; i++) {
        if (!worker_start(d->workers[i], e))
            return false;
    }
    d->phase = OPS_RUNNING;
    notify_state("READY=1");
    log_event(LOG_INFO, "started", log_str("version", SHARDGATE_VERSION), log_int("workers", d->worker_count),
              log_int("pid", getpid()));
    return true;
}

#define END_LIMIT_S 20u /* a cancel request to a silent host may hold a thread longer */

static void on_end_limit(int signum)
{
    static const char text[] = "shardgate: threads did not end in time\n";
    (void)signum;
    ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n;
    _exit(1);
}

static void end(struct daemon *d, struct ops_worker *for_ops)
{
    signal(SIGTERM, SIG_IGN); /* the end is under way: asking again must not cut it short */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGALRM, on_end_limit);
    alarm(END_LIMIT_S);
    if (d->ops)
        ops_stop(d->ops);
    for (unsigned i = 0; d->workers && i < d->worker_count; i++) {
        if (d->workers[i])
            worker_stop(d->workers[i]);
    }
    for (unsigned i = 0; d->workers && i < d->worker_count; i++) {
        if (d->workers[i])
            worker_join(d->workers[i]);
    }
    timer_free(d->drain_timer);
    timer_free(d->stop_timer);
    directory_stop(d->directory);
    health_stop(d->health);
    for (unsigned i = 0; d->workers && i < d->worker_count; i++) {
        if (d->workers[i])
            worker_free(d->workers[i]);
    }
    loop_free(d->loop);
    if (d->ops)
        ops_free(d->ops);
    permits_free(d->shared.permits);
    session_hub_free(d->shared.hub);
    daemon_unlisten(d);
    if (d->owns_pid_file)
        unlink(d->conf->pid_file);
    if (d->map)
        map_unref(d->map);
    auth_users_unref(d->users);
    mem_free(d->workers);
    mem_free(for_ops);
}

int daemon_run(struct conf *c)
{
    struct daemon d = {.conf = c, .phase = OPS_STARTING};
    struct error e;
    error_clear(&e);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a log or cache that may not grow is no reason to end */
    d.users = daemon_check_conf(c, &e) ? auth_users_load(c, &e) : NULL;
    if (!d.users || !daemon_open_log(c, &e) || !(d.loop = loop_new(&e))) {
        log_event(LOG_ERROR, "cannot start", log_err(&e));
        auth_users_unref(d.users);
        conf_unref(c);
        return 1;
    }
    loop_set_context(d.loop, &d);
    d.started_ms = loop_now_ms(d.loop);
    d.worker_count = worker_count(c);
    d.shared.hub = session_hub_new();
    d.shared.permits = permits_new(d.worker_count);
    d.shared.ctx = &d;
    d.shared.lookup = on_lookup;
    d.shared.drained = daemon_on_drained;
    d.health = d.shared.health = health_new(d.loop, c);
    struct directory_events events = {on_map, &d};
    d.directory = directory_new(d.loop, c, &events);
    struct ops_worker *for_ops = mem_zalloc(d.worker_count * sizeof *for_ops);
    if (start(&d, for_ops, &e)) {
        loop_run(d.loop);
    } else {
        log_event(LOG_ERROR, "cannot start", log_err(&e));
        d.status = 1;
    }
    d.phase = OPS_STOPPING;
    end(&d, for_ops);
    log_event(LOG_INFO, "stopped", log_int("status", d.status));
    conf_unref(d.conf);
    return d.status;
}
