/* SPDX-License-Identifier: GPL-3.0-or-later */
/* io - whole reads and writes, small files, files that appear at once or not at all.
 * All block. Any thread. */
#pragma once

#include "base/macros.h"

/* Reads or writes exactly n bytes, over EINTR and short counts. Reading returns -ENODATA at an
 * early end. Returns 0, -errno, -ENODATA. */
int bth_pread_full(int fd, void *buffer, size_t n, uint64_t offset_bytes) _must_check_;
int bth_pwrite_full(int fd, const void *buffer, size_t n, uint64_t offset_bytes) _must_check_;
int bth_read_full(int fd, void *buffer, size_t n) _must_check_;
int bth_write_full(int fd, const void *buffer, size_t n) _must_check_;

/* The whole file, NUL behind its last byte; free() the result. Returns 0, -EFBIG beyond
 * `max_bytes`, -EISDIR, -errno of open(2) and read(2), -ENOMEM. */
int bth_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_n) _must_check_;
int bth_read_fd(int fd, size_t max_bytes, char **ret_data, size_t *ret_n) _must_check_;

/* Writes a file so that after any crash there is the old or the new one: temporary file beside it
 * with `mode`, fsync, rename, fsync of the folder. Returns 0 or -errno. */
int bth_write_file_atomic(const char *path, const void *data, size_t n, mode_t mode) _must_check_;

/* Makes the folder of `path` durable: that a file in it was made, renamed or removed. Returns 0 or
 * -errno. */
int bth_sync_folder_of(const char *path) _must_check_;

/* An anonymous file in `folder` (NULL: $TMPDIR, else /var/tmp) that is gone when closed (O_TMPFILE,
 * or created and unlinked), mode 0600, close-on-exec. Returns 0 or -errno. */
int bth_open_unlinked(const char *folder, int *ret_fd) _must_check_;
