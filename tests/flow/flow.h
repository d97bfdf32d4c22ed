/*
 * Flow tests: whole conversations of the session room, over memory streams, with
 * both of its neighbours played by the test. A conversation reads as what goes
 * over the wire:
 *
 *   struct peer *c = login(f), *s = server(f, 1);
 *   sends(c, "Q(SELECT 1)");
 *   gets(s, "Q(SELECT 1)");
 *   sends(s, "T(a) D(1) C(SELECT 1) Z(I)");
 *   gets(c, "T(a) D(1) C(SELECT 1) Z(I)");
 *   is_free(s);
 *
 * and is played in every way in which a network may deliver it: whole, byte by
 * byte, cut at each place, and with sockets that take three bytes at a time. What
 * each side gets must be the same each time.
 *
 * The pool is scripted too (flow_pool.c defines the functions of pool.h), so that
 * which server comes when, and what becomes of it, is up to the test. Map, users,
 * configuration, routing and the reading of SQL are the real ones.
 *
 * Messages as text (flow_text.c): a type letter and its fields.
 *   to a server:  Q(text) P(name,text) P1(name,text: with one parameter type)
 *                 B(portal,statement,value…) D(S,name) E(portal) C(S,name) S H X
 *                 F d(data) c f(text) p(password)
 *   to a client:  R Z(I) T(column,…) D(value,…) C(tag) E(sqlstate,message)
 *                 E!(…): FATAL  N(sqlstate) A(channel) S(name,value) K(pid,key)
 *                 1 2 3 n s I t G H W d(data) c v
 * [70000] as a field is that many x. An incomplete message is shown as +bytes.
 */
#ifndef SHARDGATE_FLOW_H
#define SHARDGATE_FLOW_H

#include "shardgate/session.h"
#include "shardgate/wire.h"

#include "session_internal.h"

#define PEERS_MAX 64
#define NO_LOOKUP "# directory.lookup_on_miss: false\n" /* as a conversation's yaml */

enum flow_delivery { DELIVER_WHOLE, DELIVER_BYTES, DELIVER_CUT };

enum server_fate { FATE_FREE, FATE_LINKED, FATE_ABANDONED_WHOLE, FATE_ABANDONED_CUT, FATE_CLOSED };

struct peer {
    struct flow *flow;
    bool is_client;
    struct stream_memory memory;
    struct buf pending; /* said, not delivered yet */
    size_t burst;       /* delivered of the burst at hand */
    bool slow;          /* takes nothing until told */
    uint32_t pid, key;  /* of the last BackendKeyData heard */
    char text[512];     /* message, detail and hint of the last error heard */
    /* A server's. server.stream stands before memory: what the session does to it
     * is done to memory. */
    struct server server;
    int16_t shard;
    bool fresh, seen_closed;
    enum server_fate fate;
    unsigned cancels;
    bool dirty_at_end; /* server.dirty when it was given back */
};

struct flow {
    bool session_mode;
    enum flow_delivery delivery;
    size_t cut;     /* of DELIVER_CUT: bytes in the first piece of each burst */
    size_t longest; /* burst so far */
    bool trickle;   /* sockets take three bytes at a time */
    struct loop *loop;
    struct conf *conf;
    struct auth_users *users;
    struct session_hub *hub;
    struct map *map;
    struct pools *pools;
    struct sessions *ss;
    struct peer *peers[PEERS_MAX];
    unsigned peer_count;
    struct pool *pool_list[16]; /* scripted: one for each distinct key */
    unsigned pool_count;
    struct pool_key last_key; /* of the last pool_get; its slices may have gone */
    char last_database[64], last_user[64], last_options[200];
    /* What the hooks were told. */
    unsigned lookups, cancels, drained;
    int64_t lookup_tenant;
    struct console_call *console_call;
    bool console_now; /* a console command is answered in the next step */
    bool have_parameters;
    char parameters[HEALTH_PARAMETERS][64];
    int log_fd;          /* what is logged as an error */
    uint64_t elapsed_ms; /* see passes() */
};

/* ---- making and ending: flow.c -------------------------------------------- */

/* yaml: more options, beside those that every flow has (directory, auth, users,
 * admin, log, pool). */
void flow_init(struct flow *f, const char *yaml, bool session_mode);
/* Clients that are left hang up; everything must be given back. */
void flow_fini(struct flow *f);
struct map *flow_map(struct map *old,
                     bool with_500);              /* shards 1: 1-99, 2: 100-199, 3: 200-299, 4 (not active): 300-399 */
void flow_set_map(struct flow *f, struct map *m); /* takes m */

/* ---- peers: flow.c ---------------------------------------------------------- */

struct peer *client(struct flow *f); /* connected, nothing said */
struct peer *client_from(struct flow *f, const char *address);
void starts_with(struct peer *c, uint32_t version, const char *const *pairs); /* NULL-terminated */
#define starts(c, ...) starts_with((c), 0x30000, (const char *const[]){__VA_ARGS__, NULL})
/* As user app of database shop, with these startup parameters; the welcome is heard and not checked. */
struct peer *login_with(struct flow *f, const char *const *pairs);
#define login(f) login_with((f), (const char *const[]){"user", "app", "database", "shop", NULL})
#define login_as(f, ...) login_with((f), (const char *const[]){__VA_ARGS__, NULL})
/* For tenant n, by options; in session mode a server must be ready for it. */
struct peer *login_tenant(struct flow *f, int64_t tenant);

struct peer *server(struct flow *f, int16_t shard); /* idle in the shard's pool */
void sends(struct peer *p, const char *messages);
void sends_raw(struct peer *p, const void *data, size_t len);
void hangs_up(struct peer *p);
void breaks(struct peer *p);              /* its socket fails from now on */
void stalls(struct peer *p);              /* takes no byte from now on … */
void takes(struct peer *p, size_t bytes); /* … but these */
void settle(struct flow *f);              /* until nothing moves */
void passes(struct flow *f, uint64_t ms); /* time */
/* What was heard since the last look, as text; whole messages are then forgotten. */
void heard(struct peer *p, struct buf *text);
void answers(struct flow *f, const char *messages); /* the console command under way; "" is allowed */

/* ---- checks: flow_check.c ----------------------------------------------------- */

_Noreturn void flow_fail(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_gets(struct peer *p, const char *want, const char *file, int line);
void check_fate(struct peer *p, enum server_fate want, const char *file, int line);
void check_closed(struct peer *c, bool want, const char *file, int line);
void check_text(struct peer *c, const char *part, const char *file, int line);
#define gets(p, messages) check_gets((p), (messages), __FILE__, __LINE__)
#define gets_nothing(p) check_gets((p), "", __FILE__, __LINE__)
#define is_free(s) check_fate((s), FATE_FREE, __FILE__, __LINE__)
/* What becomes of a server after a transaction: in session mode it stays. */
#define goes_back(s) check_fate((s), (s)->flow->session_mode ? FATE_LINKED : FATE_FREE, __FILE__, __LINE__)
#define is_linked(s) check_fate((s), FATE_LINKED, __FILE__, __LINE__)
#define is_abandoned(s) check_fate((s), FATE_ABANDONED_WHOLE, __FILE__, __LINE__)
#define is_abandoned_in_message(s) check_fate((s), FATE_ABANDONED_CUT, __FILE__, __LINE__)
#define is_dropped(s) check_fate((s), FATE_CLOSED, __FILE__, __LINE__)
#define is_closed(c) check_closed((c), true, __FILE__, __LINE__)
#define is_open(c) check_closed((c), false, __FILE__, __LINE__)
/* The last error's message, detail or hint holds this. */
#define says(c, part) check_text((c), (part), __FILE__, __LINE__)
#define holds(f, condition) ((condition) ? (void)0 : flow_fail(__FILE__, __LINE__, "does not hold: %s", #condition))

/* A conversation and how it is played. */
struct talk {
    const char *name;
    void (*fn)(struct flow *f);
    const char *yaml;
    bool in_session, once; /* in session mode; whole only */
};
void flow_play(void **talk); /* a cmocka test: its state is the talk */
#define CONVERSATION(name) static void name(struct flow *f)
#define TALK_(conversation, ...)                               \
    ((struct CMUnitTest){#conversation, flow_play, NULL, NULL, \
                         &(struct talk){#conversation, conversation, __VA_ARGS__}})
#define TALK(name, yaml) TALK_(name, yaml, false, false)        /* transaction mode */
#define TALK_SESSION(name, yaml) TALK_(name, yaml, true, false) /* session mode */
#define TALK_BOTH(name, yaml) TALK(name, yaml), TALK_SESSION(name, yaml)
#define TALK_ONCE(name, yaml) TALK_(name, yaml, false, true) /* not in every way */
#define TALK_SESSION_ONCE(name, yaml) TALK_(name, yaml, true, true)
/* One argument chooses conversations by name, with * and ?. */
#define FLOW_MAIN(...)                                    \
    int main(int argc, char **argv)                       \
    {                                                     \
        const struct CMUnitTest tests[] = {__VA_ARGS__};  \
        if (argc > 1)                                     \
            cmocka_set_test_filter(argv[1]);              \
        return cmocka_run_group_tests(tests, NULL, NULL); \
    }

/* ---- text and bytes: flow_text.c ----------------------------------------------- */

/* False: the text is not understood. */
bool text_encode(struct buf *out, const char *text, bool to_server);
/* Takes the whole messages off bytes; what is left there is told by its size. */
void text_decode(struct buf *text, struct buf *bytes, struct peer *p);

/* ---- the scripted pool: flow_pool.c --------------------------------------------- */

void pool_script_init(struct flow *f);
void pool_script_fini(struct flow *f);
/* A server that is free: to a waiter, or idle. */
void pool_script_offer(struct peer *s);
/* The first waiter of a shard is refused; code 0: sent away to look again. */
void pool_script_refuse(struct flow *f, int16_t shard, enum err_code code);
unsigned pool_script_waiting(const struct flow *f, int16_t shard);

#endif
