/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spill - byte arrays that grow, in memory up to a limit and beyond it in an unlinked file.
 *
 *     area: page page page …     the pages used last have frames in memory, the others lie in
 *     area: page page …          the file at 16 KiB x their number, AES-256-XTS, tweak = number
 *
 * What customers' drives hold must not come to rest readable on the station's disk: the key is
 * random, lies in locked memory, is never written, and a cipher's schedule of it exists only while
 * a page is worked on. While areas are written a spill belongs to one thread; once sealed any
 * thread may read. Not a durable file: a page that was changed on disk is not noticed.
 * Source: IEEE 1619 (XTS). */
#pragma once

#include "base/macros.h"

#define MED_SPILL_PAGE_BYTES 16384u
#define MED_SPILL_MIN_BYTES  ((size_t)64 * MED_SPILL_PAGE_BYTES)

struct med_spill;

struct med_spill_area { /* zero at first */
        struct med_spill *spill;
        uint32_t *page; /* numbers, in the area's order */
        size_t n_pages, allocated;
        uint64_t size_bytes;
};

/* `max_bytes` of frames at most (at least MED_SPILL_MIN_BYTES). The file is made when it is needed,
 * in `folder` (NULL: $TMPDIR, else /var/tmp), unless `fd` is given, which is taken over, also on
 * failure (BTH_FD_NONE or 0: none). Returns 0; -ENOMEM; -errno of getrandom(2). */
int med_spill_new(size_t max_bytes, const char *folder, int fd, struct med_spill **ret_spill)
        _must_check_;
struct med_spill *med_spill_free(struct med_spill *s); /* areas are cleared first */
DEFINE_CLEANUP(med_spill_free, struct med_spill *);

/* Writes into the area, which grows as needed; what was never written in between is zeros. Returns
 * 0, -ENOMEM, -EFBIG, -errno of making and writing the file, -EIO. */
int med_spill_write(struct med_spill_area *a, uint64_t at, const void *from, size_t n) _must_check_;

/* Reads what lies inside the area (assert). Returns 0, -errno of reading the file, -EIO, -ENOMEM.
 */
int med_spill_read(const struct med_spill_area *a, uint64_t at, void *to, size_t n) _must_check_;

/* Gives the area's pages back. */
void med_spill_clear(struct med_spill_area *a);

/* Nothing is written from now on. */
void med_spill_seal(struct med_spill *s);

/* Bytes of memory in use, with the tables; and of the file. */
size_t med_spill_memory_bytes(const struct med_spill *s);
uint64_t med_spill_file_bytes(const struct med_spill *s);
