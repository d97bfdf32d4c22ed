/* ${VAR}, ${VAR:-default} and $$ in values. */
#ifndef SHARDGATE_CONF_EXPAND_H
#define SHARDGATE_CONF_EXPAND_H

#include "shardgate/base.h"

/* Appends the expanded text. A $ before anything but { and $ stands for itself,
 * so that SCRAM verifiers need no escapes. On failure `why` says what is wrong. */
bool conf_expand(struct str text, struct buf *out, char *why, size_t why_size);

#endif
