/*
 * The startup phase (protocol chapter "Start-up" and "Canceling Requests in
 * Progress"): SSLRequest and GSSENCRequest are answered N, a CancelRequest is
 * passed to the session it names and answered by closing, and a StartupMessage
 * is taken apart into user, database, tenant and settings.
 */
#include <string.h>

#include "session_internal.h"

/* The connection closes when the request has been heard (sessions_cancel_heard). */
static void cancel_request(struct session *s, const struct wire_startup *st)
{
    struct sessions *ss = s->owner;
    struct cancel_key to = {.pid = st->pid, .requester = s->id};
    counter_add(ss->counters, COUNTER_CANCELS, 1);
    if (st->key.len != 4) {
        session_end(s, "cancel request");
        return;
    }
    memcpy(&to.key, st->key.ptr, 4);
    to.key = __builtin_bswap32(to.key);
    s->asks_cancel = true;
    if (hub_key_find(ss->hub, to.pid, to.key, &to.session_id))
        ss->hooks.cancel(ss->hooks.ctx, id_worker(to.session_id), to);
    else /* a key of ours: the process id holds worker and slot, see session_make_key */
        ss->hooks.cancel(ss->hooks.ctx, to.pid >> ID_SLOT_BITS & ((1u << ID_WORKER_BITS) - 1), to);
}

static bool setting_name_ok(struct str name)
{
    if (name.len == 0 || name.len > 127)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '.' || c == '$')))
            return false;
    }
    return true;
}

bool login_setting(struct login *l, struct str name, struct str value, struct error *e)
{
    if (!setting_name_ok(name)) {
        error_set(e, ERR_INVALID_PARAMETER, "malformed setting name in the startup packet");
        error_detail(e, "\"%.*s\" is not the name of a setting.", (int)(name.len > 63 ? 63 : name.len), name.ptr);
        return false;
    }
    for (unsigned i = 0; i < l->setting_count; i++) {
        if (str_eq_nocase(l->settings[i].name, name)) { /* the later one wins, as in PostgreSQL */
            l->settings[i].value = value;
            return true;
        }
    }
    if (l->setting_count == SETTINGS_MAX)
        return error_set(e, ERR_INVALID_PARAMETER, "more than %d settings in the startup packet", SETTINGS_MAX);
    l->settings[l->setting_count++] = (struct setting){name, value};
    return true;
}

static bool startup_tenant(struct session *s, struct str value, struct error *e)
{
    int64_t tenant;
    if (!(s->owner->conf->tenant_sources & CONF_SOURCE_STARTUP)) {
        error_set(e, ERR_INVALID_PARAMETER, "the startup parameter is not among tenant.sources");
        error_detail(e, "The tenant is not taken from the startup packet here.");
        return false;
    }
    if (!str_to_i64(str_trim(value), &tenant))
        return error_set(e, ERR_INVALID_TENANT, "startup parameter is no number");
    return route_add_startup(&s->tenant, tenant, e);
}

static bool any_setting(struct session *s, struct str name, struct str value, struct error *e)
{
    if (str_eq_nocase(name, str_from(s->owner->conf->tenant_parameter)))
        return startup_tenant(s, value, e);
    return login_setting(s->login, name, value, e);
}

static bool parse_options(struct session *s, struct str options, struct error *e)
{
    struct login *l = s->login;
    mem_free(l->decoded);
    l->decoded = mem_alloc(options.len + 1);
    struct wire_options it = {options, l->decoded};
    struct str name, value;
    int more;
    while ((more = wire_options_next(&it, &name, &value)) == 1) {
        if (!any_setting(s, name, value, e))
            return false;
    }
    if (more < 0) {
        error_set(e, ERR_INVALID_PARAMETER, "unsupported word in options");
        error_detail(e, "\"%.*s\" in options is not of the form -c name=value.", (int)(name.len > 63 ? 63 : name.len),
                     name.ptr);
        return false;
    }
    return true;
}

static bool parse_replication(struct login *l, struct str value, struct error *e)
{
    static const char *const yes[] = {"true", "on", "yes", "1", "t", "y"}, *const no[] = {"false", "off", "no",
                                                                                          "0",     "f",   "n"};
    if (str_eq_nocase(value, STR("database"))) {
        l->replication = REPLICATION_DATABASE;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_nocase(value, str_from(yes[i]))) {
            l->replication = REPLICATION_PHYSICAL;
            return true;
        }
        if (str_eq_nocase(value, str_from(no[i])))
            return true;
    }
    return error_set(e, ERR_INVALID_PARAMETER, "invalid value for replication");
}

/* Parameters in order; `options` last in effect, except that PostgreSQL lets
 * the packet's own settings win over it, so it is taken first. */
static bool parse_parameters(struct session *s, struct str all, struct str *unknown, unsigned *unknown_count,
                             struct error *e)
{
    struct login *l = s->login;
    struct str rest = all, name, value;
    while (wire_startup_next(&rest, &name, &value)) {
        if (str_eq(name, STR("options")) && !parse_options(s, value, e))
            return false;
    }
    while (wire_startup_next(&all, &name, &value)) {
        bool ok = true;
        if (str_eq(name, STR("user")))
            l->full_user = value;
        else if (str_eq(name, STR("database")))
            l->database = value;
        else if (str_eq(name, STR("replication")))
            ok = parse_replication(l, value, e);
        else if (str_starts(name, STR("_pq_."))) {
            if (*unknown_count < 16)
                unknown[(*unknown_count)++] = name;
        } else if (!str_eq(name, STR("options")))
            ok = any_setting(s, name, value, e);
        if (!ok)
            return false;
    }
    if (l->full_user.len == 0)
        return error_set(e, ERR_NO_USER, "no user in the startup packet");
    return true;
}

/* User and database patterns; their tenants are the session's identity. */
static bool parse_identity(struct session *s, struct error *e)
{
    struct login *l = s->login;
    const struct conf *c = s->owner->conf;
    int64_t tenant;
    l->user_name = l->full_user;
    if ((c->tenant_sources & CONF_SOURCE_USER) && !auth_users_find(s->owner->users, l->full_user)) {
        struct str name;
        if (route_pattern(c->tenant_user_pattern, l->full_user, &name, &tenant) == 1) {
            l->user_name = name;
            if (!route_add_identity(&s->tenant, tenant, e))
                return false;
        }
    }
    if (l->database.len == 0)
        l->database = l->user_name;
    if (c->tenant_sources & CONF_SOURCE_DATABASE) {
        struct str name;
        int found = route_pattern(c->tenant_database_pattern, l->database, &name, &tenant);
        if (found < 0) {
            error_set(e, ERR_INVALID_TENANT, "database pattern without a number");
            return false;
        }
        if (found == 1) {
            l->database = name.len ? name : l->user_name;
            if (!route_add_identity(&s->tenant, tenant, e))
                return false;
        }
    }
    return true;
}

/* Where a list of databases is configured, only those (or *) exist. */
static bool database_known(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < c->database_count; i++) {
        if (str_eq(name, str_from(c->databases[i].name)) || strcmp(c->databases[i].name, "*") == 0)
            return true;
    }
    return c->database_count == 0;
}

static ssize_t startup(struct session *s, const struct wire_startup *st, ssize_t used)
{
    struct sessions *ss = s->owner;
    struct error e;
    error_clear(&e);
    if (st->major != 3) {
        error_set(&e, ERR_PROTOCOL_VERSION, "protocol %u.%u", st->major, st->minor);
        session_fail(s, &e);
        return -1;
    }
    struct login *l = s->login = mem_zalloc(sizeof *l);
    l->packet = mem_alloc(st->params.len + 1);
    memcpy(l->packet, st->params.ptr, st->params.len);
    struct str unknown[16];
    unsigned unknown_count = 0;
    if (!parse_parameters(s, (struct str){l->packet, st->params.len}, unknown, &unknown_count, &e) ||
        !parse_identity(s, &e)) {
        session_fail(s, &e);
        return -1;
    }
    l->console = str_eq(l->database, str_from(ss->conf->admin_database));
    if (s->refusal && !(l->console && s->refusal == ERR_SHUTTING_DOWN)) /* a draining instance keeps its console */
        error_set(&e, (enum err_code)s->refusal, "refused at connect");
    else if (!l->console && !database_known(ss->conf, l->database))
        error_set(&e, ERR_NO_DATABASE, "database is not in the list of databases");
    if (e.code) {
        session_fail(s, &e);
        return -1;
    }
    if (st->minor > 0 || unknown_count)
        wire_put_negotiate_version(&ss->reply, 0, unknown, unknown_count);
    session_move(s, SESSION_AUTH);
    session_login_begin(s);
    return s->state >= SESSION_CLOSING ? -1 : used;
}

ssize_t session_startup_input(struct session *s, const char *p, size_t n)
{
    struct wire_startup st;
    const char *why = "malformed startup packet";
    ssize_t used = wire_startup_parse(p, n, &st, &why);
    if (used == WIRE_MORE)
        return 0;
    if (used == WIRE_BAD) {
        session_fail_code(s, ERR_PROTOCOL, why);
        return -1;
    }
    switch (st.kind) {
    case WIRE_SSL_REQUEST:
    case WIRE_GSSENC_REQUEST:
        if (++s->encryption_requests > 2) {
            session_fail_code(s, ERR_PROTOCOL, "repeated encryption requests");
            return -1;
        }
        buf_append_byte(&s->owner->reply, 'N');
        session_reply(s);
        return s->state >= SESSION_CLOSING ? -1 : used;
    case WIRE_CANCEL_REQUEST:
        cancel_request(s, &st);
        return s->state >= SESSION_CLOSING ? -1 : used;
    case WIRE_STARTUP:
        break;
    }
    return startup(s, &st, used);
}
