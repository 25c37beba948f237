/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-journal - what berth-prep keeps in a journal beside the service's own fields.
 *
 *     DriveInfo            DriveState, as the service reads it: serial, key, manifest, hash
 *     BerthDrive-SERIAL    BerthPath, BerthFormat (Planned, Started, Completed),
 * BerthNextManifestHash BerthSession-ID      BerthState (Started, Completed, Aborting, Aborted)
 *
 * Each is appended before what it says is done ("Started", the key, the next hash) or after it was
 * done
 * ("Completed", the hash). The last one counts. Source: import-export specification 1.2 to 1.7. */
#pragma once

#include "media/journal.h"

enum ctl_session_state {
        CTL_SESSION_NONE, /* the journal does not know it */
        CTL_SESSION_STARTED,
        CTL_SESSION_COMPLETED,
        CTL_SESSION_ABORTED,
        CTL_SESSION_ABORTING, /* --abort was begun and can only be finished */
        _CTL_SESSION_STATE_MAX,
        _CTL_SESSION_STATE_INVALID = -EINVAL,
};
const char *ctl_session_state_to_string(enum ctl_session_state s);

/* `j` may be NULL: no journal yet. */
enum ctl_session_state ctl_journal_session(const struct med_journal *j, const char *id);
/* The session that was started and neither completed nor aborted; NULL: none. */
const char *ctl_journal_open_session(const struct med_journal *j);
/* Calls `fn` once for each session, in the order in which they began. */
typedef void (*ctl_session_fn)(void *userdata, const char *id, enum ctl_session_state state);
void ctl_journal_each_session(const struct med_journal *j, ctl_session_fn fn, void *userdata);
/* A key of BerthDrive-SERIAL, or NULL. */
const char *ctl_journal_of_drive(const struct med_journal *j, const char *serial, const char *key);

/* Each appends a record that is durable when it returns 0; else as med_journal_append(). */
int ctl_journal_note_session(const char *path, const char *id, enum ctl_session_state state,
                             struct bth_error *error) _must_check_;
int ctl_journal_note_drive(const char *path, const char *serial, const char *key, const char *value,
                           struct bth_error *error) _must_check_;
int ctl_journal_note_info(const char *path, const struct med_journal_drive *drive,
                          struct bth_error *error) _must_check_;
