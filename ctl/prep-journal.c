/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-journal.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"

#define SESSION_PREFIX "BerthSession-"
#define DRIVE_PREFIX   "BerthDrive-"
#define STATE_KEY      "BerthState"
#define ACTIVITY_MAX   512

const char *ctl_session_state_to_string(enum ctl_session_state s)
{
        static const char *const names[_CTL_SESSION_STATE_MAX] = { "None", "Started", "Completed",
                                                                   "Aborted", "Aborting" };

        return (unsigned)s < _CTL_SESSION_STATE_MAX ? names[s] : NULL;
}

static enum ctl_session_state state_of(const char *text)
{
        for (int i = CTL_SESSION_STARTED; i < _CTL_SESSION_STATE_MAX; i++)
                if (bth_streq(text, ctl_session_state_to_string((enum ctl_session_state)i)))
                        return (enum ctl_session_state)i;
        return CTL_SESSION_NONE;
}

enum ctl_session_state ctl_journal_session(const struct med_journal *j, const char *id)
{
        char activity[ACTIVITY_MAX];

        if (!j)
                return CTL_SESSION_NONE;
        (void)snprintf(activity, sizeof activity, SESSION_PREFIX "%s", id);
        return state_of(med_journal_get(j, activity, STATE_KEY));
}

static bool is_open(enum ctl_session_state s)
{
        return s == CTL_SESSION_STARTED || s == CTL_SESSION_ABORTING;
}

const char *ctl_journal_open_session(const struct med_journal *j)
{
        for (size_t i = 0; j && i < j->n_fields; i++) {
                const struct med_journal_field *f = &j->fields[i];

                if (bth_starts_with(f->activity, SESSION_PREFIX) &&
                    strcmp(f->key, STATE_KEY) == 0 &&
                    is_open(ctl_journal_session(j, f->activity + strlen(SESSION_PREFIX))))
                        return f->activity + strlen(SESSION_PREFIX);
        }
        return NULL;
}

void ctl_journal_each_session(const struct med_journal *j, ctl_session_fn fn, void *userdata)
{
        for (size_t i = 0; i < j->n_fields; i++) {
                const char *id = j->fields[i].activity + strlen(SESSION_PREFIX);
                bool first = true;

                if (!bth_starts_with(j->fields[i].activity, SESSION_PREFIX) ||
                    strcmp(j->fields[i].key, STATE_KEY) != 0)
                        continue;
                for (size_t k = 0; first && k < i; k++)
                        first = strcmp(j->fields[k].activity, j->fields[i].activity) != 0 ||
                                strcmp(j->fields[k].key, STATE_KEY) != 0;
                if (first)
                        fn(userdata, id, ctl_journal_session(j, id));
        }
}

const char *ctl_journal_of_drive(const struct med_journal *j, const char *serial, const char *key)
{
        char activity[ACTIVITY_MAX];

        if (!j)
                return NULL;
        (void)snprintf(activity, sizeof activity, DRIVE_PREFIX "%s", serial);
        return med_journal_get(j, activity, key);
}

static int note(const char *path, const char *prefix, const char *name, const char *key,
                const char *value, struct bth_error *error)
{
        const uint64_t now = bth_now_realtime_usec();
        const struct med_journal_value values[] = { { .key = key, .value = value } };
        _cleanup_(bth_buf_clearp) struct bth_buf record = { 0 };
        char activity[ACTIVITY_MAX];
        int r;

        (void)snprintf(activity, sizeof activity, "%s%s", prefix, name);
        r = med_journal_write_record(&record, now, activity, values, 1);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                                     "'%s' cannot stand in a journal", value);
        return med_journal_append(path, &record, now, error);
}

int ctl_journal_note_session(const char *path, const char *id, enum ctl_session_state state,
                             struct bth_error *error)
{
        return note(path, SESSION_PREFIX, id, STATE_KEY, ctl_session_state_to_string(state), error);
}

int ctl_journal_note_drive(const char *path, const char *serial, const char *key, const char *value,
                           struct bth_error *error)
{
        return note(path, DRIVE_PREFIX, serial, key, value, error);
}

int ctl_journal_note_info(const char *path, const struct med_journal_drive *drive,
                          struct bth_error *error)
{
        const uint64_t now = bth_now_realtime_usec();
        _cleanup_buf_ struct bth_buf record = { .secret = true };
        int r = med_journal_write_drive(&record, now, drive);

        if (r < 0)
                r = bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                                  "the drive '%s' cannot stand in a journal", drive->drive_id);
        else
                r = med_journal_append(path, &record, now, error);
        return r;
}
