/*
 * Handing a live connection to another worker.
 *
 * The giver lets go of the stream (MOVING), then posts the libpq connection with
 * all the receiver needs, as copies: nothing of the giver's pool may be looked at
 * from another thread. The permits stay taken and change hands with it. The
 * receiver uses it if it has the same pool; else it closes it, and the permits
 * are free for what it wanted instead.
 */
#include <string.h>

#include "pool_impl.h"

struct handover {
    struct post post;
    struct permits *permits;
    struct permit *permit[PERMIT_KINDS]; /* references */
    struct permit *wanted;               /* one of them: for which `to` starves */
    unsigned from, to;
    struct pqconn *conn;
    uint64_t id, created_ms, expires_ms;
    struct str pool_id;
    struct str params[PARAM__COUNT];
    char text[];
};

static struct str copy(char **text, struct str s)
{
    if (!s.ptr)
        return s;
    struct str to = {*text, s.len};
    if (s.len)
        memcpy(*text, s.ptr, s.len);
    *text += s.len;
    return to;
}

static struct handover *pack(const struct server *s, unsigned to, struct permit *wanted)
{
    const struct pool *p = s->pool;
    size_t bytes = p->id.len;
    for (unsigned i = 0; i < PARAM__COUNT; i++)
        bytes += s->params->value[i].len;
    struct handover *h = mem_zalloc(sizeof(*h) + bytes);
    char *text = h->text;
    h->permits = p->pools->permits;
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        h->permit[k] = permit_ref(h->permits, p->group[k]->permit);
    h->wanted = wanted;
    h->from = p->pools->worker;
    h->to = to;
    h->conn = s->conn;
    h->id = s->id;
    h->created_ms = s->created_ms;
    h->expires_ms = s->expires_ms;
    h->pool_id = copy(&text, p->id);
    for (unsigned i = 0; i < PARAM__COUNT; i++)
        h->params[i] = copy(&text, s->params->value[i]);
    return h;
}

static void unpack_free(struct handover *h)
{
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_unref(h->permits, h->permit[k]);
    mem_free(h);
}

/* On h->to's thread: the connection is of no use here. ps NULL: the pools are gone. */
static void decline(struct pools *ps, struct handover *h)
{
    pqconn_close(h->conn);
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_release(h->permit[k], h->to);
    for (unsigned k = 0; ps && k < PERMIT_KINDS; k++) {
        struct group *g = h->permit[k]->worker[h->to].group;
        if (g)
            group_serve(g);
        group_tell(ps, h->permit[k]);
    }
}

static bool accept(struct pools *ps, struct pool *p, struct handover *h)
{
    struct server *s = server_new(p, SERVER_MOVING);
    s->conn = h->conn;
    s->id = h->id;
    s->created_ms = h->created_ms;
    s->expires_ms = h->expires_ms;
    s->params = params_get(ps, h->params);
    if (!p->params)
        p->params = params_ref(s->params);
    if (!pqconn_take(s->conn, &s->stream)) {
        s->conn = NULL;
        server_forget(s);
        return false;
    }
    s->streaming = true;
    s->stream.ready = on_server_ready_idle;
    server_established(s);
    return true;
}

static void on_handover(struct post *post, void *ctx)
{
    (void)ctx;
    struct handover *h = container_of(post, struct handover, post);
    struct pools *ps = permits_attached(h->permits, h->to);
    struct loop *loop = permits_loop(h->permits, h->to);
    pqconn_move(h->conn, loop);
    for (unsigned k = 0; k < PERMIT_KINDS; k++)
        permit_move(h->permit[k], h->from, h->to);
    struct pool *p = ps && !ps->closing ? pool_by_id(ps, h->pool_id) : NULL;
    if (!p || !accept(ps, p, h))
        decline(ps, h);
    struct group *g = h->wanted->worker[h->to].group;
    if (ps && g)
        group_serve(g); /* the bit is clear: what starves still must say so again */
    unpack_free(h);
}

static void on_released(struct stream *stream)
{
    struct server *s = container_of(stream, struct server, stream);
    struct handover *h = s->task ? s->task->handover : NULL;
    struct pool *p = s->pool;
    struct pools *ps = p->pools;
    s->streaming = false;
    bool keep = !s->retire && !p->retired && !ps->closing;
    if (keep && ps->hooks.post(ps->hooks.ctx, h->to, &h->post)) {
        pool_hold(p);
        server_forget(s);
        pool_unref(p);
        pools_maybe_free(ps);
        return;
    }
    server_move(s, SERVER_CLOSING);
    server_finish(s);
    nudge_send(ps, h->wanted, h->to, false); /* its bit was cleared for the server */
    unpack_free(h);
}

void server_give(struct server *s, unsigned to_worker, struct permit *permit)
{
    server_task_begin(s, NULL, NULL);
    s->task->handover = pack(s, to_worker, permit);
    s->task->handover->post.run = on_handover;
    server_move(s, SERVER_MOVING);
    deadline_disarm(&s->idle);
    deadline_disarm(&s->lifetime);
    stream_release(&s->stream, on_released);
}
