/*
 * A server connection's inside, for the pqconn_*.c files and stream_pq.c.
 */
#ifndef SHARDGATE_PQCONN_INTERNAL_H
#define SHARDGATE_PQCONN_INTERNAL_H

#include <libpq-fe.h>

#include "loop_internal.h"
#include "resolve.h"

/*
 *   RESOLVING ──> CONNECTING ──> READY <──> QUERY
 *       │              │           │ └──────> TAKEN
 *       └──────────────┴──> FAILED <┘ (lost, timed out; also from QUERY)
 *   any ──> CLOSED
 */
enum pqconn_state {
    PQCONN_RESOLVING,
    PQCONN_CONNECTING,
    PQCONN_READY,
    PQCONN_QUERY,
    PQCONN_TAKEN, /* the stream owns the socket; no PQ data call from here on */
    PQCONN_FAILED,
    PQCONN_CLOSED, /* memory stays until the end of the turn */
};

/* One entry of the host list, and the addresses its name has. */
struct pqhost {
    struct pqconn *conn;
    char *name;    /* "" or a folder: Unix socket */
    char *address; /* hostaddr of the connection string, or NULL */
    char *port;
    struct resolve *resolve; /* in flight */
    char **found;
    size_t found_count;
};

struct pqpoll;
struct pqcancel;

struct pqconn {
    struct loop *loop;
    enum pqconn_state state;
    PGconn *pg;
    struct pqpoll *poll; /* while libpq owns the socket */
    struct timer *timer; /* connect and query time-outs; NULL once taken */

    /* connect */
    struct pqinfo info;
    struct pqhost *hosts;
    size_t host_count, unresolved;
    char *dbname, *user, *password, *options, *application_name;
    const char *replication; /* literal or NULL */
    uint64_t timeout_ms;
    bool tls_required;
    void (*done)(struct pqconn *c, void *ctx, const struct error *e); /* NULL once called */
    void *ctx;
    struct error error;

    /* query */
    struct pqquery query;
    PGresult *result;
    bool copying, query_failed, broken;
    void (*idle_event)(void *ctx, const char *channel, const char *payload, const struct error *e);
    void *idle_ctx;

    struct pqcancel *cancel; /* in flight */

    /* take-over */
    struct stream *stream;
    void *ssl; /* SSL of libpq, or NULL */
    bool read_wants_write, write_wants_read;

    struct later later; /* idle notifications; bytes inside a TLS record */
    struct reap reap;
};

void pqconn_set_state(struct pqconn *c, enum pqconn_state to);

/* pqconn_string.c. The whole connection string for PQconnectStart; free with
 * mem_free_secret. NULL: e is set. */
char *pqconn_string(const struct pqconn *c, struct error *e);
bool pqconn_is_unix_host(const char *host);

/* pqconn_hosts.c */
bool pqconn_split_hosts(struct pqconn *c, struct error *e);
void pqconn_free_hosts(struct pqconn *c);

/* pqconn_error.c. All set e; texts of libpq become one line. */
void pqconn_connect_error(struct error *e, const char *text);
void pqconn_result_error(struct error *e, const PGresult *r, const char *fallback);

/* pqconn_poll.c. events: UV_READABLE, UV_WRITABLE, 0. False: e is set. */
bool pqconn_poll(struct pqconn *c, int events, struct error *e);
void pqconn_poll_close(struct pqconn *c);
void pqconn_on_poll(struct pqconn *c, int events); /* pqconn.c: dispatches by state */

/* pqconn_query.c */
void pqconn_query_event(struct pqconn *c, int events);
void pqconn_query_timeout(struct pqconn *c);
void pqconn_idle_start(struct pqconn *c);
void pqconn_idle_readable(struct pqconn *c);

/* pqconn_cancel.c */
void pqconn_cancel_detach(struct pqconn *c);

#endif
