/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-craft - FILE records and small volumes made by hand, right or wrong as a test wants them.
 * Source: NTFS 3.1 as libntfs-3g's layout.h describes it. */
#pragma once

#include "base/source.h"

#define CRAFT_RECORD_BYTES  1024u
#define CRAFT_CLUSTER_BYTES 4096u
#define CRAFT_MFT_CLUSTER   4u
#define CRAFT_IN_USE        1u
#define CRAFT_DIRECTORY     2u

struct craft_record {
        uint8_t *bytes; /* CRAFT_RECORD_BYTES */
        uint32_t at;    /* where the next attribute goes */
};

/* One run of a run list; lcn UINT64_MAX is a hole. */
struct craft_run {
        uint64_t lcn, clusters;
};

struct craft_stream {
        const char *name; /* ASCII; NULL: none */
        uint16_t flags;
        uint8_t unit;
        uint64_t first_vcn, size_bytes, initialized_bytes;
        const struct craft_run *run;
        size_t n_runs;
};

void craft_begin(struct craft_record *r, uint8_t *bytes, uint16_t sequence, uint16_t flags,
                 uint64_t base);
/* A resident attribute. What does not fit the record is a bug of the test (assert). */
void craft_resident(struct craft_record *r, uint32_t type, const void *value, size_t n);
void craft_standard(struct craft_record *r, uint32_t dos_flags);
void craft_name(struct craft_record *r, uint64_t parent, const uint16_t *name, size_t units);
void craft_name_ascii(struct craft_record *r, uint64_t parent, const char *name);
void craft_stream(struct craft_record *r, uint32_t type, const struct craft_stream *s);
/* The end mark and the fix-ups. */
void craft_end(struct craft_record *r);

/* Fills the first 512 bytes of a volume whose $MFT begins at CRAFT_MFT_CLUSTER. */
void craft_boot(uint8_t *boot, uint64_t n_clusters);

/* Fills record `number` where it is one that every volume has ($MFT of `n_records` in one piece,
 * $MFTMirr, $Volume, the root, $UpCase at the cluster `upcase_cluster`). False when it is not. */
bool craft_system(uint8_t *bytes, uint64_t number, uint64_t n_records, uint64_t upcase_cluster);

static inline uint64_t craft_reference(uint64_t number, uint16_t sequence)
{
        return number | (uint64_t)sequence << 48;
}
