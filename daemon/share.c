/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/share.h"

uint64_t dmn_memory_share(uint64_t total_bytes, uint64_t taken_bytes, size_t more)
{
        const uint64_t left = total_bytes > taken_bytes ? total_bytes - taken_bytes : 0;
        const uint64_t part = left / (more + 1);
        const uint64_t share = MIN(MAX(part, DMN_MEMORY_MIN_BYTES), DMN_MEMORY_MAX_BYTES);

        return share <= left ? share : 0;
}

/* Who wants no more than the equal part of what is left, and has no share yet; or n. */
static size_t find_modest(const uint64_t *wants, const uint64_t *shares, size_t n, uint64_t part)
{
        size_t i = 0;

        while (i < n && (shares[i] > 0 || wants[i] > part))
                i++;
        return i;
}

void dmn_bandwidth_shares(uint64_t total, const uint64_t *wants, size_t n, uint64_t *ret_shares)
{
        uint64_t left = total;
        size_t open = n;

        for (size_t i = 0; i < n; i++)
                ret_shares[i] = 0;
        while (total > 0 && open > 0) {
                const uint64_t part = left / open;
                const size_t i = find_modest(wants, ret_shares, n, part);

                if (i == n)
                        break;
                ret_shares[i] = MAX(wants[i], UINT64_C(1));
                left -= MIN(left, ret_shares[i]);
                open--;
        }
        for (size_t i = 0; total > 0 && i < n; i++)
                if (ret_shares[i] == 0)
                        ret_shares[i] = MAX(left / open, UINT64_C(1));
}
