/* SPDX-License-Identifier: GPL-3.0-or-later */
/* le - integers as they lie on disks and wires: little-endian, unaligned.
 * The types are byte arrays, so that packed structs need no attribute and cannot be read by
 * mistake. Any thread. */
#pragma once

#include <string.h>
#include <endian.h>

#include "base/macros.h"

typedef struct {
        uint8_t b[2];
} le16_t;
typedef struct {
        uint8_t b[4];
} le32_t;
typedef struct {
        uint8_t b[8];
} le64_t;

static inline uint16_t bth_load_le16(const void *p)
{
        uint16_t v;
        memcpy(&v, p, sizeof v);
        return le16toh(v);
}

static inline uint32_t bth_load_le32(const void *p)
{
        uint32_t v;
        memcpy(&v, p, sizeof v);
        return le32toh(v);
}

static inline uint64_t bth_load_le64(const void *p)
{
        uint64_t v;
        memcpy(&v, p, sizeof v);
        return le64toh(v);
}

static inline void bth_store_le16(void *p, uint16_t v)
{
        v = htole16(v);
        memcpy(p, &v, sizeof v);
}

static inline void bth_store_le32(void *p, uint32_t v)
{
        v = htole32(v);
        memcpy(p, &v, sizeof v);
}

static inline void bth_store_le64(void *p, uint64_t v)
{
        v = htole64(v);
        memcpy(p, &v, sizeof v);
}

static inline uint16_t le16_get(le16_t v)
{
        return bth_load_le16(v.b);
}

static inline uint32_t le32_get(le32_t v)
{
        return bth_load_le32(v.b);
}

static inline uint64_t le64_get(le64_t v)
{
        return bth_load_le64(v.b);
}

static inline le16_t le16_make(uint16_t v)
{
        le16_t r;
        bth_store_le16(r.b, v);
        return r;
}

static inline le32_t le32_make(uint32_t v)
{
        le32_t r;
        bth_store_le32(r.b, v);
        return r;
}

static inline le64_t le64_make(uint64_t v)
{
        le64_t r;
        bth_store_le64(r.b, v);
        return r;
}
