/*
 * Builders: each appends one whole message, or nothing. A builder that fails
 * takes its half message back and leaves the buffer's sticky `failed` set, so
 * that several can be called and checked once.
 */
#include "shardgate/wire.h"

#include "wire_bytes.h"

enum auth_request {
    AUTH_OK = 0,
    AUTH_CLEARTEXT = 3,
    AUTH_MD5 = 5,
    AUTH_SASL = 10,
    AUTH_SASL_CONTINUE = 11,
    AUTH_SASL_FINAL = 12
};

#define TEXT_OID 25u
#define NULL_LENGTH UINT32_MAX

static void put_u16(struct buf *b, uint16_t v)
{
    char bytes[2];
    store_be16(bytes, v);
    buf_append(b, bytes, sizeof(bytes));
}

static void put_u32(struct buf *b, uint32_t v)
{
    char bytes[4];
    store_be32(bytes, v);
    buf_append(b, bytes, sizeof(bytes));
}

/* A NUL inside would end the string early and shift all that follows: refused. */
static void put_string(struct buf *b, struct str s)
{
    if (s.len > 0 && memchr(s.ptr, 0, s.len))
        b->failed = true;
    buf_append_str(b, s);
    buf_append_byte(b, 0);
}

/* begin returns where the message starts; end fills in its length. */
static size_t begin(struct buf *b, char type)
{
    const char head[WIRE_HEADER] = {type};
    size_t start = b->len;
    buf_append(b, head, sizeof(head));
    return start;
}

static bool end(struct buf *b, size_t start)
{
    if (!b->failed && b->len - start - 1 > WIRE_MAX_MESSAGE)
        b->failed = true;
    if (b->failed) {
        b->len = start;
        return false;
    }
    store_be32(b->data + b->off + start + 1, (uint32_t)(b->len - start - 1));
    return true;
}

/* Messages without a body, the common ones of the data path: one append. */
static bool put_bare(struct buf *b, char type)
{
    const char message[WIRE_HEADER] = {type, 0, 0, 0, 4};
    return buf_append(b, message, sizeof(message)) && !b->failed;
}

static bool put_auth(struct buf *b, enum auth_request request, struct str data)
{
    size_t start = begin(b, 'R');
    put_u32(b, (uint32_t)request);
    buf_append_str(b, data);
    return end(b, start);
}

static void put_field(struct buf *b, char field, struct str text)
{
    buf_append_byte(b, (uint8_t)field);
    put_string(b, text);
}

bool wire_put_auth_ok(struct buf *b) { return put_auth(b, AUTH_OK, STR("")); }

bool wire_put_auth_cleartext(struct buf *b) { return put_auth(b, AUTH_CLEARTEXT, STR("")); }

bool wire_put_auth_md5(struct buf *b, const uint8_t salt[4])
{
    return put_auth(b, AUTH_MD5, (struct str){(const char *)salt, 4});
}

/* The list of mechanisms, of which we offer one, ends with an empty name. */
bool wire_put_auth_sasl(struct buf *b, const char *mechanism)
{
    size_t start = begin(b, 'R');
    put_u32(b, AUTH_SASL);
    put_string(b, str_from(mechanism));
    put_string(b, STR(""));
    return end(b, start);
}

bool wire_put_auth_sasl_continue(struct buf *b, struct str data) { return put_auth(b, AUTH_SASL_CONTINUE, data); }

bool wire_put_auth_sasl_final(struct buf *b, struct str data) { return put_auth(b, AUTH_SASL_FINAL, data); }

bool wire_put_parameter_status(struct buf *b, struct str name, struct str value)
{
    size_t start = begin(b, 'S');
    put_string(b, name);
    put_string(b, value);
    return end(b, start);
}

bool wire_put_backend_key(struct buf *b, uint32_t pid, uint32_t key)
{
    size_t start = begin(b, 'K');
    put_u32(b, pid);
    put_u32(b, key);
    return end(b, start);
}

/* The documentation says "newest minor version", but servers send, and libpq
 * reads, the whole version word. */
bool wire_put_negotiate_version(struct buf *b, uint16_t newest_minor, const struct str *unknown, unsigned count)
{
    size_t start = begin(b, 'v');
    put_u32(b, UINT32_C(3) << 16 | newest_minor);
    put_u32(b, count);
    for (unsigned i = 0; i < count; i++)
        put_string(b, unknown[i]);
    return end(b, start);
}

bool wire_put_ready(struct buf *b, char status)
{
    const char message[WIRE_HEADER + 1] = {'Z', 0, 0, 0, 5, status};
    return buf_append(b, message, sizeof(message)) && !b->failed;
}

bool wire_put_error(struct buf *b, const struct error *e)
{
    const char *severity = e->fatal || err_info(e->code)->severity == SEVERITY_FATAL ? "FATAL" : "ERROR";
    size_t start = begin(b, 'E');
    put_field(b, 'S', str_from(severity));
    put_field(b, 'V', str_from(severity));
    put_field(b, 'C', str_from(error_sqlstate(e)));
    put_field(b, 'M', str_from(error_text(e)));
    if (e->detail[0])
        put_field(b, 'D', str_from(e->detail));
    if (error_hint_text(e)[0])
        put_field(b, 'H', str_from(error_hint_text(e)));
    buf_append_byte(b, 0);
    return end(b, start);
}

bool wire_put_warning(struct buf *b, const char *sqlstate, struct str message, struct str hint)
{
    size_t start = begin(b, 'N');
    put_field(b, 'S', STR("WARNING"));
    put_field(b, 'V', STR("WARNING"));
    put_field(b, 'C', str_from(sqlstate));
    put_field(b, 'M', message);
    if (hint.len > 0)
        put_field(b, 'H', hint);
    buf_append_byte(b, 0);
    return end(b, start);
}

bool wire_put_command_complete(struct buf *b, const char *tag)
{
    size_t start = begin(b, 'C');
    put_string(b, str_from(tag));
    return end(b, start);
}

bool wire_put_empty_query(struct buf *b) { return put_bare(b, 'I'); }

bool wire_put_parse_complete(struct buf *b) { return put_bare(b, '1'); }

bool wire_put_bind_complete(struct buf *b) { return put_bare(b, '2'); }

bool wire_put_close_complete(struct buf *b) { return put_bare(b, '3'); }

bool wire_put_no_data(struct buf *b) { return put_bare(b, 'n'); }

bool wire_put_parameter_description(struct buf *b)
{
    size_t start = begin(b, 't');
    put_u16(b, 0);
    return end(b, start);
}

bool wire_put_row_description(struct buf *b, const char *const *names, unsigned count)
{
    size_t start = begin(b, 'T');
    if (count > UINT16_MAX)
        b->failed = true;
    put_u16(b, (uint16_t)count);
    for (unsigned i = 0; i < count && !b->failed; i++) {
        put_string(b, str_from(names[i]));
        put_u32(b, 0); /* of no table */
        put_u16(b, 0); /* nor column of one */
        put_u32(b, TEXT_OID);
        put_u16(b, UINT16_MAX); /* variable size, -1 */
        put_u32(b, UINT32_MAX); /* no type modifier, -1 */
        put_u16(b, 0);          /* text format */
    }
    return end(b, start);
}

bool wire_put_data_row(struct buf *b, const struct str *values, unsigned count)
{
    size_t start = begin(b, 'D');
    if (count > UINT16_MAX)
        b->failed = true;
    put_u16(b, (uint16_t)count);
    for (unsigned i = 0; i < count && !b->failed; i++) {
        if (values[i].len > WIRE_MAX_MESSAGE)
            b->failed = true;
        put_u32(b, values[i].ptr ? (uint32_t)values[i].len : NULL_LENGTH);
        buf_append_str(b, values[i]);
    }
    return end(b, start);
}

bool wire_put_query(struct buf *b, struct str text)
{
    size_t start = begin(b, 'Q');
    put_string(b, text);
    return end(b, start);
}

bool wire_put_parse(struct buf *b, struct str text)
{
    size_t start = begin(b, 'P');
    put_string(b, STR(""));
    put_string(b, text);
    put_u16(b, 0);
    return end(b, start);
}

bool wire_put_bind_execute(struct buf *b)
{
    size_t start = begin(b, 'B');
    put_string(b, STR(""));
    put_string(b, STR(""));
    put_u16(b, 0); /* parameter formats */
    put_u16(b, 0); /* parameters */
    put_u16(b, 0); /* result formats: all text */
    if (!end(b, start))
        return false;
    start = begin(b, 'E');
    put_string(b, STR(""));
    put_u32(b, 0); /* all rows */
    return end(b, start);
}

bool wire_put_query_head(struct buf *b, size_t tail_len)
{
    char head[WIRE_HEADER] = {'Q'};
    if (tail_len > WIRE_MAX_MESSAGE - WIRE_HEADER)
        b->failed = true;
    if (b->failed)
        return false;
    store_be32(head + 1, (uint32_t)tail_len + 5); /* the length word and the text's terminator */
    return buf_append(b, head, sizeof(head));
}

bool wire_put_flush(struct buf *b) { return put_bare(b, 'H'); }

bool wire_put_sync(struct buf *b) { return put_bare(b, 'S'); }

bool wire_put_terminate(struct buf *b) { return put_bare(b, 'X'); }
