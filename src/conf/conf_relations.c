#include "conf_read.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_PATH_MAX 91u /* sun_path less "/.s.PGSQL.65535" and its terminator */

struct check {
    struct report *r;
    const struct section *s;
    const struct conf *c;
};

static bool refuse(const struct check *k, const char *option, const char *why)
{
    return report_at(k->r, section_mark(k->s, option), option, "%s", why);
}

/* {tenant} once, at most one {other} beside it with text between them, no other braces. */
static bool check_pattern(const struct check *k, const char *option, const char *pattern, const char *other)
{
    unsigned tenants = 0, others = 0;
    bool adjacent = false, after_placeholder = false;
    size_t other_len = strlen(other);
    for (const char *p = pattern; *p;) {
        bool tenant = strncmp(p, "{tenant}", 8) == 0;
        bool second = strncmp(p, other, other_len) == 0;
        if ((*p == '{' || *p == '}') && !tenant && !second)
            return report_at(k->r, section_mark(k->s, option), option,
                             "only {tenant} and %s may stand in braces, found %s", other,
                             report_quote(str_from(p)).text);
        tenants += tenant;
        others += second;
        adjacent |= (tenant || second) && after_placeholder;
        after_placeholder = tenant || second;
        p += tenant ? 8 : second ? other_len : 1;
    }
    if (tenants != 1 || others > 1)
        return report_at(k->r, section_mark(k->s, option), option,
                         "expected {tenant} once and %s at most once, found %s", other,
                         report_quote(str_from(pattern)).text);
    if (adjacent)
        return report_at(k->r, section_mark(k->s, option), option, "{tenant} and %s need a text between them, found %s",
                         other, report_quote(str_from(pattern)).text);
    return true;
}

/* A name such as shardgate.tenant_id: identifiers joined by dots. */
static bool is_dotted_name(const char *s, bool needs_dot)
{
    bool start = true, dot = false;
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (*s == '.') {
            if (start)
                return false;
            dot = start = true;
            continue;
        }
        if (!isalpha(ch) && ch != '_' && (start || !isdigit(ch)))
            return false;
        start = false;
    }
    return !start && (dot || !needs_dot);
}

static void check_names(const struct check *k)
{
    const struct conf *c = k->c;
    if (!is_dotted_name(c->tenant_parameter, true))
        report_at(k->r, section_mark(k->s, "tenant.parameter"), "tenant.parameter",
                  "expected a name with a dot, such as shardgate.tenant_id, found %s",
                  report_quote(str_from(c->tenant_parameter)).text);
    if (!is_dotted_name(c->tenant_comment_key, false))
        report_at(k->r, section_mark(k->s, "tenant.comment_key"), "tenant.comment_key",
                  "expected a name such as tenant_id, found %s", report_quote(str_from(c->tenant_comment_key)).text);
    if (!isdigit((unsigned char)c->server_version[0]))
        refuse(k, "server.version", "expected a version such as 15.0");
    if (!*c->admin_database)
        refuse(k, "admin.database", "must not be empty");
    if (!*c->directory_schema)
        refuse(k, "directory.schema", "must not be empty");
}

static bool listens_on(const struct conf *c, const char *address)
{
    for (size_t i = 0; i < c->listen_addresses.count; i++)
        if (strcmp(c->listen_addresses.items[i], "*") == 0 || strcmp(c->listen_addresses.items[i], address) == 0)
            return true;
    return false;
}

static void check_listen(const struct check *k)
{
    const struct conf *c = k->c;
    if (c->listen_addresses.count == 0 && !*c->listen_unix_directory)
        refuse(k, "listen.addresses", "no address and no listen.unix_directory: there is nothing to listen on");
    if (*c->listen_unix_directory && *c->listen_unix_directory != '/')
        refuse(k, "listen.unix_directory", "expected a path that begins with /");
    if (strlen(c->listen_unix_directory) > SOCKET_PATH_MAX)
        refuse(k, "listen.unix_directory", "the path is longer than the 91 bytes that a Unix socket allows");
    if (*c->http_address && c->http_port != 0 && c->http_port == c->listen_port && listens_on(c, c->http_address))
        refuse(k, "http.port", "is the same as listen.port");
}

static void check_sizes(const struct check *k)
{
    const struct conf *c = k->c;
    if (c->pool_min > c->pool_size)
        report_at(k->r, section_mark(k->s, "pool.min_size"), "pool.min_size",
                  "%" PRId64 " is more than pool.size, which is %" PRId64, c->pool_min, c->pool_size);
    if (c->directory_timeout > c->directory_load_timeout)
        refuse(k, "directory.load_timeout", "is shorter than directory.timeout");
}

void conf_check_relations(struct report *r, const struct section *s, const struct conf *c)
{
    struct check k = {r, s, c};
    if (!*c->directory_connection)
        report_at(r,
                  section_mark(s, "directory.connection").line ? section_mark(s, "directory.connection")
                                                               : (struct mark){1, 1},
                  "directory.connection", "is required and not given");
    check_listen(&k);
    check_pattern(&k, "tenant.user_pattern", c->tenant_user_pattern, "{user}");
    check_pattern(&k, "tenant.database_pattern", c->tenant_database_pattern, "{database}");
    check_names(&k);
    check_sizes(&k);
}

void conf_read_environment(struct report *r, struct conf *c)
{
    const char *shard = getenv("SHARD_ID"), *region = getenv("REGION");
    int64_t id;
    if (shard && *shard) {
        if (str_to_i64(str_from(shard), &id) && id >= 0 && id <= INT16_MAX)
            c->home_shard = (int16_t)id;
        else
            report_at(r, (struct mark){0}, "environment variable SHARD_ID",
                      "expected an integer from 0 to 32767, found %s", report_quote(str_from(shard)).text);
    }
    if (!region || !*region)
        return;
    bool good = strlen(region) <= 3;
    for (const char *p = region; *p; p++)
        good = good && isalnum((unsigned char)*p);
    if (good)
        str_copy(c->region, sizeof(c->region), str_from(region));
    else
        report_at(r, (struct mark){0}, "environment variable REGION",
                  "expected a code of 1 to 3 letters or digits, found %s", report_quote(str_from(region)).text);
}
