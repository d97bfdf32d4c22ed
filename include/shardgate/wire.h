/*
 * wire: the PostgreSQL frontend/backend protocol 3.x as pure functions of bytes.
 *
 * No I/O, no allocation on parsing, no state beyond the arguments. Parsers take
 * a slice of the caller's buffer and give slices of it back. A parser returns
 * the bytes it consumed (> 0), WIRE_MORE when the slice ends too early, or
 * WIRE_BAD when no continuation could be valid. Chapter numbers are those of
 * the PostgreSQL documentation, "Frontend/Backend Protocol".
 */
#ifndef SHARDGATE_WIRE_H
#define SHARDGATE_WIRE_H

#include <sys/types.h>

#include "shardgate/base.h"

#define WIRE_MORE ((ssize_t)0)
#define WIRE_BAD ((ssize_t)-1)
#define WIRE_HEADER 5u               /* type byte + int32 length */
#define WIRE_MAX_MESSAGE 0x40000000u /* PostgreSQL's own ceiling: 1 GiB */
#define WIRE_MAX_STARTUP 10000u      /* whole packet, as PostgreSQL's MAX_STARTUP_PACKET_LENGTH */

/* ---- framing ------------------------------------------------------------ */

struct wire_header {
    char type;
    uint32_t size; /* whole message: type byte, length word and body */
};
/* Consumes WIRE_HEADER bytes. Length below 4 or above the ceiling is WIRE_BAD. */
static inline ssize_t wire_header(const char *p, size_t n, struct wire_header *h)
{
    if (n < WIRE_HEADER)
        return WIRE_MORE;
    const unsigned char *u = (const unsigned char *)p;
    uint32_t len = (uint32_t)u[1] << 24 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 8 | u[4];
    if (len < 4 || len > WIRE_MAX_MESSAGE)
        return WIRE_BAD;
    h->type = p[0];
    h->size = len + 1;
    return (ssize_t)WIRE_HEADER;
}

/* ---- startup (55.2.1, 55.7) --------------------------------------------- */

enum wire_startup_kind { WIRE_STARTUP, WIRE_SSL_REQUEST, WIRE_GSSENC_REQUEST, WIRE_CANCEL_REQUEST };

struct wire_startup {
    enum wire_startup_kind kind;
    uint16_t major, minor; /* of WIRE_STARTUP; any major is parsed, the caller judges */
    struct str params;     /* raw name\0value\0… of WIRE_STARTUP 3.x, for wire_startup_next */
    uint32_t pid;          /* of WIRE_CANCEL_REQUEST */
    struct str key;        /* secret of WIRE_CANCEL_REQUEST: 4 bytes in 3.0, up to 256 in 3.2 */
};
/* One untyped startup-phase packet. `why` (may be NULL) gets a literal on WIRE_BAD.
 * Checks the whole parameter list: pairs, terminators, no trailing bytes. Judges
 * by the first bytes where they are enough: garbage is refused without waiting for more. */
ssize_t wire_startup_parse(const char *p, size_t n, struct wire_startup *out, const char **why);
/* Takes the next pair off *params; false at the end. */
bool wire_startup_next(struct str *params, struct str *name, struct str *value);

/* The `options` parameter as the backend splits it (pg_split_opts: white space
 * separates, backslash escapes): yields each `-c name=value`, `-cname=value` and
 * `--name=value`, with '-' in names turned to '_'. Decoded bytes go to `scratch`
 * (at least options.len bytes in all, of which each call uses up its share, so that
 * earlier slices stay valid). Returns 1 for a setting, 0 at the end, -1 for anything
 * else (the word is then in *name). */
struct wire_options {
    struct str rest;
    char *scratch;
};
int wire_options_next(struct wire_options *it, struct str *name, struct str *value);
/* Appends ` -c name=value` with the escapes that the split undoes. */
bool wire_options_append(struct buf *out, struct str name, struct str value);

/* ---- frontend messages (55.7) ------------------------------------------- */

/* True for a message type a client may send after login. */
bool wire_frontend_known(char type);

/* Bodies: everything after the header, whole. Each checks its terminators and
 * returns false on a malformed body. */
bool wire_parse_query(struct str body, struct str *text);
struct wire_parse {
    struct str name, text;
    unsigned params;
    const char *types; /* params big-endian int32 OIDs */
};
bool wire_parse_parse(struct str body, struct wire_parse *out);
bool wire_parse_target(struct str body, char *kind, struct str *name); /* Describe, Close: 'S' or 'P' */
bool wire_parse_execute(struct str body, struct str *portal, int32_t *max_rows);
/* Bind's names only, from the beginning of a body that may not be whole: WIRE_MORE
 * until both terminators are there. */
ssize_t wire_parse_bind_names(struct str head, struct str *portal, struct str *statement);
bool wire_parse_password(struct str body, struct str *password); /* NUL-terminated */
bool wire_parse_sasl_initial(struct str body, struct str *mechanism, struct str *data);

/* ---- backend messages --------------------------------------------------- */

struct wire_error {
    struct str severity, sqlstate, message, detail, hint;
};
bool wire_parse_error(struct str body, struct wire_error *out); /* ErrorResponse, NoticeResponse */
bool wire_parse_parameter_status(struct str body, struct str *name, struct str *value);
/* Takes the next column of a DataRow: start with the body; first call reads the
 * count. NULL gives ptr == NULL. Returns 1, 0 at the end, -1 malformed. */
struct wire_row {
    struct str rest;
    int left; /* -1 before the first call */
};
int wire_row_next(struct wire_row *it, struct str *value);

/* ---- builders: append one whole message to a buf; false if it failed -----
 * A failed builder appends nothing and sets b->failed. A NUL byte in a text fails. */

bool wire_put_auth_ok(struct buf *b);
bool wire_put_auth_cleartext(struct buf *b);
bool wire_put_auth_md5(struct buf *b, const uint8_t salt[4]);
bool wire_put_auth_sasl(struct buf *b, const char *mechanism);
bool wire_put_auth_sasl_continue(struct buf *b, struct str data);
bool wire_put_auth_sasl_final(struct buf *b, struct str data);
bool wire_put_parameter_status(struct buf *b, struct str name, struct str value);
bool wire_put_backend_key(struct buf *b, uint32_t pid, uint32_t key);
bool wire_put_negotiate_version(struct buf *b, uint16_t newest_minor, const struct str *unknown, unsigned count);
bool wire_put_ready(struct buf *b, char status); /* 'I', 'T' or 'E' */
/* Severity, code, message, then detail and hint where they are not empty. */
bool wire_put_error(struct buf *b, const struct error *e);
bool wire_put_warning(struct buf *b, const char *sqlstate, struct str message, struct str hint); /* NoticeResponse */
bool wire_put_command_complete(struct buf *b, const char *tag);
bool wire_put_empty_query(struct buf *b);
bool wire_put_parse_complete(struct buf *b);
bool wire_put_bind_complete(struct buf *b);
bool wire_put_close_complete(struct buf *b);
bool wire_put_no_data(struct buf *b);
bool wire_put_parameter_description(struct buf *b);                                     /* no parameters */
bool wire_put_row_description(struct buf *b, const char *const *names, unsigned count); /* all text, OID 25 */
bool wire_put_data_row(struct buf *b, const struct str *values, unsigned count);        /* ptr NULL is NULL */
bool wire_put_query(struct buf *b, struct str text);
/* Header of a Query whose text (tail_len bytes, without the terminator) follows. */
bool wire_put_query_head(struct buf *b, size_t tail_len);
/* Parse of the unnamed statement without parameters; Bind of it to the unnamed
 * portal and Execute, both without parameters. */
bool wire_put_parse(struct buf *b, struct str text);
bool wire_put_bind_execute(struct buf *b);
bool wire_put_flush(struct buf *b);
bool wire_put_sync(struct buf *b);
bool wire_put_terminate(struct buf *b);

/* SQL text quoting for statements we send: 'it''s', with E'' when a backslash occurs. */
bool wire_put_literal(struct buf *b, struct str value);
bool wire_put_identifier(struct buf *b, struct str name);

#endif
