/* PgBouncer's userlist.txt. */
#ifndef SHARDGATE_AUTH_FILE_H
#define SHARDGATE_AUTH_FILE_H

#include "shardgate/base.h"

#define AUTH_FILE_MAX (64u << 20)
#define AUTH_NAME_MAX 127u

/* One line; false, with a cause in e, stops. The slices live until it returns. */
typedef bool (*auth_file_cb)(void *arg, struct str name, struct str secret, struct error *e);

/* text is decoded in place. e->cause begins with "name:line: ". */
bool auth_file_parse(const char *name, char *text, size_t len, auth_file_cb cb, void *arg, struct error *e) MUST_CHECK;
bool auth_file_read(const char *path, auth_file_cb cb, void *arg, struct error *e) MUST_CHECK;

#endif
