/*
 * Bodies of messages of both directions: the first byte is the type, the rest the
 * body. Invariants: slices lie within the body, and what a builder can write is
 * written back byte for byte.
 */
#include "fuzz.h"

#include <string.h>

#include "shardgate/wire.h"

static void check_written(const struct buf *b, struct str body)
{
    struct wire_header h;
    must(!b->failed && wire_header(buf_head(b), b->len, &h) == (ssize_t)WIRE_HEADER && h.size == b->len);
    must(str_eq((struct str){buf_head(b) + WIRE_HEADER, b->len - WIRE_HEADER}, body));
}

static void check_query(struct str body)
{
    struct str text;
    struct buf b;
    if (!wire_parse_query(body, &text))
        return;
    must(within(text, body));
    buf_init(&b, 0);
    wire_put_query(&b, text);
    check_written(&b, body);
    buf_fini(&b);
}

static void check_row(struct str body)
{
    struct wire_row it = {body, -1};
    struct str *values = malloc(65536 * sizeof(*values));
    unsigned count = 0;
    int rc;
    struct buf b;
    while ((rc = wire_row_next(&it, &values[count])) == 1) {
        must(!values[count].ptr || within(values[count], body));
        count++;
    }
    if (rc == 0) {
        buf_init(&b, 0);
        wire_put_data_row(&b, values, count);
        check_written(&b, body);
        buf_fini(&b);
    }
    free(values);
}

static void check_status(struct str body)
{
    struct str name, value;
    struct buf b;
    if (!wire_parse_parameter_status(body, &name, &value))
        return;
    buf_init(&b, 0);
    wire_put_parameter_status(&b, name, value);
    check_written(&b, body);
    buf_fini(&b);
}

static void check_error(struct str body)
{
    struct wire_error e;
    if (wire_parse_error(body, &e))
        must((e.severity.len == 0 || within(e.severity, body)) && (e.sqlstate.len == 0 || within(e.sqlstate, body)) &&
             (e.message.len == 0 || within(e.message, body)) && (e.detail.len == 0 || within(e.detail, body)) &&
             (e.hint.len == 0 || within(e.hint, body)));
}

static void check_extended(struct str body)
{
    struct wire_parse parse;
    struct str a, c;
    char kind;
    int32_t rows;
    if (wire_parse_parse(body, &parse))
        must(within(parse.name, body) && within(parse.text, body) &&
             within((struct str){parse.types, (size_t)parse.params * 4}, body));
    if (wire_parse_target(body, &kind, &a))
        must(within(a, body) && (kind == 'S' || kind == 'P'));
    if (wire_parse_execute(body, &a, &rows))
        must(within(a, body) && a.len + 5 == body.len);
    ssize_t names = wire_parse_bind_names(body, &a, &c);
    must(names >= 0 && (size_t)names <= body.len);
    if (names > 0)
        must(within(a, body) && within(c, body) && a.len + c.len + 2 == (size_t)names);
}

static void check_login(struct str body)
{
    struct str a, b;
    if (wire_parse_password(body, &a))
        must(within(a, body) && a.len + 1 == body.len);
    if (wire_parse_sasl_initial(body, &a, &b))
        must(within(a, body) && (!b.ptr || within(b, body)));
}

static void check_quoting(struct str body)
{
    struct buf b;
    bool nul = body.len > 0 && memchr(body.ptr, 0, body.len);
    buf_init(&b, 0);
    must(wire_put_literal(&b, body) == !nul);
    must(nul || b.len >= body.len + 2);
    buf_fini(&b);
    buf_init(&b, 0);
    must(wire_put_identifier(&b, body) == !nul);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_header h;
    if (size == 0)
        return 0;
    wire_header((const char *)data, size, &h);
    struct str body = {(const char *)data + 1, size - 1};
    switch (data[0]) {
    case 'Q':
        check_query(body);
        break;
    case 'D':
        check_row(body);
        break;
    case 'S':
        check_status(body);
        break;
    case 'E':
        check_error(body);
        break;
    case 'p':
        check_login(body);
        break;
    case '\'':
        check_quoting(body);
        break;
    default:
        check_extended(body);
        break;
    }
    return 0;
}
