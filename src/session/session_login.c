/*
 * Proof of who the client is. The mechanism is an exchange function of the auth
 * room; this file carries its messages and runs its key derivation on a pool
 * thread. An exchange under derivation outlives its session if need be.
 */
#include <string.h>

#include "session_internal.h"

#define PASSWORD_MESSAGE_MAX 65536u

struct derive {
    struct work work;
    struct session *session; /* NULL: gone */
    struct auth_exchange *exchange;
};

void login_free(struct login *l)
{
    if (l->derive)
        l->derive->session = NULL; /* it frees the exchange when it is done */
    else
        auth_free(l->exchange);
    auth_users_unref(l->users);
    mem_free(l->packet);
    mem_free(l->decoded);
    mem_free(l);
}

static void login_failed(struct session *s, const struct error *e)
{
    char address[64];
    session_address(s, address, sizeof address);
    counter_add(s->owner->counters, COUNTER_LOGIN_FAILURES, 1);
    log_event(LOG_WARN, "login failed", log_slice("user", s->login->full_user),
              log_slice("database", s->login->database), log_str("address", address), log_err(e));
    session_fail(s, e);
}

static void authenticated(struct session *s)
{
    struct sessions *ss = s->owner;
    struct login *l = s->login;
    struct error e;
    error_clear(&e);
    wire_put_auth_ok(&ss->reply);
    if (l->console && !l->user->admin && !l->user->stats) {
        error_set(&e, ERR_AUTH_NOT_ALLOWED, "user is not in admin.users or admin.stats_users");
    } else if (!hub_count_user(ss->hub, l->user_name,
                               l->user->max_clients ? l->user->max_clients : ss->conf->max_clients_per_user, &e)) {
        counter_add(ss->counters, COUNTER_CLIENTS_REFUSED, 1);
    } else {
        s->counted_user = true;
    }
    int64_t tenant;
    if (!e.code && route_show(&s->tenant, &tenant) && !auth_user_may(l->user, tenant))
        error_set(&e, ERR_TENANT_FORBIDDEN, "at login");
    if (e.code) {
        if (s->counted_user)
            hub_uncount_user(ss->hub, l->user_name);
        s->counted_user = false;
        login_failed(s, &e);
        return;
    }
    s->profile = profile_get(ss, l);
    counter_add(ss->counters, COUNTER_LOGINS, 1);
    if (ss->conf->log_connections) {
        char address[64];
        session_address(s, address, sizeof address);
        log_event(LOG_INFO, "client login", log_int("session", s->id), log_slice("user", l->full_user),
                  log_slice("database", l->database), log_str("address", address));
    }
    session_welcome(s);
}

static void step(struct session *s, enum auth_step next, const struct error *e);

static void run_derive(struct work *w) { auth_derive(container_of(w, struct derive, work)->exchange); }

static void on_derived(struct work *w)
{
    struct derive *d = container_of(w, struct derive, work);
    struct session *s = d->session;
    if (!s) {
        auth_free(d->exchange);
    } else {
        struct error e;
        error_clear(&e);
        s->login->derive = NULL;
        if (s->state < SESSION_CLOSING) { /* else it was too slow */
            step(s, auth_resume(d->exchange, &s->owner->reply, &e), &e);
            session_resume(s);
        }
    }
    mem_free(d);
}

static void step(struct session *s, enum auth_step next, const struct error *e)
{
    switch (next) {
    case AUTH_CONTINUE:
        session_reply(s);
        return;
    case AUTH_DERIVE: {
        struct derive *d = mem_zalloc(sizeof *d);
        d->work = (struct work){.run = run_derive, .done = on_derived};
        d->session = s;
        d->exchange = s->login->exchange;
        s->login->derive = d;
        session_reply(s);
        if (s->state < SESSION_CLOSING && !work_submit(s->owner->loop, &d->work)) {
            s->login->derive = NULL;
            mem_free(d);
            session_fail_code(s, ERR_INTERNAL, "work_submit");
        }
        return;
    }
    case AUTH_OK:
        authenticated(s);
        return;
    case AUTH_FAIL:
        buf_consume(&s->owner->reply, s->owner->reply.len);
        login_failed(s, e);
        return;
    }
}

void session_login_begin(struct session *s)
{
    struct sessions *ss = s->owner;
    struct login *l = s->login;
    struct error e;
    error_clear(&e);
    l->users = auth_users_ref(ss->users);
    l->user = auth_users_find(l->users, l->user_name);
    enum auth_step next;
    l->exchange = auth_begin(l->users, l->user, l->user_name, ss->conf->auth_type, ss->conf->auth_iterations,
                             &ss->reply, &next, &e);
    if (!str_eq(l->full_user, l->user_name) && !auth_set_sent_name(l->exchange, l->full_user))
        session_fail_code(s, ERR_OUT_OF_MEMORY, "login");
    else
        step(s, next, &e);
}

ssize_t session_login_input(struct session *s, const char *p, size_t n)
{
    struct wire_header h;
    ssize_t got = wire_header(p, n, &h);
    if (got == WIRE_MORE)
        return 0;
    if (got == WIRE_BAD || h.type != 'p' || h.size > PASSWORD_MESSAGE_MAX || !s->login) {
        session_fail_code(s, ERR_PROTOCOL, "expected a password message");
        return -1;
    }
    if (n < h.size)
        return 0;
    struct error e;
    error_clear(&e);
    struct str body = {p + WIRE_HEADER, h.size - WIRE_HEADER};
    enum auth_step next = auth_input(s->login->exchange, body, &s->owner->reply, &e);
    step(s, next, &e);
    return s->state >= SESSION_CLOSING ? -1 : (ssize_t)h.size;
}
