#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Columns whose values are words even where they look like a number or a flag. */
static const char *const text_columns[] = {
    "user",    "database", "address", "application", "state",      "tenant_source", "pinned", "name",  "value",
    "default", "unit",     "changes", "list",        "command",    "right",         "help",   "error", "version",
    "region",  "health",   "source",  "datacenter",  "last_error", "why",           "mode",   "phase", "reason",
};

static bool is_text_column(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(text_columns); i++) {
        if (strcmp(name, text_columns[i]) == 0)
            return true;
    }
    return false;
}

static bool is_number(const char *s)
{
    size_t digits = strspn(s + (*s == '-'), "0123456789.");

    return digits > 0 && s[digits + (*s == '-')] == '\0';
}

/* Control characters, also those of C1 in UTF-8, could steer the terminal. */
static char *harmless(const char *s)
{
    char *copy = mem_strdup(s);

    for (unsigned char *p = (unsigned char *)copy; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || (p > (unsigned char *)copy && p[-1] == 0xc2 && *p < 0xa0))
            *p = '?';
    }
    return copy;
}

static int width_of(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static char *cell(const PGresult *r, int row, int column)
{
    return PQgetisnull(r, row, column) ? mem_strdup("-") : harmless(PQgetvalue(r, row, column));
}

static void put_cell(const char *s, int width, bool right, bool last)
{
    int pad = width - width_of(s);

    if (right)
        printf("%*s%s", pad > 0 ? pad : 0, "", s);
    else if (last)
        printf("%s", s);
    else
        printf("%s%*s", s, pad > 0 ? pad : 0, "");
    printf("%s", last ? "\n" : "  ");
}

static int column_width(const PGresult *r, int column)
{
    int width = width_of(PQfname(r, column));

    for (int row = 0; row < PQntuples(r); row++) {
        char *s = cell(r, row, column);
        int w = width_of(s);
        mem_free(s);
        width = w > width ? w : width;
    }
    return width;
}

static json_t *json_text(const char *s)
{
    json_t *j = json_string(s);

    if (j)
        return j;
    char *copy = mem_strdup(s); /* not UTF-8 */
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    }
    j = json_string(copy);
    mem_free(copy);
    return j;
}

static json_t *json_value(const PGresult *r, int row, int column)
{
    const char *s = PQgetvalue(r, row, column);
    int64_t number;

    if (PQgetisnull(r, row, column))
        return json_null();
    if (is_text_column(PQfname(r, column)))
        return json_text(s);
    if (strcmp(s, "yes") == 0 || strcmp(s, "no") == 0)
        return json_boolean(*s == 'y');
    if (str_to_i64(str_from(s), &number))
        return json_integer(number);
    return is_number(s) ? json_real(strtod(s, NULL)) : json_text(s);
}

void ctl_print_table(const PGresult *r)
{
    int columns = PQnfields(r);
    int *width = mem_zalloc((size_t)(columns ? columns : 1) * sizeof(int));

    for (int c = 0; c < columns; c++) {
        width[c] = column_width(r, c);
        put_cell(PQfname(r, c), width[c], false, c + 1 == columns);
    }
    for (int row = 0; row < PQntuples(r); row++) {
        for (int c = 0; c < columns; c++) {
            char *s = cell(r, row, c);
            put_cell(s, width[c], !is_text_column(PQfname(r, c)) && is_number(s), c + 1 == columns);
            mem_free(s);
        }
    }
    mem_free(width);
}

void ctl_print_row(const PGresult *r, int row)
{
    int widest = 0;

    for (int c = 0; c < PQnfields(r); c++) {
        int w = width_of(PQfname(r, c));
        widest = w > widest ? w : widest;
    }
    for (int c = 0; c < PQnfields(r); c++) {
        char *s = cell(r, row, c);
        printf("%-*s  %s\n", widest, PQfname(r, c), s);
        mem_free(s);
    }
}

void ctl_print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(j);
}

json_t *ctl_json_row(const PGresult *r, int row)
{
    json_t *j = json_object();

    for (int c = 0; c < PQnfields(r); c++)
        json_object_set_new(j, PQfname(r, c), json_value(r, row, c));
    return j;
}

json_t *ctl_json_rows(const PGresult *r)
{
    json_t *j = json_array();

    for (int row = 0; row < PQntuples(r); row++)
        json_array_append_new(j, ctl_json_row(r, row));
    return j;
}

const char *ctl_value(const PGresult *r, int row, const char *column)
{
    int c = PQfnumber(r, column);

    return c >= 0 && row < PQntuples(r) ? PQgetvalue(r, row, c) : "";
}
