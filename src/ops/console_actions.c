/* Commands that change something. All on the control thread but the collect functions. */
#include "console.h"

#include "ops_state.h"

#define PAUSE_WAIT_DEFAULT_MS 15000u /* where timeout.query_wait is 0 */

static void fail_stopping(struct console_run *r)
{
    struct error e;

    error_set(&e, ERR_SHUTTING_DOWN, "console");
    console_done(r, &e);
}

/* Turns the optional shard id into what pools take. False: the run has ended. */
static bool resolve_shard(struct console_run *r)
{
    const struct map *m = r->ops->env.map(r->ops->env.ctx);
    struct error e;

    if (!r->has_number) {
        r->number = SHARD_ALL;
        return true;
    }
    bool in_range = r->number >= INT16_MIN && r->number <= INT16_MAX;
    if (in_range && m && map_shard_by_id(m, (int16_t)r->number))
        return true;
    error_set(&e, ERR_NOT_FOUND, "no such shard");
    error_detail(&e, "The map has no such shard.");
    error_hint(&e, "SHOW SHARDS lists them.");
    console_done(r, &e);
    return false;
}

/* ---- PAUSE ----------------------------------------------------------------- */

static void collect_pause(struct gather_part *p, struct ops_worker *w)
{
    int32_t shard = (int32_t)p->gather->question.number;

    pools_pause(w->pools, shard);
    p->number = pools_active(w->pools, shard);
}

static void collect_active(struct gather_part *p, struct ops_worker *w)
{
    p->number = pools_active(w->pools, (int32_t)p->gather->question.number);
}

static void fail_pause(struct console_run *r, uint64_t active, unsigned silent)
{
    struct error e;

    error_set(&e, ERR_PAUSE_INCOMPLETE, "%llu active, %u workers silent", (unsigned long long)active, silent);
    if (silent)
        error_detail(&e, "%llu server connections are in use; %u workers did not answer.", (unsigned long long)active,
                     silent);
    else
        error_detail(&e, "%llu server connections are in use.", (unsigned long long)active);
    console_done(r, &e);
}

static void on_paused(struct gather *g, void *ctx)
{
    struct console_run *r = ctx;
    struct ops *o = r->ops;
    unsigned silent = g->count - g->answered;
    uint64_t active = 0;

    for (unsigned i = 0; i < g->count; i++)
        active += g->parts[i].answered ? g->parts[i].number : 0;
    if (active == 0 && silent == 0) {
        console_done(r, NULL);
    } else if (ops_is_ending(o)) {
        fail_stopping(r);
    } else if (loop_now_ms(o->env.control) >= r->give_up_ms) {
        fail_pause(r, active, silent);
    } else {
        ilist_push_back(&o->pauses, &r->node);
        deadline_arm(&o->pause_tick, &r->tick);
    }
}

void console_pause_tick(struct deadline *d, void *ctx)
{
    struct console_run *r = container_of(d, struct console_run, tick);

    (void)ctx;
    ilist_remove(&r->node);
    console_ask(r, collect_active, on_paused);
}

void console_pause(struct console_run *r)
{
    const struct conf *c = r->ops->env.conf(r->ops->env.ctx);
    uint64_t wait = c->query_wait_timeout > 0 ? (uint64_t)c->query_wait_timeout : PAUSE_WAIT_DEFAULT_MS;

    if (!resolve_shard(r))
        return;
    r->give_up_ms = loop_now_ms(r->ops->env.control) + wait;
    console_ask(r, collect_pause, on_paused);
}

/* ---- RESUME, RECONNECT, KILL ------------------------------------------------ */

static void collect_resume(struct gather_part *p, struct ops_worker *w)
{
    p->number = pools_resume(w->pools, (int32_t)p->gather->question.number);
}

static void collect_reconnect(struct gather_part *p, struct ops_worker *w)
{
    p->number = pools_reconnect(w->pools, (int32_t)p->gather->question.number);
}

static void collect_kill(struct gather_part *p, struct ops_worker *w)
{
    p->number = sessions_kill(w->sessions, (uint64_t)p->gather->question.number);
}

static void on_acted(struct gather *g, void *ctx)
{
    console_note_missing(ctx, g);
    console_done(ctx, NULL);
}

static void on_killed(struct gather *g, void *ctx)
{
    bool found = false;

    for (unsigned i = 0; i < g->count; i++)
        found |= g->parts[i].answered && g->parts[i].number;
    if (found) {
        console_done(ctx, NULL);
        return;
    }
    struct error e;
    error_set(&e, ERR_NOT_FOUND, "no such client");
    error_detail(&e, g->answered == g->count ? "No client has this id." : "Not all workers answered.");
    error_hint(&e, "SHOW CLIENTS lists them.");
    console_done(ctx, &e);
}

void console_resume(struct console_run *r)
{
    if (resolve_shard(r))
        console_ask(r, collect_resume, on_acted);
}

void console_reconnect(struct console_run *r)
{
    if (resolve_shard(r))
        console_ask(r, collect_reconnect, on_acted);
}

void console_kill(struct console_run *r) { console_ask(r, collect_kill, on_killed); }

/* ---- RELOAD ----------------------------------------------------------------- */

/* Outlives its run if the instance stops before the reload ends. */
struct reload_wait {
    struct ilist node;       /* of ops.reloads */
    struct console_run *run; /* NULL: has been answered */
};

static void on_reloaded(void *ctx, const struct error *e)
{
    struct reload_wait *w = ctx;

    if (w->run)
        console_done(w->run, e);
    ilist_remove(&w->node);
    mem_free(w);
}

void console_reload(struct console_run *r)
{
    struct ops *o = r->ops;
    struct reload_wait *w = mem_zalloc(sizeof(*w));

    w->run = r;
    ilist_push_back(&o->reloads, &w->node);
    o->env.reload(o->env.ctx, on_reloaded, w);
}

/* ---- DRAIN, SHUTDOWN -------------------------------------------------------- */

void console_drain(struct console_run *r)
{
    r->ops->env.drain(r->ops->env.ctx);
    console_done(r, NULL);
}

void console_shutdown(struct console_run *r)
{
    struct ops *o = r->ops;

    /* The reply first: it is in the worker's mailbox before the order to end. */
    console_done(r, NULL);
    o->env.shutdown(o->env.ctx);
}

/* ---- the end of the room ------------------------------------------------------ */

void console_stop_all(struct ops *o)
{
    struct ilist *node;

    while ((node = ilist_pop_front(&o->pauses))) {
        struct console_run *r = container_of(node, struct console_run, node);
        deadline_disarm(&r->tick);
        fail_stopping(r);
    }
    ILIST_EACH (waiting, &o->reloads) {
        struct reload_wait *w = container_of(waiting, struct reload_wait, node);
        fail_stopping(w->run);
        w->run = NULL;
    }
}

void console_free_all(struct ops *o)
{
    struct ilist *node;

    while ((node = ilist_pop_front(&o->reloads)))
        mem_free(container_of(node, struct reload_wait, node));
}
