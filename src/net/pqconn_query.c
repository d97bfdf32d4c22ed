/*
 * Queries of our own through libpq: the directory, probes.
 */
#include <string.h>

#include "pqconn_internal.h"

static void lost_error(struct pqconn *c, struct error *e)
{
    pqconn_connect_error(e, PQerrorMessage(c->pg));
    e->code = ERR_SERVER_LOST;
}

/* ---- idle ---- */

/* Hands over what has arrived; the callback may close the connection or query. */
static void deliver_notifications(struct pqconn *c)
{
    PGnotify *n;
    while (c->state == PQCONN_READY && c->idle_event && (n = PQnotifies(c->pg))) {
        c->idle_event(c->idle_ctx, n->relname, n->extra, NULL);
        PQfreemem(n);
    }
}

static void lose(struct pqconn *c)
{
    struct error e;
    lost_error(c, &e);
    pqconn_poll_close(c);
    pqconn_set_state(c, PQCONN_FAILED);
    if (c->idle_event)
        c->idle_event(c->idle_ctx, NULL, NULL, &e);
}

static void on_later(struct later *w) { deliver_notifications(container_of(w, struct pqconn, later)); }

void pqconn_idle_start(struct pqconn *c)
{
    struct error e;
    if (!c->idle_event)
        (void)pqconn_poll(c, 0, &e);
    else if (!pqconn_poll(c, UV_READABLE, &e))
        lose(c);
}

void pqconn_idle_readable(struct pqconn *c)
{
    if (!PQconsumeInput(c->pg) || PQstatus(c->pg) == CONNECTION_BAD)
        lose(c);
    else
        deliver_notifications(c);
}

/* ---- a query's end ---- */

/* e NULL: c->result. The callback may close the connection or query again. */
static void finish(struct pqconn *c, const struct error *e)
{
    PGresult *r = c->result;
    c->result = NULL;
    timer_stop(c->timer);
    if (c->broken)
        pqconn_poll_close(c);
    pqconn_set_state(c, c->broken ? PQCONN_FAILED : PQCONN_READY);
    c->query.on_done(c->query.ctx, e ? NULL : (const struct pqresult *)(const void *)r, e);
    PQclear(r);
    if (c->state != PQCONN_READY)
        return;
    pqconn_idle_start(c);
    deliver_notifications(c);
}

static void finish_broken(struct pqconn *c, const struct error *e)
{
    c->broken = true;
    finish(c, e);
}

static void give_up(struct pqconn *c, const char *why)
{
    struct error e;
    error_set(&e, ERR_SHARD_UNREACHABLE, "%s", why);
    finish_broken(c, &e);
}

/* ---- results ---- */

/* False: finished. */
static bool take_copy_rows(struct pqconn *c)
{
    char *row;
    int n;
    while ((n = PQgetCopyData(c->pg, &row, 1)) > 0) {
        bool more = c->query.on_copy && c->query.on_copy(c->query.ctx, row, (size_t)n);
        PQfreemem(row);
        if (c->state != PQCONN_QUERY)
            return false; /* closed in the callback */
        if (!more) {
            give_up(c, "the reader gave up");
            return false;
        }
    }
    if (n < 0)
        c->copying = false; /* at its end, or an error which the next result tells */
    return true;
}

/* Keeps the first error, else the last result. */
static void keep(struct pqconn *c, PGresult *r)
{
    ExecStatusType status = PQresultStatus(r);
    bool failed = status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
    if (c->query_failed) {
        PQclear(r);
        return;
    }
    PQclear(c->result);
    c->result = r;
    c->query_failed = failed;
}

static void complete(struct pqconn *c)
{
    struct error e;
    c->broken = c->broken || PQstatus(c->pg) == CONNECTION_BAD;
    if (c->query_failed || !c->result) {
        pqconn_result_error(&e, c->result, c->broken ? PQerrorMessage(c->pg) : "the query gave no result");
        if (c->broken)
            e.code = ERR_SERVER_LOST;
        finish(c, &e);
    } else {
        finish(c, NULL);
    }
}

static void take_results(struct pqconn *c)
{
    for (;;) {
        if (c->copying) {
            if (!take_copy_rows(c))
                return;
            if (c->copying && !c->broken)
                return; /* more will come */
            c->copying = false;
        }
        /* On a broken connection PQgetResult does not wait. */
        if (!c->broken && PQisBusy(c->pg))
            return;
        PGresult *r = PQgetResult(c->pg);
        if (!r)
            break;
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_COPY_OUT)
            c->copying = true;
        if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) {
            PQclear(r);
            give_up(c, "COPY FROM STDIN is not for our own queries");
            return;
        }
        keep(c, r);
    }
    complete(c);
}

void pqconn_query_event(struct pqconn *c, int events)
{
    struct error e;
    int left = PQflush(c->pg);
    if ((events & UV_READABLE) && !PQconsumeInput(c->pg))
        c->broken = true;
    if (left < 0 && !(events & UV_READABLE))
        c->broken = true; /* else reading tells more */
    if (!c->broken && !pqconn_poll(c, left == 1 ? UV_READABLE | UV_WRITABLE : UV_READABLE, &e)) {
        finish_broken(c, &e);
        return;
    }
    take_results(c);
}

void pqconn_query_timeout(struct pqconn *c)
{
    struct error e;
    error_set(&e, ERR_SHARD_UNREACHABLE, "a query timed out after %llu ms", (unsigned long long)c->query.timeout_ms);
    finish_broken(c, &e);
}

/* ---- doors ---- */

bool pqconn_query(struct pqconn *c, const char *sql, int param_count, const char *const *params,
                  const struct pqquery *q)
{
    struct error e;
    if (c->state != PQCONN_READY)
        return false;
    int sent =
        params ? PQsendQueryParams(c->pg, sql, param_count, NULL, params, NULL, NULL, 0) : PQsendQuery(c->pg, sql);
    if (!sent || PQflush(c->pg) < 0 || !pqconn_poll(c, UV_READABLE | UV_WRITABLE, &e)) {
        pqconn_poll_close(c);
        pqconn_set_state(c, PQCONN_FAILED);
        return false;
    }
    c->query = *q;
    c->copying = c->query_failed = c->broken = false;
    pqconn_set_state(c, PQCONN_QUERY);
    if (q->timeout_ms > 0)
        timer_start(c->timer, q->timeout_ms, 0);
    return true;
}

int pqresult_rows(const struct pqresult *r) { return PQntuples((const PGresult *)(const void *)r); }

int pqresult_columns(const struct pqresult *r) { return PQnfields((const PGresult *)(const void *)r); }

const char *pqresult_value(const struct pqresult *r, int row, int column)
{
    const PGresult *result = (const PGresult *)(const void *)r;
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

void pqconn_on_idle_event(struct pqconn *c,
                          void (*fn)(void *ctx, const char *channel, const char *payload, const struct error *e),
                          void *ctx)
{
    c->idle_event = fn;
    c->idle_ctx = ctx;
    if (c->state != PQCONN_READY)
        return;
    pqconn_idle_start(c);
    c->later.run = on_later; /* what came with the last query */
    loop_later(c->loop, &c->later);
}
