/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_upcase - the table by which a freshly formatted NTFS volume compares names.
 * A volume carries its own table in $UpCase; this is the one that formatting writes, for deciding
 * before there is a volume whether two names would collide. Source: libntfs-3g,
 * ntfs_upcase_table_build(). */
#pragma once

#include "base/macros.h"

#define MED_UPCASE_UNITS 65536

/* The default table: upper case of each 16-bit unit. Built once; constant; any thread. Never fails.
 */
const uint16_t *med_upcase_default(void);

/* Upper-cases `units` little-endian 16-bit units in place. Any thread. */
void med_upcase_apply(const uint16_t *table, void *utf16, size_t units);
