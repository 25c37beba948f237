/* SPDX-License-Identifier: GPL-3.0-or-later */
/* siphash - SipHash-2-4-128. */
#include "base/le.h"
#include "base/siphash.h"

struct state {
        uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
        return v << bits | v >> (64 - bits);
}

static inline void rounds(struct state *s, unsigned n)
{
        while (n-- > 0) {
                s->v0 += s->v1;
                s->v1 = rotate(s->v1, 13) ^ s->v0;
                s->v0 = rotate(s->v0, 32);
                s->v2 += s->v3;
                s->v3 = rotate(s->v3, 16) ^ s->v2;
                s->v0 += s->v3;
                s->v3 = rotate(s->v3, 21) ^ s->v0;
                s->v2 += s->v1;
                s->v1 = rotate(s->v1, 17) ^ s->v2;
                s->v2 = rotate(s->v2, 32);
        }
}

static inline void add_word(struct state *s, uint64_t word)
{
        s->v3 ^= word;
        rounds(s, 2);
        s->v0 ^= word;
}

struct bth_siphash bth_siphash_of(const struct bth_siphash_key *key, const void *data, size_t n)
{
        struct state s = {
                .v0 = key->k[0] ^ UINT64_C(0x736f6d6570736575),
                .v1 = key->k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                .v2 = key->k[0] ^ UINT64_C(0x6c7967656e657261),
                .v3 = key->k[1] ^ UINT64_C(0x7465646279746573),
        };
        struct bth_siphash result;
        uint64_t last = (uint64_t)n << 56;
        const uint8_t *p = data;

        for (; n >= 8; p += 8, n -= 8)
                add_word(&s, bth_load_le64(p));
        for (size_t i = 0; i < n; i++)
                last |= (uint64_t)p[i] << (8 * i);
        add_word(&s, last);
        s.v2 ^= 0xee;
        rounds(&s, 4);
        result.h[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
        s.v1 ^= 0xdd;
        rounds(&s, 4);
        result.h[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
        return result;
}
