#include "resolve.h"

#include "loop_internal.h"

struct resolve {
    uv_getaddrinfo_t req;
    struct loop *loop;
    resolve_cb done; /* NULL: cancelled */
    void *ctx;
};

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct resolve *r = req->data;
    r->loop->requests--;
    if (r->done)
        r->done(r->ctx, status == 0 ? list : NULL, status == 0 ? NULL : uv_strerror(status));
    uv_freeaddrinfo(list);
    mem_free(r);
}

struct resolve *resolve_start(struct loop *l, const char *name, resolve_cb done, void *ctx)
{
    struct resolve *r = mem_zalloc(sizeof(*r));
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    r->loop = l;
    r->done = done;
    r->ctx = ctx;
    r->req.data = r;
    if (l->ended || uv_getaddrinfo(&l->uv, &r->req, on_resolved, name, NULL, &hints) != 0) {
        mem_free(r);
        return NULL;
    }
    l->requests++;
    return r;
}

void resolve_cancel(struct resolve *r)
{
    r->done = NULL;
    uv_cancel((uv_req_t *)&r->req); /* if it has not begun; otherwise it ends unheard */
}
