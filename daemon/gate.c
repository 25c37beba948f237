/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/gate.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/time.h"

#define BUCKETS_PER_SET 8u /* that one address may be in */
#define SETS            (DMN_GATE_PEERS / BUCKETS_PER_SET)
#define PREFIX_BYTES    8u /* of an IPv6 address: its /64 */
#define KEY_BYTES       9u /* family, address */

struct bucket {
        uint8_t key[KEY_BYTES]; /* zero: free */
        uint64_t usec;          /* when `micro` was right */
        uint64_t micro;         /* millionths of a token */
};

struct dmn_gate {
        uint64_t rate, burst; /* rate: millionths in a microsecond are tokens in a second */
        struct bucket buckets[SETS][BUCKETS_PER_SET];
};

int dmn_gate_new(unsigned rate_per_sec, unsigned burst, struct dmn_gate **ret_gate)
{
        struct dmn_gate *g;

        if (rate_per_sec == 0 || burst == 0)
                return -EINVAL;
        g = calloc(1, sizeof *g);
        if (!g)
                return -ENOMEM;
        g->rate = rate_per_sec;
        g->burst = burst;
        *ret_gate = g;
        return 0;
}

struct dmn_gate *dmn_gate_free(struct dmn_gate *g)
{
        free(g);
        return NULL;
}

/* IPv4 addresses that came through an IPv6 socket count as what they are. */
static void key_of(const char *address, uint8_t key[KEY_BYTES])
{
        struct in6_addr six;
        struct in_addr four;

        memset(key, 0, KEY_BYTES);
        key[0] = 1;
        if (inet_pton(AF_INET, address, &four) == 1) {
                key[0] = 4;
                memcpy(key + 1, &four, sizeof four);
        } else if (inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six)) {
                key[0] = 4;
                memcpy(key + 1, six.s6_addr + 12, sizeof four);
        } else if (inet_pton(AF_INET6, address, &six) == 1) {
                key[0] = 6;
                memcpy(key + 1, six.s6_addr, PREFIX_BYTES);
        }
}

bool dmn_gate_same_peer(const char *a, const char *b)
{
        uint8_t of_a[KEY_BYTES], of_b[KEY_BYTES];

        key_of(a, of_a);
        key_of(b, of_b);
        return memcmp(of_a, of_b, KEY_BYTES) == 0;
}

static size_t set_of(const uint8_t key[KEY_BYTES])
{
        uint32_t h = 2166136261u; /* FNV-1a; who fills a set only shares it with himself */

        for (size_t i = 0; i < KEY_BYTES; i++)
                h = (h ^ key[i]) * 16777619u;
        return (h ^ (h >> 16)) % SETS;
}

static void fill(const struct dmn_gate *g, struct bucket *b, uint64_t now_usec)
{
        const uint64_t full = g->burst * BTH_USEC_PER_SEC;
        const uint64_t gone = now_usec > b->usec ? now_usec - b->usec : 0;

        b->micro = gone > full / g->rate ? full : MIN(b->micro + gone * g->rate, full);
        b->usec = now_usec;
}

static struct bucket *find(struct dmn_gate *g, const char *address, uint64_t now_usec)
{
        uint8_t key[KEY_BYTES];
        struct bucket *set, *oldest;

        key_of(address, key);
        set = oldest = g->buckets[set_of(key)];
        for (size_t i = 0; i < BUCKETS_PER_SET; i++) {
                if (memcmp(set[i].key, key, KEY_BYTES) == 0) {
                        fill(g, &set[i], now_usec);
                        return &set[i];
                }
                if (set[i].usec < oldest->usec)
                        oldest = &set[i];
        }
        memcpy(oldest->key, key, KEY_BYTES);
        oldest->usec = now_usec;
        oldest->micro = g->burst * BTH_USEC_PER_SEC;
        return oldest;
}

unsigned dmn_gate_pass(struct dmn_gate *g, const char *address, unsigned cost, uint64_t now_usec)
{
        struct bucket *b = find(g, address, now_usec);
        const uint64_t price = MIN((uint64_t)cost, g->burst) * BTH_USEC_PER_SEC;

        if (b->micro >= price) {
                b->micro -= price;
                return 0;
        }
        return 1 + (unsigned)((price - b->micro) / (g->rate * BTH_USEC_PER_SEC));
}

void dmn_gate_charge(struct dmn_gate *g, const char *address, unsigned cost, uint64_t now_usec)
{
        struct bucket *b = find(g, address, now_usec);

        b->micro -= MIN(b->micro, cost * BTH_USEC_PER_SEC);
}
