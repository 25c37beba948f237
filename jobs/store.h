/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store - jobs, drives, dockings, runs of workers, history and outbox in one SQLite file.
 *
 *     jobs 1 ── n drives ── n dockings, runs        events ── outbox (what upstream has not got)
 *      └ journals, personal (addresses; apart, so that they can be deleted), keys (BitLocker)
 *
 * Every function that writes is one transaction, durable when it returns 0 (WAL, synchronous=FULL):
 * the new states and the events that tell of them are stored together or not at all. Deleted
 * content is overwritten (secure_delete). The file has mode 0600 and belongs to one process at a
 * time. All functions block; a store belongs to one thread: the daemon's second one.
 * Times are CLOCK_REALTIME in microseconds. Ids are positive and never used twice; 0 = none.
 * Errors of all functions beside their own: -ENOSPC disk full, -EIO, -EROFS, -ENOMEM, -EBADMSG for
 * damaged records; each with a sentence in `error`, which may be NULL. The functions that are
 * called for each row must not use the store, unless it says so. Source: sqlite.org/wal.html,
 * pragma.html; import-export specification 6, 7.3 to 7.6, 7.10. */
#pragma once

#include "base/error.h"
#include "base/secret.h"
#include "jobs/state.h"

#define JOB_STORE_VERSION  5u /* PRAGMA user_version */
#define JOB_STORE_PAGE_MAX 1000u
#define JOB_STORE_TEXT_MAX (64u << 10) /* bytes of one text */

struct job_store;

/* Opens or creates the store and brings it to JOB_STORE_VERSION.
 * Returns 0; -EPROTONOSUPPORT when a newer version wrote it; -EBUSY when another process has it;
 * -EBADMSG when it is damaged or no store; -errno of open(2). */
int job_store_open(const char *path, struct job_store **ret_store, struct bth_error *error)
        _must_check_;
/* Ends the log of the database and closes it. NULL is fine; returns NULL. */
struct job_store *job_store_close(struct job_store *s);
DEFINE_CLEANUP(job_store_close, struct job_store *);

/* Random, made once with the file: part of every event's id. Borrowed. */
const char *job_store_uid(const struct job_store *s);

/* Reads everything and compares: pages, indexes, references, and the invariants of every job.
 * Returns 0 or -EBADMSG with what is wrong. Slow; for tests and `berthctl`. */
int job_store_check(struct job_store *s, struct bth_error *error) _must_check_;

/* --- jobs --- */

enum job_personal {
        JOB_PERSONAL_RETURN_ADDRESS,
        JOB_PERSONAL_RETURN_SHIPPING,
        JOB_PERSONAL_DELIVERY_PACKAGE,
        JOB_PERSONAL_RETURN_PACKAGE,
        JOB_PERSONAL_SHIPPING_INFORMATION,
        _JOB_PERSONAL_MAX,
        _JOB_PERSONAL_INVALID = -EINVAL,
};
/* The name in the job API, "returnAddress"; NULL outside the list. */
const char *job_personal_to_string(enum job_personal p) _const_;

/* A job as it is handed in. Texts are UTF-8, borrowed; NULL: not given. */
struct job_draft_drive {
        const char *serial; /* as it was written; blanks are removed */
        const char *manifest_file, *manifest_hash, *header_hash;
        const struct bth_secret *key;
};
struct job_draft {
        const char *scope; /* "/subscriptions/…/resourceGroups/…", NULL: the station's own */
        const char *name;
        const char *account; /* resource id of the storage account */
        const char *location, *diagnostics;
        const char *origin;                        /* "journal", "api", "upstream" */
        const char *tags;                          /* JSON object */
        const char *journal_name, *journal_sha256; /* of the journals it was made from */
        bool verbose_log, backup_manifest;
        bool accept_unshipped;
        const char *personal[_JOB_PERSONAL_MAX]; /* JSON objects */
        const struct job_draft_drive *drives;
        size_t n_drives;
};

/* Makes a job; Shipping at once when `shipped`. Names and serial numbers are the caller's to check
 * (jobs/match.h). Returns 0; -EEXIST when the scope has a job of this name, or the draft a serial
 * twice; -EINVAL for a missing name, a text over the limit, or a number of drives that is not 1 to
 * 10. */
int job_store_add(struct job_store *s, const struct job_draft *draft, bool shipped,
                  uint64_t now_usec, const char *who, uint64_t *ret_job, struct bth_error *error)
        _must_check_;

struct job_record_drive {
        char *serial;
        char *manifest_file, *manifest_hash, *header_hash;
        char *error_log, *verbose_log, *manifest_log; /* "container/name" */
        char *detail; /* the sentence to the present activity; NULL: the activity's own */
        char *bay;    /* where it is, or was last */
        bool has_key;
};
struct job_record {
        uint64_t id;
        uint64_t revision; /* grows with every change */
        char *scope, *name, *account, *location, *diagnostics, *origin, *tags;
        bool verbose_log, backup_manifest;
        struct job_model model;
        struct job_record_drive drives[JOB_MAX_DRIVES];
        char *personal[_JOB_PERSONAL_MAX]; /* JSON; NULL also when it was not asked for */
};
struct job_record *job_record_free(struct job_record *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(job_record_free, struct job_record *);

/* Returns 0, -ENOENT. A deleted job is found by its id only. */
int job_store_get(struct job_store *s, uint64_t job, struct job_record **ret_record,
                  struct bth_error *error) _must_check_;
int job_store_find(struct job_store *s, const char *scope, const char *name,
                   struct job_record **ret_record, struct bth_error *error) _must_check_;
/* The newest job that is not deleted and was made from journals with this hash. Returns 0, -ENOENT.
 */
int job_store_find_journal(struct job_store *s, const char *sha256, struct job_record **ret_record,
                           struct bth_error *error) _must_check_;

/* Was it made from journals with this hash? Returns 1, 0, or an error of the store. */
int job_store_is_of_journal(struct job_store *s, uint64_t job, const char *sha256,
                            struct bth_error *error) _must_check_;

/* Jobs of this name in all scopes, oldest first, at most 16. As job_store_list(). Returns 0 or the
 * value of `each`. */
typedef int (*job_record_fn)(void *userdata, const struct job_record *record);
int job_store_find_all(struct job_store *s, const char *name, job_record_fn each, void *userdata,
                       struct bth_error *error) _must_check_;

/* A page of jobs, newest first, without the deleted ones. */
struct job_filter {
        const char *scope;    /* NULL: any; "": the station's own; else it and what lies below it */
        int state;            /* enum bth_job_state, or -1: any */
        uint64_t before;      /* ids below; 0: from the newest */
        bool personal;        /* records have what is personal, too */
        const char *tracking; /* the number of the parcel in which the drives come; NULL: any */
        size_t limit;         /* 1 to JOB_STORE_PAGE_MAX */
};
/* Calls `each` with records that belong to the store: copy what is kept. Another value than 0 ends
 * the list and is returned. Here `each` may use the store. Returns 0, -EINVAL, or the value of
 * `each`. */
int job_store_list(struct job_store *s, const struct job_filter *filter, job_record_fn each,
                   void *userdata, struct bth_error *error) _must_check_;

/* How many jobs are neither Completed nor Closed: of the subscription of a scope, or of the scope
 * when it is in none (NULL: the station's own). Returns 0. */
int job_store_count_active(struct job_store *s, const char *scope, uint64_t *ret_n,
                           struct bth_error *error) _must_check_;

/* How many there are: for a look at the whole. Ended jobs are counted, their drives are not. */
struct job_counts {
        uint64_t jobs[_BTH_JOB_STATE_MAX];
        uint64_t drives[_BTH_DRIVE_STATE_MAX];
        uint64_t alerts[_JOB_ALERT_MAX]; /* jobs that have it */
        uint64_t held, running;          /* drives */
};
/* Returns 0. */
int job_store_counts(struct job_store *s, struct job_counts *ret_counts, struct bth_error *error)
        _must_check_;

/* What may be changed of a job beside its states; NULL and -1: kept. The caller asks
 * job_may_change() first. */
struct job_edit {
        const char *tags, *diagnostics;
        int verbose_log, backup_manifest;
        const char *personal[_JOB_PERSONAL_MAX];
};
/* Follows JOB_INPUT_UPDATED; tags alone are changed at any time. Returns 0, -ENOENT, -EINVAL,
 * -EPERM when it is too late. */
int job_store_edit(struct job_store *s, uint64_t job, const struct job_edit *edit,
                   const struct job_policy *policy, uint64_t now_usec, const char *who,
                   struct bth_error *error) _must_check_;

/* Other drives instead of those that the job has; a drive without a key keeps the one that its
 * serial number had. Names and serial numbers are the caller's to check. Follows JOB_INPUT_UPDATED.
 * Returns 0; -ENOENT; -EINVAL as job_store_add(); -EEXIST for a serial number that comes twice;
 * -EPERM when the job is past Creating or a drive of it has arrived. */
int job_store_set_drives(struct job_store *s, uint64_t job, const struct job_draft_drive *drives,
                         size_t n, const struct job_policy *policy, uint64_t now_usec,
                         const char *who, struct bth_error *error) _must_check_;

/* Between them all is one transaction, which job_store_end() keeps when `r` is 0 and nothing in it
 * failed; else it takes all back. Returns `r` or what went wrong then: 0 or an error of the store;
 * -ECANCELED when something had failed and `r` is 0. */
int job_store_begin(struct job_store *s, struct bth_error *error) _must_check_;
int job_store_end(struct job_store *s, int r, struct bth_error *error) _must_check_;

/* --- inputs --- */

struct job_act {
        uint64_t job;
        struct job_input input;
        const char *detail; /* what people should know beside the activity; NULL: nothing */
};

/* Applies inputs in their order, all in one transaction; one that is refused, or whose job is not
 * there (NO_SUCH_JOB), changes nothing and keeps none of the others back.
 * `ret_outcomes` (n, or NULL) tells of each. Returns 0 when it is stored. */
int job_store_apply_all(struct job_store *s, const struct job_act *acts, size_t n,
                        const struct job_policy *policy, uint64_t now_usec, const char *who,
                        struct job_outcome *ret_outcomes, struct bth_error *error) _must_check_;

/* job_adopt(), stored: a drive is in another station, and came to this there. Returns 1 when it is
 * stored; 0 when nothing follows from it, or it cannot be; -ENOENT. */
int job_store_adopt(struct job_store *s, uint64_t job, size_t drive, const struct job_drive *told,
                    const struct job_policy *policy, uint64_t now_usec, const char *who,
                    struct bth_error *error) _must_check_;

/* One input. Returns 0; -EPERM with the refusal's sentence; -ENOENT when there is no such job. */
int job_store_apply(struct job_store *s, const struct job_act *act, const struct job_policy *policy,
                    uint64_t now_usec, const char *who, struct job_outcome *ret_outcome,
                    struct bth_error *error) _must_check_;

/* The drives of a job were sent back: JOB_INPUT_RETURNED, and what is known of the parcel as
 * JOB_PERSONAL_RETURN_PACKAGE (JSON, or NULL), in one transaction. Returns 0, -ENOENT, -EPERM. */
int job_store_return(struct job_store *s, uint64_t job, const char *package,
                     const struct job_policy *policy, uint64_t now_usec, const char *who,
                     struct job_outcome *ret_outcome, struct bth_error *error) _must_check_;

/* Applies JOB_INPUT_CLOCK to every job whose time limit has passed, and gives the time of the next
 * one (UINT64_MAX: none). Returns 0. */
int job_store_tick(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                   uint64_t *ret_next_usec, struct bth_error *error) _must_check_;

/* --- drives in bays --- */

struct job_docking {
        uint64_t id;
        const char *serial, *bay, *model, *bus, *diskseq;
        uint64_t size_bytes;
        uint64_t job; /* 0: an extra drive */
        size_t drive;
        const char *matched;                 /* "serial", "hand"; NULL for an extra drive */
        const char *warning;                 /* about the hardware; NULL: none */
        uint64_t docked_usec, undocked_usec; /* 0: still there */
        const char *ended;                   /* "pulled", "ejected", "restart"; NULL: still there */
};

/* Books a docking; `d->id`, times and `ended` are not read. With a job, its drive gets
 * JOB_INPUT_DOCKED in the same transaction. Returns 0; -EPERM when that is refused, then nothing is
 * stored; -ENOENT for a job that is not there. */
int job_store_dock(struct job_store *s, const struct job_docking *d,
                   const struct job_policy *policy, uint64_t now_usec, const char *who,
                   uint64_t *ret_docking, struct job_outcome *ret_outcome, struct bth_error *error)
        _must_check_;

/* The drive left its bay; its job gets PULLED, or EJECTED when `ejected`. Twice is well. Returns 0,
 * -ENOENT, -EPERM when a worker still runs and `ejected` is set. */
int job_store_undock(struct job_store *s, uint64_t docking, bool ejected,
                     const struct job_policy *policy, uint64_t now_usec, const char *who,
                     struct job_outcome *ret_outcome, struct bth_error *error) _must_check_;

/* At the start of the station nothing is known to be docked: every docking that was open ends as
 * "restart", and drives in work wait to be seen again. Returns 0. */
int job_store_restart(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                      struct bth_error *error) _must_check_;

/* Dockings of a serial number (any spelling), or of a job's drive when `serial` is NULL; newest
 * first, at most `limit`. As job_store_list(). Returns 0, -EINVAL, or the value of `each`. */
typedef int (*job_docking_fn)(void *userdata, const struct job_docking *docking);
int job_store_dockings(struct job_store *s, const char *serial, uint64_t job, size_t drive,
                       size_t limit, job_docking_fn each, void *userdata, struct bth_error *error)
        _must_check_;

/* Jobs that are not deleted and name this serial number (any spelling), oldest first, and which of
 * their drives it is. As job_store_list(). Returns 0 or the value of `each`. */
typedef int (*job_named_fn)(void *userdata, const struct job_record *record, size_t drive);
int job_store_named(struct job_store *s, const char *serial, job_named_fn each, void *userdata,
                    struct bth_error *error) _must_check_;

/* A worker's run ended: its counts are kept, and the drive gets the input of the result. Returns 0,
 * -EPERM when it is refused, -ENOENT. */
int job_store_result(struct job_store *s, uint64_t job, size_t drive,
                     const struct bth_result_report *result, const struct job_policy *policy,
                     uint64_t now_usec, struct job_outcome *ret_outcome, struct bth_error *error)
        _must_check_;

struct job_run_record {
        uint64_t ended_usec;
        enum bth_run_end end;
        const char *copy_status, *reason, *sentence;
        uint64_t blobs, completed, created, renamed, skipped, overwritten, failed;
        uint64_t bytes, sent_bytes;
        const char *error_log, *verbose_log, *manifest;
};
/* The runs of a drive, oldest first. As job_store_list(). Returns 0 or the value of `each`. */
typedef int (*job_run_fn)(void *userdata, const struct job_run_record *run);
int job_store_runs(struct job_store *s, uint64_t job, size_t drive, job_run_fn each, void *userdata,
                   struct bth_error *error) _must_check_;

/* --- keys and personal data --- */

/* The BitLocker key of a drive. Returns 0, -ENOENT when there is none. */
int job_store_key(struct job_store *s, uint64_t job, size_t drive, struct bth_secret **ret_key,
                  struct bth_error *error) _must_check_;
/* malloc()ed JSON text. Returns 0, -ENOENT. */
int job_store_personal(struct job_store *s, uint64_t job, enum job_personal what, char **ret_json,
                       struct bth_error *error) _must_check_;
/* All of it at once; NULL where there is none. Returns 0. */
int job_store_personal_all(struct job_store *s, uint64_t job, char *ret_json[_JOB_PERSONAL_MAX],
                           struct bth_error *error) _must_check_;
/* Takes the personal data of a job away, and what is left of it in the files. Returns 0. */
int job_store_forget(struct job_store *s, uint64_t job, struct bth_error *error) _must_check_;
/* The same for all jobs that ended before `before_usec`, and for deleted ones with their BitLocker
 * keys: of these only the log of the database can have something left, when the station was killed
 * just then. Returns the number of jobs, or a negative errno. */
int job_store_forget_old(struct job_store *s, uint64_t before_usec, struct bth_error *error)
        _must_check_;

/* --- history and outbox --- */

struct job_event {
        uint64_t seq; /* ascending; a gap is progress that a later one replaced */
        enum job_change_kind kind;
        uint64_t time_usec;
        uint64_t job; /* 0: none */
        size_t drive; /* JOB_NO_DRIVE: the whole job */
        const char *subject;
        const char *serial; /* NULL: the whole job */
        const char *who;    /* NULL: the station itself */
        const char *data;   /* JSON object */
};
struct job_event_filter {
        uint64_t job;           /* 0: any */
        size_t drive;           /* with `job`; JOB_NO_DRIVE: any */
        const char *serial;     /* NULL: any; in any spelling */
        uint64_t after, before; /* exclusive; 0: no bound */
        bool newest_first;
        size_t limit; /* 1 to JOB_STORE_PAGE_MAX */
};
/* As job_store_list(). Returns 0, -EINVAL, or the value of `each`. */
typedef int (*job_event_fn)(void *userdata, const struct job_event *event);
int job_store_events(struct job_store *s, const struct job_event_filter *filter, job_event_fn each,
                     void *userdata, struct bth_error *error) _must_check_;
/* The sequence number of the newest event that was added since the store was opened, at least: one
 * that was taken back counts, too. 0: none. For those who wait for news. */
uint64_t job_store_last_event(const struct job_store *s);
/* The history is shortened (jobs/store-prune.c): takes jobs away that were deleted, with all that
 * is known of them, when their newest event is from before a time; and such events and dockings of
 * drives that belong to no job. Never a job that is not deleted, with a drive in a bay, or with an
 * event that upstream has not got or has refused; never the newest event of all. */
enum job_prune_stage {
        JOB_PRUNE_JOBS,
        JOB_PRUNE_EVENTS,
        JOB_PRUNE_DOCKINGS,
        JOB_PRUNE_DONE,
};
struct job_prune {
        uint64_t before_usec;
        uint64_t jobs, events;                     /* that were taken away; 0 at first */
        uint64_t after_job, after_usec, after_seq; /* how far it is; 0 at first */
        enum job_prune_stage stage;                /* JOB_PRUNE_JOBS at first */
};
/* One step, a short transaction. Returns 1 when there is more to do, 0 at the end, or an error of
 * the store, then `p` is as before. */
int job_store_prune(struct job_store *s, struct job_prune *p, struct bth_error *error) _must_check_;

/* With an upstream each event also goes into the outbox; without, the outbox is emptied. Returns 0.
 */
int job_store_outbox_use(struct job_store *s, bool use, struct bth_error *error) _must_check_;
/* What can be sent now: of each drive and each job the oldest that was not delivered. Parked ones
 * hold nothing back. As job_store_list(). Returns 0 or the value of `each`. */
int job_store_outbox(struct job_store *s, uint64_t now_usec, size_t limit, job_event_fn each,
                     void *userdata, struct bth_error *error) _must_check_;
/* Upstream has it. Twice is well. Returns 0. */
int job_store_outbox_sent(struct job_store *s, uint64_t seq, struct bth_error *error) _must_check_;
/* Not before `again_usec`; counts the attempt. Returns 0, -ENOENT. */
int job_store_outbox_failed(struct job_store *s, uint64_t seq, uint64_t again_usec,
                            struct bth_error *error) _must_check_;
/* Upstream does not want it: kept and shown, never sent by itself. Returns 0, -ENOENT. */
int job_store_outbox_park(struct job_store *s, uint64_t seq, const char *why, uint64_t now_usec,
                          struct bth_error *error) _must_check_;
/* What became of events that were sent, all in one transaction: upstream has them, or does not want
 * them (`parked` says why). Those that do not wait any more are passed over. Returns 0. */
struct job_outbox_mark {
        uint64_t seq;
        const char *parked; /* NULL: upstream has it */
};
int job_store_outbox_settle(struct job_store *s, const struct job_outbox_mark *marks, size_t n,
                            uint64_t now_usec, struct bth_error *error) _must_check_;

/* What upstream refused, by the events' numbers, over `after`; at most `limit`, 1 to
 * JOB_STORE_PAGE_MAX. As job_store_list(). Returns 0, -EINVAL, or the value of `each`. */
struct job_parked {
        struct job_event event;
        const char *why;      /* what upstream said */
        uint64_t parked_usec; /* 0: not known, an earlier version parked it */
};
typedef int (*job_parked_fn)(void *userdata, const struct job_parked *parked);
int job_store_parked(struct job_store *s, uint64_t after, size_t limit, job_parked_fn each,
                     void *userdata, struct bth_error *error) _must_check_;
/* What an operator decides of a parked event. Sent again: it is the oldest of its drive or job
 * again, and those that were not sent yet wait for it. Dropped: upstream never gets it; the history
 * here keeps it. Each adds an event that tells of it to the history, and to the history only.
 * Returns 0; -ENOENT when no event of this number is parked. */
int job_store_parked_resend(struct job_store *s, uint64_t seq, uint64_t now_usec, const char *who,
                            struct bth_error *error) _must_check_;
int job_store_parked_drop(struct job_store *s, uint64_t seq, uint64_t now_usec, const char *who,
                          struct bth_error *error) _must_check_;

struct job_outbox_state {
        uint64_t waiting, parked, attempts; /* attempts: of those that wait */
        uint64_t oldest_usec;               /* 0: nothing waits */
};
/* Returns 0. */
int job_store_outbox_state(struct job_store *s, struct job_outbox_state *ret_state,
                           struct bth_error *error) _must_check_;
