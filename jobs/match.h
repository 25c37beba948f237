/* SPDX-License-Identifier: GPL-3.0-or-later */
/* match - which job a docked drive belongs to, and which jobs may be made.
 *
 * A drive is known by its serial number alone: blanks and ASCII case do not count. A serial number
 * may stand in several jobs over the years, but in one that still wants the drive at most: a second
 * such job is refused when it is made, and where a hub handed both in, the drive is set aside with
 * the names of both. A drive that fits nothing is an extra drive: not read, and sent back.
 * Functions with a store block and belong to its thread; the others to any.
 * Source: import-export specification 6.5 (extra drives), 7.6, 7.10 (names, quotas), 9 (limits). */
#pragma once

#include "jobs/store.h"

#define JOB_NAME_MIN         3
#define JOB_NAME_MAX         24
#define JOB_ACTIVE_MAX       20u /* of one scope; Completed, Closed not counted; 7.10 */
#define JOB_SERIAL_MAX_BYTES 255

/* --- serial numbers --- */

/* Are they of the same drive? NULL and empty are of none. */
bool job_serial_equal(const char *a, const char *b) _pure_;
/* Can a drive be told by it: something beside blanks, printable ASCII, and not one character
 * repeated, as cheap bridges and cloned firmware have it ("000000000000")? */
bool job_serial_usable(const char *serial) _pure_;

/* --- making jobs --- */

/* A name as this program makes them, ^[a-z][a-z0-9-]{1,22}[a-z0-9]$; with `foreign` as others may
 * have them: 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit. Returns
 * 0, or -EINVAL with the rule. */
int job_name_check(const char *name, bool foreign, struct bth_error *error) _must_check_;

/* Puts the drives of several journals together. A drive that is named twice with the same data
 * counts once. `ret_drives` has room for JOB_MAX_DRIVES; texts and keys stay the caller's. Returns
 * 0; -EEXIST when two journals contradict each other about a drive; -E2BIG for more drives than a
 * job has. */
int job_merge_drives(const struct job_draft_drive *drives, size_t n,
                     struct job_draft_drive ret_drives[JOB_MAX_DRIVES], size_t *ret_n,
                     struct bth_error *error) _must_check_;

/* May this job be made: name, one account, 1 to 10 drives with usable serial numbers, manifest and
 * hash, none of them wanted by another job, room in the quota (`max_active`, 0: JOB_ACTIVE_MAX) of
 * its subscription, or of its scope when that names none?
 * Returns 0; -EINVAL; -EEXIST for a drive that another job wants; -EDQUOT; or an error of the
 * store. */
int job_admit(struct job_store *s, const struct job_draft *draft, bool foreign_name,
              unsigned max_active, struct bth_error *error) _must_check_;
/* The same of the drives alone, for the job `job` that has others now. Returns 0, -EINVAL, -EEXIST,
 * or an error of the store. */
int job_admit_drives(struct job_store *s, uint64_t job, const struct job_draft_drive *drives,
                     size_t n, struct bth_error *error) _must_check_;

/* --- docked drives --- */

#define JOB_MATCHES(X)                                                                      \
        X(ONE, "one", "the drive belongs to a job")                                         \
        X(NONE, "none", "no job names this drive: set it aside")                            \
        X(PAST, "past", "the job of this drive has ended or is being packed: set it aside") \
        X(SEVERAL, "several", "several jobs want this drive: match it by hand")             \
        X(DOUBLE, "double", "a drive with this serial number is in another bay")            \
        X(UNUSABLE, "unusable", "the serial number says nothing: match the drive by hand")

enum job_match_kind {
#define X(id, name, sentence) JOB_MATCH_##id,
        JOB_MATCHES(X)
#undef X
                _JOB_MATCH_KIND_MAX,
        _JOB_MATCH_KIND_INVALID = -EINVAL,
};
JOB_DECLARE_WORDS(job_match_kind, job_match_kind);

#define JOB_MATCH_MAX 4
struct job_match {
        enum job_match_kind kind;
        uint64_t job; /* of ONE, PAST and DOUBLE; else 0 */
        size_t drive;
        uint64_t wanted_by[JOB_MATCH_MAX]; /* of SEVERAL: the first ones */
        size_t n_wanted_by;
        char sentence[512]; /* for people: the names of the jobs in it */
};

/* What to do with a drive that was docked. Of several jobs the one that still wants the drive
 * counts, then one whose drive is done but not sent back. Returns 0 or an error of the store. */
int job_match(struct job_store *s, const char *serial, struct job_match *ret_match,
              struct bth_error *error) _must_check_;

/* An operator says that the drive in a bay is this one of this job, for example because a USB
 * bridge hides its serial number: may it be docked so? The manifest's DriveId must agree after
 * unlocking; that is the worker's to check. Returns 0; -ENOENT; -EPERM with the sentence of the
 * refusal. */
int job_match_by_hand(struct job_store *s, uint64_t job, size_t drive, struct bth_error *error)
        _must_check_;
