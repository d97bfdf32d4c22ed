/*
 * The host list of a connection string, split as libpq does: by commas, with as
 * many ports as hosts or one for all.
 */
#include <string.h>

#include "pqconn_internal.h"

enum { MAX_HOSTS = 64 };

static size_t count_items(const char *list)
{
    size_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

static char *item(const char *list, size_t index)
{
    for (; index > 0; index--)
        list = strchr(list, ',') + 1;
    return mem_strndup(list, strcspn(list, ","));
}

static const char *given(const struct pqinfo *info, const char *keyword)
{
    for (size_t i = 0; info->keywords[i]; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

bool pqconn_is_unix_host(const char *host) { return !*host || *host == '/' || *host == '@'; }

bool pqconn_split_hosts(struct pqconn *c, struct error *e)
{
    const char *hosts = c->info.host ? c->info.host : "";
    const char *addresses = given(&c->info, "hostaddr"), *ports = c->info.port ? c->info.port : "";
    if (addresses && !*addresses)
        addresses = NULL;
    size_t count = count_items(addresses ? addresses : hosts);
    size_t port_count = count_items(ports);
    if (count > MAX_HOSTS)
        return error_set(e, ERR_SHARD_UNREACHABLE, "more than %d hosts in the connection string", MAX_HOSTS);
    if (addresses && *hosts && count_items(hosts) != count)
        return error_set(e, ERR_SHARD_UNREACHABLE, "could not match %zu host names to %zu hostaddr values",
                         count_items(hosts), count);
    if (port_count != 1 && port_count != count)
        return error_set(e, ERR_SHARD_UNREACHABLE, "could not match %zu port numbers to %zu hosts", port_count, count);
    c->hosts = mem_zalloc(count * sizeof(*c->hosts));
    c->host_count = count;
    for (size_t i = 0; i < count; i++) {
        struct pqhost *h = &c->hosts[i];
        h->conn = c;
        h->name = *hosts ? item(hosts, i) : mem_strdup("");
        h->address = addresses ? item(addresses, i) : NULL;
        h->port = item(ports, port_count == 1 ? 0 : i);
    }
    return true;
}

void pqconn_free_hosts(struct pqconn *c)
{
    for (size_t i = 0; i < c->host_count; i++) {
        struct pqhost *h = &c->hosts[i];
        if (h->resolve)
            resolve_cancel(h->resolve);
        for (size_t n = 0; n < h->found_count; n++)
            mem_free(h->found[n]);
        mem_free(h->found);
        mem_free(h->name);
        mem_free(h->address);
        mem_free(h->port);
    }
    mem_free(c->hosts);
    c->hosts = NULL;
    c->host_count = 0;
}
