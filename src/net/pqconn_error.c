/*
 * libpq's texts as struct error.
 *
 * While connecting, libpq has no result to ask for a SQLSTATE; but with verbose
 * errors its text carries it: `FATAL:  28P01: password authentication failed…`.
 * The severity may be translated by the server, the shape may not.
 */
#include <string.h>

#include "pqconn_internal.h"

/* One line, without the LOCATION of verbose errors. */
static void one_line(char *out, size_t size, const char *text)
{
    size_t n = 0;
    while (*text && n + 3 < size) {
        size_t len = strcspn(text, "\n");
        if (strncmp(text, "LOCATION:", 9) != 0 && len > 0) {
            if (n > 0) {
                memcpy(out + n, "; ", 2);
                n += 2;
            }
            size_t room = size - 1 - n;
            size_t take = len < room ? len : room;
            memcpy(out + n, text, take);
            n += take;
        }
        text += len + (text[len] == '\n');
    }
    out[n] = '\0';
}

static bool is_sqlstate(const char *s)
{
    for (int i = 0; i < 5; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z')))
            return false;
    return s[5] == ':' && s[6] == ' ';
}

/* The first SQLSTATE in the text, or NULL: with several hosts, that of the first that answered. */
static const char *find_sqlstate(const char *text)
{
    for (const char *p = strstr(text, ":  "); p; p = strstr(p + 1, ":  "))
        if (is_sqlstate(p + 3))
            return p + 3;
    return NULL;
}

static void set_server_error(struct error *e, const char *sqlstate, const char *message, size_t message_len)
{
    if (strncmp(sqlstate, "57P03", 5) == 0)
        e->code = ERR_SHARD_STARTING;
    str_copy(e->sqlstate, sizeof(e->sqlstate), (struct str){sqlstate, 5});
    error_message(e, "%.*s", (int)message_len, message);
    if (strncmp(sqlstate, "08", 2) != 0 && strncmp(sqlstate, "57", 2) != 0 && strncmp(sqlstate, "53", 2) != 0)
        error_hint(e, "The shard's PostgreSQL refused the connection with this error.");
}

void pqconn_connect_error(struct error *e, const char *text)
{
    char line[sizeof(e->cause)];
    one_line(line, sizeof(line), text);
    error_set(e, ERR_SHARD_UNREACHABLE, "%s", line);
    const char *sqlstate = find_sqlstate(text);
    if (sqlstate)
        set_server_error(e, sqlstate, sqlstate + 7, strcspn(sqlstate + 7, "\n"));
}

void pqconn_result_error(struct error *e, const PGresult *r, const char *fallback)
{
    char line[sizeof(e->cause)];
    const char *text = r ? PQresultErrorMessage(r) : "";
    one_line(line, sizeof(line), *text ? text : fallback);
    error_set(e, ERR_SHARD_UNREACHABLE, "%s", line);
    const char *sqlstate = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *message = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (sqlstate && message && strlen(sqlstate) == 5)
        set_server_error(e, sqlstate, message, strlen(message));
}
