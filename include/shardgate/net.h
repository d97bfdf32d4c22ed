/*
 * net: the only room that touches sockets, libuv, OpenSSL's SSL and libpq.
 * A loop per thread; streams that look alike whatever carries the bytes;
 * deadlines; a mailbox; work off the loop; server connections made by libpq.
 *
 * Every object belongs to one loop and is used on that loop's thread only;
 * the exceptions are loop_post, pqinfo_* and the listen-socket functions.
 */
#ifndef SHARDGATE_NET_H
#define SHARDGATE_NET_H

#include <sys/types.h>
#include <sys/uio.h>

#include "shardgate/base.h"

/* ---- loop --------------------------------------------------------------- */

struct loop;

/* To be called before the process starts threads (loop_new calls it too): ignores SIGPIPE,
 * widens the thread pool, and removes from the environment what libpq would read
 * and no connection string can override (PGSERVICE, PGDATESTYLE, PGTZ, PGGEQO). */
void net_init(void);

struct loop *loop_new(struct error *e) MUST_CHECK;
/* Until loop_stop; then runs the posts accepted so far, waits for work in flight
 * and closes what is left without calling back. Close streams and connections,
 * and let their callbacks come, before stopping. */
void loop_run(struct loop *l);
void loop_turn(struct loop *l); /* one turn that does not wait; for tests */
void loop_stop(struct loop *l); /* from the loop's own thread */
/* Objects left over (timers, listeners, streams) are freed between loop_run and this. */
void loop_free(struct loop *l);
/* Time at the start of this turn; one clock reading a turn. */
uint64_t loop_now_ms(const struct loop *l);
/* Reads the clock anew: for latency histograms only. */
uint64_t loop_now_ns(const struct loop *l);

/* Freed at the end of the turn, after every callback of it has returned: how an
 * object ends itself inside its own callback. */
struct reap {
    struct reap *next;
    void (*free)(struct reap *r);
};
void loop_reap(struct loop *l, struct reap *r);

/* Mailbox: post from any thread; `run` is called on the loop's thread, in order.
 * The message belongs to the loop until run is called, then to run. After the
 * loop has ended, loop_post returns false and the message stays the caller's. */
struct post {
    struct post *next;
    void (*run)(struct post *p, void *ctx); /* ctx of loop_set_context */
};
void loop_set_context(struct loop *l, void *ctx);
bool loop_post(struct loop *l, struct post *p);

/* Work off the loop (uv thread pool): run on a pool thread, then done on the
 * loop's thread. Embedded in its owner, which must stay until done. */
struct work {
    void (*run)(struct work *w);
    void (*done)(struct work *w);
    uint64_t opaque[18]; /* uv_work_t */
};
bool work_submit(struct loop *l, struct work *w);

/* Signals, on one loop of the process. */
bool loop_on_signal(struct loop *l, int signum, void (*fn)(void *ctx, int signum));

/* ---- deadlines ---------------------------------------------------------- */

/* All deadlines of one class share a timeout, so a class is a FIFO and arming
 * is O(1). One timer a loop serves all classes. A changed timeout affects
 * deadlines armed from then on. */
struct deadline {
    struct ilist node;
    uint64_t at_ms;
};
struct deadline_run;
struct deadline_class {
    struct ilist list;
    struct ilist in_loop;
    struct loop *loop;
    uint64_t timeout_ms;                            /* 0: armed deadlines never fire */
    void (*expired)(struct deadline *d, void *ctx); /* already disarmed; may end the class */
    void *ctx;
    struct deadline_run *run; /* private */
};
void deadline_class_init(struct deadline_class *c, struct loop *l, uint64_t timeout_ms,
                         void (*expired)(struct deadline *d, void *ctx), void *ctx);
void deadline_class_fini(struct deadline_class *c);
void deadline_arm(struct deadline_class *c, struct deadline *d); /* moves it if armed */
void deadline_disarm(struct deadline *d);                        /* idempotent */
/* Fires what is due at `now_ms`; the loop calls it, and tests do with a fake time. */
void deadline_class_run(struct deadline_class *c, uint64_t now_ms);

/* A timer of its own, for the few things that are not in a class. */
struct timer;
struct timer *timer_new(struct loop *l, void (*fn)(void *ctx), void *ctx);
void timer_start(struct timer *t, uint64_t after_ms, uint64_t repeat_ms);
void timer_stop(struct timer *t);
void timer_free(struct timer *t);

/* ---- streams ------------------------------------------------------------ */

/* A byte stream: plain socket, libpq's socket with or without TLS, or a test's
 * memory peer. Non-blocking. Idle streams own no buffer. */
struct stream;

enum stream_event { STREAM_READABLE = 1, STREAM_WRITABLE = 2 };
#define STREAM_AGAIN ((ssize_t)-1)
#define STREAM_ERROR ((ssize_t)-2) /* stream_error tells why */

struct stream_ops {
    ssize_t (*read)(struct stream *s, void *to, size_t len); /* 0: end of stream */
    /* May be short. After STREAM_AGAIN the next write must begin with the same bytes. */
    ssize_t (*write)(struct stream *s, const struct iovec *iov, int count);
    void (*watch)(struct stream *s, int events); /* events differ from s->watching */
    size_t (*pending)(const struct stream *s);   /* bytes read by TLS and not yet given */
    void (*close)(struct stream *s);             /* ends in s->closed, later on the loop */
    void (*release)(struct stream *s);           /* the same, but the fd stays open */
};

struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    /* Level-triggered; set by the owner, may change at any time. Read once an event.
     * Errors and hang-ups come as READABLE, even if only WRITABLE is watched; with
     * nothing watched nothing is reported. Unwatch what you cannot use now, or you
     * are called again on every turn. */
    void (*ready)(struct stream *s, int events);
    void (*closed)(struct stream *s); /* memory may be freed from here on */
    int fd;                           /* -1 for memory */
    int watching;                     /* enum stream_event bits */
    int last_errno;
    bool closing;
    void *impl;          /* libpq adapter, memory peer */
    void *user;          /* the owner's, never touched here */
    uint64_t handle[20]; /* uv_poll_t */
};

/* Takes the socket: sets it non-blocking, and TCP_NODELAY and keepalive for TCP.
 * Watches READABLE. On failure the fd is closed. */
bool stream_open_fd(struct stream *s, struct loop *l, int fd, struct error *e) MUST_CHECK;
static inline ssize_t stream_read(struct stream *s, void *to, size_t len) { return s->ops->read(s, to, len); }
static inline ssize_t stream_writev(struct stream *s, const struct iovec *iov, int count)
{
    return s->ops->write(s, iov, count);
}
static inline void stream_watch(struct stream *s, int events)
{
    if (s->watching != events && !s->closing)
        s->ops->watch(s, events);
}
static inline size_t stream_pending(const struct stream *s) { return s->ops->pending ? s->ops->pending(s) : 0; }
/* Idempotent; `closed` is called later, never before stream_close returns. */
void stream_close(struct stream *s, void (*closed)(struct stream *s));
const char *stream_error(const struct stream *s);
/* Gives the fd up without closing it, for handing a connection to another
 * loop: `released` is called later on this loop; only then may the fd be
 * opened elsewhere. Plain sockets and libpq streams. */
void stream_release(struct stream *s, void (*released)(struct stream *s));

/* Memory peer for flow tests: two buffers instead of a socket. What the code
 * under test writes is in `out`; a test appends to `in` and calls
 * stream_memory_step, which calls ready while there is something to do. */
struct stream_memory {
    struct stream stream;
    struct buf in, out;
    size_t write_room; /* bytes that writes may take before STREAM_AGAIN */
    size_t read_chunk; /* most bytes a read gives; 0: no limit */
    bool eof, broken;
};
void stream_memory_open(struct stream_memory *m, struct loop *l);
void stream_memory_step(struct stream_memory *m);
void stream_memory_fini(struct stream_memory *m);

/* ---- listening ---------------------------------------------------------- */

/* Opens listening sockets; any thread, before the loops run. TCP with
 * SO_REUSEADDR and, if asked, SO_REUSEPORT. *port 0 is replaced by the real one.
 * `*` is IPv4 and IPv6; a name with addresses of both kinds means its first IPv4 one. */
int listen_tcp(const char *address, int *port, int backlog, bool reuseport, struct error *e) MUST_CHECK;
/* Refuses to replace a socket that answers; removes a stale one. */
int listen_unix(const char *path, unsigned mode, int backlog, struct error *e) MUST_CHECK;

struct peer_address {
    char text[64]; /* "192.0.2.7", "2001:db8::1", "unix" */
    uint16_t port;
    bool local; /* Unix socket */
};
struct listener;
/* Accepts on fd (shared with other loops if need be) and hands each connection
 * over: on_accept owns `fd`. After EMFILE it pauses for 100 ms and logs. */
struct listener *listener_start(struct loop *l, int fd,
                                void (*on_accept)(void *ctx, int fd, const struct peer_address *peer), void *ctx);
void listener_stop(struct listener *li); /* frees it; closes its fd */

/* ---- libpq adapter ------------------------------------------------------ */

/* A server connection made and authenticated by libpq. Life: connect, then
 * either queries through libpq (the directory, probes) or take-over of the
 * socket as a stream; never both. */
struct pqconn;

/* A checked connection string. Any thread. */
struct pqinfo {
    char *host, *port, *dbname, *user, *password; /* NULL where absent; owned */
    char **keywords, **values;                    /* all given options, NULL-terminated; owned */
};
/* Parses URI or keyword form (PQconninfoParse). False: e says why, without the password. */
bool pqinfo_parse(struct pqinfo *out, const char *conninfo, struct error *e) MUST_CHECK;
void pqinfo_fini(struct pqinfo *i);

struct pqconn_options {
    const char *conninfo;                                            /* base */
    const char *dbname, *user, *password;                            /* override the base if not NULL */
    const char *fallback_user, *fallback_dbname, *fallback_password; /* used where the base has none */
    const char *options;                                             /* backend options string, added to the base's */
    const char *application_name;                                    /* NULL: none */
    bool replication_database;                                       /* replication=database */
    bool replication_physical;                                       /* replication=true */
    uint64_t timeout_ms;
};
/* Begins to connect: names are resolved first (off the loop), then hostaddr is
 * passed with host; nothing is taken from the environment, passfile or service
 * file. Ends in `done` once, later: e NULL on success. On a failure e carries
 * the server's own SQLSTATE and message where it sent one, else 08006 or 57P03;
 * the connection must still be closed. Without a user anywhere it is the process's. */
struct pqconn *pqconn_open(struct loop *l, const struct pqconn_options *o,
                           void (*done)(struct pqconn *c, void *ctx, const struct error *e), void *ctx);
/* Any state and callback; no callback comes afterwards; frees later. Says goodbye to
 * the server, except after a take-over: then write Terminate to the stream first if
 * no message is half sent. */
void pqconn_close(struct pqconn *c);
int pqconn_pid(const struct pqconn *c);
uint32_t pqconn_server_version(const struct pqconn *c);                 /* 150018 */
const char *pqconn_parameter(const struct pqconn *c, const char *name); /* NULL if not reported */
bool pqconn_tls(const struct pqconn *c);

/* Take-over: `s` becomes the raw byte stream of the connection (plain or TLS).
 * False if libpq holds input that was not asked for; close it then. From here
 * no query function may be used; pqconn_close after the stream has closed (or
 * been released; then pqconn_move and pqconn_take again on the new loop). */
bool pqconn_take(struct pqconn *c, struct stream *s);
/* Not while a cancel is in flight. */
void pqconn_move(struct pqconn *c, struct loop *to);

/* Sends a cancel request for the connection off the loop; done is called later,
 * after the server has closed the cancel connection (or the attempt failed).
 * The pqconn must stay open until then. One at a time. */
bool pqconn_cancel(struct pqconn *c, void (*done)(struct pqconn *c, void *ctx, bool sent), void *ctx);

/* Queries for our own use: text results, one at a time. */
struct pqresult;
struct pqquery {
    /* COPY TO STDOUT data, or NULL. Returns false to give up. */
    bool (*on_copy)(void *ctx, const char *data, size_t len);
    /* The last result of the query, or e if it failed. r lives during the call. */
    void (*on_done)(void *ctx, const struct pqresult *r, const struct error *e);
    void *ctx;
    uint64_t timeout_ms; /* the connection is unusable after a timeout; close it */
};
/* params may be NULL. Several statements in sql: only without params. */
bool pqconn_query(struct pqconn *c, const char *sql, int param_count, const char *const *params,
                  const struct pqquery *q);
int pqresult_rows(const struct pqresult *r);
int pqresult_columns(const struct pqresult *r);
const char *pqresult_value(const struct pqresult *r, int row, int column); /* NULL for SQL NULL */
/* Notifications and a loss of an idle connection (e) between queries. */
void pqconn_on_idle_event(struct pqconn *c,
                          void (*fn)(void *ctx, const char *channel, const char *payload, const struct error *e),
                          void *ctx);

#endif
