/*
 * Inspection. The first byte says whether strings are standard. Invariants: the
 * quick scan never changes the outcome; the rest has all statements but the first.
 */
#include "fuzz.h"

#include <string.h>

#include "shardgate/sql.h"

#include "sql_internal.h"

static void check_same(const struct sql_inspection *a, const struct sql_inspection *b)
{
    must(a->statements == b->statements && a->verb == b->verb && strcmp(a->value, b->value) == 0);
    must(a->rest.len == b->rest.len && a->tenant_command_later == b->tenant_command_later && a->pins == b->pins);
    must(a->comment == b->comment && a->tenant == b->tenant);
    must(a->has_transaction_control == b->has_transaction_control);
}

static void check_rest(const struct sql_inspection *whole, struct str text, const struct sql_rules *rules)
{
    struct sql_inspection rest;
    must(within(whole->rest, text) && (whole->rest.len > 0) == (whole->statements > 1));
    sql_inspect(whole->rest, rules, &rest);
    must(whole->statements == 0 || rest.statements == whole->statements - 1);
    must((rest.pins & ~whole->pins) == 0);
    must(!rest.has_transaction_control || whole->has_transaction_control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct sql_rules rules = {STR("shardgate.tenant_id"), STR("tenant_id"), data[0] & 1};
    struct str text = {(const char *)data + 1, size - 1};
    struct sql_inspection quick, full;
    sql_inspect(text, &rules, &quick);
    sql_inspect_full(text, &rules, &full);
    check_same(&quick, &full);
    check_rest(&full, text, &rules);
    must(strlen(full.value) < sizeof(full.value));
    must((full.verb == SQL_VERB_EMPTY) == (full.statements == 0));
    return 0;
}
