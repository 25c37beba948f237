/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_upcase - the default table, made by the library once. */
#include <pthread.h>

#include "base/le.h"
#include "media/libntfs.h"
#include "media/ntfs_upcase.h"

static uint16_t table[MED_UPCASE_UNITS];

static void build(void)
{
        ntfschar raw[MED_UPCASE_UNITS];

        ntfs_upcase_table_build(raw, sizeof raw);
        for (size_t i = 0; i < MED_UPCASE_UNITS; i++)
                table[i] = le16toh(raw[i]);
}

const uint16_t *med_upcase_default(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, build);
        return table;
}

void med_upcase_apply(const uint16_t *upcase, void *utf16, size_t units)
{
        uint8_t *p = utf16;

        for (size_t i = 0; i < units; i++, p += 2)
                bth_store_le16(p, upcase[bth_load_le16(p)]);
}
