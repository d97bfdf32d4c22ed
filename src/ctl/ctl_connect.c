#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_notice(void *ctx, const PGresult *r)
{
    const char *hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);

    (void)ctx;
    fprintf(stderr, "warning: %s\n", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
}

/* "label: text" if there is a text. */
static void say(const char *label, const char *text)
{
    if (text && *text)
        fprintf(stderr, "%s: %s\n", label, text);
}

static const char *or_default(const char *option, const char *variable, const char *value)
{
    if (option)
        return option;
    return getenv(variable) ? NULL : value; /* NULL: libpq reads the variable */
}

bool ctl_connect(struct ctl *c)
{
    /* The database is not taken from PGDATABASE: that names an application's. */
    const char *const names[] = {"host", "port", "user", "dbname", "application_name", "connect_timeout", NULL};
    const char *const values[] = {
        or_default(c->options.host, "PGHOST", "127.0.0.1"),
        or_default(c->options.port, "PGPORT", "6432"),
        c->options.user,
        c->options.database ? c->options.database : "shardgate",
        "shardgatectl",
        getenv("PGCONNECT_TIMEOUT") ? NULL : "10",
        NULL,
    };

    c->conn = PQconnectdbParams(names, values, 0);
    if (PQstatus(c->conn) != CONNECTION_OK) {
        fprintf(stderr, "shardgatectl: %s", PQerrorMessage(c->conn));
        return false;
    }
    PQsetNoticeReceiver(c->conn, on_notice, NULL);
    return true;
}

PGresult *ctl_query(struct ctl *c, const char *statement, int *exit_code)
{
    PGresult *r = PQexec(c->conn, statement);
    ExecStatusType status = PQresultStatus(r);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
        return r;
    const char *message = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    if (message) {
        fprintf(stderr, "shardgatectl: %s: %s (%s)\n", statement, message, PQresultErrorField(r, PG_DIAG_SQLSTATE));
        say("detail", PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL));
        say("hint", PQresultErrorField(r, PG_DIAG_MESSAGE_HINT));
    } else {
        fprintf(stderr, "shardgatectl: %s", PQerrorMessage(c->conn));
    }
    *exit_code = PQstatus(c->conn) == CONNECTION_OK ? CTL_FAILED : CTL_UNREACHABLE;
    PQclear(r);
    return NULL;
}
