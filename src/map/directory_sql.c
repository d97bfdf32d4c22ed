/*
 * What is asked of the directory. Types are cast here, so that tables with wider
 * columns (integer, numeric) work and values that do not fit are the server's error.
 */
#include <inttypes.h>

#include "directory_private.h"

/* Another cluster, or the same after a fail-over that may have lost commits, can have
 * the same revisions for other changes. */
const char directory_sql_origin[] = "SELECT s.system_identifier || '/' || c.timeline_id "
                                    "FROM pg_control_system() s, pg_control_checkpoint() c";

const char directory_sql_detect[] =
    "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL, "
    "to_regclass($3) IS NOT NULL AND to_regclass($4) IS NOT NULL AND EXISTS (SELECT FROM pg_attribute "
    "WHERE attrelid = to_regclass($2) AND attname = 'revision' AND attnum > 0 AND NOT attisdropped)";

static char *qualify(const char *schema, const char *table)
{
    struct buf b;
    char *name;

    buf_init(&b, 0);
    buf_append_byte(&b, '"');
    for (; *schema; schema++) {
        if (*schema == '"')
            buf_append_byte(&b, '"');
        buf_append_byte(&b, (uint8_t)*schema);
    }
    buf_printf(&b, "\".\"%s\"", table);
    name = str_dup(buf_str(&b));
    buf_fini(&b);
    return name;
}

void directory_names_init(struct directory_names *n, const char *schema)
{
    n->config = qualify(schema, "shard_config");
    n->tenants = qualify(schema, "tenant_shard_map");
    n->revision = qualify(schema, "shard_map_revision");
    n->removed = qualify(schema, "shard_map_removed");
}

void directory_names_fini(struct directory_names *n)
{
    mem_free(n->config);
    mem_free(n->tenants);
    mem_free(n->revision);
    mem_free(n->removed);
}

static void end(struct buf *b) { buf_append_byte(b, 0); }

void directory_sql_poll(struct buf *b, const struct directory_names *n)
{
    buf_printf(b, "SELECT revision, deltas_from FROM %s", n->revision);
    end(b);
}

void directory_sql_begin(struct buf *b, const struct directory_names *n, bool tracked)
{
    buf_append_str(b, STR("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "));
    if (tracked)
        directory_sql_poll(b, n);
    else
        end(b);
}

void directory_sql_shards(struct buf *b, const struct directory_names *n)
{
    buf_printf(b,
               "SELECT shard_id::smallint, rtrim(region_code), datacenter, connection_string, "
               "coalesce(is_primary, false)::int, coalesce(is_active, true)::int, "
               "min_tenant_id::bigint, max_tenant_id::bigint FROM %s ORDER BY 1",
               n->config);
    end(b);
}

void directory_sql_overrides(struct buf *b, const struct directory_names *n)
{
    buf_printf(b, "COPY (SELECT tenant_id::bigint, shard_id::smallint FROM %s) TO STDOUT (FORMAT binary)", n->tenants);
    end(b);
}

void directory_sql_delta(struct buf *b, const struct directory_names *n, uint64_t since)
{
    buf_printf(b,
               "COPY (SELECT tenant_id::bigint, shard_id::smallint FROM %s WHERE revision > %" PRIu64
               " UNION ALL SELECT r.tenant_id, NULL FROM %s r WHERE r.revision > %" PRIu64
               " AND NOT EXISTS (SELECT FROM %s t WHERE t.tenant_id = r.tenant_id)) TO STDOUT (FORMAT binary)",
               n->tenants, since, n->removed, since, n->tenants);
    end(b);
}

void directory_sql_lookup(struct buf *b, const struct directory_names *n, bool tracked)
{
    if (tracked)
        buf_printf(b,
                   "SELECT t.tenant_id::bigint, t.shard_id::smallint, r.revision FROM %s r "
                   "LEFT JOIN %s t ON t.tenant_id = ANY ($1::bigint[])",
                   n->revision, n->tenants);
    else
        buf_printf(b, "SELECT tenant_id::bigint, shard_id::smallint, 0 FROM %s WHERE tenant_id = ANY ($1::bigint[])",
                   n->tenants);
    end(b);
}
