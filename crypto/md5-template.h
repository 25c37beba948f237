/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5-template - the 64 steps of MD5 on one width of vectors (RFC 1321 section 3.4). Included after
 * defining V, V_ADD, V_SET1, V_ROTATE(v, n) and the round functions F, G, H, I on vectors. `m`
 * holds word i of every lane's block in m[i].
 *
 * What bounds it is the chain from b, the youngest word, to the next step's b. So the sum that does
 * not need b is made first, which compilers undo unless they cannot see through it; and constants
 * are read from memory, where they cost no instruction of their own. */
static const uint32_t md5_constants[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613,
        0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193,
        0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d,
        0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
        0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
        0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
        0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244,
        0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
        0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
        0xeb86d391,
};

#define STEP(f, a, b, c, d, word, shift, i)                        \
        do {                                                       \
                a = V_ADD(a, V_ADD(m[word], V_SET1(k[i])));        \
                __asm__("" : "+v"(a)); /* not with what follows */ \
                a = V_ADD(a, f(b, c, d));                          \
                a = V_ADD(b, V_ROTATE(a, shift));                  \
        } while (0)

#define FOUR(f, w0, w1, w2, w3, s0, s1, s2, s3, i) \
        STEP(f, a, b, c, d, w0, s0, (i));          \
        STEP(f, d, a, b, c, w1, s1, (i) + 1);      \
        STEP(f, c, d, a, b, w2, s2, (i) + 2);      \
        STEP(f, b, c, d, a, w3, s3, (i) + 3)

static inline __attribute__((always_inline)) void md5_block(V h[4], const V m[16])
{
        const uint32_t *k = md5_constants;
        V a = h[0], b = h[1], c = h[2], d = h[3];

        __asm__("" : "+r"(k)); /* or they become immediate values again */
        FOUR(F, 0, 1, 2, 3, 7, 12, 17, 22, 0);
        FOUR(F, 4, 5, 6, 7, 7, 12, 17, 22, 4);
        FOUR(F, 8, 9, 10, 11, 7, 12, 17, 22, 8);
        FOUR(F, 12, 13, 14, 15, 7, 12, 17, 22, 12);
        FOUR(G, 1, 6, 11, 0, 5, 9, 14, 20, 16);
        FOUR(G, 5, 10, 15, 4, 5, 9, 14, 20, 20);
        FOUR(G, 9, 14, 3, 8, 5, 9, 14, 20, 24);
        FOUR(G, 13, 2, 7, 12, 5, 9, 14, 20, 28);
        FOUR(H, 5, 8, 11, 14, 4, 11, 16, 23, 32);
        FOUR(H, 1, 4, 7, 10, 4, 11, 16, 23, 36);
        FOUR(H, 13, 0, 3, 6, 4, 11, 16, 23, 40);
        FOUR(H, 9, 12, 15, 2, 4, 11, 16, 23, 44);
        FOUR(I, 0, 7, 14, 5, 6, 10, 15, 21, 48);
        FOUR(I, 12, 3, 10, 1, 6, 10, 15, 21, 52);
        FOUR(I, 8, 15, 6, 13, 6, 10, 15, 21, 56);
        FOUR(I, 4, 11, 2, 9, 6, 10, 15, 21, 60);

        h[0] = V_ADD(h[0], a);
        h[1] = V_ADD(h[1], b);
        h[2] = V_ADD(h[2], c);
        h[3] = V_ADD(h[3], d);
}
