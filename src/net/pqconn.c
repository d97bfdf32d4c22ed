/*
 * A server connection: made and authenticated by libpq, then used through libpq
 * or taken over as a stream.
 *
 * Happy path: names are resolved on the thread pool; PQconnectStart gets their
 * addresses, so that libpq never waits for DNS; PQconnectPoll is called whenever
 * its socket is ready, until it says OK. One timer limits all of it.
 *
 * `done` is called from a later turn, also for failures found in pqconn_open:
 * those set the error and let the timer fire at once. pqconn_close may be called
 * in every state and callback; the struct lives until the end of the turn.
 */
#include <arpa/inet.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pqconn_internal.h"

enum { MAX_ADDRESSES = 16 };

static const uint32_t allowed[] = {
    [PQCONN_RESOLVING] = FSM_TO(PQCONN_CONNECTING) | FSM_TO(PQCONN_FAILED) | FSM_TO(PQCONN_CLOSED),
    [PQCONN_CONNECTING] = FSM_TO(PQCONN_READY) | FSM_TO(PQCONN_FAILED) | FSM_TO(PQCONN_CLOSED),
    [PQCONN_READY] = FSM_TO(PQCONN_QUERY) | FSM_TO(PQCONN_TAKEN) | FSM_TO(PQCONN_FAILED) | FSM_TO(PQCONN_CLOSED),
    [PQCONN_QUERY] = FSM_TO(PQCONN_READY) | FSM_TO(PQCONN_FAILED) | FSM_TO(PQCONN_CLOSED),
    [PQCONN_TAKEN] = FSM_TO(PQCONN_CLOSED),
    [PQCONN_FAILED] = FSM_TO(PQCONN_CLOSED),
    [PQCONN_CLOSED] = 0,
};

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r; /* libpq would print it */
}

/* ---- ends of connecting ---- */

static void report(struct pqconn *c, const struct error *e)
{
    void (*done)(struct pqconn *, void *, const struct error *) = c->done;
    c->done = NULL;
    if (done)
        done(c, c->ctx, e);
}

/* c->error is set. */
static void fail_now(struct pqconn *c)
{
    pqconn_poll_close(c);
    timer_stop(c->timer);
    pqconn_set_state(c, PQCONN_FAILED);
    report(c, &c->error);
}

static void succeed(struct pqconn *c)
{
    struct error ignored;
    (void)pqconn_poll(c, 0, &ignored);
    timer_stop(c->timer);
    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    PQsetnonblocking(c->pg, 1);
    pqconn_free_hosts(c);
    pqconn_set_state(c, PQCONN_READY);
    report(c, NULL);
}

/* ---- connecting ---- */

static void advance(struct pqconn *c)
{
    (void)pqconn_poll(c, 0, &c->error);
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_READING:
        if (!pqconn_poll(c, UV_READABLE, &c->error))
            fail_now(c);
        break;
    case PGRES_POLLING_WRITING:
        if (!pqconn_poll(c, UV_WRITABLE, &c->error))
            fail_now(c);
        break;
    case PGRES_POLLING_OK:
        succeed(c);
        break;
    default:
        pqconn_connect_error(&c->error, PQerrorMessage(c->pg));
        fail_now(c);
    }
}

static bool any_address(const struct pqconn *c)
{
    for (size_t i = 0; i < c->host_count; i++)
        if (c->hosts[i].address || c->hosts[i].found_count > 0 || pqconn_is_unix_host(c->hosts[i].name))
            return true;
    return false;
}

/* Does not report. */
static bool start(struct pqconn *c)
{
    if (!any_address(c)) /* c->error says which name */
        return false;
    char *string = pqconn_string(c, &c->error);
    if (!string)
        return false;
    c->pg = PQconnectStart(string);
    mem_free_secret(string, strlen(string));
    if (!c->pg)
        return error_set(&c->error, ERR_OUT_OF_MEMORY, "no memory for a server connection");
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE); /* for the SQLSTATE, see pqconn_error.c */
    if (PQstatus(c->pg) == CONNECTION_BAD) {
        pqconn_connect_error(&c->error, PQerrorMessage(c->pg));
        return false;
    }
    pqconn_set_state(c, PQCONN_CONNECTING);
    return pqconn_poll(c, UV_WRITABLE, &c->error); /* as PQconnectStart's contract says */
}

/* ---- names ---- */

static void add_address(struct pqhost *h, const struct sockaddr *a)
{
    char text[INET6_ADDRSTRLEN + 20];
    if (h->found_count == MAX_ADDRESSES)
        return;
    /* getnameinfo keeps the scope of link-local addresses, inet_ntop does not. */
    socklen_t len = a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (getnameinfo(a, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
        return;
    if (!h->found)
        h->found = mem_zalloc(MAX_ADDRESSES * sizeof(char *));
    h->found[h->found_count++] = mem_strdup(text);
}

static void on_resolved(void *ctx, const struct addrinfo *list, const char *why)
{
    struct pqhost *h = ctx;
    struct pqconn *c = h->conn;
    h->resolve = NULL;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
            add_address(h, a->ai_addr);
    if (h->found_count == 0)
        error_set(&c->error, ERR_SHARD_UNREACHABLE, "cannot resolve host \"%.200s\": %s", h->name,
                  why ? why : "no address");
    if (--c->unresolved == 0 && c->state == PQCONN_RESOLVING && !start(c))
        fail_now(c);
}

static bool is_literal(const char *name)
{
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool resolve_hosts(struct pqconn *c)
{
    for (size_t i = 0; i < c->host_count; i++) {
        struct pqhost *h = &c->hosts[i];
        if (h->address || pqconn_is_unix_host(h->name))
            continue;
        if (is_literal(h->name)) {
            h->found = mem_zalloc(MAX_ADDRESSES * sizeof(char *));
            h->found[h->found_count++] = mem_strdup(h->name);
            continue;
        }
        h->resolve = resolve_start(c->loop, h->name, on_resolved, h);
        if (!h->resolve)
            return error_set(&c->error, ERR_SHARD_UNREACHABLE, "cannot look up host \"%.200s\"", h->name);
        c->unresolved++;
    }
    return true;
}

/* ---- opening ---- */

static char *choose(const char *override, const char *base, const char *fallback)
{
    const char *s = override ? override : base ? base : fallback;
    return s ? mem_strdup(s) : NULL;
}

/* libpq's default, without its look at PGUSER. */
static char *os_user(void)
{
    char space[1024];
    struct passwd pw, *found = NULL;
    if (getpwuid_r(geteuid(), &pw, space, sizeof(space), &found) != 0 || !found)
        return NULL;
    return mem_strdup(pw.pw_name);
}

static bool prepare(struct pqconn *c, const struct pqconn_options *o)
{
    if (!pqinfo_parse(&c->info, o->conninfo, &c->error))
        return false;
    c->user = choose(o->user, c->info.user, o->fallback_user);
    if (!c->user)
        c->user = os_user();
    if (!c->user)
        return error_set(&c->error, ERR_SHARD_UNREACHABLE, "no user in the connection string");
    c->dbname = choose(o->dbname, c->info.dbname, o->fallback_dbname ? o->fallback_dbname : c->user);
    c->password = choose(o->password, c->info.password, o->fallback_password);
    c->options = choose(o->options, NULL, NULL);
    c->application_name = choose(o->application_name, NULL, NULL);
    c->replication = o->replication_physical ? "true" : o->replication_database ? "database" : NULL;
    for (size_t i = 0; c->info.keywords[i]; i++)
        if (strcmp(c->info.keywords[i], "sslmode") == 0)
            c->tls_required =
                strcmp(c->info.values[i], "require") == 0 || strncmp(c->info.values[i], "verify-", 7) == 0;
    return pqconn_split_hosts(c, &c->error) && resolve_hosts(c);
}

static void on_timer(void *ctx)
{
    struct pqconn *c = ctx;
    switch (c->state) {
    case PQCONN_RESOLVING:
    case PQCONN_CONNECTING:
        error_set(&c->error, ERR_SHARD_UNREACHABLE, "connecting to \"%.100s\" port %.40s timed out after %llu ms",
                  c->info.host ? c->info.host : "", c->info.port ? c->info.port : "5432",
                  (unsigned long long)c->timeout_ms);
        fail_now(c);
        break;
    case PQCONN_FAILED: /* in pqconn_open */
        report(c, &c->error);
        break;
    case PQCONN_QUERY:
        pqconn_query_timeout(c);
        break;
    default:
        break;
    }
}

static void free_conn(struct reap *r)
{
    struct pqconn *c = container_of(r, struct pqconn, reap);
    mem_free(c);
}

void pqconn_set_state(struct pqconn *c, enum pqconn_state to)
{
    if (!fsm_allows(allowed, c->state, to))
        log_event(LOG_ERROR, "server connection: impossible move", log_int("from", c->state), log_int("to", to));
    c->state = to;
}

void pqconn_on_poll(struct pqconn *c, int events)
{
    switch (c->state) {
    case PQCONN_CONNECTING:
        advance(c);
        break;
    case PQCONN_QUERY:
        pqconn_query_event(c, events);
        break;
    case PQCONN_READY:
        pqconn_idle_readable(c);
        break;
    default:
        break;
    }
}

struct pqconn *pqconn_open(struct loop *l, const struct pqconn_options *o,
                           void (*done)(struct pqconn *c, void *ctx, const struct error *e), void *ctx)
{
    struct pqconn *c = mem_zalloc(sizeof(*c));
    c->loop = l;
    c->done = done;
    c->ctx = ctx;
    c->state = PQCONN_RESOLVING;
    c->timeout_ms = o->timeout_ms;
    c->timer = timer_new(l, on_timer, c);
    bool ok = prepare(c, o) && (c->unresolved > 0 || start(c));
    if (!ok) {
        pqconn_poll_close(c);
        pqconn_set_state(c, PQCONN_FAILED);
        timer_start(c->timer, 0, 0);
    } else if (c->timeout_ms > 0) {
        timer_start(c->timer, c->timeout_ms, 0);
    }
    return c;
}

void pqconn_close(struct pqconn *c)
{
    if (!c || c->state == PQCONN_CLOSED)
        return;
    bool taken = c->state == PQCONN_TAKEN;
    pqconn_set_state(c, PQCONN_CLOSED);
    c->done = NULL;
    pqconn_poll_close(c);
    timer_free(c->timer);
    c->timer = NULL;
    loop_later_cancel(c->loop, &c->later);
    pqconn_cancel_detach(c);
    pqconn_free_hosts(c);
    PQclear(c->result);
    c->result = NULL;
    /* PQfinish writes Terminate; after raw bytes it could complete a message that
     * was cut off in the middle. The stream's owner writes its own. */
    if (taken && PQsocket(c->pg) >= 0)
        shutdown(PQsocket(c->pg), SHUT_WR);
    PQfinish(c->pg);
    c->pg = NULL;
    pqinfo_fini(&c->info);
    mem_free(c->dbname);
    mem_free(c->user);
    if (c->password)
        mem_free_secret(c->password, strlen(c->password));
    mem_free(c->options);
    mem_free(c->application_name);
    c->reap.free = free_conn;
    loop_reap(c->loop, &c->reap);
}

int pqconn_pid(const struct pqconn *c) { return PQbackendPID(c->pg); }

uint32_t pqconn_server_version(const struct pqconn *c) { return (uint32_t)PQserverVersion(c->pg); }

const char *pqconn_parameter(const struct pqconn *c, const char *name) { return PQparameterStatus(c->pg, name); }

bool pqconn_tls(const struct pqconn *c) { return PQsslInUse(c->pg); }
