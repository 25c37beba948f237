/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gate - how often each peer may ask: one bucket of tokens per address, filled at a steady rate.
 *
 * An IPv6 peer is its /64, since it has all addresses of that. The table has a fixed size, so
 * memory never grows with the number of peers: a newcomer may take the bucket of whoever of a few
 * was quiet the longest, who then begins with a full one again. Any thread; one gate belongs to one
 * thread. */
#pragma once

#include "base/macros.h"

#define DMN_GATE_PEERS 1024u

struct dmn_gate;

/* `rate_per_sec` and `burst` from 1. Returns 0, -EINVAL, -ENOMEM. */
int dmn_gate_new(unsigned rate_per_sec, unsigned burst, struct dmn_gate **ret_gate) _must_check_;
struct dmn_gate *dmn_gate_free(struct dmn_gate *g); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(dmn_gate_free, struct dmn_gate *);

/* Are these one peer: the same IPv4 address, however it is written, or of one /64? */
bool dmn_gate_same_peer(const char *a, const char *b);

/* May `address` (text of IPv4 or IPv6) ask now, at a `cost` of 1 or more? Then it is paid; and 0
 * is returned, else the seconds after which it may (at least 1). No errors. */
unsigned dmn_gate_pass(struct dmn_gate *g, const char *address, unsigned cost, uint64_t now_usec);
/* Lets somebody pay afterwards, for example for a token that is nobody's. Never below empty. */
void dmn_gate_charge(struct dmn_gate *g, const char *address, unsigned cost, uint64_t now_usec);
