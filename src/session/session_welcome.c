/*
 * What a client is told after its login: ParameterStatus, BackendKeyData,
 * ReadyForQuery.
 *
 * In session mode the server comes first and the client hears what it reports,
 * its process id included. In transaction mode the welcome is given at once: the
 * parameters are those that any shard has reported, with the client's own
 * settings over them, spelled as PostgreSQL would. They are provisional: the
 * first server the session gets confirms them, and where it spells one in
 * another way the client is told (session_reconcile).
 */
#include <stdio.h>
#include <string.h>

#include "session_internal.h"

/* Text of a value: bounded, the caller's. */
struct value {
    char text[128];
};

static void put(struct value *v, struct str s) { str_copy(v->text, sizeof v->text, s); }

static void upper(char *s)
{
    for (; *s; s++) {
        if (*s >= 'a' && *s <= 'z')
            *s = (char)(*s - 32);
    }
}

static void lower(char *s)
{
    for (; *s; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + 32);
    }
}

static void spell_encoding(struct value *v)
{
    upper(v->text);
    if (!strcmp(v->text, "UTF-8") || !strcmp(v->text, "UNICODE"))
        put(v, STR("UTF8"));
}

/* "iso, dmy" in any order and case; what is not named stays as `old` has it. */
static void spell_datestyle(struct value *v, const char *old)
{
    static const char *const styles[] = {"ISO", "SQL", "Postgres", "German"}, *const orders[] = {"MDY", "DMY", "YMD"};
    const char *style = NULL, *order = NULL;
    char text[128], *save = NULL;
    str_copy(text, sizeof text, str_from(v->text));
    for (char *word = strtok_r(text, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
        for (size_t i = 0; i < ARRAY_LEN(styles); i++)
            style = str_eq_nocase(str_from(word), str_from(styles[i])) ? styles[i] : style;
        for (size_t i = 0; i < ARRAY_LEN(orders); i++)
            order = str_eq_nocase(str_from(word), str_from(orders[i])) ? orders[i] : order;
    }
    const char *comma = strstr(old, ", ");
    if (!order)
        order = style && !strcmp(style, "German") ? "DMY" : comma ? comma + 2 : "MDY";
    if (style)
        snprintf(v->text, sizeof v->text, "%s, %s", style, order);
    else
        snprintf(v->text, sizeof v->text, "%.*s, %s", comma ? (int)(comma - old) : 3, comma ? old : "ISO", order);
}

static void spell_application_name(struct value *v)
{
    v->text[63] = 0; /* NAMEDATALEN - 1 */
    for (char *c = v->text; *c; c++) {
        if (*c < 32 || *c > 126)
            *c = '?';
    }
}

static void spell_bool(struct value *v)
{
    static const char *const no[] = {"off", "false", "no", "0", "f", "n"};
    bool off = false;
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        off |= str_eq_nocase(str_from(v->text), str_from(no[i]));
    put(v, off ? STR("off") : STR("on"));
}

static void overlay(struct value *values, struct str name, struct str value)
{
    int i = param_find(name);
    if (i < 0 || (i >= PARAM_SETTABLE && i != PARAM_READ_ONLY))
        return;
    char old[128];
    str_copy(old, sizeof old, str_from(values[i].text));
    put(&values[i], value);
    switch (i) {
    case PARAM_CLIENT_ENCODING:
        spell_encoding(&values[i]);
        break;
    case PARAM_DATESTYLE:
        spell_datestyle(&values[i], old);
        break;
    case PARAM_INTERVALSTYLE:
        lower(values[i].text);
        break;
    case PARAM_APPLICATION_NAME:
        spell_application_name(&values[i]);
        break;
    case PARAM_STANDARD_STRINGS:
    case PARAM_READ_ONLY:
        spell_bool(&values[i]);
        break;
    default:
        break;
    }
}

static struct params *provisional_params(struct session *s)
{
    struct sessions *ss = s->owner;
    struct value values[PARAM__COUNT] = {
        [PARAM_CLIENT_ENCODING] = {"UTF8"},   [PARAM_DATESTYLE] = {"ISO, MDY"},  [PARAM_TIMEZONE] = {"Etc/UTC"},
        [PARAM_INTERVALSTYLE] = {"postgres"}, [PARAM_STANDARD_STRINGS] = {"on"}, [PARAM_SERVER_ENCODING] = {"UTF8"},
        [PARAM_INTEGER_DATETIMES] = {"on"},   [PARAM_READ_ONLY] = {"off"},       [PARAM_HOT_STANDBY] = {"off"},
    };
    put(&values[PARAM_SERVER_VERSION], str_from(ss->conf->server_version));
    char learned[HEALTH_PARAMETERS][64];
    if (ss->hooks.parameters && ss->hooks.parameters(ss->hooks.ctx, learned)) {
        for (int i = 0; i < HEALTH_PARAMETERS; i++) {
            int at = param_find(str_from(health_parameter_names[i]));
            if (at >= 0 && learned[i][0])
                put(&values[at], str_from(learned[i]));
        }
    }
    const struct profile *p = s->profile;
    put(&values[PARAM_IS_SUPERUSER], p->console ? STR("on") : STR("off"));
    put(&values[PARAM_SESSION_AUTHORIZATION], p->user->server_user ? str_from(p->user->server_user) : p->user_name);
    values[PARAM_APPLICATION_NAME].text[0] = 0;
    for (unsigned i = 0; i < s->login->setting_count; i++)
        overlay(values, s->login->settings[i].name, s->login->settings[i].value);
    struct str list[PARAM__COUNT];
    for (int i = 0; i < PARAM__COUNT; i++) {
        bool absent = i == PARAM_SEARCH_PATH || i == PARAM_SCRAM_ITERATIONS;
        list[i] = absent ? (struct str){0} : str_from(values[i].text);
    }
    return params_get(ss->pools, list);
}

void session_make_key(struct session *s)
{
    uint32_t random[2];
    auth_random(random, sizeof random);
    /* Positive, worker and slot in it, so that a cancel request finds the session in O(1). */
    s->cancel_pid = (random[0] & 0xfu) << 26 | (uint32_t)s->owner->worker << ID_SLOT_BITS | id_slot(s->id);
    if (s->cancel_pid == 0)
        s->cancel_pid = 1u << 26;
    s->cancel_key = random[1];
}

static void say_welcome(struct session *s)
{
    struct buf *reply = &s->owner->reply;
    for (int i = 0; i < PARAM__COUNT; i++) {
        if (s->params->value[i].ptr)
            wire_put_parameter_status(reply, str_from(param_names[i]), s->params->value[i]);
    }
    wire_put_backend_key(reply, s->cancel_pid, s->cancel_key);
    wire_put_ready(reply, 'I');
    login_free(s->login);
    s->login = NULL;
    s->welcomed = true;
    session_move(s, s->profile->console ? SESSION_CONSOLE : s->server ? SESSION_LINKED : SESSION_IDLE);
    session_arm(s);
    session_reply(s);
}

void session_welcome(struct session *s)
{
    int64_t tenant;
    struct error e;
    error_clear(&e);
    bool server_first = s->profile->mode == CONF_MODE_SESSION && !s->profile->console &&
                        (route_show(&s->tenant, &tenant) || s->owner->conf->tenant_missing == CONF_MISSING_PRIMARY ||
                         s->profile->settings->replication != REPLICATION_NONE);
    if (server_first) {
        /* AuthenticationOk may go out now; the rest waits for the server. */
        session_reply(s);
        if (s->state >= SESSION_CLOSING)
            return;
        enum verdict v = session_route(s, NULL, &e);
        if (v == VERDICT_DONE)
            session_fail(s, &e);
        else if (v == VERDICT_FORWARD)
            session_welcome_linked(s);
        return;
    }
    s->params = provisional_params(s);
    s->startup = params_ref(s->params);
    s->provisional = true;
    session_make_key(s);
    say_welcome(s);
}

void session_welcome_linked(struct session *s)
{
    if (s->params)
        params_unref(s->owner->pools, s->params);
    s->params = params_ref(s->server->params);
    s->cancel_pid = (uint32_t)server_pid(s->server);
    auth_random(&s->cancel_key, sizeof s->cancel_key);
    hub_key_put(s->owner->hub, s->cancel_pid, s->cancel_key, s->id);
    s->own_key = true;
    say_welcome(s);
}

void session_reconcile(struct session *s)
{
    struct sessions *ss = s->owner;
    const struct params *real = pool_params(s->server->pool) ? pool_params(s->server->pool) : s->server->params;
    struct str list[PARAM__COUNT];
    for (int i = 0; i < PARAM__COUNT; i++) {
        list[i] = i == PARAM_APPLICATION_NAME ? s->params->value[i] : real->value[i];
        if (i != PARAM_APPLICATION_NAME && list[i].ptr && !str_eq(list[i], s->params->value[i]))
            wire_put_parameter_status(&ss->reply, str_from(param_names[i]), list[i]);
    }
    struct params *now = params_get(ss->pools, list);
    params_unref(ss->pools, s->params);
    s->params = now;
    s->provisional = false;
}

struct str session_own_name(const struct session *s, struct str server_name)
{
    bool pools = s->startup && server_name.ptr && str_eq(server_name, STR(POOL_APPLICATION_NAME));
    return pools ? s->startup->value[PARAM_APPLICATION_NAME] : (struct str){0};
}

bool session_align(struct session *s)
{
    struct sessions *ss = s->owner;
    const struct params *want = s->params, *have = s->server->params;
    struct buf sql;
    bool any = false;
    buf_init(&sql, 0);
    for (int i = 0; i < PARAM_SETTABLE; i++) {
        if (!want->value[i].ptr || str_eq(want->value[i], have->value[i]))
            continue;
        buf_printf(&sql, "%sSET %s TO ", any ? "; " : "", param_names[i]);
        wire_put_literal(&sql, want->value[i]);
        any = true;
    }
    bool ok = !sql.failed;
    if (ok && any)
        ok = wire_put_query(&ss->prefix, buf_str(&sql)) && session_expect(s, 'Q', EXPECT_SKIP);
    buf_fini(&sql);
    /* What the client may not set but is told: it may differ from shard to shard. */
    for (int i = PARAM_SETTABLE; ok && i < PARAM__COUNT; i++) {
        if (have->value[i].ptr && !str_eq(want->value[i], have->value[i])) {
            wire_put_parameter_status(&ss->reply, str_from(param_names[i]), have->value[i]);
            struct params *now = params_with(ss->pools, s->params, (enum param)i, have->value[i]);
            params_unref(ss->pools, s->params);
            s->params = now;
            want = now;
        }
    }
    return ok;
}
