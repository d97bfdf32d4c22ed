/*
 * Startup packets and the options in them. Invariants: the verdict on a prefix is
 * never taken back by more bytes; parameters lie within the packet; options that
 * were split and written again split the same.
 */
#include "fuzz.h"

#include <string.h>

#include "shardgate/wire.h"

#define MAX_PREFIXES 256u

static void check_prefixes(const char *p, size_t size, ssize_t whole)
{
    for (size_t n = 0; n < size && n < MAX_PREFIXES; n++) {
        struct wire_startup out;
        ssize_t rc = wire_startup_parse(p, n, &out, NULL);
        must(rc == WIRE_MORE || rc == whole);
        must(rc <= 0 || (size_t)rc <= n);
    }
}

static void check_options(struct str options)
{
    char *scratch = malloc(options.len + 1), *again = NULL;
    struct wire_options it = {options, scratch};
    struct str name[64], value[64], n, v;
    struct buf written;
    size_t count = 0;
    buf_init(&written, 0);
    while (count < 64 && wire_options_next(&it, &name[count], &value[count]) == 1) {
        must(within(name[count], (struct str){scratch, options.len}));
        must(within(value[count], (struct str){scratch, options.len}));
        must(wire_options_append(&written, name[count], value[count]));
        count++;
    }
    again = malloc(written.len + 1);
    it = (struct wire_options){buf_str(&written), again};
    for (size_t i = 0; i < count; i++)
        must(wire_options_next(&it, &n, &v) == 1 && str_eq(n, name[i]) && str_eq(v, value[i]));
    must(wire_options_next(&it, &n, &v) == 0);
    buf_fini(&written);
    free(again);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *why = NULL;
    struct wire_startup out;
    struct str packet = {p, size}, name, value;
    ssize_t rc = wire_startup_parse(p, size, &out, &why);
    check_prefixes(p, size, rc);
    must((rc == WIRE_BAD) == (why != NULL));
    if (rc > 0 && out.kind == WIRE_STARTUP) {
        must((size_t)rc <= size && rc <= WIRE_MAX_STARTUP);
        while (wire_startup_next(&out.params, &name, &value)) {
            must(within(name, packet) && within(value, packet) && name.len > 0);
            check_options(value);
        }
        must(out.params.len == 0);
    } else if (rc > 0 && out.kind == WIRE_CANCEL_REQUEST) {
        must(within(out.key, packet) && out.key.len >= 4 && out.key.len <= 256);
    }
    check_options(packet);
    return 0;
}
