#ifndef SHARDGATE_AUTH_SASLPREP_H
#define SHARDGATE_AUTH_SASLPREP_H

#include "shardgate/base.h"

/* Appends the password as SCRAM hashes it: by SASLprep (RFC 4013), or as it is
 * where that does not apply, as PostgreSQL and libpq do. No zero bytes in it. */
bool auth_saslprep(struct str password, struct buf *out);

#endif
