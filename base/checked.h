/* SPDX-License-Identifier: GPL-3.0-or-later */
/* checked - arithmetic on numbers that somebody else chose.
 * Each helper returns true and stores the exact result, or returns false and stores nothing useful;
 * so `if (!bth_add_u64(a, b, &sum)) return -EOVERFLOW;`. Any thread. */
#pragma once

#include "base/macros.h"

static inline bool _must_check_ bth_add_u64(uint64_t a, uint64_t b, uint64_t *ret_sum)
{
        return !__builtin_add_overflow(a, b, ret_sum);
}

static inline bool _must_check_ bth_sub_u64(uint64_t a, uint64_t b, uint64_t *ret_difference)
{
        return !__builtin_sub_overflow(a, b, ret_difference);
}

static inline bool _must_check_ bth_mul_u64(uint64_t a, uint64_t b, uint64_t *ret_product)
{
        return !__builtin_mul_overflow(a, b, ret_product);
}

static inline bool _must_check_ bth_add_size(size_t a, size_t b, size_t *ret_sum)
{
        return !__builtin_add_overflow(a, b, ret_sum);
}

static inline bool _must_check_ bth_mul_size(size_t a, size_t b, size_t *ret_product)
{
        return !__builtin_mul_overflow(a, b, ret_product);
}

static inline _const_ bool bth_is_power_of_two(uint64_t v)
{
        return v != 0 && (v & (v - 1)) == 0;
}

/* `unit` must be a power of two. */
static inline _const_ uint64_t bth_align_down(uint64_t v, uint64_t unit)
{
        return v & ~(unit - 1);
}

/* `unit` must be a power of two; false when the result does not fit. */
static inline bool _must_check_ bth_align_up(uint64_t v, uint64_t unit, uint64_t *ret_aligned)
{
        uint64_t sum;

        if (!bth_add_u64(v, unit - 1, &sum))
                return false;
        *ret_aligned = bth_align_down(sum, unit);
        return true;
}

/* Is [offset, offset + length) inside [0, limit)? Exact for every value. */
static inline _const_ bool bth_range_inside(uint64_t offset, uint64_t length, uint64_t limit)
{
        return offset <= limit && length <= limit - offset;
}
