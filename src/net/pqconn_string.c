/*
 * The connection string that libpq gets.
 *
 * Every option that libpq would otherwise take from the environment is given,
 * as its compiled-in default or empty; an empty value counts as given only in a
 * string (PQconnectdbParams skips it and looks into the environment again). What
 * cannot be given this way is removed from the environment by net_init.
 * Files in the home folder are kept away by paths that cannot exist.
 */
#include <string.h>

#include "pqconn_internal.h"

#define NO_FILE "/dev/null/none"

/* Options decided here; all others are those of the connection string. */
static const char *const own[] = {
    "service",
    "servicefile",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "application_name",
    "replication",
    "gssencmode",
    "connect_timeout",
    "min_protocol_version",
    "max_protocol_version",
};

/* What differs from libpq's defaults. A server whose host is gone must be noticed
 * in less than the kernel's quarter of an hour. */
static const struct {
    const char *keyword, *value;
} defaults[] = {
    {"passfile", NO_FILE},     {"sslcert", NO_FILE},          {"sslkey", NO_FILE},       {"sslrootcert", NO_FILE},
    {"keepalives_idle", "30"}, {"keepalives_interval", "10"}, {"keepalives_count", "3"}, {"tcp_user_timeout", "30000"},
};

static bool is_own(const char *keyword)
{
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(own[i], keyword) == 0)
            return true;
    return false;
}

static const char *given(const struct pqinfo *info, const char *keyword)
{
    for (size_t i = 0; info->keywords[i]; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

static const char *default_of(const PQconninfoOption *o)
{
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (strcmp(defaults[i].keyword, o->keyword) == 0)
            return defaults[i].value;
    if (!o->envvar)
        return NULL;
    return o->compiled ? o->compiled : "";
}

static void add_quoted(struct buf *b, const char *value)
{
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            buf_append_byte(b, '\\');
        buf_append_byte(b, (uint8_t)*value);
    }
}

static void add(struct buf *b, const char *keyword, const char *value)
{
    buf_append_str(b, str_from(keyword));
    buf_append_str(b, STR("='"));
    add_quoted(b, value);
    buf_append_str(b, STR("' "));
}

enum host_part { PART_HOST, PART_ADDRESS, PART_PORT };

/* One entry for each address; a host whose name did not resolve has none. */
static void add_list(struct buf *b, const struct pqconn *c, const char *keyword, enum host_part part)
{
    const char *comma = "";
    buf_append_str(b, str_from(keyword));
    buf_append_str(b, STR("='"));
    for (size_t i = 0; i < c->host_count; i++) {
        const struct pqhost *h = &c->hosts[i];
        bool direct = h->address || pqconn_is_unix_host(h->name);
        size_t entries = direct ? 1 : h->found_count;
        for (size_t n = 0; n < entries; n++) {
            buf_append_str(b, str_from(comma));
            comma = ",";
            if (part == PART_HOST)
                add_quoted(b, h->name);
            else if (part == PART_ADDRESS)
                add_quoted(b, h->address ? h->address : direct ? "" : h->found[n]);
            else
                add_quoted(b, *h->port ? h->port : "5432");
        }
    }
    buf_append_str(b, STR("' "));
}

/* The base's options, then ours: the server takes the last of two. */
static void add_options(struct buf *b, const struct pqconn *c)
{
    const char *base = given(&c->info, "options");
    buf_append_str(b, STR("options='"));
    if (base)
        add_quoted(b, base);
    if (base && c->options)
        buf_append_byte(b, ' ');
    if (c->options)
        add_quoted(b, c->options);
    buf_append_str(b, STR("' "));
}

static const char *first_of(const char *a, const char *b, const char *c) { return a ? a : b ? b : c; }

static bool check_verification(const struct pqconn *c, struct error *e)
{
    const char *mode = given(&c->info, "sslmode");
    if (mode && strncmp(mode, "verify-", 7) == 0 && !given(&c->info, "sslrootcert"))
        return error_set(e, ERR_SHARD_UNREACHABLE, "sslmode=%s needs sslrootcert in the connection string", mode);
    return true;
}

char *pqconn_string(const struct pqconn *c, struct error *e)
{
    char *no_message = NULL;
    if (!check_verification(c, e))
        return NULL;
    PQconninfoOption *options = PQconninfoParse("", &no_message);
    if (!options) {
        PQfreemem(no_message);
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for a connection string");
        return NULL;
    }
    struct buf b;
    buf_init(&b, 0);
    (void)buf_reserve(&b, 16384); /* so that growing leaves no copies of the password behind */
    add_list(&b, c, "host", PART_HOST);
    add_list(&b, c, "hostaddr", PART_ADDRESS);
    add_list(&b, c, "port", PART_PORT);
    add(&b, "user", c->user);
    add(&b, "dbname", c->dbname);
    add(&b, "password", c->password ? c->password : "");
    add_options(&b, c);
    add(&b, "application_name", first_of(c->application_name, given(&c->info, "application_name"), ""));
    if (c->replication)
        add(&b, "replication", c->replication);
    else if (given(&c->info, "replication"))
        add(&b, "replication", given(&c->info, "replication"));
    add(&b, "gssencmode", "disable");
    add(&b, "connect_timeout", "0"); /* the timer is ours */
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        const char *value = given(&c->info, o->keyword);
        if (!value)
            value = default_of(o);
        if (value && !is_own(o->keyword))
            add(&b, o->keyword, value);
    }
    PQconninfoFree(options);
    buf_append_byte(&b, '\0');
    char *result = b.failed ? NULL : mem_strdup(buf_head(&b));
    if (b.data)
        explicit_bzero(b.data, b.cap);
    buf_fini(&b);
    if (!result)
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for a connection string");
    return result;
}
