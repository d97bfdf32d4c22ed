/*
 * SIGHUP and RELOAD: the configuration file, the users, and the map. A file with
 * an error changes nothing. What needs a restart is named in the log and stays.
 */
#include "daemon.h"

static bool same_log(const struct conf *a, const struct conf *b)
{
    return str_eq(str_from(a->log_file), str_from(b->log_file)) && a->log_level == b->log_level &&
           a->log_format == b->log_format;
}

bool daemon_open_log(const struct conf *c, struct error *e)
{
    if (log_open(c->log_file, c->log_level, c->log_format))
        return true;
    return error_set(e, ERR_CONFIG, "cannot open log.file %s", c->log_file);
}

bool daemon_check_conf(const struct conf *c, struct error *e)
{
    struct pqinfo info;
    struct error why;
    error_clear(&why);
    if (!pqinfo_parse(&info, c->directory_connection, &why))
        return error_set(e, ERR_CONFIG, "%s: directory.connection: %s", c->path, why.cause);
    pqinfo_fini(&info);
    return true;
}

static void report_restart(const struct conf *old, struct conf *fresh)
{
    struct buf names;
    buf_init(&names, 0);
    size_t count = conf_keep_restart_options(old, fresh, &names);
    if (count)
        log_event(LOG_WARN, "options need a restart", log_slice("options", buf_str(&names)));
    buf_fini(&names);
}

static bool reload_conf(struct daemon *d, struct error *e)
{
    struct conf *fresh = conf_load(d->conf->path, e);
    if (!fresh)
        return false;
    struct auth_users *users = daemon_check_conf(fresh, e) ? auth_users_load(fresh, e) : NULL;
    if (!users) {
        conf_unref(fresh);
        return false;
    }
    report_restart(d->conf, fresh);
    if (!same_log(d->conf, fresh) && !daemon_open_log(fresh, e)) {
        auth_users_unref(users);
        conf_unref(fresh);
        return false;
    }
    struct conf *old_conf = d->conf;
    struct auth_users *old_users = d->users;
    d->conf = fresh;
    d->users = users;
    for (unsigned i = 0; i < d->worker_count; i++)
        worker_configure(d->workers[i], fresh, users);
    directory_configure(d->directory, fresh);
    health_configure(d->health, fresh);
    conf_unref(old_conf);
    auth_users_unref(old_users);
    return true;
}

struct refused {
    struct post post;
    void (*done)(void *ctx, const struct error *e);
    void *ctx;
    struct error error;
};

static void on_refused(struct post *p, void *ctx)
{
    struct refused *r = container_of(p, struct refused, post);
    (void)ctx;
    r->done(r->ctx, &r->error);
    mem_free(r);
}

void daemon_reload(struct daemon *d, void (*done)(void *ctx, const struct error *e), void *ctx)
{
    struct error e;
    error_clear(&e);
    notify_state("RELOADING=1");
    if (reload_conf(d, &e)) {
        log_event(LOG_INFO, "configuration loaded", log_str("file", d->conf->path));
        directory_reload(d->directory, done, ctx);
    } else {
        log_event(LOG_ERROR, "configuration refused", log_str("file", d->conf->path), log_err(&e));
        if (done) {
            struct refused *r = mem_zalloc(sizeof *r);
            *r = (struct refused){.post = {.run = on_refused}, .done = done, .ctx = ctx, .error = e};
            r->error.code = ERR_CONFIG;
            if (!loop_post(d->loop, &r->post))
                mem_free(r);
        }
    }
    notify_state("READY=1");
}
