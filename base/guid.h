/* SPDX-License-Identifier: GPL-3.0-or-later */
/* guid - Microsoft GUIDs: 16 bytes, first three groups little-endian on disk. Any thread. */
#pragma once

#include "base/macros.h"

struct bth_guid {
        uint8_t b[16]; /* as on disk */
};

#define BTH_GUID_TEXT_MAX 37

/* "4967d63b-2e29-4ad8-8399-f6a339e3d001", lower case, NUL. Returns `out`. */
char *bth_guid_to_string(const struct bth_guid *g, char out[BTH_GUID_TEXT_MAX]);
/* With or without braces, either case. Returns 0 or -EINVAL. */
int bth_guid_from_string(const char *text, struct bth_guid *ret_guid) _must_check_;
/* Random, version 4. Returns 0 or -errno of getrandom(2). */
int bth_guid_random(struct bth_guid *ret_guid) _must_check_;
/* Fills with bytes of the kernel's random source. Returns 0 or -errno. */
int bth_random_bytes(void *p, size_t n) _must_check_;
static inline bool bth_guid_equal(const struct bth_guid *a, const struct bth_guid *b)
{
        return __builtin_memcmp(a->b, b->b, sizeof a->b) == 0;
}
