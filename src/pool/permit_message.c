/*
 * Nudges and begs between workers.
 */
#include "pool_impl.h"

struct nudge {
    struct post post;
    struct permits *permits;
    struct permit *permit; /* a reference */
    unsigned from, to;
    bool beg; /* `from` starves and asks for an idle server; else: there is room */
};

static void answer_beg(struct pools *ps, const struct nudge *n)
{
    struct group *g = n->permit->worker[n->to].group;
    struct server *s = g ? group_idle_server(g) : NULL;
    if (s && permit_unmark(n->permit, n->from))
        server_give(s, n->from, n->permit);
    (void)ps;
}

static void on_nudge(struct post *post, void *ctx)
{
    (void)ctx;
    struct nudge *n = container_of(post, struct nudge, post);
    struct pools *ps = permits_attached(n->permits, n->to);
    if (ps && n->beg) {
        answer_beg(ps, n);
    } else if (ps) {
        struct group *g = n->permit->worker[n->to].group;
        if (g)
            group_serve(g);
        group_tell(ps, n->permit); /* what was not needed here */
    }
    permit_unref(n->permits, n->permit);
    mem_free(n);
}

bool nudge_send(struct pools *ps, struct permit *pm, unsigned to, bool beg)
{
    struct nudge *n = mem_zalloc(sizeof(*n));
    n->post.run = on_nudge;
    n->permits = ps->permits;
    n->permit = permit_ref(ps->permits, pm);
    n->from = ps->worker;
    n->to = to;
    n->beg = beg;
    if (ps->hooks.post && ps->hooks.post(ps->hooks.ctx, to, &n->post))
        return true;
    permit_unref(ps->permits, pm);
    mem_free(n);
    return false;
}
