#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <libpq-fe.h>

#include "shardgate/net.h"

/* libpq quotes the piece it stumbled over, and with an unquoted blank or a bad
 * escape that piece can be of the password: keep quotes only where none is in it. */
static void describe(char *out, size_t size, const char *text, const char *conninfo)
{
    bool secret = strcasestr(conninfo, "pass") || (strstr(conninfo, "://") && strchr(conninfo, '@'));
    bool quoted = false;
    size_t n = 0;
    for (const char *p = text; *p && n + 1 < size; p++) {
        bool quote = *p == '"';
        if (quote)
            quoted = !quoted;
        if (secret && quoted && !quote && *p != '=')
            continue;
        out[n++] = *p == '\n' ? ' ' : *p;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static char *dup_or_null(const char *s) { return s ? mem_strdup(s) : NULL; }

static void take(struct pqinfo *out, const PQconninfoOption *options)
{
    size_t count = 0;
    for (const PQconninfoOption *o = options; o->keyword; o++)
        count += o->val != NULL;
    out->keywords = mem_zalloc((count + 1) * sizeof(char *));
    out->values = mem_zalloc((count + 1) * sizeof(char *));
    size_t i = 0;
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val)
            continue;
        out->keywords[i] = mem_strdup(o->keyword);
        out->values[i++] = mem_strdup(o->val);
        if (strcmp(o->keyword, "host") == 0)
            out->host = dup_or_null(o->val);
        else if (strcmp(o->keyword, "port") == 0)
            out->port = dup_or_null(o->val);
        else if (strcmp(o->keyword, "dbname") == 0)
            out->dbname = dup_or_null(o->val);
        else if (strcmp(o->keyword, "user") == 0)
            out->user = dup_or_null(o->val);
        else if (strcmp(o->keyword, "password") == 0)
            out->password = dup_or_null(o->val);
    }
}

static void free_secret(char *s)
{
    if (s)
        mem_free_secret(s, strlen(s));
}

bool pqinfo_parse(struct pqinfo *out, const char *conninfo, struct error *e)
{
    memset(out, 0, sizeof(*out));
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    if (!options) {
        char text[256];
        describe(text, sizeof(text), message ? message : "out of memory", conninfo);
        PQfreemem(message);
        return error_set(e, ERR_CONFIG, "invalid connection string: %s", text);
    }
    bool service = false;
    for (const PQconninfoOption *o = options; o->keyword; o++)
        service = service || (o->val && strcmp(o->keyword, "service") == 0);
    if (!service)
        take(out, options);
    PQconninfoFree(options);
    if (service)
        return error_set(e, ERR_CONFIG,
                         "invalid connection string: service files are not read; give the options themselves");
    return true;
}

void pqinfo_fini(struct pqinfo *i)
{
    mem_free(i->host);
    mem_free(i->port);
    mem_free(i->dbname);
    mem_free(i->user);
    free_secret(i->password);
    for (size_t n = 0; i->keywords && i->keywords[n]; n++) {
        mem_free(i->keywords[n]);
        free_secret(i->values[n]);
    }
    mem_free(i->keywords);
    mem_free(i->values);
    memset(i, 0, sizeof(*i));
}
