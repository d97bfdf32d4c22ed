#include "console.h"

#include <inttypes.h>
#include <stdio.h>

#include "shardgate/wire.h"

static void put_digits(struct console_row *r, int len)
{
    r->cell[r->count] = (struct str){r->digits[r->count], (size_t)len};
    r->count++;
}

void row_text(struct console_row *r, const char *s) { r->cell[r->count++] = s ? str_from(s) : (struct str){NULL, 0}; }

void row_int(struct console_row *r, int64_t n)
{
    put_digits(r, snprintf(r->digits[r->count], sizeof(r->digits[0]), "%" PRId64, n));
}

void row_uint(struct console_row *r, uint64_t n)
{
    put_digits(r, snprintf(r->digits[r->count], sizeof(r->digits[0]), "%" PRIu64, n));
}

void row_bool(struct console_row *r, bool b) { row_text(r, b ? "yes" : "no"); }

void row_null(struct console_row *r) { row_text(r, NULL); }

void row_milli(struct console_row *r, uint64_t thousandths)
{
    put_digits(r, snprintf(r->digits[r->count], sizeof(r->digits[0]), "%" PRIu64 ".%03u", thousandths / 1000,
                           (unsigned)(thousandths % 1000)));
}

void row_put(struct console_row *r, struct buf *out)
{
    wire_put_data_row(out, r->cell, r->count);
    r->count = 0;
}
