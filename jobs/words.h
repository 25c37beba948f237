/* SPDX-License-Identifier: GPL-3.0-or-later */
/* words - what can happen to a job and its drives, what a drive is busy with, why something is
 * refused, and what people are told when a time limit passes. Each word has a stable name for JSON
 * and a sentence for people. The states themselves are those of the service: base/status.h.
 * Any thread. Source: design, section 4; import-export specification, section 6. */
#pragma once

#include "base/macros.h"
#include "base/order.h"
#include "base/status.h"

/* X(identifier, name, sentence). The first ones concern a whole job, the others one drive. */
#define JOB_INPUTS(X)                                                                        \
        X(UPDATED, "updated", "the job was written again, or a part of it")                  \
        X(SHIPPED, "shipped", "the shipping data was given")                                 \
        X(ANSWERED, "answered", "the customer answered about the missing parcel")            \
        X(CANCELLED, "cancelled", "the customer takes the job back")                         \
        X(DELETED, "deleted", "the record of the job is taken away")                         \
        X(RETURNED, "returned", "the drives were sent back")                                 \
        X(CLOCK, "clock", "time has passed")                                                 \
        X(DOCKED, "docked", "the drive is in a bay, and its serial number is the job's")     \
        X(BOOKED, "booked", "an operator booked the drive in")                               \
        X(MISSING, "missing", "an operator says that the drive did not come")                \
        X(NOT_ACCEPTED, "not-accepted", "the drive does not meet the rules for hardware")    \
        X(BEGUN, "begun", "a worker begins to unlock the drive")                             \
        X(REPORTED, "reported", "the worker says what it is busy with")                      \
        X(CREDENTIALS, "credentials", "the credential is expired or refused for everything") \
        X(PROGRESS, "progress", "the worker has copied more")                                \
        X(ENDED, "ended", "the worker has come to the end, with a status for the drive")     \
        X(STOPPED, "stopped", "the worker ended before the drive was done")                  \
        X(PULLED, "pulled", "the drive is no longer in its bay")                             \
        X(EJECTED, "ejected", "the drive was made safe to remove")                           \
        X(PAUSED, "paused", "an operator holds the drive")                                   \
        X(RESUMED, "resumed", "an operator lets the drive go on")                            \
        X(GIVEN_UP, "given-up", "the drive will not be copied any further")                  \
        X(RETRIED, "retried", "an operator wants the drive to be tried again")

enum job_input_kind {
#define X(id, name, sentence) JOB_INPUT_##id,
        JOB_INPUTS(X)
#undef X
                _JOB_INPUT_MAX,
        _JOB_INPUT_INVALID = -EINVAL,
};
#define JOB_INPUT_FIRST_OF_DRIVE JOB_INPUT_DOCKED

/* What the lamp of a bay shows. */
#define JOB_LEDS(X)                                          \
        X(OFF, "off", "nothing")                             \
        X(LOCATE, "locate", "the operator has to come here") \
        X(ACTIVITY, "activity", "do not remove")             \
        X(FAULT, "fault", "something went wrong")            \
        X(SAFE, "safe", "safe to remove")

enum job_led {
#define X(id, name, sentence) JOB_LED_##id,
        JOB_LEDS(X)
#undef X
                _JOB_LED_MAX,
        _JOB_LED_INVALID = -EINVAL,
};

/* What a drive is busy with, finer than its state. X(identifier, name, LED, sentence) */
#define JOB_ACTIVITIES(X)                                                                     \
        X(NONE, "none", OFF, "nothing is going on")                                           \
        X(EXPECTED, "expected", OFF, "the drive is expected")                                 \
        X(TO_DOCK, "to-dock", OFF, "the drive has arrived; dock it in any bay")               \
        X(IDENTIFYING, "identifying", ACTIVITY, "the drive is being identified")              \
        X(MATCHING, "matching", ACTIVITY, "the drive belongs to a job and will be copied")    \
        X(WAITING_FOR_JOB, "waiting-for-job", LOCATE,                                         \
          "the drive waits until the shipping data of its job is given")                      \
        X(UNKNOWN_DRIVE, "unknown-drive", LOCATE, "no job names this drive: set it aside")    \
        X(STARTING, "starting", ACTIVITY, "the worker starts")                                \
        X(UNLOCKING, "unlocking", ACTIVITY, "the drive is being unlocked")                    \
        X(READING_MANIFEST, "reading-manifest", ACTIVITY,                                     \
          "the manifest is being read and checked")                                           \
        X(SCANNING, "scanning", ACTIVITY, "the files of the drive are being listed")          \
        X(TRANSFERRING, "transferring", ACTIVITY, "blobs are being copied")                   \
        X(WAITING_NETWORK, "waiting-network", ACTIVITY,                                       \
          "the network or the service does not answer")                                       \
        X(WAITING_THROTTLED, "waiting-throttled", ACTIVITY,                                   \
          "the service asks for less, or the cap is low")                                     \
        X(WAITING_DISK, "waiting-disk", FAULT, "the drive does not answer")                   \
        X(WRITING_LOGS, "writing-logs", ACTIVITY, "the copy logs are being written")          \
        X(STOPPING, "stopping", ACTIVITY, "the worker stops")                                 \
        X(RESTARTING, "restarting", ACTIVITY, "the worker ended early and is started again")  \
        X(PAUSED, "paused", ACTIVITY, "an operator holds the drive")                          \
        X(PAUSED_CREDENTIALS, "paused-credentials", ACTIVITY,                                 \
          "paused: the account refuses the credential; renew it")                             \
        X(PAUSED_STORE, "paused-store", ACTIVITY,                                             \
          "paused: the station cannot write its records; free space")                         \
        X(DOCK_AGAIN, "dock-again", LOCATE,                                                   \
          "the drive was removed too early: dock it again, in any bay")                       \
        X(FAILED, "failed", FAULT, "the drive could not be copied; see its status and log")   \
        X(SAFE_TO_REMOVE, "safe-to-remove", SAFE, "the drive is done and safe to remove")     \
        X(SKIPPED, "skipped", SAFE, "the drive is not copied, because its job was cancelled") \
        X(NOT_ACCEPTED, "not-accepted", FAULT,                                                \
          "the drive is not copied, because its hardware is not accepted here")

enum job_activity {
#define X(id, name, led, sentence) JOB_ACTIVITY_##id,
        JOB_ACTIVITIES(X)
#undef X
                _JOB_ACTIVITY_MAX,
        _JOB_ACTIVITY_INVALID = -EINVAL,
};

/* Why an input changes nothing. X(identifier, name, sentence with what to do) */
#define JOB_REFUSALS(X)                                                                           \
        X(NONE, "none", "")                                                                       \
        X(NOT_NOW, "not-now", "this is not possible in the present state of the drive or job")    \
        X(TOO_LATE, "too-late", "the job is being packed or has ended; make a new job")           \
        X(NOT_SHIPPED, "not-shipped", "the job's shipping data was not given; give it first")     \
        X(NO_ADDRESS, "no-address",                                                               \
          "carrier, tracking number and return address are needed first; add them to the job")    \
        X(ALREADY_CANCELLED, "already-cancelled", "the job was cancelled before")                 \
        X(JOB_CANCELLED, "job-cancelled", "the job was cancelled; its drives are not copied")     \
        X(ALREADY_RECEIVED, "already-received", "the drive was booked in before")                 \
        X(DRIVE_IS_HERE, "drive-is-here", "the drive has arrived; give it up instead")            \
        X(DRIVES_ARE_HERE, "drives-are-here",                                                     \
          "drives of the job are in the house; send them back first")                             \
        X(STILL_DOCKED, "still-docked", "a drive is still in its bay; eject and remove it first") \
        X(NOT_DONE, "not-done",                                                                   \
          "not all drives of the job are done; give up those that will "                          \
          "not be copied")                                                                        \
        X(ALREADY_DOCKED, "already-docked",                                                       \
          "a drive with this serial number is in another bay; find out which is the right one")   \
        X(NOT_DOCKED, "not-docked", "the drive is in no bay; dock it")                            \
        X(ALREADY_RUNNING, "already-running", "a worker is busy with the drive; stop it first")   \
        X(NOT_RUNNING, "not-running", "no worker is busy with the drive")                         \
        X(HELD, "held", "an operator holds the drive; resume it first")                           \
        X(NOT_HELD, "not-held", "the drive is not held")                                          \
        X(UNPROCESSED, "unprocessed", "the drive goes back without being copied")                 \
        X(NOT_ARRIVED, "not-arrived", "the drive has not arrived; say that it is missing")        \
        X(NOTHING_TO_CORRECT, "nothing-to-correct", "everything on the drive was copied")         \
        X(ALREADY_DONE, "already-done", "the drive is done")                                      \
        X(NO_SUCH_DRIVE, "no-such-drive", "the job has no such drive")                            \
        X(NO_SUCH_JOB, "no-such-job", "there is no such job")

enum job_refusal {
#define X(id, name, sentence) JOB_REFUSAL_##id,
        JOB_REFUSALS(X)
#undef X
                _JOB_REFUSAL_MAX,
        _JOB_REFUSAL_INVALID = -EINVAL,
};

/* What people have to do because a time limit of specification 6.2 passed. */
#define JOB_ALERTS(X)                                                                             \
        X(PACKAGE_MISSING, "package-missing",                                                     \
          "no drive of the job arrived within two weeks; ask the customer")                       \
        X(RETURN_DRIVES, "return-drives",                                                         \
          "drives are here for two weeks and their job has no shipping data; try to return them") \
        X(DESTROY_DUE, "destroy-due",                                                             \
          "the drives could not be returned for 90 days; they may be destroyed")

enum job_alert {
#define X(id, name, sentence) JOB_ALERT_##id,
        JOB_ALERTS(X)
#undef X
                _JOB_ALERT_MAX,
        _JOB_ALERT_INVALID = -EINVAL,
};

/* What a step did; each becomes an event (jobs/event.h). X(identifier, name, sentence) */
#define JOB_CHANGES(X)                                                                     \
        X(JOB_MADE, "job.made", "the job was made")                                        \
        X(JOB_UPDATED, "job.updated", "the job's data changed")                            \
        X(JOB_STATE, "job.state", "the job is in another state")                           \
        X(JOB_CANCELLED, "job.cancelled", "the job was cancelled")                         \
        X(JOB_ALERT, "job.alert", "a time limit of the job has passed")                    \
        X(JOB_DELETED, "job.deleted", "the job's record was taken away")                   \
        X(DRIVE_STATE, "drive.state", "the drive is in another state")                     \
        X(DRIVE_ACTIVITY, "drive.activity", "the drive is busy with something else")       \
        X(DRIVE_PROGRESS, "drive.progress", "more of the drive was copied")                \
        X(DRIVE_CORRECTED, "drive.corrected", "an operator lets the drive be tried again") \
        X(DRIVE_DOCKED, "drive.docked", "a drive is in a bay")                             \
        X(DRIVE_UNDOCKED, "drive.undocked", "a drive is no longer in its bay")             \
        X(OUTBOX_RESENT, "outbox.resent", "an operator sends a refused event again")       \
        X(OUTBOX_DROPPED, "outbox.dropped", "an operator gave a refused event up")

enum job_change_kind {
#define X(id, name, sentence) JOB_CHANGE_##id,
        JOB_CHANGES(X)
#undef X
                _JOB_CHANGE_MAX,
        _JOB_CHANGE_INVALID = -EINVAL,
};

/* Is the job service told of it? What was done with its own refusals is this station's alone. */
static inline bool job_change_is_told(enum job_change_kind k)
{
        return k < JOB_CHANGE_OUTBOX_RESENT;
}

/* For each: the stable name or NULL outside the list; the value or _INVALID (-EINVAL); the sentence
 * or "" outside the list. */
#define JOB_DECLARE_WORDS(type, prefix)                          \
        const char *prefix##_to_string(enum type v) _const_;     \
        enum type prefix##_from_string(const char *name) _pure_; \
        const char *prefix##_sentence(enum type v) _const_
JOB_DECLARE_WORDS(job_input_kind, job_input_kind);
JOB_DECLARE_WORDS(job_led, job_led);
JOB_DECLARE_WORDS(job_activity, job_activity);
JOB_DECLARE_WORDS(job_refusal, job_refusal);
JOB_DECLARE_WORDS(job_alert, job_alert);
JOB_DECLARE_WORDS(job_change_kind, job_change_kind);

/* The definitions to JOB_DECLARE_WORDS(type, type); ROW makes a struct job_word of a list's entry.
 */
struct job_word {
        const char *name;
        const char *sentence;
};
/* Returns the index, or -EINVAL. */
int job_word_find(const struct job_word *words, size_t n, const char *name) _pure_;
#define JOB_WORD(id, name, sentence) { name, sentence },
#define JOB_DEFINE_WORDS(type, LIST, ROW)                                                      \
        static const struct job_word type##_words[] = { LIST(ROW) };                           \
        const char *type##_to_string(enum type v)                                              \
        {                                                                                      \
                return (size_t)v < ARRAY_SIZE(type##_words) ? type##_words[v].name : NULL;     \
        }                                                                                      \
        enum type type##_from_string(const char *name)                                         \
        {                                                                                      \
                return (enum type)job_word_find(type##_words, ARRAY_SIZE(type##_words), name); \
        }                                                                                      \
        const char *type##_sentence(enum type v)                                               \
        {                                                                                      \
                return (size_t)v < ARRAY_SIZE(type##_words) ? type##_words[v].sentence : "";   \
        }                                                                                      \
        struct bth_swallow_semicolon

enum job_led job_activity_led(enum job_activity a) _const_; /* OFF outside the list */

/* The worker's word (base/order.h) as the station's. */
enum job_activity job_activity_of_worker(enum bth_activity a) _const_;
