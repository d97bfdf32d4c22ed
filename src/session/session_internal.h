/*
 * Private to the session room: the session, its state machine, and what its
 * files give each other.
 *
 *   STARTUP --startup packet--> AUTH --proof--> IDLE            (transaction mode)
 *                                 |              ^ |
 *                                 |              | | statement needs a server
 *                                 |              | v
 *                                 +--> WAITING <-+ WAITING --server--> LINKED --done--> IDLE
 *                                      (session mode takes its server before the welcome)
 *   LINKED <--> WAITING: for the directory's answer about another tenant, where the server is kept
 *   AUTH --admin database--> CONSOLE <--> CONSOLE_BUSY
 *   any --error or end--> CLOSING (flushes the last message) --> CLOSED (stream closes, memory goes)
 *
 * Input. What a client sends is read into the worker's scratch buffer and
 * consumed message by message (session_input.c). A message that cannot go on
 * (its server is not there yet, an answer must come first) is not consumed: it
 * and all behind it wait in `in`, and session_resume looks at it again.
 *
 * Output. Bytes go straight to the socket; only what it does not take is kept
 * in `out`, and then the server is not read until `out` is empty. So each way
 * holds at most one scratch buffer.
 */
#ifndef SHARDGATE_SESSION_INTERNAL_H
#define SHARDGATE_SESSION_INTERNAL_H

#include "shardgate/route.h"
#include "shardgate/session.h"
#include "shardgate/sql.h"
#include "shardgate/wire.h"

enum session_state {
    SESSION_STARTUP,
    SESSION_AUTH,
    SESSION_IDLE,
    SESSION_WAITING,
    SESSION_LINKED,
    SESSION_CONSOLE,
    SESSION_CONSOLE_BUSY,
    SESSION_CLOSING,
    SESSION_CLOSED,
};

/* What sessions of one user, database and set of startup settings share:
 * interned by worker, so that an idle client costs a pointer. */
struct profile {
    unsigned refs;
    struct profile *next; /* in its hash chain */
    uint64_t hash;
    struct auth_users *users; /* keeps `user` alive */
    const struct auth_user *user;
    struct settings *settings;
    struct str user_name, database; /* without the tenant's part */
    enum conf_pool_mode mode;
    bool console; /* the admin console, no shard */
};

/* A statement or portal that the router answers itself: tenant commands and
 * the transaction control of a transaction that has touched no shard yet. */
struct local_statement {
    struct local_statement *next;
    bool portal;
    enum sql_verb verb;
    char value[40];
    char *text; /* of BEGIN: replayed; of a console command; else NULL */
    struct str name;
};

#define SETTINGS_MAX 64

/* Login in progress; freed at the welcome. */
struct login {
    struct auth_exchange *exchange;
    struct auth_users *users;
    const struct auth_user *user;          /* NULL: unknown, the exchange is a mock */
    struct derive *derive;                 /* key derivation under way on a pool thread */
    struct str user_name, database;        /* without the tenant's part; slices of `packet` */
    struct str full_user;                  /* as given, for the log */
    struct setting settings[SETTINGS_MAX]; /* slices of `packet` and `decoded` */
    unsigned setting_count;
    enum settings_replication replication;
    char *packet, *decoded; /* own copies of the startup parameters */
    bool console;
};

struct session {
    struct stream *stream; /* &socket, or a test's */
    struct sessions *owner;
    struct ilist in_owner;
    struct profile *profile;
    struct login *login;
    struct server *server;
    struct pool *pool; /* of the last route; good while the next two stand */
    uint64_t pool_generation;
    int64_t pool_tenant;
    struct params *params;  /* what the client has been told */
    struct params *startup; /* … in its welcome; NULL in session mode */
    struct buf in, out;
    struct local_statement *locals;
    char *begin;                /* a BEGIN that was answered but not sent yet */
    struct route_tenant *saved; /* the tenant before the transaction, if it changed in it */
    struct console_call *call;
    struct error *route_error; /* why the wait for a server failed: for the statement at hand */
    struct waiter waiter;
    struct deadline deadline;
    struct ilist in_misses; /* waits for the directory's answer about pool_tenant */
    struct reap reap;
    struct route_tenant tenant;
    uint64_t id;
    uint64_t query_start_ns;
    uint64_t connected_ms;
    int64_t link_tenant; /* while LINKED with a tenant */
    uint32_t cancel_pid, cancel_key;
    uint32_t body_left;    /* of the client message being forwarded or dropped */
    uint32_t forward_skip; /* leading bytes of the message at hand that ss->prefix replaces */
    uint8_t address[16];
    uint16_t port;
    uint8_t address_kind; /* 0 Unix, 4, 6, 1 other */
    uint8_t state;        /* enum session_state; session_move changes it */
    uint8_t source;       /* enum route_source of link_tenant */
    uint8_t encryption_requests;
    uint8_t refusal;    /* enum err_code to answer the startup packet with; 0: none */
    unsigned pins;      /* enum sql_pin, and the two below */
    bool body_drop : 1; /* body_left is dropped */
    bool welcomed : 1;
    bool provisional : 1; /* params were not confirmed by a server yet */
    bool link_has_tenant : 1;
    bool cycle : 1;           /* extended messages went to the server since the last Sync */
    bool skip_to_sync : 1;    /* a local error in the extended protocol */
    bool barrier : 1;         /* waits until the server has answered all */
    bool failed : 1;          /* the transaction of `begin` has failed */
    bool unnamed : 1;         /* the unnamed statement on the server is ours */
    bool unbound : 1;         /* … and no Bind has used it: the server is kept */
    bool fatal_seen : 1;      /* the server's FATAL was passed on */
    bool counted : 1;         /* in the hub's counts */
    bool counted_user : 1;    /* … by user, which is profile's */
    bool own_key : 1;         /* cancel key is the server's and in the hub's table */
    bool rolled_back : 1;     /* last CommandComplete was ROLLBACK */
    bool looked_up : 1;       /* the directory was asked for the tenant at hand */
    bool pool_for_tenant : 1; /* `pool` is of pool_tenant, not of the home shard */
    bool console_simple : 1;  /* `call` answers a Query, not an Execute */
    bool asks_cancel : 1;     /* a CancelRequest: what else it sends is not looked at */
    bool copy_in : 1;         /* COPY FROM STDIN by Execute: the server ignores Sync until it ends */
    struct stream socket;
};

/* Pin reasons beside enum sql_pin. */
#define PIN_STATEMENT (1u << 16) /* named prepared statement */
#define PIN_SESSION (1u << 17)   /* session mode */

struct sessions {
    struct loop *loop;
    struct pools *pools;
    struct conf *conf;
    struct auth_users *users;
    struct session_hub *hub;
    struct counters *counters;
    unsigned worker;
    struct sessions_hooks hooks;
    struct ilist all, misses;
    size_t count, waiting;
    bool draining, told_drained;
    bool unsent;            /* of the session that is looking at a message: messages before it have not left */
    bool timed;             /* some timeout of sessions after login is set */
    struct session **slots; /* by slot of the id */
    uint32_t *free_slots;
    uint32_t slot_cap, free_count;
    uint64_t next_seq;
    struct deadline_class login_deadline, idle_deadline, transaction_deadline, query_deadline, flush_deadline;
    char *scratch; /* scratch_size bytes: what was read last, of a client or a server */
    size_t scratch_size;
    struct buf prefix; /* bytes to send before the message at hand, in one write */
    struct buf reply;  /* local answers of one message */
    struct sql_rules rules;
    struct profile *profiles[1024];
};

/* ---- session.c: life ------------------------------------------------------ */
void session_move(struct session *s, enum session_state to);
/* FATAL to the client, then the end. Sends the server away. */
void session_fail(struct session *s, const struct error *e);
void session_fail_code(struct session *s, enum err_code code, const char *cause);
/* The client has gone or there is nothing to say: closes without a message. */
void session_end(struct session *s, const char *why);
void session_log_refusal(struct session *s, const struct error *e);
void session_address(const struct session *s, char *to, size_t size);
void session_watch(struct session *s);           /* which events the client's stream needs now */
void sessions_tell_drained(struct sessions *ss); /* if so, and once */
void session_arm(struct session *s);             /* the deadline that fits the state */

/* ---- session_io.c ---------------------------------------------------------- */
void on_client_ready(struct stream *stream, int events);
/* Writes to the client now, keeping what the socket does not take. */
void session_write(struct session *s, const struct iovec *iov, int count);
/* Sends ss->reply to the client and empties it. */
void session_reply(struct session *s);
/* To the server: ss->prefix first, then data. False: the server was lost and
 * the session has ended. */
bool session_send(struct session *s, const char *data, size_t len);
bool session_flush_server(struct session *s);
/* Consumes `in` again after what it waited for has come. */
void session_resume(struct session *s);

/* ---- session_startup.c, session_login.c, session_welcome.c ---------------- */
/* Each returns bytes consumed; 0: more is needed; -1: the session has ended. */
ssize_t session_startup_input(struct session *s, const char *p, size_t n);
ssize_t session_login_input(struct session *s, const char *p, size_t n);
void session_login_begin(struct session *s);
void login_free(struct login *l);
bool login_setting(struct login *l, struct str name, struct str value, struct error *e);
void session_welcome(struct session *s); /* authenticated: sends the welcome, or waits for the server first */
void session_welcome_linked(struct session *s);
struct profile *profile_get(struct sessions *ss, const struct login *l);
void session_make_key(struct session *s);
const struct conf_database *profile_database(const struct sessions *ss, const struct profile *p);
void profile_unref(struct sessions *ss, struct profile *p);
/* First link: the client is told what the server really reports. */
void session_reconcile(struct session *s);
/* Queues (into ss->prefix) the SETs that make the server's params the client's. */
bool session_align(struct session *s);
/* The name to report in place of the server's, or a str with ptr NULL: RESET
 * takes application_name back to the pool's, a client's goes back to its startup's. */
struct str session_own_name(const struct session *s, struct str server_name);

/* ---- session_input.c ------------------------------------------------------- */
enum verdict {
    VERDICT_FORWARD, /* the whole message to the server */
    VERDICT_DONE,    /* answered or dropped here */
    VERDICT_BLOCKED, /* look at it again later */
    VERDICT_MORE,    /* needs the whole message */
    VERDICT_ENDED,   /* the session is closing */
};
/* Consumes messages after login; returns bytes consumed. */
size_t session_input(struct session *s, const char *p, size_t n);
/* May the session's statement be consumed no further for now? */
bool session_blocked(const struct session *s);

/* ---- session_query.c, session_extended.c, session_local.c ----------------- */
enum verdict session_query(struct session *s, struct str body);
enum verdict session_function_call(struct session *s);
enum verdict session_parse(struct session *s, struct str body);
enum verdict session_bind(struct session *s, struct str head, bool whole);
enum verdict session_describe(struct session *s, struct str body);
enum verdict session_execute(struct session *s, struct str body);
enum verdict session_close_target(struct session *s, struct str body);
enum verdict session_sync(struct session *s);
enum verdict session_flush_message(struct session *s);
/* A statement refused: the error, and the state PostgreSQL would be in. */
enum verdict session_refuse(struct session *s, const struct error *e, bool extended);
/* Waits until the server has answered all that was sent. True: it has. */
bool session_quiet(struct session *s);
/* The client has got the head of a message of the server's and waits for the rest:
 * what is written to it now would be taken for that. */
static inline bool session_inside_message(const struct session *s)
{
    return s->server && s->server->in_left && !s->server->in_skip;
}
/* Would this text be answered here? Sets *e on a command that may not be given now. */
bool session_is_local(const struct session *s, const struct sql_inspection *in, struct str text);
/* Runs a local command; appends rows and CommandComplete (no ReadyForQuery) to
 * ss->reply. with_rows: SHOW's RowDescription comes first. False: e. */
bool session_run_local(struct session *s, enum sql_verb verb, const char *value, const char *begin, bool with_rows,
                       struct error *e);
/* Holds the server for its state; reasons as SQL_PIN_* and PIN_*. */
void session_pin(struct session *s, unsigned pins);
/* RESET ALL and DISCARD ALL outside a transaction end pins, and the tenant goes
 * back to that of the startup. The server stays dirty: it is reset with proof
 * before it is anybody else's. */
void session_end_pins(struct session *s, enum sql_verb verb);
void session_inspect(const struct session *s, struct str text, struct sql_inspection *out);
char session_status(const struct session *s); /* 'I', 'T', 'E' as the client should see it */
struct local_statement *local_find(struct session *s, bool portal, struct str name);
bool local_put(struct session *s, bool portal, struct str name, enum sql_verb verb, const char *value, struct str text);
void local_remove(struct session *s, bool portal, struct str name);
void local_clear_portals(struct session *s);
void local_clear(struct session *s);
void session_end_transaction(struct session *s, bool rolled_back);

/* ---- session_route.c -------------------------------------------------------- */
/* Gets the session a server for the tenant. FORWARD: linked. BLOCKED: waiting.
 * DONE: refused, *e says why. in NULL: no text (function call, welcome). */
enum verdict session_route(struct session *s, const struct sql_inspection *in, struct error *e);
/* The same for a statement that the linked server has parsed before; its text may have
 * named the tenant, if the session does not. */
enum verdict session_route_parsed(struct session *s, struct error *e);
void session_cancel_wait(struct session *s);
/* Is it queued at a shard that is its tenant's no longer? */
bool session_waits_elsewhere(const struct session *s);
/* A session that keeps its server may still wait for the directory's answer. */
static inline enum session_state session_before_wait(const struct session *s)
{
    return s->server ? SESSION_LINKED : s->welcomed ? SESSION_IDLE : SESSION_AUTH;
}
void on_waiter_done(struct waiter *w, struct server *server, const struct error *e);

/* ---- session_link.c, session_relay.c ---------------------------------------- */
void session_link(struct session *s, struct server *server);
/* Gives the server back if the session does not need it any longer. */
void session_release_if_idle(struct session *s);
/* In no transaction, with nothing under way: a draining worker ends it here. */
bool session_at_rest(const struct session *s);
/* Takes the server from the session whatever it is doing. */
void session_unlink(struct session *s);
bool session_expect(struct session *s, char kind, enum expect_action action);
void on_server_ready(struct stream *stream, int events);
const char *session_pin_name(const struct session *s);

/* ---- session_hub.c ------------------------------------------------------------ */
/* Counts a client in; false with e (TOO_MANY_…). A limit of 0 is none (but max). */
bool hub_count(struct session_hub *h, struct str address, int64_t max, int64_t max_address, struct error *e);
void hub_uncount(struct session_hub *h, struct str address);
void hub_uncount_user(struct session_hub *h, struct str user);
bool hub_count_user(struct session_hub *h, struct str user, int64_t max, struct error *e);
void hub_key_put(struct session_hub *h, uint32_t pid, uint32_t key, uint64_t session_id);
void hub_key_remove(struct session_hub *h, uint32_t pid, uint32_t key);
bool hub_key_find(struct session_hub *h, uint32_t pid, uint32_t key, uint64_t *session_id);

/* ---- session_console.c -------------------------------------------------------- */
size_t session_console_input(struct session *s, const char *p, size_t n);

/* ids: seq << 26 | worker << 20 | slot */
#define ID_SLOT_BITS 20u
#define ID_WORKER_BITS 6u
static inline uint32_t id_slot(uint64_t id) { return (uint32_t)(id & ((1u << ID_SLOT_BITS) - 1)); }
static inline unsigned id_worker(uint64_t id) { return (unsigned)(id >> ID_SLOT_BITS) & ((1u << ID_WORKER_BITS) - 1); }

#define INPUT_HOLD_MAX 65536u /* a waiting client's input is read no further than this */

#endif
