#include "conf_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64u

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein's distance in two rows; both words at most WORD_MAX long. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned rows[2][WORD_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        const unsigned *above = rows[(i - 1) & 1];
        unsigned *row = rows[i & 1];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++)
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]));
    }
    return rows[a.len & 1][b.len];
}

void nearest_init(struct nearest *n, struct str word)
{
    unsigned limit = 1 + (unsigned)word.len / 4;
    *n = (struct nearest){.word = word, .distance = (limit > 3 ? 3 : limit) + 1};
}

void nearest_offer(struct nearest *n, struct str candidate)
{
    if (n->word.len == 0 || n->word.len > WORD_MAX || candidate.len == 0 || candidate.len > WORD_MAX)
        return;
    unsigned d = edit_distance(n->word, candidate);
    if (d < n->distance && d < candidate.len) {
        n->distance = d;
        n->best = candidate;
    }
}

struct quoted_hint nearest_hint(const struct nearest *n)
{
    struct quoted_hint h = {""};
    if (n->best.len)
        snprintf(h.text, sizeof(h.text), "; did you mean %.*s?", (int)n->best.len, n->best.ptr);
    return h;
}

struct quoted report_quote(struct str s)
{
    struct quoted q;
    size_t to = 0;
    q.text[to++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (to >= 41 && (c & 0xC0) != 0x80) { /* never in the middle of a character */
            memcpy(q.text + to, "...", 3);
            to += 3;
            break;
        }
        q.text[to++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
        if (to >= sizeof(q.text) - 5)
            break;
    }
    q.text[to++] = '"';
    q.text[to] = 0;
    return q;
}

struct quoted report_found(const struct conf_node *n)
{
    if (n->kind == NODE_SCALAR && !conf_node_is_null(n))
        return report_quote(n->text);
    struct quoted q;
    snprintf(q.text, sizeof(q.text), "%s",
             n->kind == NODE_LIST  ? "a list"
             : n->kind == NODE_MAP ? "a section"
                                   : "nothing");
    return q;
}

bool report_at(struct report *r, struct mark at, const char *path, const char *fmt, ...)
{
    char text[640], place[400] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (at.line)
        snprintf(place, sizeof(place), ":%u:%u", at.line, at.column);
    if (r->count++ == 0) {
        error_set(r->e, ERR_CONFIG, "%s%s: %s%s%s", r->name, place, path, *path ? ": " : "", text);
        error_detail(r->e, "%s%s: %s%s%s", r->name, place, path, *path ? ": " : "", text);
    } else {
        error_hint(r->e, "The file has %zu more error%s.", r->count - 1, r->count == 2 ? "" : "s");
    }
    if (r->all && r->count <= REPORT_MAX)
        buf_printf(r->all, "%s%s: %s%s%s\n", r->name, place, path, *path ? ": " : "", text);
    return false;
}
