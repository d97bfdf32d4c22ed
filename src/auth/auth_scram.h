/*
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) from the server's side, without channel
 * binding: messages in, messages out, no state but struct scram.
 */
#ifndef SHARDGATE_AUTH_SCRAM_H
#define SHARDGATE_AUTH_SCRAM_H

#include "auth_secret.h"

#define SCRAM_MESSAGE_MAX 65536u
#define SCRAM_NONCE_MAX 1024u  /* of the client's */
#define SCRAM_SERVER_NONCE 18u /* bytes before base64 */

struct scram {
    struct scram_keys keys;
    bool y_flag;                /* the client could bind the channel and thinks we cannot */
    struct buf auth_message;    /* grows: client-first-bare , server-first , client-final-without-proof */
    size_t nonce_at, nonce_len; /* of both nonces, within auth_message */
    uint8_t proof[AUTH_KEY_LEN];
};

enum scram_result {
    SCRAM_GOOD,
    SCRAM_MALFORMED, /* *why says what is wrong with the message */
    SCRAM_NO_MEMORY,
};

void scram_init(struct scram *s);
void scram_fini(struct scram *s); /* wipes */
/* Reads client-first and makes server-first from keys.iterations and keys.salt.
 * nonce: SCRAM_SERVER_NONCE random bytes. *server_first points into s. */
enum scram_result scram_first(struct scram *s, struct str message, const uint8_t nonce[SCRAM_SERVER_NONCE],
                              struct str *server_first, const char **why);
/* Reads client-final; the keys are not needed yet. */
enum scram_result scram_final(struct scram *s, struct str message, const char **why);
/* Whether the proof fits the keys; `signature` is then the server's. */
bool scram_verify(const struct scram *s, uint8_t signature[AUTH_KEY_LEN]);

#endif
