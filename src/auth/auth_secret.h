/* Stored secrets: which kind they are, and the SCRAM keys made of them. */
#ifndef SHARDGATE_AUTH_SECRET_H
#define SHARDGATE_AUTH_SECRET_H

#include "shardgate/auth.h"

#include "auth_crypto.h"

#define AUTH_SALT_MAX 255u
#define AUTH_SALT_LEN 16u             /* of those that we make, as PostgreSQL's */
#define AUTH_ITERATIONS_MAX 10000000u /* seconds of work: more is a slip */

struct scram_keys {
    uint32_t iterations;
    uint8_t salt[AUTH_SALT_MAX];
    size_t salt_len;
    uint8_t stored_key[AUTH_KEY_LEN];
    uint8_t server_key[AUTH_KEY_LEN];
};

/* SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey */
bool scram_keys_parse(struct str verifier, struct scram_keys *out);
/* Both keys from a password and the iterations and salt that are set. Slow: off the loop. */
bool scram_keys_derive(struct str password, struct scram_keys *keys) MUST_CHECK;
/* False for a text that begins as a verifier and is none. */
bool auth_secret_kind(struct str secret, enum auth_secret *out);

#endif
