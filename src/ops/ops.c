#include "shardgate/ops.h"

#include "console.h"
#include "gather.h"
#include "http.h"
#include "ops_state.h"

#define PAUSE_TICK_MS 50

static void fini_classes(struct ops *o)
{
    deadline_class_fini(&o->gather_limit);
    deadline_class_fini(&o->pause_tick);
}

struct ops *ops_new(const struct ops_env *env)
{
    struct ops *o = mem_zalloc(sizeof(*o));

    o->env = *env;
    ilist_init(&o->gathers);
    ilist_init(&o->pauses);
    ilist_init(&o->reloads);
    http_init(&o->http);
    return o;
}

bool ops_start(struct ops *o, struct error *e)
{
    deadline_class_init(&o->gather_limit, o->env.control, GATHER_LIMIT_MS, gather_expired, o);
    deadline_class_init(&o->pause_tick, o->env.control, PAUSE_TICK_MS, console_pause_tick, o);
    o->started = http_start(o, e);
    if (!o->started)
        fini_classes(o);
    return o->started;
}

bool ops_is_ending(const struct ops *o)
{
    return !o->started || o->stopped || o->env.phase(o->env.ctx) == OPS_STOPPING;
}

void ops_stop(struct ops *o)
{
    if (!o->started || o->stopped)
        return;
    o->stopped = true;
    gather_stop_all(o);
    console_stop_all(o);
    http_stop(o);
    fini_classes(o);
}

void ops_free(struct ops *o)
{
    if (!o)
        return;
    gather_free_all(o);
    console_free_all(o);
    http_fini(&o->http);
    mem_free(o);
}
