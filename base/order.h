/* SPDX-License-Identifier: GPL-3.0-or-later */
/* order - what the station and the worker of a drive say to each other, over frames (base/frame.h).
 *
 *     station ── ORDER (with the drive and a folder), CREDENTIAL, BANDWIDTH, STOP ──> worker
 *     station <── SANDBOX, ACTIVITY, PROGRESS, NOTE, OUTCOME …, RESULT ── worker
 *
 *     station ── JOURNAL (with its bytes) …, in place of an order ──> worker
 *     station <── SANDBOX, NOTE …, JOURNAL_DRIVE …, JOURNAL_READ …, RESULT ── worker
 *
 * One table per message names its fields: tag, kind, bounds. What does not fit its table is refused
 * whole, with the field's name. Unknown tags are skipped, so fields can be added without a new
 * version. Neither side sees the other's types: daemon/ and uploader/ both stand above base/. Any
 * thread; one message belongs to one thread. Source: design, section 6; house style, trust. */
#pragma once

#include "base/error.h"
#include "base/frame.h"
#include "base/secret.h"
#include "base/status.h"

#define BTH_ORDER_TEXT_MAX   131072u /* bytes of a text; a path in a manifest may have 65536 */
#define BTH_ORDER_SECRET_MAX 65536u  /* bytes of a key or credential */

#define BTH_JOURNALS_MAX       32u  /* that one worker reads */
#define BTH_JOURNAL_DRIVES_MAX 256u /* that all of them name */
#define BTH_JOURNAL_SERIAL_MAX 255u /* bytes of each, as of those below */
#define BTH_JOURNAL_PATH_MAX   4096u
#define BTH_JOURNAL_HASH_MAX   256u
#define BTH_JOURNAL_KEY_MAX    1024u

enum bth_message_type {
        BTH_MESSAGE_ORDER = 1, /* once, first; descriptors: the drive, the folder for state */
        BTH_MESSAGE_CREDENTIAL,
        BTH_MESSAGE_BANDWIDTH,
        BTH_MESSAGE_STOP,
        BTH_MESSAGE_JOURNAL, /* one after the other, first; descriptor: its bytes, sealed */

        BTH_MESSAGE_SANDBOX = 16, /* once, before a byte of the drive is read */
        BTH_MESSAGE_ACTIVITY,
        BTH_MESSAGE_PROGRESS, /* once a second */
        BTH_MESSAGE_NOTE,
        BTH_MESSAGE_OUTCOME,       /* once a blob */
        BTH_MESSAGE_RESULT,        /* once, last */
        BTH_MESSAGE_JOURNAL_DRIVE, /* once for each drive that a journal names */
        BTH_MESSAGE_JOURNAL_READ,  /* once a journal, in their order, after its drives */
        BTH_MESSAGE_EXIT,          /* from whoever reaped the worker, where that is systemd */
};

/* What the worker does, for people: X(identifier, name, sentence). */
#define BTH_ACTIVITIES(X)                                                                         \
        X(STARTING, "starting", "the worker starts")                                              \
        X(UNLOCKING, "unlocking", "the drive is being unlocked")                                  \
        X(READING_MANIFEST, "reading-manifest", "the manifest is being read and checked")         \
        X(SCANNING, "scanning", "the files of the drive are being listed")                        \
        X(TRANSFERRING, "transferring", "blobs are being copied")                                 \
        X(PAUSED_CREDENTIALS, "paused-credentials",                                               \
          "the account refuses the credential; waiting for a new one")                            \
        X(WAITING_NETWORK, "waiting-network", "the network or the service does not answer")       \
        X(WAITING_THROTTLED, "waiting-throttled", "the service asks for less, or the cap is low") \
        X(WAITING_DISK, "waiting-disk", "the drive does not answer")                              \
        X(WRITING_LOGS, "writing-logs", "the copy logs are being written")                        \
        X(STOPPING, "stopping", "the worker stops")

enum bth_activity {
#define X(id, name, sentence) BTH_ACTIVITY_##id,
        BTH_ACTIVITIES(X)
#undef X
                _BTH_ACTIVITY_MAX,
        _BTH_ACTIVITY_INVALID = -EINVAL,
};
const char *bth_activity_to_string(enum bth_activity a);        /* NULL outside the list */
enum bth_activity bth_activity_from_string(const char *name);   /* _INVALID for others */
const char *bth_activity_sentence(enum bth_activity a) _const_; /* "" outside the list */

/* How a run ended. Only FINISHED gives the drive a final status; after all others the same order
 * goes on where this run was. X(identifier, name, sentence). */
#define BTH_RUN_ENDS(X)                                                                         \
        X(FINISHED, "finished", "every blob has come to an end, or the drive cannot be copied") \
        X(STOPPED, "stopped", "it was stopped on request")                                      \
        X(DRIVE_GONE, "drive-gone", "the drive was pulled before it was done")                  \
        X(DRIVE_STALLED, "drive-stalled", "the drive stopped answering")                        \
        X(NETWORK_STALLED, "network-stalled", "the service could not be reached for too long")  \
        X(FAILED, "failed", "the worker itself failed")

enum bth_run_end {
#define X(id, name, sentence) BTH_RUN_END_##id,
        BTH_RUN_ENDS(X)
#undef X
                _BTH_RUN_END_MAX,
        _BTH_RUN_END_INVALID = -EINVAL,
};
const char *bth_run_end_to_string(enum bth_run_end e);        /* NULL outside the list */
enum bth_run_end bth_run_end_from_string(const char *name);   /* _INVALID for others */
const char *bth_run_end_sentence(enum bth_run_end e) _const_; /* "" outside the list */

enum bth_verify {
        BTH_VERIFY_FULL,     /* local hash, the service's hash, length after the commit */
        BTH_VERIFY_READBACK, /* and downloaded and hashed again */
        BTH_VERIFY_SERVICE,  /* no local hash where the service checks the manifest's */
        _BTH_VERIFY_MAX,
        _BTH_VERIFY_INVALID = -EINVAL,
};
const char *bth_verify_to_string(enum bth_verify v);      /* "readback"; NULL outside the list */
enum bth_verify bth_verify_from_string(const char *name); /* _INVALID for others */

/* Texts are malloc()ed, UTF-8; NULL: not given. */
struct bth_order {
        int drive_fd; /* read-only */
        int state_fd; /* a folder that outlives the worker, this drive's alone */
        /* the journal's facts */
        char *job;
        char *drive_id; /* the serial number, blanks removed */
        char *manifest_path, *manifest_hash;
        char *header_hash;                /* driveHeaderHash */
        struct bth_secret *bitlocker_key; /* as the journal has it; NULL: suspended volumes only */
        /* the account */
        char *account;
        char *endpoint; /* URL; NULL: the public cloud's */
        bool allow_plain;
        char *credential_kind;         /* "key", "sas", "bearer", "identity", "none" */
        struct bth_secret *credential; /* none of an identity: the worker fetches its tokens */
        char *identity_client;         /* which of the machine's identities; NULL: its only one */
        char *identity_endpoint;       /* URL of who gives its tokens; NULL: the cloud's */
        char *ca_file, *proxy, *client_cert, *client_key; /* files: PEM */
        char *connect_to; /* "HOST:PORT:HOST:PORT", several apart by line ends */
        /* policy; 0 takes the default */
        enum bth_disposition default_disposition;
        enum bth_verify verify;
        bool verbose_log, manifest_backup, manifest_credentials, without_range_list;
        bool guess_content_type, no_uring;
        char *diagnostics;     /* "container" or "container/folder"; NULL: "waimportexport" */
        uint64_t started_usec; /* in the names of logs: when the drive was first begun */
        uint64_t memory_bytes, bandwidth_bytes_per_sec;
        uint64_t max_in_flight, blobs_at_once;
        uint64_t stall_sec;   /* the drive or the network may be silent for so long */
        uint64_t cpu_seconds; /* the worker is killed beyond */
        char *containers;     /* names apart by blanks; blobs of others are refused; NULL: all */
};

struct bth_new_credential {
        struct bth_secret *credential; /* of the order's kind */
};

struct bth_new_bandwidth {
        uint64_t bytes_per_sec; /* 0: no cap */
};

/* A file that a customer wrote: only the worker looks into it. */
struct bth_journal {
        int fd;                /* of a regular file or memfd that nobody writes to any more */
        char *name;            /* for people */
        uint64_t index, count; /* this one, from 0; of all */
};

struct bth_sandbox_report {
        bool no_new_privileges, no_dumps, system_calls, files, connections, limits, uring;
        uint64_t landlock_abi; /* 0: the kernel has none */
        char *sentence;
};

struct bth_activity_report {
        enum bth_activity activity;
        char *sentence; /* NULL: the activity's own */
};

struct bth_progress_report {
        uint64_t blobs, blobs_done, bytes, bytes_done; /* of the manifest */
        uint64_t bytes_per_sec;                        /* done, over the last second */
        uint64_t sent_bytes, requests, retries, throttled, refused;
        uint64_t in_flight, limit, queued, waiting_retry, waiting_credentials;
        uint64_t waiting_disk, waiting_cpu, waiting_network, waiting_throttled, waiting_budget;
        uint64_t budget_bytes, budget_taken_bytes;
};

struct bth_note_report {
        char *name; /* stable, kebab-case */
        char *object, *blob;
        uint64_t line;
        char *sentence, *advice;
};

struct bth_outcome_report {
        uint64_t index; /* in the manifest */
        char *blob_path, *file_path;
        char *name; /* of the blob in its container, as it is now */
        enum bth_blob_status status;
        enum bth_disposition_status disposition;
        uint64_t length_bytes, sent_bytes;
        bool resumed;
        char *reason; /* of what went wrong, as all below; NULL: nothing did */
        char *sentence, *advice;
        uint64_t offset_bytes; /* BTH_ERROR_NO_OFFSET: none */
};

struct bth_result_report {
        enum bth_run_end end;
        char *copy_status; /* a drive status; NULL unless `end` is FINISHED */
        char *reason, *object, *sentence, *advice; /* NULL: all is well */
        uint64_t blobs, completed, created, renamed, skipped, overwritten, failed;
        uint64_t bytes, sent_bytes;
        char *error_log, *verbose_log, *manifest; /* "container/name" of what was uploaded */
        uint64_t line;                            /* of `object`, a journal; 0: none */
};

struct bth_journal_drive {
        uint64_t journal; /* its index */
        uint64_t line;    /* where the drive's record begins; 0: not known */
        char *serial;     /* blanks removed */
        char *manifest_file, *manifest_hash, *header_hash;
        struct bth_secret *bitlocker_key;
};

struct bth_journal_read {
        uint64_t journal;
        uint64_t drives;
        char *vocabulary; /* "2013-02-01" */
        bool is_xml;      /* the form of one drive */
        bool cut_off;     /* the last record was not ended */
};

struct bth_exit_report {
        uint64_t wait_status; /* as of waitpid(2); for bth_exit_explain() */
};

struct bth_message {
        enum bth_message_type type;
        union {
                struct bth_order order;
                struct bth_new_credential credential;
                struct bth_new_bandwidth bandwidth;
                struct bth_sandbox_report sandbox;
                struct bth_activity_report activity;
                struct bth_progress_report progress;
                struct bth_note_report note;
                struct bth_outcome_report outcome;
                struct bth_result_report result;
                struct bth_journal journal;
                struct bth_journal_drive journal_drive;
                struct bth_journal_read journal_read;
                struct bth_exit_report exit;
        };
};

/* Makes the frame of a message; descriptors are duplicated. Returns 0, -EINVAL for what its own
 * reader would refuse, -ENOMEM, -EMSGSIZE, -errno of fcntl(2). */
int bth_message_to_frame(const struct bth_message *m, struct bth_frame **ret_frame) _must_check_;

/* Reads a message; takes over the frame's descriptors. Returns 0; -EBADMSG with the name of the
 * field that is missing, malformed or out of bounds, or for an unknown type; -ENOMEM. */
int bth_message_from_frame(struct bth_frame *f, struct bth_message *ret_message,
                           struct bth_error *error) _must_check_;

/* Frees, wipes and closes what the message holds. */
void bth_message_clear(struct bth_message *m);
static inline void bth_message_clearp(struct bth_message *m)
{
        bth_message_clear(m);
}
#define _cleanup_message_ _cleanup_(bth_message_clearp)
