/* Bodies of the messages a server sends, as far as the router reads them (55.7, 55.8). */
#include "shardgate/wire.h"

#include "wire_bytes.h"

static struct str *error_field(struct wire_error *e, char field)
{
    switch (field) {
    case 'C':
        return &e->sqlstate;
    case 'M':
        return &e->message;
    case 'D':
        return &e->detail;
    case 'H':
        return &e->hint;
    default:
        return NULL;
    }
}

bool wire_parse_error(struct str body, struct wire_error *out)
{
    struct str none = STR(""), localized = none, text;
    *out = (struct wire_error){none, none, none, none, none};
    while (body.len > 0) {
        char field = body.ptr[0];
        body = str_after(body, 1);
        if (field == 0) {
            /* 'V' is never translated; servers before 9.6 send 'S' alone. */
            if (out->severity.len == 0)
                out->severity = localized;
            return body.len == 0;
        }
        if (!take_string(&body, &text))
            return false;
        struct str *slot = error_field(out, field);
        if (field == 'V')
            slot = &out->severity;
        else if (field == 'S')
            slot = &localized;
        if (slot)
            *slot = text;
    }
    return false;
}

bool wire_parse_parameter_status(struct str body, struct str *name, struct str *value)
{
    return take_string(&body, name) && take_last_string(&body, value);
}

int wire_row_next(struct wire_row *it, struct str *value)
{
    uint32_t len;
    if (it->left < 0) {
        uint16_t count;
        if (!take_u16(&it->rest, &count))
            return -1;
        it->left = count;
    }
    if (it->left == 0)
        return it->rest.len == 0 ? 0 : -1;
    if (!take_u32(&it->rest, &len))
        return -1;
    it->left--;
    if (len == UINT32_MAX) {
        *value = (struct str){NULL, 0};
        return 1;
    }
    if (len > it->rest.len)
        return -1;
    *value = (struct str){it->rest.ptr, len};
    it->rest = str_after(it->rest, len);
    return 1;
}
