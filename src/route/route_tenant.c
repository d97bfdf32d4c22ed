/*
 * The tenant of a session, by source. Two rules hold throughout: what comes from
 * identity is never contradicted, and a transaction that acts for a tenant keeps it.
 * Details name only tenants that this client has given itself.
 */
#include "shardgate/route.h"

#include <inttypes.h>

static bool conflict(struct error *e, const char *have, int64_t a, const char *want, int64_t b)
{
    error_set(e, ERR_TENANT_CONFLICT, "%s %" PRId64 ", %s %" PRId64, have, a, want, b);
    error_detail(e, "%s tenant %" PRId64 "; %s tenant %" PRId64 ".", have, a, want, b);
    return false;
}

/* Whether `tenant`, wanted by `what`, fits identity and the open transaction. */
static bool fits(const struct route_tenant *t, const char *what, int64_t tenant, const int64_t *current,
                 struct error *e)
{
    if (t->has_identity && t->identity != tenant)
        return conflict(e, "The login is for", t->identity, what, tenant);
    if (current && *current != tenant)
        return conflict(e, "The transaction acts for", *current, what, tenant);
    return true;
}

static enum route_source effective(const struct route_tenant *t, int64_t *tenant)
{
    if (t->has_identity) {
        *tenant = t->identity;
        return ROUTE_IDENTITY;
    }
    if (t->has_local) {
        *tenant = t->local;
        return ROUTE_LOCAL;
    }
    if (t->has_session) {
        *tenant = t->session;
        return ROUTE_SESSION;
    }
    return ROUTE_NONE;
}

/* The comment's tenant, if there is one that counts. */
static bool read_comment(const struct sql_inspection *in, bool *found, struct error *e)
{
    *found = in->comment == SQL_COMMENT_TENANT;
    if (in->comment == SQL_COMMENT_INVALID) {
        error_set(e, ERR_INVALID_TENANT, "comment with a tenant that is no number");
        error_detail(e, "A comment names the tenant, but not as a whole number.");
        return false;
    }
    if (in->comment == SQL_COMMENT_SEVERAL) {
        error_set(e, ERR_TENANT_SEVERAL, "comments with different tenants");
        error_detail(e, "Comments of one text name different tenants.");
        return false;
    }
    return true;
}

const char *route_source_name(enum route_source s)
{
    switch (s) {
    case ROUTE_NONE:
        return "none";
    case ROUTE_IDENTITY:
        return "identity";
    case ROUTE_LOCAL:
        return "set local";
    case ROUTE_SESSION:
        return "session";
    case ROUTE_COMMENT:
        return "comment";
    }
    return "none";
}

bool route_add_identity(struct route_tenant *t, int64_t tenant, struct error *e)
{
    if (!fits(t, "another part of it names", tenant, NULL, e))
        return false;
    if (t->has_startup && t->startup != tenant)
        return conflict(e, "The startup parameter names", t->startup, "the login is for", tenant);
    t->has_identity = true;
    t->identity = tenant;
    return true;
}

bool route_add_startup(struct route_tenant *t, int64_t tenant, struct error *e)
{
    if (!fits(t, "the startup parameter names", tenant, NULL, e))
        return false;
    if (t->has_startup && t->startup != tenant)
        return conflict(e, "One startup parameter names", t->startup, "another names", tenant);
    t->has_startup = t->has_session = true;
    t->startup = t->session = tenant;
    return true;
}

bool route_set(struct route_tenant *t, bool local, int64_t tenant, const int64_t *current, struct error *e)
{
    if (!fits(t, local ? "SET LOCAL names" : "SET names", tenant, current, e))
        return false;
    if (local) {
        t->has_local = true;
        t->local = tenant;
    } else {
        /* As in PostgreSQL, a SET after a SET LOCAL is what counts from then on. */
        t->has_local = false;
        t->has_session = true;
        t->session = tenant;
    }
    return true;
}

bool route_reset(struct route_tenant *t, const int64_t *current, struct error *e)
{
    if (t->has_startup && !fits(t, "the startup parameter, to which RESET returns, names", t->startup, current, e))
        return false;
    t->has_local = false;
    t->has_session = t->has_startup;
    t->session = t->startup;
    return true;
}

void route_end_transaction(struct route_tenant *t) { t->has_local = false; }

bool route_show(const struct route_tenant *t, int64_t *tenant) { return effective(t, tenant) != ROUTE_NONE; }

bool route_statement(const struct route_tenant *t, const struct sql_inspection *in, bool comments,
                     const int64_t *current, int64_t *tenant, enum route_source *source, struct error *e)
{
    bool commented = false;

    if (comments && !read_comment(in, &commented, e))
        return false;
    *source = effective(t, tenant);
    if (commented) {
        if (*source != ROUTE_NONE && *tenant != in->tenant)
            return conflict(e, "The session acts for", *tenant, "the comment names", in->tenant);
        if (*source == ROUTE_NONE)
            *source = ROUTE_COMMENT;
        *tenant = in->tenant;
    }
    if (commented && *source == ROUTE_COMMENT && current && *current != *tenant) {
        error_set(e, ERR_TENANT_SEVERAL, "the comment names %" PRId64 " in a transaction of %" PRId64, *tenant,
                  *current);
        error_detail(e, "The transaction acts for tenant %" PRId64 "; the comment names tenant %" PRId64 ".", *current,
                     *tenant);
        return false;
    }
    if (*source != ROUTE_NONE)
        return fits(t, commented ? "the comment names" : "the session acts for", *tenant, current, e);
    if (current)
        *tenant = *current;
    return true;
}
