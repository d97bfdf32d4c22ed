/*
 * sql: what the router must know of SQL text, as pure functions. PostgreSQL's
 * lexical rules (chapter "Lexical Structure"): nested comments, '' and E'' and
 * U&'' and B'' X'' strings, string continuation over newlines, dollar quotes,
 * quoted identifiers, operators that hide -- and slash-star.
 */
#ifndef SHARDGATE_SQL_H
#define SHARDGATE_SQL_H

#include "shardgate/base.h"

/* ---- tokens ------------------------------------------------------------- */

enum sql_token_kind {
    SQL_TOKEN_END,
    SQL_TOKEN_WORD,   /* bare identifier or keyword */
    SQL_TOKEN_QUOTED, /* "identifier", U&"…" */
    SQL_TOKEN_STRING, /* any string constant, continuation included */
    SQL_TOKEN_NUMBER,
    SQL_TOKEN_PARAM,    /* $1 */
    SQL_TOKEN_OPERATOR, /* run of operator characters, ends before a comment */
    SQL_TOKEN_PUNCT,    /* one of ( ) [ ] , ; : . and := :: .. =>, and bytes that are part of nothing else */
    SQL_TOKEN_COMMENT,  /* slash-star, nested */
    SQL_TOKEN_LINE_COMMENT,
    SQL_TOKEN_BAD, /* unterminated string, comment, quote: takes the rest */
};
struct sql_token {
    enum sql_token_kind kind;
    struct str text;
};
struct sql_lexer {
    const char *p, *end;
    bool standard_strings; /* standard_conforming_strings */
};
void sql_lexer_init(struct sql_lexer *lx, struct str text, bool standard_strings);
struct sql_token sql_lexer_next(struct sql_lexer *lx);

/* ---- inspection of one Query or Parse text ------------------------------ */

enum sql_verb {
    SQL_VERB_EMPTY,
    SQL_VERB_OTHER,
    SQL_VERB_BEGIN,            /* BEGIN or START TRANSACTION, with any options */
    SQL_VERB_COMMIT,           /* COMMIT, END; not COMMIT PREPARED, not AND CHAIN */
    SQL_VERB_ROLLBACK,         /* ROLLBACK, ABORT; not TO SAVEPOINT, not PREPARED, not AND CHAIN */
    SQL_VERB_ROLLBACK_TO,      /* ROLLBACK TO [SAVEPOINT] */
    SQL_VERB_SET_TENANT,       /* SET [SESSION] name = | TO value|DEFAULT */
    SQL_VERB_SET_LOCAL_TENANT, /* SET LOCAL name … */
    SQL_VERB_RESET_TENANT,     /* RESET name, or SET … TO DEFAULT */
    SQL_VERB_SHOW_TENANT,
    SQL_VERB_RESET_ALL,
    SQL_VERB_DISCARD_ALL,
};

/* State that a statement leaves on its server connection and that another
 * client must not see: in transaction mode the session keeps the server. */
enum sql_pin {
    SQL_PIN_SET = 1 << 0, /* SET [SESSION] of anything but the tenant and reported parameters; RESET of it;
                             SESSION CHARACTERISTICS too */
    SQL_PIN_LISTEN = 1 << 1,
    SQL_PIN_PREPARE = 1 << 2, /* SQL-level PREPARE, not PREPARE TRANSACTION */
    SQL_PIN_TEMP = 1 << 3,    /* CREATE [LOCAL|GLOBAL] TEMP… unless ON COMMIT DROP, SELECT … INTO TEMP, pg_temp. */
    SQL_PIN_CURSOR = 1 << 4,  /* DECLARE … WITH HOLD */
    SQL_PIN_LOAD = 1 << 5,
    SQL_PIN_ADVISORY = 1 << 6,   /* pg_[try_]advisory_lock[_shared] called anywhere (not the _xact_ ones) */
    SQL_PIN_SET_CONFIG = 1 << 7, /* set_config( called anywhere, unless its last argument is plainly true (local) */
};
const char *sql_pin_name(unsigned pins); /* of the lowest bit: "SET", "LISTEN", … */

enum sql_comment { SQL_COMMENT_NONE, SQL_COMMENT_TENANT, SQL_COMMENT_INVALID, SQL_COMMENT_SEVERAL };

struct sql_inspection {
    unsigned statements; /* statements that are not empty */
    enum sql_verb verb;  /* of the first statement that is not empty */
    char value[40];      /* of SET…TENANT: the decoded value; "" for LOCAL … TO DEFAULT; "?" for what is no value */
    struct str rest; /* text after the first statement's semicolon, comments included; empty if no statement follows */
    bool tenant_command_later; /* a tenant command that is not in the leading run of tenant commands */
    unsigned pins;             /* enum sql_pin of all statements */
    enum sql_comment comment;  /* of all comments that lead or trail the text */
    int64_t tenant;            /* of SQL_COMMENT_TENANT */
    /* Several statements, and one of them is BEGIN, START, COMMIT, END, ROLLBACK, ABORT,
     * SAVEPOINT, RELEASE or PREPARE TRANSACTION. */
    bool has_transaction_control;
};

struct sql_rules {
    struct str parameter; /* name of the tenant's setting: shardgate.tenant_id; compared without case, quoted or not */
    struct str comment_key; /* tenant_id; empty: comments are not a source */
    bool standard_strings;
};

/* Inspects a whole text. Statements end at semicolons outside of parentheses and of
 * a BEGIN ATOMIC body. A text that cannot need any of the above (one
 * statement, ordinary first word, no comment, no pin) is told by a quick scan
 * for a handful of bytes; only the others are tokenised.
 * Comments: a leading or trailing slash-star comment of the form key=42, key='42'
 * or a sqlcommenter list (k='v',key='42',…; URL-encoded), white space ignored. */
void sql_inspect(struct str text, const struct sql_rules *rules, struct sql_inspection *out);

#endif
