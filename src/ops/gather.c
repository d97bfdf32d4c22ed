#include "gather.h"

#include "ops_state.h"

static void free_gather(struct gather *g)
{
    ilist_remove(&g->node);
    for (unsigned i = 0; i < g->count; i++) {
        buf_fini(&g->parts[i].rows);
        worker_figures_fini(&g->parts[i].figures);
    }
    mem_free(g);
}

static void finish(struct gather *g)
{
    if (g->finished)
        return;
    g->finished = true;
    deadline_disarm(&g->deadline);
    g->question.done(g, g->question.ctx);
}

static void on_back(struct post *p, void *ctx)
{
    struct gather_part *part = container_of(p, struct gather_part, post);
    struct gather *g = part->gather;

    (void)ctx;
    g->outstanding--;
    if (!g->finished) {
        part->answered = true;
        g->answered++;
    }
    if (g->outstanding == 0) {
        finish(g);
        free_gather(g);
    }
}

static void on_worker(struct post *p, void *ctx)
{
    struct gather_part *part = container_of(p, struct gather_part, post);
    struct ops *o = part->gather->ops;

    (void)ctx;
    part->gather->question.collect(part, &o->env.workers[part->worker]);
    p->run = on_back;
    /* If the control loop has ended, ops_free finds the gather in its list. */
    loop_post(o->env.control, p);
}

void gather_start(struct ops *o, const struct gather_question *q)
{
    unsigned count = o->env.worker_count;
    struct gather *g = mem_zalloc(sizeof(*g) + count * sizeof(g->parts[0]));

    g->ops = o;
    g->question = *q;
    g->count = count;
    ilist_push_back(&o->gathers, &g->node);
    deadline_arm(&o->gather_limit, &g->deadline);
    g->outstanding = count;
    unsigned unsent = 0;
    bool ending = ops_is_ending(o);
    for (unsigned i = 0; i < count; i++) {
        struct gather_part *part = &g->parts[i];
        part->gather = g;
        part->worker = i;
        part->post.run = on_worker;
        buf_init(&part->rows, GATHER_ROWS_MAX);
        if (ending || !loop_post(o->env.workers[i].loop, &part->post))
            unsent++;
    }
    g->outstanding -= unsent;
    if (g->outstanding == 0) {
        finish(g);
        free_gather(g);
    }
}

void gather_stop_all(struct ops *o)
{
    ILIST_EACH (node, &o->gathers)
        finish(container_of(node, struct gather, node));
}

void gather_free_all(struct ops *o)
{
    struct ilist *node;

    while ((node = ilist_first(&o->gathers)))
        free_gather(container_of(node, struct gather, node));
}

void gather_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    finish(container_of(d, struct gather, deadline));
}

void gather_figures(struct gather_part *part, struct ops_worker *w) { worker_figures_collect(&part->figures, w); }
