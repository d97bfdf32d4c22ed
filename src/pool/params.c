/*
 * What servers report by ParameterStatus, interned by worker: "does the server
 * have what the client has been told" is then a comparison of two pointers.
 */
#include <string.h>

#include "pool_impl.h"

/* A longer value is kept as if it had not been reported: a server may send what
 * it likes, and nothing that is set again for a client comes near this. */
#define PARAM_VALUE_MAX 8192u

struct params_entry {
    struct hash_node node;
    struct params params;
    char text[];
};

const char *const param_names[PARAM__COUNT] = {
    [PARAM_CLIENT_ENCODING] = "client_encoding",
    [PARAM_DATESTYLE] = "DateStyle",
    [PARAM_TIMEZONE] = "TimeZone",
    [PARAM_INTERVALSTYLE] = "IntervalStyle",
    [PARAM_APPLICATION_NAME] = "application_name",
    [PARAM_STANDARD_STRINGS] = "standard_conforming_strings",
    [PARAM_SERVER_VERSION] = "server_version",
    [PARAM_SERVER_ENCODING] = "server_encoding",
    [PARAM_IS_SUPERUSER] = "is_superuser",
    [PARAM_SESSION_AUTHORIZATION] = "session_authorization",
    [PARAM_INTEGER_DATETIMES] = "integer_datetimes",
    [PARAM_READ_ONLY] = "default_transaction_read_only",
    [PARAM_HOT_STANDBY] = "in_hot_standby",
    [PARAM_SEARCH_PATH] = "search_path",
    [PARAM_SCRAM_ITERATIONS] = "scram_iterations",
};

int param_find(struct str name)
{
    for (int i = 0; i < PARAM__COUNT; i++) {
        if (str_eq_nocase(str_from(param_names[i]), name))
            return i;
    }
    return -1;
}

static bool reported(struct str v) { return v.ptr && v.len <= PARAM_VALUE_MAX; }

static uint64_t hash_values(const struct str v[PARAM__COUNT])
{
    uint64_t h = 0;
    for (unsigned i = 0; i < PARAM__COUNT; i++)
        h = reported(v[i]) ? hash_str(h + i, v[i]) : h * 31 + i;
    return h;
}

static bool same(const struct str a[PARAM__COUNT], const struct str b[PARAM__COUNT])
{
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        if (reported(a[i]) != reported(b[i]) || (reported(a[i]) && !str_eq(a[i], b[i])))
            return false;
    }
    return true;
}

static struct params_entry *new_entry(const struct str value[PARAM__COUNT])
{
    size_t bytes = 0;
    for (unsigned i = 0; i < PARAM__COUNT; i++)
        bytes += reported(value[i]) ? value[i].len + 1 : 0;
    struct params_entry *e = mem_zalloc(sizeof(*e) + bytes);
    char *text = e->text;
    for (unsigned i = 0; i < PARAM__COUNT; i++) {
        if (!reported(value[i]))
            continue;
        e->params.value[i] = (struct str){text, value[i].len};
        if (value[i].len)
            memcpy(text, value[i].ptr, value[i].len);
        text += value[i].len + 1;
    }
    return e;
}

struct params *params_get(struct pools *ps, const struct str value[PARAM__COUNT])
{
    uint64_t hash = hash_values(value);
    for (struct hash_node *n = hash_index_first(&ps->params, hash); n; n = hash_index_next(n)) {
        struct params_entry *e = container_of(n, struct params_entry, node);
        if (same(e->params.value, value))
            return params_ref(&e->params);
    }
    struct params_entry *e = new_entry(value);
    hash_index_add(&ps->params, &e->node, hash);
    return params_ref(&e->params);
}

struct params *params_with(struct pools *ps, const struct params *base, enum param which, struct str value)
{
    struct str v[PARAM__COUNT] = {0};
    if (base)
        memcpy(v, base->value, sizeof(v));
    v[which] = value;
    return params_get(ps, v);
}

void params_unref(struct pools *ps, struct params *p)
{
    if (!p || --p->refs > 0)
        return;
    struct params_entry *e = container_of(p, struct params_entry, params);
    hash_index_remove(&ps->params, &e->node);
    mem_free(e);
}
