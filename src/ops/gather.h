/*
 * gather: asks every worker something in its own thread and brings the answers
 * to the control thread. A worker that does not answer within GATHER_LIMIT_MS is
 * left out; what was asked of it still happens when it gets to it.
 *
 *   control: gather_start --post--> worker: collect --post--> control: (count) ... done
 *                                                             or the limit has passed: done
 *
 * The memory stays until every post has come back, or ops_free.
 */
#ifndef SHARDGATE_OPS_GATHER_H
#define SHARDGATE_OPS_GATHER_H

#include "shardgate/ops.h"

#include "figures.h"

#define GATHER_LIMIT_MS 2000u
#define GATHER_ROWS_MAX (256u << 20) /* bytes of rows from one worker */

struct gather;

struct gather_part { /* written by its worker until `answered` */
    struct post post;
    struct gather *gather;
    unsigned worker;
    bool answered; /* control thread */
    struct buf rows;
    struct worker_figures figures;
    uint64_t number; /* as collect likes */
};
struct gather_question {
    /* On the worker's thread; part->gather->question.number is the argument. */
    void (*collect)(struct gather_part *part, struct ops_worker *w);
    /* On the control thread, exactly once; from within gather_start if no worker
     * can be asked. */
    void (*done)(struct gather *g, void *ctx);
    void *ctx;
    int64_t number;
};
struct gather {
    struct ilist node;
    struct deadline deadline;
    struct gather_question question;
    struct ops *ops;
    unsigned outstanding; /* posts not back yet */
    bool finished;        /* done has been called */
    unsigned count;       /* parts, one a worker */
    unsigned answered;
    struct gather_part parts[];
};

/* Control thread. Asks nobody once the workers have been told to end. */
void gather_start(struct ops *o, const struct gather_question *q);
/* Ends what is under way, with the answers so far. */
void gather_stop_all(struct ops *o);
/* Frees what has not come back; after all loops have ended. */
void gather_free_all(struct ops *o);
/* For the class of ops. */
void gather_expired(struct deadline *d, void *ctx);
/* A question's collect for figures only. */
void gather_figures(struct gather_part *part, struct ops_worker *w);

#endif
