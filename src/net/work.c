#include "loop_internal.h"

/* What struct work.opaque holds. */
struct work_request {
    uv_work_t req;
    struct loop *loop;
};
_Static_assert(sizeof(struct work_request) <= sizeof(((struct work *)0)->opaque), "struct work.opaque is too small");

static void on_run(uv_work_t *req)
{
    struct work *w = req->data;
    w->run(w);
}

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* nothing cancels work */
    struct work *w = req->data;
    ((struct work_request *)(void *)w->opaque)->loop->requests--;
    w->done(w);
}

bool work_submit(struct loop *l, struct work *w)
{
    struct work_request *r = (struct work_request *)(void *)w->opaque;
    if (l->ended)
        return false;
    r->loop = l;
    r->req.data = w;
    if (uv_queue_work(&l->uv, &r->req, on_run, on_done) != 0)
        return false;
    l->requests++;
    return true;
}
