/* SPDX-License-Identifier: GPL-3.0-or-later */
/* schema - the tables of the store, one text a version. A released text never changes: what changes
 * is added as the next one, and PRAGMA user_version says how many of them a file has seen.
 *
 * Enums are stored as the numbers of base/status.h and jobs/words.h, which are only ever appended
 * to. AUTOINCREMENT keeps ids from being used twice. Texts that people or SQLite compare have a
 * canonical form beside them (serial_key). The names of the columns of a model are those of its
 * members. Source: sqlite.org/lang_createtable.html. */
#include <string.h>

#include "base/macros.h"
#include "jobs/sql.h"

static const char *const migrations[] = {
        /* 1: the first release */
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

        "CREATE TABLE jobs ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL,"
        " scope TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL COLLATE NOCASE,"
        " account TEXT, location TEXT, diagnostics TEXT, origin TEXT, tags TEXT,"
        " verbose_log INTEGER NOT NULL, backup_manifest INTEGER NOT NULL,"
        " state INTEGER NOT NULL, cancel_requested INTEGER NOT NULL,"
        " accept_unshipped INTEGER NOT NULL, has_delivery INTEGER NOT NULL,"
        " has_return INTEGER NOT NULL, deleted INTEGER NOT NULL, alerts INTEGER NOT NULL,"
        " created_usec INTEGER NOT NULL, shipped_usec INTEGER NOT NULL,"
        " asked_usec INTEGER NOT NULL, done_usec INTEGER NOT NULL,"
        " packaging_usec INTEGER NOT NULL, ended_usec INTEGER NOT NULL,"
        " deadline_usec INTEGER);" /* NULL: no time limit runs */
        "CREATE UNIQUE INDEX jobs_by_name ON jobs (scope, name) WHERE deleted = 0;"
        "CREATE INDEX jobs_by_state ON jobs (state, id) WHERE deleted = 0;"
        "CREATE INDEX jobs_by_scope ON jobs (scope, id) WHERE deleted = 0;"
        "CREATE INDEX jobs_by_deadline ON jobs (deadline_usec) WHERE deadline_usec IS NOT NULL;"

        "CREATE TABLE drives ("
        " job INTEGER NOT NULL REFERENCES jobs (id), idx INTEGER NOT NULL,"
        " serial TEXT NOT NULL, serial_key TEXT NOT NULL,"
        " manifest_file TEXT, manifest_hash TEXT, header_hash TEXT,"
        " error_log TEXT, verbose_log TEXT, manifest_log TEXT, detail TEXT, bay TEXT,"
        " state INTEGER NOT NULL, copy INTEGER NOT NULL, status INTEGER NOT NULL,"
        " activity INTEGER NOT NULL, docked INTEGER NOT NULL, running INTEGER NOT NULL,"
        " held INTEGER NOT NULL, unprocessed INTEGER NOT NULL, bytes INTEGER NOT NULL,"
        " bytes_done INTEGER NOT NULL, blobs INTEGER NOT NULL, blobs_done INTEGER NOT NULL,"
        " received_usec INTEGER NOT NULL, begun_usec INTEGER NOT NULL,"
        " ended_usec INTEGER NOT NULL, activity_usec INTEGER NOT NULL,"
        " corrections INTEGER NOT NULL,"
        " PRIMARY KEY (job, idx), UNIQUE (job, serial_key)) WITHOUT ROWID;"
        "CREATE INDEX drives_by_serial ON drives (serial_key, job);"

        "CREATE TABLE keys (job INTEGER NOT NULL, idx INTEGER NOT NULL, value BLOB NOT NULL,"
        " PRIMARY KEY (job, idx), FOREIGN KEY (job, idx) REFERENCES drives (job, idx))"
        " WITHOUT ROWID;"
        "CREATE TABLE personal (job INTEGER NOT NULL REFERENCES jobs (id),"
        " what INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (job, what)) WITHOUT ROWID;"
        "CREATE TABLE journals (id INTEGER PRIMARY KEY,"
        " job INTEGER NOT NULL REFERENCES jobs (id), name TEXT, sha256 TEXT,"
        " added_usec INTEGER NOT NULL, who TEXT);"
        "CREATE INDEX journals_by_job ON journals (job);"
        "CREATE INDEX journals_by_hash ON journals (sha256);"

        "CREATE TABLE dockings (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " serial TEXT NOT NULL, serial_key TEXT NOT NULL, bay TEXT NOT NULL,"
        " model TEXT, bus TEXT, diskseq TEXT, size_bytes INTEGER NOT NULL,"
        " job INTEGER REFERENCES jobs (id), drive INTEGER, matched TEXT, warning TEXT,"
        " docked_usec INTEGER NOT NULL, undocked_usec INTEGER, ended TEXT);"
        "CREATE INDEX dockings_by_serial ON dockings (serial_key, id);"
        "CREATE INDEX dockings_by_drive ON dockings (job, drive, id);"
        "CREATE INDEX dockings_open ON dockings (id) WHERE undocked_usec IS NULL;"

        "CREATE TABLE runs (id INTEGER PRIMARY KEY, job INTEGER NOT NULL, drive INTEGER NOT NULL,"
        " ended_usec INTEGER NOT NULL, end INTEGER NOT NULL, copy_status TEXT, reason TEXT,"
        " sentence TEXT, blobs INTEGER NOT NULL, completed INTEGER NOT NULL,"
        " created INTEGER NOT NULL, renamed INTEGER NOT NULL, skipped INTEGER NOT NULL,"
        " overwritten INTEGER NOT NULL, failed INTEGER NOT NULL, bytes INTEGER NOT NULL,"
        " sent_bytes INTEGER NOT NULL, error_log TEXT, verbose_log TEXT, manifest TEXT);"
        "CREATE INDEX runs_by_drive ON runs (job, drive, id);"

        "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,"
        " time_usec INTEGER NOT NULL, job INTEGER, drive INTEGER, serial TEXT, serial_key TEXT,"
        " subject TEXT NOT NULL, who TEXT, data TEXT NOT NULL);"
        "CREATE INDEX events_by_job ON events (job, seq) WHERE job IS NOT NULL;"
        "CREATE INDEX events_by_drive ON events (job, drive, seq) WHERE drive IS NOT NULL;"
        "CREATE INDEX events_by_serial ON events (serial_key, seq) WHERE serial_key IS NOT NULL;"
        "CREATE INDEX events_by_time ON events (time_usec);"
        /* The one event of progress that a drive has. */
        "CREATE INDEX events_of_progress ON events (job, drive) WHERE kind = 8;"

        /* A lane is what must stay in order: one drive, or one job itself. `ready` is set at the
         * oldest of each lane that is not parked, so that finding them costs nothing. */
        "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL,"
        " ready INTEGER NOT NULL,"
        " attempts INTEGER NOT NULL DEFAULT 0, again_usec INTEGER NOT NULL DEFAULT 0,"
        " parked TEXT);"
        "CREATE INDEX outbox_by_lane ON outbox (lane, seq) WHERE parked IS NULL;"
        "CREATE INDEX outbox_ready ON outbox (seq, again_usec) WHERE ready = 1;",

        /* 2: a hub. One row of hub_stations is one store of a station; a later one under the same
         * source is newer. A facet is the newest of its kind that a station said of a subject. */
        "CREATE TABLE hub_stations (id INTEGER PRIMARY KEY, source TEXT NOT NULL,"
        " uid TEXT NOT NULL, first_usec INTEGER NOT NULL, heard_usec INTEGER NOT NULL,"
        " applied INTEGER NOT NULL DEFAULT 0, late INTEGER NOT NULL DEFAULT 0,"
        " duplicates INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE (source, uid));"
        "CREATE TABLE hub_events (station INTEGER NOT NULL REFERENCES hub_stations (id),"
        " seq INTEGER NOT NULL, kind INTEGER NOT NULL, time_usec INTEGER NOT NULL,"
        " received_usec INTEGER NOT NULL, subject TEXT NOT NULL, who TEXT, data TEXT NOT NULL,"
        " PRIMARY KEY (station, seq));"
        "CREATE INDEX hub_events_by_time ON hub_events (received_usec);"
        "CREATE TABLE hub_facets (source TEXT NOT NULL, subject TEXT NOT NULL,"
        " facet INTEGER NOT NULL, station INTEGER NOT NULL, seq INTEGER NOT NULL,"
        " kind INTEGER NOT NULL, time_usec INTEGER NOT NULL, scope TEXT NOT NULL, job TEXT,"
        " serial TEXT, serial_key TEXT, docked INTEGER NOT NULL, data TEXT NOT NULL,"
        " PRIMARY KEY (source, subject, facet));"
        "CREATE INDEX hub_facets_by_serial ON hub_facets (serial_key, facet)"
        " WHERE serial_key IS NOT NULL;"
        "CREATE INDEX hub_facets_by_subject ON hub_facets (subject);"
        "CREATE TABLE hub_conflicts (kind INTEGER NOT NULL, key TEXT NOT NULL,"
        " since_usec INTEGER NOT NULL, last_usec INTEGER NOT NULL, open INTEGER NOT NULL,"
        " sources TEXT NOT NULL, PRIMARY KEY (kind, key, since_usec));",

        /* 3: each question about jobs has an index that gives its page in order. */
        "ALTER TABLE jobs ADD COLUMN subscription TEXT NOT NULL COLLATE NOCASE DEFAULT '';"
        "CREATE INDEX jobs_by_subscription ON jobs (subscription, id) WHERE deleted = 0;"
        "CREATE INDEX jobs_of_subscription ON jobs (subscription, state, id) WHERE deleted = 0;"
        "CREATE INDEX jobs_of_scope ON jobs (scope, state, id) WHERE deleted = 0;"
        "CREATE INDEX jobs_of_name ON jobs (name, id) WHERE deleted = 0;"
        /* Of the parcel in which the drives come: as it stands in `value`, and gone with it. */
        "ALTER TABLE personal ADD COLUMN tracking TEXT COLLATE NOCASE;"
        "CREATE INDEX personal_by_tracking ON personal (tracking, job) WHERE tracking IS NOT NULL;",

        /* 4: since when an event is parked; NULL: not parked, or before this version. */
        ("ALTER TABLE outbox ADD COLUMN parked_usec INTEGER;"
         "CREATE INDEX outbox_parked ON outbox (seq) WHERE parked IS NOT NULL;"),

        /* 5: counting for /metrics looks at nothing that is not in there. */
        ("CREATE INDEX jobs_of_alerts ON jobs (alerts, state) WHERE deleted = 0 AND alerts <> 0;"
         "CREATE INDEX drives_counted ON drives (job, state, held, running);"),
};
_Static_assert(ARRAY_SIZE(migrations) == JOB_STORE_VERSION, "a version is a migration");
_Static_assert(JOB_CHANGE_DRIVE_PROGRESS == 8, "the index events_of_progress says so");

const char *sql_migration(uint64_t version)
{
        return version < ARRAY_SIZE(migrations) ? migrations[version] : NULL;
}

/* --- what a text cannot do --- */

/* Takes the text of one row of a table, by its job, from which something follows. */
static int fill_next(struct job_store *s, const char *select, uint64_t *job, char **ret_text,
                     struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, select, "u", *job);

        if (r == 0)
                r = sql_row(s, st, error);
        if (r != 1)
                return r;
        *job = sql_u64(st, 0);
        r = sql_copy(st, 1, ret_text);
        return r < 0 ? r : 1;
}

static int fill_subscriptions(struct job_store *s, struct bth_error *error)
{
        uint64_t job = 0;

        for (;;) {
                _cleanup_free_ char *scope = NULL;
                int r = fill_next(s,
                                  "SELECT id, scope FROM jobs WHERE id > ? AND scope <> ''"
                                  " ORDER BY id LIMIT 1",
                                  &job, &scope, error);

                if (r != 1)
                        return r;
                scope[store_subscription_length(scope)] = '\0';
                r = sql_run(s, error, "UPDATE jobs SET subscription = ? WHERE id = ?", "su", scope,
                            job);
                if (r < 0)
                        return r;
        }
}

static int fill_tracking(struct job_store *s, struct bth_error *error)
{
        uint64_t job = 0;

        for (;;) {
                _cleanup_free_ char *package = NULL, *tracking = NULL;
                int r = fill_next(s,
                                  "SELECT job, value FROM personal WHERE job > ? AND what = 2"
                                  " ORDER BY job LIMIT 1",
                                  &job, &package, error);

                if (r != 1)
                        return r;
                r = store_tracking(package, &tracking);
                if (r == 0 && tracking)
                        r = sql_run(s, error,
                                    "UPDATE personal SET tracking = ? WHERE job = ? AND what = 2",
                                    "su", tracking, job);
                if (r < 0)
                        return r;
        }
}
_Static_assert(JOB_PERSONAL_DELIVERY_PACKAGE == 2, "the statements say so");

int sql_migrated(struct job_store *s, uint64_t version, struct bth_error *error)
{
        int r = version > 0 && version < 3 ? fill_subscriptions(s, error) : 0;

        return r == 0 && version > 0 && version < 3 ? fill_tracking(s, error) : r;
}
