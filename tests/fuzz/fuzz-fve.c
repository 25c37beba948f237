/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fve - the metadata of a BitLocker volume, and what follows from it. The input is a compact
 * volume: its first 512 bytes, then a metadata block that is put at the first place the boot sector
 * names; everything else reads as a pattern. Checksums are made right, so that fuzzing gets behind
 * them. */
#include <string.h>

#include "base/le.h"
#include "crypto/fve.h"
#include "crypto/view.h"

#define VOLUME_BYTES (UINT64_C(1) << 26)

struct compact {
        struct bth_source base;
        uint8_t boot[512];
        uint8_t block[CRY_FVE_REGION_BYTES];
        uint64_t place;
};

static int compact_read(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t n)
{
        struct compact *c = container_of(s, struct compact, base);
        uint8_t *out = buffer;

        for (size_t i = 0; i < n; i++) {
                uint64_t at = offset_bytes + i;

                out[i] = at < sizeof c->boot ? c->boot[at]
                         : at >= c->place && at - c->place < sizeof c->block
                                 ? c->block[at - c->place]
                                 : (uint8_t)(at >> 9);
        }
        return 0;
}

static void compact_free(struct bth_source *s)
{
}

static void mend_checksum(struct compact *c)
{
        size_t covered = (size_t)bth_load_le16(c->block + 8) * 16;

        if (covered >= 112 && covered <= CRY_FVE_REGION_BYTES - FVE_VALIDATION_BYTES)
                bth_store_le32(c->block + covered + 4, fve_crc32(c->block, covered));
}

/* The map must cover the volume without holes, whatever the metadata says. */
static void check_map(struct bth_source *volume, const struct cry_metadata *m)
{
        struct cry_extent *extents;
        uint64_t at = 0;
        size_t n;

        if (cry_extents_new(volume, m, &extents, &n, NULL) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                if (extents[i].offset_bytes != at || extents[i].length_bytes == 0)
                        abort();
                at += extents[i].length_bytes;
        }
        if (at != m->volume_bytes)
                abort();
        free(extents);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        static const struct bth_source_ops ops = { .read = compact_read, .free = compact_free };
        static struct compact c;
        _cleanup_(cry_metadata_freep) struct cry_metadata *m = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        if (n < 512)
                return 0;
        c.base = (struct bth_source){ &ops, VOLUME_BYTES, 512, 1 };
        memset(c.block, 0, sizeof c.block);
        memcpy(c.boot, data, 512);
        memcpy(c.block, data + 512, MIN(n - 512, sizeof c.block));
        c.place = bth_load_le64(c.boot + FVE_BOOT_RECORD_OFFSET + 16);
        mend_checksum(&c);
        if (cry_metadata_read(&c.base, &m, &e) < 0) {
                if (e.reason == BTH_REASON_NONE)
                        abort(); /* every refusal says why */
                return 0;
        }
        check_map(&c.base, m);
        /* A suspended volume is unlocked without stretching, so the way to the key is fuzzed too.
         */
        struct cry_unlocked u = { 0 };

        if (cry_unlock(m, &(struct cry_credential){ CRY_CREDENTIAL_NONE, NULL }, &u, &e) == 0)
                cry_unlocked_clear(&u);
        return 0;
}
