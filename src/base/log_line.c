#include "log_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "utf8.h"

/* Holds closing quote and brace, cut, both counts at their longest, line feed. */
enum { TAIL_SPACE = 128 };

static bool put(struct log_line *l, const char *s, size_t len)
{
    if (l->len + len > l->max) {
        l->cut = true;
        return false;
    }
    memcpy(l->text + l->len, s, len);
    l->len += len;
    return true;
}

/* For the closing of what was opened: uses the tail's space, so cannot fail. */
static void put_tail(struct log_line *l, const char *s)
{
    size_t len = strlen(s);

    memcpy(l->text + l->len, s, len);
    l->len += len;
}

static bool is_control(const char *s, size_t char_len)
{
    unsigned char c = (unsigned char)s[0];

    /* U+0080..U+009F are terminal controls too. */
    return c < 0x20 || c == 0x7f || (char_len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

static bool is_bare(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_char_len(s.ptr + i, s.len - i);

        if (n == 0 || is_control(s.ptr + i, n) || strchr(" \"=\\", s.ptr[i]))
            return false;
        i += n;
    }
    return s.len > 0;
}

/* The escape of the character or stray byte at s, n bytes long (0: stray). */
static const char *escape(enum log_format format, const char *s, size_t n, char out[16])
{
    static const char named[][3] = {"\"\"", "\\\\", "\nn", "\rr", "\tt"};
    unsigned char c = (unsigned char)s[0];

    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (s[0] == named[i][0]) {
            snprintf(out, 16, "\\%c", named[i][1]);
            return out;
        }
    }
    if (format == LOG_JSON) {
        /* JSON can name a character but not a byte: that is spelled out as \xHH. */
        if (n == 0)
            snprintf(out, 16, "\\\\x%02x", c);
        else
            snprintf(out, 16, "\\u%04x", n == 2 ? (unsigned char)s[1] : c);
    } else if (n == 2) {
        snprintf(out, 16, "\\x%02x\\x%02x", c, (unsigned char)s[1]);
    } else {
        snprintf(out, 16, "\\x%02x", c);
    }
    return out;
}

static void put_escaped(struct log_line *l, struct str s)
{
    char esc[16];

    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_char_len(s.ptr + i, s.len - i);
        bool plain = n > 0 && !is_control(s.ptr + i, n) && s.ptr[i] != '"' && s.ptr[i] != '\\';
        const char *piece = plain ? s.ptr + i : escape(l->format, s.ptr + i, n, esc);

        if (!put(l, piece, plain ? n : strlen(esc)))
            return;
        i += n ? n : 1;
    }
}

/* Opens `key=` or `,"key":` with an opening quote or not; false if no room. */
static bool put_key(struct log_line *l, const char *key, bool quoted)
{
    char open[128];
    int n;

    if (l->format == LOG_JSON)
        n = snprintf(open, sizeof(open), "%s\"%s\":%s", l->len ? "," : "{", key, quoted ? "\"" : "");
    else
        n = snprintf(open, sizeof(open), "%s%s=%s", l->len ? " " : "", key, quoted ? "\"" : "");
    if (n < 0 || n >= (int)sizeof(open)) {
        l->cut = true;
        return false;
    }
    return put(l, open, (size_t)n);
}

static void put_str(struct log_line *l, const char *key, struct str value)
{
    bool quoted = l->format == LOG_JSON || !is_bare(value);

    if (!put_key(l, key, quoted))
        return;
    put_escaped(l, value);
    if (quoted)
        put_tail(l, "\"");
}

static void put_int(struct log_line *l, const char *key, int64_t value)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRId64, value);

    /* All or nothing: half a number would be another number. */
    if (l->len + strlen(key) + (size_t)n + 4 > l->max)
        l->cut = true;
    else if (put_key(l, key, false))
        put(l, digits, (size_t)n);
}

const char *log_line_level(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    return names[(unsigned)level < ARRAY_LEN(names) ? level : LOG_ERROR];
}

void log_line_begin(struct log_line *l, char *text, size_t size, enum log_format format)
{
    *l = (struct log_line){.text = text, .max = size - TAIL_SPACE, .format = format};
}

void log_line_head(struct log_line *l, uint64_t wall_us, enum log_level level, const char *event)
{
    time_t seconds = (time_t)(wall_us / 1000000u);
    struct tm tm;
    char date[24];
    char stamp[40];

    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof(stamp), "%s.%06uZ", date, (unsigned)(wall_us % 1000000u));
    put_str(l, "time", str_from(stamp));
    put_str(l, "level", str_from(log_line_level(level)));
    put_str(l, "event", str_from(event));
}

void log_line_field(struct log_line *l, const struct log_field *f)
{
    if (f->type == LOG_FIELD_INT)
        put_int(l, f->key, f->i);
    else
        put_str(l, f->key, f->s);
}

size_t log_line_end(struct log_line *l, uint64_t suppressed, uint64_t dropped)
{
    char count[64];
    bool json = l->format == LOG_JSON;

    if (suppressed) {
        snprintf(count, sizeof(count), json ? ",\"suppressed\":%" PRIu64 : " suppressed=%" PRIu64, suppressed);
        put_tail(l, count);
    }
    if (dropped) {
        snprintf(count, sizeof(count), json ? ",\"dropped\":%" PRIu64 : " dropped=%" PRIu64, dropped);
        put_tail(l, count);
    }
    if (l->cut)
        put_tail(l, json ? ",\"cut\":true" : " cut=true");
    put_tail(l, json ? "}\n" : "\n");
    return l->len;
}
