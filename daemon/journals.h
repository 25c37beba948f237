/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journals - what customers' journals say about their drives, without looking into one: a worker
 * that lives for this alone parses them (uploader/worker-journals.c), and its words are checked.
 *
 *     texts ─> sealed memory ─> berth-worker ─> drives, notes ─> done, once
 *
 * A worker that crashes, lies or takes too long is an error that names the journal. On the loop's
 * thread; nothing blocks but making the process. Source: design, section 6; import-export
 * specification 1, 7.6. */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/order.h"
#include "base/str.h"
#include "jobs/store.h"

#define DMN_JOURNALS_USEC      (UINT64_C(10) * 1000000) /* for all of one call */
#define DMN_JOURNALS_NOTES_MAX 64u
#define DMN_JOURNAL_MAX_BYTES  ((size_t)15 << 20)

/* A journal's bytes in sealed memory. */
struct dmn_journal {
        char *name;      /* for people: the file, without its folder */
        char sha256[65]; /* of the bytes; lower-case hex */
        int fd;
};

struct dmn_journal_drive {
        char *serial; /* blanks removed */
        char *manifest_file, *manifest_hash, *header_hash;
        struct bth_secret *key;
        size_t journal; /* which one named it */
        uint64_t line;
};

struct dmn_journal_note {
        char *journal, *name, *sentence, *advice; /* `advice` may be NULL */
        uint64_t line;
};

/* What was read. Journals may name a drive twice: job_merge_drives() is next. */
struct dmn_journals_result {
        struct dmn_journal_drive *drives;
        struct job_draft_drive
                *drafts; /* the same, for job_merge_drives(); borrows from `drives` */
        size_t n_drives; /* at least 1 */
        struct dmn_journal_note *notes; /* what is odd about them */
        size_t n_notes;
};
/* NULL is fine; returns NULL. */
struct dmn_journals_result *dmn_journals_result_free(struct dmn_journals_result *r);
DEFINE_CLEANUP(dmn_journals_result_free, struct dmn_journals_result *);

/* Takes a copy of `n` bytes. `name` may be a path: its last part counts; NULL and "": "journal".
 * Returns 0; -EINVAL for no bytes; -EFBIG beyond DMN_JOURNAL_MAX_BYTES; -errno of memfd_create(2)
 * and write(2); -ENOMEM. Blocks for no longer than a copy takes. */
int dmn_journal_new(const char *name, const void *data, size_t n, struct dmn_journal **ret_journal,
                    struct bth_error *error) _must_check_;
/* The same from what `fd` is open on, from its start; it stays the caller's. Returns also -errno of
 * read(2). */
int dmn_journal_new_from_fd(const char *name, int fd, struct dmn_journal **ret_journal,
                            struct bth_error *error) _must_check_;
struct dmn_journal *dmn_journal_free(struct dmn_journal *j); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(dmn_journal_free, struct dmn_journal *);

/* The hash of one journal, or of the hashes of several in any order: a job that was made from them
 * can be told by it. Returns 0, -EINVAL for none or too many, -ENOMEM, -EIO of the library. */
int dmn_journals_sha256(struct dmn_journal *const *journals, size_t n, char ret_sha256[65])
        _must_check_;

/* Called once; with `result`, which the callee takes over, or with an error: -EBADMSG for what is
 * no journal, names no drive, or ended its reader; -ETIME; -EFBIG; -E2BIG; -ENOMEM. Its place is
 * the journal and its line. May free the reading. */
typedef void (*dmn_journals_fn)(void *userdata, struct dmn_journals_result *result,
                                const struct bth_error *error);

struct dmn_journals;

/* Begins to read; the journals are not needed any longer than this call.
 * Returns 0, then `done` follows from the loop; -EINVAL for no journal, -E2BIG for more than
 * BTH_JOURNALS_MAX; -ENOMEM; -EIO when no worker can be had to read them. */
int dmn_journals_read(sd_event *loop, const char *program, struct dmn_journal *const *journals,
                      size_t n, dmn_journals_fn done, void *userdata,
                      struct dmn_journals **ret_journals, struct bth_error *error) _must_check_;
/* Ends it; without `done` when that was not called yet. NULL is fine; returns NULL. */
struct dmn_journals *dmn_journals_free(struct dmn_journals *j);
DEFINE_CLEANUP(dmn_journals_free, struct dmn_journals *);
