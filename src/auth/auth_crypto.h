/* The primitives, so that one file only knows OpenSSL. False: OpenSSL refused (no memory, FIPS). */
#ifndef SHARDGATE_AUTH_CRYPTO_H
#define SHARDGATE_AUTH_CRYPTO_H

#include "shardgate/base.h"

#define AUTH_KEY_LEN 32u /* SHA-256 */
#define AUTH_MD5_HEX 32u

bool auth_hmac(const uint8_t *key, size_t key_len, struct str text, uint8_t out[AUTH_KEY_LEN]) MUST_CHECK;
bool auth_sha256(struct str text, uint8_t out[AUTH_KEY_LEN]) MUST_CHECK;
bool auth_pbkdf2(struct str password, struct str salt, uint32_t iterations, uint8_t out[AUTH_KEY_LEN]) MUST_CHECK;
/* MD5 of a followed by b, as 32 lower-case hexadecimal digits without a terminator. */
bool auth_md5_hex(struct str a, struct str b, char out[AUTH_MD5_HEX]) MUST_CHECK;
/* In constant time for a given len. */
bool auth_same(const void *a, const void *b, size_t len);
/* In a time that does not depend on where, or by how much, they differ. */
bool auth_same_text(struct str a, struct str b);

#endif
