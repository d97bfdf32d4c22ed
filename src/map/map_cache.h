/*
 * The cache file's form, shared by its writer and its reader. All numbers are
 * little-endian.
 *
 *   header    magic 8, version u32, zero u32, revision u64, length of the whole
 *             file u64, shards u32, zero u32, overrides u64
 *   shard     id u16, flags u8 (1 primary, 2 active, 4 has a range), region 3,
 *             min i64, max i64, datacenter length u8, connection string length u32,
 *             then both texts
 *   override  tenant i64, shard u16, flags u8 (1 learned)
 *   checksum  XXH3 128 (canonical form) of all before
 */
#ifndef SHARDGATE_MAP_CACHE_H
#define SHARDGATE_MAP_CACHE_H

#include <endian.h>
#include <string.h>

#include "map_private.h"

#define CACHE_MAGIC "SGMAP\r\n\032"
#define CACHE_VERSION 1
#define CACHE_HEADER 48
#define CACHE_SHARD 27
#define CACHE_OVERRIDE 11
#define CACHE_CHECKSUM 16

enum cache_shard_flag { CACHE_PRIMARY = 1, CACHE_ACTIVE = 2, CACHE_RANGE = 4 };
enum cache_override_flag { CACHE_LEARNED = 1 };

static inline void put16(uint8_t *to, uint16_t v)
{
    v = htole16(v);
    memcpy(to, &v, sizeof(v));
}
static inline void put32(uint8_t *to, uint32_t v)
{
    v = htole32(v);
    memcpy(to, &v, sizeof(v));
}
static inline void put64(uint8_t *to, uint64_t v)
{
    v = htole64(v);
    memcpy(to, &v, sizeof(v));
}
static inline uint16_t get16(const uint8_t *from)
{
    uint16_t v;

    memcpy(&v, from, sizeof(v));
    return le16toh(v);
}
static inline uint32_t get32(const uint8_t *from)
{
    uint32_t v;

    memcpy(&v, from, sizeof(v));
    return le32toh(v);
}
static inline uint64_t get64(const uint8_t *from)
{
    uint64_t v;

    memcpy(&v, from, sizeof(v));
    return le64toh(v);
}

#endif
