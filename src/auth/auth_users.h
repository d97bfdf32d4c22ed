/* What exchanges need of the users beyond the door. */
#ifndef SHARDGATE_AUTH_USERS_H
#define SHARDGATE_AUTH_USERS_H

#include "shardgate/auth.h"

/* A user to whom a login of this type is possible. */
bool auth_user_fits(const struct auth_user *user, enum conf_auth_type type);
/* The user whose kind of secret a mock exchange for `name` imitates; NULL: there
 * is no user to imitate. The same for a name as long as the users are the same. */
const struct auth_user *auth_users_model(const struct auth_users *u, enum conf_auth_type type, struct str name);
/* A salt for a name: what a plain secret and a mock show. False: no memory. */
bool auth_users_salt(const struct auth_users *u, struct str name, uint8_t *salt, size_t len) MUST_CHECK;

#endif
