/* Stored secrets, derivation and base64, against vectors made elsewhere. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "auth_base64.h"
#include "auth_crypto.h"
#include "auth_saslprep.h"
#include "auth_scram.h"
#include "auth_secret.h"

/* CREATE ROLE … PASSWORD on PostgreSQL 15, from pg_authid.rolpassword. */
static const struct {
    const char *password, *verifier;
} made_by_postgresql[] = {
    {"pencil", "SCRAM-SHA-256$4096:/2+kUy/zusYbmpW+xMrgFQ==$LYaIm9GFVDrxQuubLMRnqBbQx3QDTGP9so/"
               "gHI1zOTI=:0mPFuQbQZyMrXdjErEkKBWr3guAowhg/oO6lkB0ls0c="},
    /* SASLprep: a soft hyphen vanishes, Roman nine becomes IX, a no-break space a space. */
    {"I\u00ADX", "SCRAM-SHA-256$4096:X7u6DmXeZLZiSnppHKR3xA==$YbO6e93emLEHrOd+3FwbQ9fOzuK9M1ESv0oJzKsx3AU=:7Y/"
                 "GwSID5vhkNQKX5K0dPPzeKTaZZAAmVHp3HRl9SHk="},
    {"\u2168", "SCRAM-SHA-256$4096:M4xIWyW+TiSZiQP0qv2IFg==$gQsQLT2QnpY29uw/"
               "c7XNjXkOZ6i2SVQzIX91PghdSK8=:gdOrhCp5OuKMOOJkoC3kSjCxTvcmQoX0UA+MZid14gM="},
    {"a\u00A0b", "SCRAM-SHA-256$4096:Isi+TgMH1TvOmKsRb02YMw==$Xr7sMHCxXzNsDolLmRgnNc5ZeD8JVigfiPR2kOARbeU=:"
                 "xSuMnI+owLcpp6RL2u0R/nxK4huUmWq9bH5KI9ZfQlI="},
    /* Unassigned in Unicode 3.2, and digits after Arabic: prohibited, so as it is. */
    {"gr\u00FC\u00DFe \U0001F600",
     "SCRAM-SHA-256$4096:U8SrfhZm0IITPUFFXj8m3A==$2S5yWzMZFSXVc1AlsfEzyLjE0Lub6UIgakFvIJCVqfU=:"
     "Brm+VMdlT66rK6aU/6roB7f7PDvl79mHZ1EkMyquv9k="},
    {"\u06271", "SCRAM-SHA-256$4096:aI8mHkzB4eGagqJvRsOsYQ==$NAF5JdXEtpZfw+uBWJzZ7+kf0jfi8frOmr/"
                "ijWbACTc=:k7sIr56f6SywM8qU1ubP5GQR4kEw/KJl6nY0u8rt5aQ="},
};

static void test_postgresql_verifiers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(made_by_postgresql); i++) {
        struct scram_keys stored, derived;
        enum auth_secret kind;
        assert_true(scram_keys_parse(str_from(made_by_postgresql[i].verifier), &stored));
        assert_true(auth_secret_kind(str_from(made_by_postgresql[i].verifier), &kind));
        assert_int_equal(kind, AUTH_SECRET_SCRAM);
        derived = stored;
        memset(derived.stored_key, 0, sizeof(derived.stored_key));
        memset(derived.server_key, 0, sizeof(derived.server_key));
        assert_true(scram_keys_derive(str_from(made_by_postgresql[i].password), &derived));
        assert_memory_equal(derived.stored_key, stored.stored_key, AUTH_KEY_LEN);
        assert_memory_equal(derived.server_key, stored.server_key, AUTH_KEY_LEN);
    }
}

static void test_rfc_7677(void **state)
{
    (void)state;
    struct scram s;
    uint8_t signature[AUTH_KEY_LEN], want[AUTH_KEY_LEN];
    size_t len;
    scram_init(&s);
    s.keys.iterations = 4096;
    assert_true(
        auth_base64_decode(STR("W22ZaJ0SNY7soEsUEjb6gQ=="), s.keys.salt, sizeof(s.keys.salt), &s.keys.salt_len));
    assert_true(scram_keys_derive(STR("pencil"), &s.keys));
    buf_append_str(&s.auth_message,
                   STR("n=user,r=rOprNGfwEbeRWgbNEkqO,"
                       "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
                       "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
    assert_true(
        auth_base64_decode(STR("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), s.proof, sizeof(s.proof), &len));
    assert_true(scram_verify(&s, signature));
    assert_true(auth_base64_decode(STR("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), want, sizeof(want), &len));
    assert_memory_equal(signature, want, sizeof(want));
    s.proof[31] ^= 1;
    assert_false(scram_verify(&s, signature));
    scram_fini(&s);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *secret;
        bool good;
        enum auth_secret kind;
    } rows[] = {
        {"", true, AUTH_SECRET_NONE},
        {"secret", true, AUTH_SECRET_PLAIN},
        {"md5fad8bbc431764f407609e07fdb7e19b", true, AUTH_SECRET_PLAIN},
        {"md56fad8bbc431764f407609e07fdb7e19b", true, AUTH_SECRET_MD5},
        {"md56FAD8bbc431764f407609e07fdb7e19b", true, AUTH_SECRET_PLAIN},
        {"md56gad8bbc431764f407609e07fdb7e19b", true, AUTH_SECRET_PLAIN},
        {"SCRAM-SHA-256$", false, AUTH_SECRET_SCRAM},
        {"SCRAM-SHA-256$4096:", false, AUTH_SECRET_SCRAM},
        {"SCRAM-SHA-256$0:AAAA$AAAA:AAAA", false, AUTH_SECRET_SCRAM},
        {"SCRAM-SHA-1$4096:AAAA", true, AUTH_SECRET_PLAIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum auth_secret kind;
        size_t len = strlen(rows[i].secret);
        char *copy = guard_copy(rows[i].secret, len);
        assert_int_equal(auth_secret_kind((struct str){copy, len}, &kind), rows[i].good);
        assert_int_equal(kind, rows[i].kind);
        guard_free(copy, len);
    }
}

static void test_broken_verifiers(void **state)
{
    (void)state;
    struct scram_keys k;
    const char *good = made_by_postgresql[0].verifier;
    size_t len = strlen(good);
    for (size_t n = 0; n < len; n++) {
        char *copy = guard_copy(good, n);
        assert_false(scram_keys_parse((struct str){copy, n}, &k));
        guard_free(copy, n);
    }
    static const char tail[] =
        "$LYaIm9GFVDrxQuubLMRnqBbQx3QDTGP9so/gHI1zOTI=:0mPFuQbQZyMrXdjErEkKBWr3guAowhg/oO6lkB0ls0c=";
    static const char *const heads[] = {"SCRAM-SHA-256$-1:AAAA",  "SCRAM-SHA-256$10000001:AAAA",
                                        "SCRAM-SHA-256$4096:",    "SCRAM-SHA-256$ 4096:AAAA",
                                        "SCRAM-SHA-256$4096:AAA", "SCRAM-SHA-256$x:AAAA"};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct buf b;
        buf_init(&b, 0);
        buf_printf(&b, "%s%s", heads[i], tail);
        assert_false(scram_keys_parse(buf_str(&b), &k));
        buf_fini(&b);
    }
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes;
    } rows[] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"Zm9vYmFy", "foobar"}};
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-_"};
    uint8_t out[16];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 0);
        assert_true(auth_base64_encode(&b, rows[i].bytes, strlen(rows[i].bytes)));
        assert_true(str_eq(buf_str(&b), str_from(rows[i].text)));
        assert_true(auth_base64_decode(buf_str(&b), out, sizeof(out), &len));
        assert_int_equal(len, strlen(rows[i].bytes));
        assert_memory_equal(out, rows[i].bytes, len);
        if (len)
            assert_false(auth_base64_decode(buf_str(&b), out, len - 1, &len));
        buf_fini(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(auth_base64_decode(str_from(bad[i]), out, sizeof(out), &len));
}

static void test_saslprep(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"pencil", "pencil"},
        {"a\x01", "a\x01"},
        {"\u00AA", "a"},
        {"\u00AD", "\u00AD"},
        /* nothing would be left */ {"\xff\xfe", "\xff\xfe"},
        {"\a\u00fc", "\a\u00fc"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 0);
        size_t len = strlen(rows[i].in);
        char *copy = guard_copy(rows[i].in, len);
        assert_true(auth_saslprep((struct str){copy, len}, &b));
        guard_free(copy, len);
        assert_true(str_eq(buf_str(&b), str_from(rows[i].out)));
        buf_fini(&b);
    }
}

static void test_md5(void **state)
{
    (void)state;
    char hex[AUTH_MD5_HEX];
    assert_true(auth_md5_hex(STR("pencil"), STR("g"), hex)); /* PostgreSQL's own, for user g */
    assert_memory_equal(hex, "6fad8bbc431764f407609e07fdb7e19b", 32);
    assert_true(auth_md5_hex(STR(""), STR(""), hex));
    assert_memory_equal(hex, "d41d8cd98f00b204e9800998ecf8427e", 32);
    assert_true(auth_same_text(STR("abc"), STR("abc")));
    assert_false(auth_same_text(STR("abc"), STR("ab")));
    assert_false(auth_same_text(STR(""), STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgresql_verifiers),
        cmocka_unit_test(test_rfc_7677),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_broken_verifiers),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_saslprep),
        cmocka_unit_test(test_md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
