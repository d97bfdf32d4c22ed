/*
 * The untyped packets of the startup phase: StartupMessage, SSLRequest,
 * GSSENCRequest and CancelRequest (55.2.1, 55.2.9-11, 55.7).
 *
 * They are a client's first bytes, so whatever found our port by mistake ends
 * up here: a packet is refused at the first byte that no valid packet has.
 */
#include "shardgate/wire.h"

#include "wire_bytes.h"

#define CODE(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))
#define CODE_CANCEL CODE(1234, 5678)
#define CODE_SSL CODE(1234, 5679)
#define CODE_GSSENC CODE(1234, 5680)

#define REQUEST_SIZE 8u       /* length word and code */
#define CANCEL_KEY_OFFSET 12u /* after length, code and process id */
#define CANCEL_KEY_MIN 4u
#define CANCEL_KEY_MAX 256u
#define TLS_HANDSHAKE_BYTE 0x16

static ssize_t bad(const char **why, const char *literal)
{
    if (why)
        *why = literal;
    return WIRE_BAD;
}

/* Judges the length word by as many of its bytes as are there. */
static ssize_t check_length(const char *p, size_t n, const char **why)
{
    if (n > 0 && p[0] == TLS_HANDSHAKE_BYTE)
        return bad(why, "TLS handshake without an SSLRequest before it");
    if ((n > 0 && p[0] != 0) || (n > 1 && p[1] != 0))
        return bad(why, "startup packet length out of range");
    if (n < 4)
        return WIRE_MORE;
    uint32_t len = be32(p);
    if (len < REQUEST_SIZE || len > WIRE_MAX_STARTUP)
        return bad(why, "startup packet length out of range");
    return (ssize_t)len;
}

/* The list name\0value\0…\0 must end exactly at the packet's end. */
static bool check_params(struct str body, const char **why)
{
    struct str name, value;
    for (;;) {
        if (!take_string(&body, &name)) {
            bad(why, "startup packet lacks its last terminator");
            return false;
        }
        if (name.len == 0)
            break;
        if (!take_string(&body, &value)) {
            bad(why, "startup parameter without a value");
            return false;
        }
    }
    if (body.len > 0)
        bad(why, "bytes after the end of the startup parameters");
    return body.len == 0;
}

static ssize_t parse_version(const char *p, size_t len, struct wire_startup *out, const char **why)
{
    uint32_t code = be32(p + 4);
    out->kind = WIRE_STARTUP;
    out->major = (uint16_t)(code >> 16);
    out->minor = (uint16_t)code;
    /* Another major version has another layout: its parameters are not ours to read. */
    if (out->major == 3) {
        struct str body = {p + REQUEST_SIZE, len - REQUEST_SIZE};
        if (!check_params(body, why))
            return WIRE_BAD;
        out->params = (struct str){body.ptr, body.len - 1};
    }
    return (ssize_t)len;
}

static ssize_t parse_cancel(const char *p, size_t len, struct wire_startup *out)
{
    out->kind = WIRE_CANCEL_REQUEST;
    out->pid = be32(p + 8);
    out->key = (struct str){p + CANCEL_KEY_OFFSET, len - CANCEL_KEY_OFFSET};
    return (ssize_t)len;
}

/* What the code says about the length, before the body is there. */
static bool length_fits(uint32_t code, size_t len, const char **why)
{
    bool fits = true;
    if (code == CODE_SSL || code == CODE_GSSENC)
        fits = len == REQUEST_SIZE;
    else if (code == CODE_CANCEL)
        fits = len >= CANCEL_KEY_OFFSET + CANCEL_KEY_MIN && len <= CANCEL_KEY_OFFSET + CANCEL_KEY_MAX;
    if (!fits)
        bad(why, "request packet of a wrong length");
    return fits;
}

ssize_t wire_startup_parse(const char *p, size_t n, struct wire_startup *out, const char **why)
{
    *out = (struct wire_startup){.params = STR(""), .key = STR("")};
    ssize_t checked = check_length(p, n, why);
    if (checked <= 0 || n < REQUEST_SIZE)
        return checked < 0 ? WIRE_BAD : WIRE_MORE;
    size_t len = (size_t)checked;
    uint32_t code = be32(p + 4);
    if (!length_fits(code, len, why))
        return WIRE_BAD;
    if (n < len)
        return WIRE_MORE;
    switch (code) {
    case CODE_SSL:
        out->kind = WIRE_SSL_REQUEST;
        return (ssize_t)len;
    case CODE_GSSENC:
        out->kind = WIRE_GSSENC_REQUEST;
        return (ssize_t)len;
    case CODE_CANCEL:
        return parse_cancel(p, len, out);
    default:
        return parse_version(p, len, out, why);
    }
}

bool wire_startup_next(struct str *params, struct str *name, struct str *value)
{
    return take_string(params, name) && name->len > 0 && take_string(params, value);
}
