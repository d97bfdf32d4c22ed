/* Protocol messages as text, both ways. See flow.h for the notation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

#define BULK_MIN 40u

struct token {
    char type;
    bool fatal;
    unsigned number;
    struct str args;
};

/* One token off *at; 0 at the end, -1 for what is none. */
static int next_token(const char **at, struct token *t)
{
    const char *p = *at;
    while (*p == ' ')
        p++;
    if (!*p)
        return 0;
    *t = (struct token){.type = *p++};
    if (*p == '!') {
        t->fatal = true;
        p++;
    }
    if (*p >= '0' && *p <= '9')
        t->number = (unsigned)strtoul(p, (char **)(uintptr_t)&p, 10);
    if (*p == '(') {
        int depth = 0;
        const char *from = p + 1;
        do {
            depth += (*p == '(') - (*p == ')');
            if (!*p)
                return -1;
            p++;
        } while (depth);
        t->args = (struct str){from, (size_t)(p - 1 - from)};
    }
    if (*p && *p != ' ')
        return -1;
    *at = p;
    return 1;
}

static struct str field(struct str *rest)
{
    const char *comma = rest->len ? memchr(rest->ptr, ',', rest->len) : NULL;
    size_t n = comma ? (size_t)(comma - rest->ptr) : rest->len;
    struct str f = {rest->ptr, n};
    *rest = comma ? (struct str){comma + 1, rest->len - n - 1} : (struct str){NULL, 0};
    return f;
}

static size_t bulk_size(struct str s)
{
    return s.len > 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']' ? strtoul(s.ptr + 1, NULL, 10) : 0;
}

static size_t put_text(struct buf *b, struct str s)
{
    size_t bulk = bulk_size(s);
    if (!bulk) {
        buf_append_str(b, s);
        return s.len;
    }
    memset(buf_reserve(b, bulk), 'x', bulk);
    buf_commit(b, bulk);
    return bulk;
}

static void put_string(struct buf *b, struct str s)
{
    put_text(b, s);
    buf_append_byte(b, 0);
}

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    buf_append(b, bytes, sizeof bytes);
}

static void put_u16(struct buf *b, unsigned v)
{
    buf_append_byte(b, (uint8_t)(v >> 8));
    buf_append_byte(b, (uint8_t)v);
}

static void put_values(struct buf *b, struct str args)
{
    unsigned count = 0;
    for (struct str rest = args; rest.ptr; field(&rest))
        count++;
    put_u16(b, count);
    while (args.ptr) {
        struct str v = field(&args);
        if (str_eq(v, STR("NULL"))) {
            put_u32(b, UINT32_MAX);
        } else {
            put_u32(b, (uint32_t)(bulk_size(v) ? bulk_size(v) : v.len));
            put_text(b, v);
        }
    }
}

static bool put_frontend(struct buf *b, const struct token *t)
{
    struct str args = t->args;
    switch (t->type) {
    case 'Q':
    case 'f':
    case 'p':
        put_string(b, args);
        return true;
    case 'P':
        put_string(b, field(&args));
        put_string(b, args);
        put_u16(b, t->number);
        for (unsigned i = 0; i < t->number; i++)
            put_u32(b, 23);
        return true;
    case 'B':
        put_string(b, field(&args));
        put_string(b, field(&args));
        put_u16(b, 0);
        put_values(b, args);
        put_u16(b, 0);
        return true;
    case 'D':
    case 'C':
        buf_append_str(b, field(&args));
        put_string(b, args);
        return true;
    case 'E':
        put_string(b, field(&args));
        put_u32(b, args.ptr ? (uint32_t)strtoul(args.ptr, NULL, 10) : 0);
        return true;
    case 'F':
        put_u32(b, 1598);
        put_u16(b, 0);
        put_u16(b, 0);
        put_u16(b, 0);
        return true;
    case 'd':
        put_text(b, args);
        return true;
    case 'S':
    case 'H':
    case 'X':
    case 'c':
        return true;
    default:
        return false;
    }
}

static void put_columns(struct buf *b, struct str args)
{
    unsigned count = 0;
    for (struct str rest = args; rest.ptr; field(&rest))
        count++;
    put_u16(b, count);
    while (args.ptr) {
        put_string(b, field(&args));
        put_u32(b, 0);
        put_u16(b, 0);
        put_u32(b, 25);
        put_u16(b, 65535);
        put_u32(b, UINT32_MAX);
        put_u16(b, 0);
    }
}

static void put_error(struct buf *b, const struct token *t)
{
    struct str args = t->args;
    const char *severity = t->type == 'N' ? "NOTICE" : t->fatal ? "FATAL" : "ERROR";
    buf_printf(b, "S%s%cV%s%cC", severity, 0, severity, 0);
    put_string(b, field(&args));
    buf_append_byte(b, 'M');
    put_string(b, args.len ? args : STR("message"));
    buf_append_byte(b, 0);
}

static bool put_backend(struct buf *b, const struct token *t)
{
    struct str args = t->args;
    switch (t->type) {
    case 'R':
        put_u32(b, 0);
        return true;
    case 'Z':
        buf_append_str(b, args);
        return true;
    case 'T':
        put_columns(b, args);
        return true;
    case 'D':
        put_values(b, args);
        return true;
    case 'C':
        put_string(b, args);
        return true;
    case 'E':
    case 'N':
        put_error(b, t);
        return true;
    case 'A':
        put_u32(b, 7);
        put_string(b, args);
        put_string(b, STR(""));
        return true;
    case 'S':
        put_string(b, field(&args));
        put_string(b, args);
        return true;
    case 'K':
        put_u32(b, (uint32_t)strtoul(args.ptr, NULL, 10));
        field(&args);
        put_u32(b, (uint32_t)strtoul(args.ptr, NULL, 10));
        return true;
    case 'd':
        put_text(b, args);
        return true;
    case 't':
        put_u16(b, 0);
        return true;
    case 'V':
        put_u32(b, UINT32_MAX);
        return true;
    case 'G':
    case 'H':
    case 'W':
        buf_append_byte(b, 0);
        put_u16(b, 0);
        return true;
    case '1':
    case '2':
    case '3':
    case 'n':
    case 's':
    case 'I':
    case 'c':
        return true;
    default:
        return false;
    }
}

bool text_encode(struct buf *out, const char *text, bool to_server)
{
    struct token t;
    int more;
    while ((more = next_token(&text, &t)) > 0) {
        struct buf body;
        buf_init(&body, 0);
        bool ok = to_server ? put_frontend(&body, &t) : put_backend(&body, &t);
        if (ok) {
            buf_append_byte(out, (uint8_t)t.type);
            put_u32(out, (uint32_t)body.len + 4);
            buf_append_str(out, buf_str(&body));
        }
        buf_fini(&body);
        if (!ok)
            return false;
    }
    return more == 0;
}

/* ---- bytes to text ----------------------------------------------------------- */

static void show(struct buf *text, struct str s)
{
    size_t i = 0;
    while (i < s.len && s.ptr[i] == 'x')
        i++;
    if (s.len >= BULK_MIN && i == s.len)
        buf_printf(text, "[%zu]", s.len);
    else
        buf_append_str(text, s);
}

static struct str cut_string(struct str *rest)
{
    const char *end = rest->len ? memchr(rest->ptr, 0, rest->len) : NULL;
    size_t n = end ? (size_t)(end - rest->ptr) : rest->len;
    struct str s = {rest->ptr, n};
    *rest = end ? (struct str){end + 1, rest->len - n - 1} : (struct str){rest->ptr + n, 0};
    return s;
}

static uint32_t cut_number(struct str *rest, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes && rest->len; i++) {
        v = v << 8 | (uint8_t)*rest->ptr;
        rest->ptr++;
        rest->len--;
    }
    return v;
}

static void show_values(struct buf *text, struct str *rest, const char *comma)
{
    unsigned count = cut_number(rest, 2);
    for (unsigned i = 0; i < count; i++) {
        uint32_t n = cut_number(rest, 4);
        buf_printf(text, "%s", i ? "," : comma);
        if (n == UINT32_MAX) {
            buf_printf(text, "NULL");
        } else {
            n = n < rest->len ? n : (uint32_t)rest->len;
            show(text, (struct str){rest->ptr, n});
            rest->ptr += n;
            rest->len -= n;
        }
    }
}

static void show_strings(struct buf *text, struct str *rest, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buf_append_byte(text, ',');
        show(text, cut_string(rest));
    }
}

static void show_frontend(struct buf *text, char type, struct str body)
{
    buf_append_byte(text, (uint8_t)type);
    if (type == 'P') {
        size_t terminators = 0, at = 0;
        for (; at < body.len && terminators < 2; at++)
            terminators += body.ptr[at] == 0;
        struct str tail = {body.ptr + at, body.len - at};
        unsigned params = cut_number(&tail, 2);
        if (params)
            buf_printf(text, "%u", params);
    }
    if (type == 'S' || type == 'H' || type == 'X' || type == 'c' || type == 'F')
        return;
    buf_append_byte(text, '(');
    switch (type) {
    case 'P':
        show_strings(text, &body, 2);
        break;
    case 'B':
        show_strings(text, &body, 2);
        for (unsigned formats = cut_number(&body, 2); formats; formats--)
            cut_number(&body, 2);
        show_values(text, &body, ",");
        break;
    case 'D':
    case 'C':
        buf_printf(text, "%c,", (char)cut_number(&body, 1));
        show_strings(text, &body, 1);
        break;
    case 'd':
        show(text, body);
        break;
    default:
        show_strings(text, &body, 1);
        break;
    }
    buf_append_byte(text, ')');
}

static void show_columns(struct buf *text, struct str body)
{
    for (unsigned i = 0, count = cut_number(&body, 2); i < count && body.len > 18; i++) {
        if (i)
            buf_append_byte(text, ',');
        show(text, cut_string(&body));
        body.ptr += 18;
        body.len -= 18;
    }
}

static void show_error(struct buf *text, struct str body, struct peer *p)
{
    struct wire_error e;
    if (!wire_parse_error(body, &e)) {
        buf_printf(text, "malformed");
        return;
    }
    if (str_eq(e.severity, STR("FATAL")))
        buf_append_byte(text, '!');
    buf_append_byte(text, '(');
    buf_append_str(text, e.sqlstate);
    if (p)
        snprintf(p->text, sizeof p->text, "%.*s | %.*s | %.*s", (int)e.message.len, e.message.ptr, (int)e.detail.len,
                 e.detail.len ? e.detail.ptr : "", (int)e.hint.len, e.hint.len ? e.hint.ptr : "");
    buf_append_byte(text, ')');
}

static void show_backend(struct buf *text, char type, struct str body, struct peer *p)
{
    buf_append_byte(text, (uint8_t)type);
    if (type == 'E' || type == 'N') {
        show_error(text, body, p);
        return;
    }
    if (type == 'K' && p) {
        p->pid = cut_number(&body, 4);
        p->key = cut_number(&body, 4);
    }
    if (!strchr("ZTDCASdv", type) || (type == 'v' && body.len < 8))
        return;
    buf_append_byte(text, '(');
    switch (type) {
    case 'T':
        show_columns(text, body);
        break;
    case 'D':
        show_values(text, &body, "");
        break;
    case 'S':
        show_strings(text, &body, 2);
        break;
    case 'C':
        show_strings(text, &body, 1);
        break;
    case 'A':
        cut_number(&body, 4);
        show_strings(text, &body, 1);
        break;
    case 'v':
        buf_printf(text, "%u", cut_number(&body, 4));
        for (unsigned n = cut_number(&body, 4); n; n--) {
            buf_append_byte(text, ',');
            show_strings(text, &body, 1);
        }
        break;
    default:
        show(text, body);
        break;
    }
    buf_append_byte(text, ')');
}

void text_decode(struct buf *text, struct buf *bytes, struct peer *p)
{
    struct wire_header h;
    while (wire_header(buf_head(bytes), bytes->len, &h) > 0 && bytes->len >= h.size) {
        struct str body = {buf_head(bytes) + WIRE_HEADER, h.size - WIRE_HEADER};
        if (text->len)
            buf_append_byte(text, ' ');
        if (p->is_client)
            show_backend(text, h.type, body, p);
        else
            show_frontend(text, h.type, body);
        buf_consume(bytes, h.size);
    }
    if (bytes->len)
        buf_printf(text, "%s+%zu", text->len ? " " : "", bytes->len);
}
