/* SPDX-License-Identifier: GPL-3.0-or-later */
/* secret - keys, passwords, SAS tokens and account keys in memory of their own.
 * The memory is mlocked where the limits allow, excluded from core dumps and from children, and
 * wiped when freed. A secret is never printed: there is no function that formats one. Not thread
 * safe; share it read-only. Source: mmap(2), madvise(2) MADV_DONTDUMP and MADV_WIPEONFORK. */
#pragma once

#include "base/macros.h"

struct bth_secret {
        uint8_t *data; /* NUL behind the last byte, so text secrets are C strings */
        size_t length_bytes;
        size_t mapped_bytes;
        bool locked; /* false where RLIMIT_MEMLOCK was too small: still wiped and not dumped */
};

/* Room for `length_bytes` zero bytes (1 byte to 16 MiB). Returns 0, -EINVAL, -ENOMEM. */
int bth_secret_new(size_t length_bytes, struct bth_secret **ret_secret) _must_check_;

/* A copy of `data`; the caller wipes the original. Returns 0, -EINVAL, -ENOMEM. */
int bth_secret_new_copy(const void *data, size_t length_bytes, struct bth_secret **ret_secret)
        _must_check_;

/* Reads a whole file or pipe from where `fd` stands, at most `max_bytes`, into locked memory
 * without a stray copy; one trailing line end is dropped when `trim` is set. Returns 0, -EFBIG when
 * there is more than `max_bytes`, -ENODATA when nothing is left, -errno of read(2). */
int bth_secret_new_from_fd(int fd, size_t max_bytes, bool trim, struct bth_secret **ret_secret)
        _must_check_;

/* The same from a file by name. Refuses a file that others may read or write (mode & 077): -EPERM.
 * Returns 0, -errno of open(2), and as bth_secret_new_from_fd(). */
int bth_secret_new_from_file(const char *path, size_t max_bytes, bool trim,
                             struct bth_secret **ret_secret) _must_check_;

/* Shortens the secret to `length_bytes` and wipes the rest. More than it has is a bug (assert). */
void bth_secret_truncate(struct bth_secret *s, size_t length_bytes);

/* Wipes, unlocks, unmaps. NULL is fine; returns NULL. */
struct bth_secret *bth_secret_free(struct bth_secret *s);
DEFINE_CLEANUP(bth_secret_free, struct bth_secret *);

/* Compares in constant time for equal lengths. */
bool bth_secret_equal(const struct bth_secret *a, const struct bth_secret *b);

/* Overwrites memory in a way the compiler keeps. */
void bth_wipe(void *p, size_t n);

/* Makes this process leave no core and stay closed to ptrace(2) by others of the same user.
 * Returns 0, -errno of prctl(2) or setrlimit(2). */
int bth_process_forbid_dumps(void) _must_check_;
