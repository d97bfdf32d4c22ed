/* Base64 with padding (RFC 4648, chapter 4), strict. */
#ifndef SHARDGATE_AUTH_BASE64_H
#define SHARDGATE_AUTH_BASE64_H

#include "shardgate/base.h"

#define AUTH_BASE64_LEN(n) (((n) + 2) / 3 * 4)

bool auth_base64_encode(struct buf *out, const void *data, size_t len);
/* False on any byte out of the alphabet, wrong padding, or more than `size` bytes. */
bool auth_base64_decode(struct str text, uint8_t *out, size_t size, size_t *len);

#endif
