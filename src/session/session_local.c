/*
 * Statements that the router answers itself: SET, RESET and SHOW of the tenant,
 * and the transaction control of a transaction that has touched no shard yet
 * (its BEGIN is kept and sent with the first statement that needs one).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "session_internal.h"

#define BEGIN_MAX 4096 /* bytes of a BEGIN that is kept: the client chose them */
#define LOCALS_MAX 256 /* statements and portals kept for one session */

/* ---- kept statements and portals ------------------------------------------ */

struct local_statement *local_find(struct session *s, bool portal, struct str name)
{
    for (struct local_statement *l = s->locals; l; l = l->next) {
        if (l->portal == portal && str_eq(l->name, name))
            return l;
    }
    return NULL;
}

static void free_local(struct local_statement *l)
{
    mem_free((void *)(uintptr_t)l->name.ptr);
    mem_free(l->text);
    mem_free(l);
}

void local_remove(struct session *s, bool portal, struct str name)
{
    for (struct local_statement **at = &s->locals; *at; at = &(*at)->next) {
        struct local_statement *l = *at;
        if (l->portal == portal && str_eq(l->name, name)) {
            *at = l->next;
            free_local(l);
            return;
        }
    }
}

void local_clear_portals(struct session *s)
{
    for (struct local_statement **at = &s->locals; *at;) {
        struct local_statement *l = *at;
        if (l->portal) {
            *at = l->next;
            free_local(l);
        } else {
            at = &l->next;
        }
    }
}

void local_clear(struct session *s)
{
    while (s->locals) {
        struct local_statement *l = s->locals;
        s->locals = l->next;
        free_local(l);
    }
}

bool local_put(struct session *s, bool portal, struct str name, enum sql_verb verb, const char *value, struct str text)
{
    unsigned count = 0;
    for (struct local_statement *l = s->locals; l; l = l->next)
        count++;
    struct local_statement *l = count < LOCALS_MAX ? mem_try_alloc(sizeof *l) : NULL;
    if (!l)
        return false;
    *l = (struct local_statement){.portal = portal, .verb = verb, .name = {NULL, name.len}};
    char *owned = mem_try_alloc(name.len + 1);
    l->text = mem_try_alloc(text.len + 1);
    if (!owned || !l->text) {
        mem_free(owned);
        mem_free(l->text);
        mem_free(l);
        return false;
    }
    memcpy(owned, name.len ? name.ptr : "", name.len);
    memcpy(l->text, text.len ? text.ptr : "", text.len);
    owned[name.len] = l->text[text.len] = 0;
    l->name.ptr = owned;
    str_copy(l->value, sizeof l->value, str_from(value)); /* before the old one of the name goes: it may be its */
    local_remove(s, portal, name);
    l->next = s->locals;
    s->locals = l;
    return true;
}

/* ---- running them ----------------------------------------------------------- */

bool session_is_local(const struct session *s, const struct sql_inspection *in, struct str text)
{
    if (in->statements != 1)
        return false;
    switch (in->verb) {
    case SQL_VERB_SET_TENANT:
    case SQL_VERB_SET_LOCAL_TENANT:
    case SQL_VERB_RESET_TENANT:
    case SQL_VERB_SHOW_TENANT:
        return true;
    case SQL_VERB_BEGIN:
        return !s->server && s->profile->mode == CONF_MODE_TRANSACTION && in->comment == SQL_COMMENT_NONE &&
               !in->pins && text.len <= BEGIN_MAX;
    case SQL_VERB_COMMIT:
    case SQL_VERB_ROLLBACK:
        return !s->server && (s->begin || s->profile->mode == CONF_MODE_TRANSACTION);
    case SQL_VERB_DISCARD_ALL:
    case SQL_VERB_RESET_ALL:
        return !s->server && !s->begin && s->profile->mode == CONF_MODE_TRANSACTION;
    default:
        return false;
    }
}

/* The tenant that an open transaction is bound to, or NULL. */
static const int64_t *bound(const struct session *s)
{
    if (!s->server || !s->link_has_tenant)
        return NULL;
    return s->server->txn != 'I' || s->cycle ? &s->link_tenant : NULL;
}

/* A change inside a transaction goes back with it. */
static void save_tenant(struct session *s)
{
    if (session_status(s) != 'I' && !s->saved) {
        s->saved = mem_alloc(sizeof *s->saved);
        *s->saved = s->tenant;
    }
}

static bool set_tenant(struct session *s, bool local, const char *value, struct error *e)
{
    int64_t tenant;
    struct buf *reply = &s->owner->reply;
    if (!(s->owner->conf->tenant_sources & CONF_SOURCE_SET)) {
        error_set(e, ERR_UNSUPPORTED, "set is not among tenant.sources");
        error_message(e, "the tenant cannot be set by SET here");
        error_hint(e, "The operator has left \"set\" out of tenant.sources.");
        return false;
    }
    if (!*value) { /* SET LOCAL … TO DEFAULT */
        save_tenant(s);
        return route_reset(&s->tenant, bound(s), e) && wire_put_command_complete(reply, "SET");
    }
    if (!str_to_i64(str_from(value), &tenant)) {
        error_set(e, ERR_INVALID_TENANT, "SET with a value that is no number");
        error_detail(e, "\"%s\" is not a whole number.", value);
        return false;
    }
    if (!auth_user_may(s->profile->user, tenant))
        return error_set(e, ERR_TENANT_FORBIDDEN, "SET tenant %" PRId64, tenant);
    if (local && session_status(s) == 'I') {
        wire_put_warning(reply, "25P01", STR("SET LOCAL can only be used in transaction blocks"), STR(""));
        return wire_put_command_complete(reply, "SET");
    }
    save_tenant(s);
    return route_set(&s->tenant, local, tenant, bound(s), e) && wire_put_command_complete(reply, "SET");
}

static bool show_tenant(struct session *s, bool with_rows)
{
    struct buf *reply = &s->owner->reply;
    const char *column = s->owner->conf->tenant_parameter;
    char text[24] = "";
    int64_t tenant;
    if (route_show(&s->tenant, &tenant))
        snprintf(text, sizeof text, "%" PRId64, tenant);
    struct str value = str_from(text);
    if (with_rows)
        wire_put_row_description(reply, &column, 1);
    return wire_put_data_row(reply, &value, 1) && wire_put_command_complete(reply, "SHOW");
}

/* START TRANSACTION has a tag of its own. */
static bool says_start(const char *text)
{
    struct sql_lexer lx;
    struct sql_token t;
    sql_lexer_init(&lx, str_from(text), true);
    do
        t = sql_lexer_next(&lx);
    while (t.kind == SQL_TOKEN_COMMENT || t.kind == SQL_TOKEN_LINE_COMMENT);
    return str_eq_nocase(t.text, STR("start"));
}

static bool begin(struct session *s, const char *text)
{
    struct buf *reply = &s->owner->reply;
    if (s->begin) {
        wire_put_warning(reply, "25001", STR("there is already a transaction in progress"), STR(""));
    } else {
        s->begin = mem_strdup(text);
        s->failed = false;
    }
    session_arm(s);
    return wire_put_command_complete(reply, says_start(text) ? "START TRANSACTION" : "BEGIN");
}

static bool end(struct session *s, bool commit)
{
    struct buf *reply = &s->owner->reply;
    bool rolled_back = !commit || s->failed;
    if (!s->begin)
        wire_put_warning(reply, "25P01", STR("there is no transaction in progress"), STR(""));
    mem_free(s->begin);
    s->begin = NULL;
    s->failed = false;
    session_end_transaction(s, rolled_back);
    session_arm(s);
    return wire_put_command_complete(reply, rolled_back ? "ROLLBACK" : "COMMIT");
}

void session_end_transaction(struct session *s, bool rolled_back)
{
    if (s->saved) {
        if (rolled_back)
            s->tenant = *s->saved;
        mem_free(s->saved);
        s->saved = NULL;
    }
    route_end_transaction(&s->tenant);
}

/* No server holds anything of this session: what is left is the tenant, and the
 * parameters it has changed, which go back to those of its startup. */
static bool forget_settings(struct session *s, const char *tag, struct error *e)
{
    if (!route_reset(&s->tenant, NULL, e))
        return false;
    local_clear_portals(s);
    const struct params *fresh = s->pool ? pool_params(s->pool) : NULL;
    if (fresh && !s->provisional) {
        struct str list[PARAM__COUNT];
        for (int i = 0; i < PARAM__COUNT; i++) {
            list[i] = i >= PARAM_SETTABLE ? s->params->value[i] : fresh->value[i];
            if (i == PARAM_APPLICATION_NAME)
                list[i] = s->startup->value[i];
            if (!str_eq(list[i], s->params->value[i]))
                wire_put_parameter_status(&s->owner->reply, str_from(param_names[i]), list[i]);
        }
        struct params *now = params_get(s->owner->pools, list);
        params_unref(s->owner->pools, s->params);
        s->params = now;
    }
    return wire_put_command_complete(&s->owner->reply, tag);
}

bool session_run_local(struct session *s, enum sql_verb verb, const char *value, const char *begin_text, bool with_rows,
                       struct error *e)
{
    struct buf *reply = &s->owner->reply;
    if (s->failed && verb != SQL_VERB_COMMIT && verb != SQL_VERB_ROLLBACK)
        return error_set(e, ERR_IN_FAILED_TRANSACTION, "statement in a failed transaction");
    if (s->server && s->server->txn == 'E')
        return error_set(e, ERR_IN_FAILED_TRANSACTION, "tenant command in a failed transaction");
    switch (verb) {
    case SQL_VERB_SET_TENANT:
        return set_tenant(s, false, value, e);
    case SQL_VERB_SET_LOCAL_TENANT:
        return set_tenant(s, true, value, e);
    case SQL_VERB_RESET_TENANT:
        save_tenant(s);
        return route_reset(&s->tenant, bound(s), e) && wire_put_command_complete(reply, "RESET");
    case SQL_VERB_SHOW_TENANT:
        return show_tenant(s, with_rows);
    case SQL_VERB_BEGIN:
        return begin(s, begin_text);
    case SQL_VERB_COMMIT:
        return end(s, true);
    case SQL_VERB_ROLLBACK:
        return end(s, false);
    case SQL_VERB_DISCARD_ALL:
        return forget_settings(s, "DISCARD ALL", e);
    case SQL_VERB_RESET_ALL:
        return forget_settings(s, "RESET", e);
    default:
        return error_set(e, ERR_INTERNAL, "statement is not local");
    }
}
