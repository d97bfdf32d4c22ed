#ifndef SHARDGATE_OPS_STATE_H
#define SHARDGATE_OPS_STATE_H

#include "shardgate/ops.h"

#include "http.h"

struct ops {
    struct ops_env env;
    bool started, stopped; /* control thread */
    struct deadline_class gather_limit;
    struct deadline_class pause_tick; /* between two looks at what PAUSE waits for */
    struct ilist gathers;             /* struct gather */
    struct ilist pauses;              /* struct console_run that wait in pause_tick or a gather */
    struct ilist reloads;             /* struct reload_wait */
    struct http http;
};

/* The workers have been told to end, or will be before they see another message:
 * their pools and sessions may be gone. Control thread. */
bool ops_is_ending(const struct ops *o);

#endif
