/*
 * Cancel requests. PQcancel connects, writes and waits for the server to close,
 * all blocking: it runs on the thread pool with a copy of what it needs (PGcancel),
 * so that the connection itself may go on or be closed.
 */
#include <string.h>

#include "pqconn_internal.h"

struct pqcancel {
    struct work work;
    struct pqconn *conn; /* NULL: closed meanwhile */
    PGcancel *request;
    bool sent;
    char why[256];
    void (*done)(struct pqconn *c, void *ctx, bool sent);
    void *ctx;
};

static void on_work(struct work *w)
{
    struct pqcancel *k = container_of(w, struct pqcancel, work);
    k->sent = PQcancel(k->request, k->why, sizeof(k->why)) == 1;
}

static void on_work_done(struct work *w)
{
    struct pqcancel *k = container_of(w, struct pqcancel, work);
    k->why[strcspn(k->why, "\n")] = '\0';
    if (!k->sent)
        log_event(LOG_WARN, "cancel request failed", log_str("cause", k->why));
    if (k->conn) {
        k->conn->cancel = NULL;
        k->done(k->conn, k->ctx, k->sent);
    }
    PQfreeCancel(k->request);
    mem_free(k);
}

void pqconn_cancel_detach(struct pqconn *c)
{
    if (c->cancel)
        c->cancel->conn = NULL;
    c->cancel = NULL;
}

bool pqconn_cancel(struct pqconn *c, void (*done)(struct pqconn *c, void *ctx, bool sent), void *ctx)
{
    if (c->cancel || (c->state != PQCONN_TAKEN && c->state != PQCONN_QUERY && c->state != PQCONN_READY))
        return false;
    PGcancel *request = PQgetCancel(c->pg);
    if (!request)
        return false;
    struct pqcancel *k = mem_zalloc(sizeof(*k));
    k->work.run = on_work;
    k->work.done = on_work_done;
    k->conn = c;
    k->request = request;
    k->done = done;
    k->ctx = ctx;
    if (!work_submit(c->loop, &k->work)) {
        PQfreeCancel(request);
        mem_free(k);
        return false;
    }
    c->cancel = k;
    return true;
}
