/* Bodies of the messages a client sends (55.7). */
#include "shardgate/wire.h"

#include "wire_bytes.h"

/* Set of ASCII letters as two bit masks, so that the data path needs no table. */
static bool in_letters(char c, uint64_t upper, uint64_t lower)
{
    if (c >= 'A' && c <= 'Z')
        return upper >> (c - 'A') & 1;
    return c >= 'a' && c <= 'z' && (lower >> (c - 'a') & 1);
}

#define UPPER(c) (UINT64_C(1) << ((c) - 'A'))
#define LOWER(c) (UINT64_C(1) << ((c) - 'a'))

bool wire_frontend_known(char type)
{
    return in_letters(type,
                      UPPER('B') | UPPER('C') | UPPER('D') | UPPER('E') | UPPER('F') | UPPER('H') | UPPER('P') |
                          UPPER('Q') | UPPER('S') | UPPER('X'),
                      LOWER('c') | LOWER('d') | LOWER('f'));
}

bool wire_parse_query(struct str body, struct str *text) { return take_last_string(&body, text); }

bool wire_parse_parse(struct str body, struct wire_parse *out)
{
    uint16_t count;
    if (!take_string(&body, &out->name) || !take_string(&body, &out->text) || !take_u16(&body, &count))
        return false;
    out->params = count;
    out->types = body.ptr;
    return body.len == (size_t)count * 4;
}

bool wire_parse_target(struct str body, char *kind, struct str *name)
{
    if (body.len < 1 || (body.ptr[0] != 'S' && body.ptr[0] != 'P'))
        return false;
    *kind = body.ptr[0];
    body = str_after(body, 1);
    return take_last_string(&body, name);
}

bool wire_parse_execute(struct str body, struct str *portal, int32_t *max_rows)
{
    uint32_t rows;
    if (!take_string(&body, portal) || !take_u32(&body, &rows))
        return false;
    *max_rows = (int32_t)rows;
    return body.len == 0;
}

ssize_t wire_parse_bind_names(struct str head, struct str *portal, struct str *statement)
{
    struct str rest = head;
    if (!take_string(&rest, portal) || !take_string(&rest, statement))
        return WIRE_MORE;
    return (ssize_t)(head.len - rest.len);
}

bool wire_parse_password(struct str body, struct str *password) { return take_last_string(&body, password); }

bool wire_parse_sasl_initial(struct str body, struct str *mechanism, struct str *data)
{
    uint32_t len;
    if (!take_string(&body, mechanism) || !take_u32(&body, &len))
        return false;
    if (len == UINT32_MAX) { /* no initial response */
        *data = (struct str){NULL, 0};
        return body.len == 0;
    }
    *data = body;
    return body.len == len;
}
