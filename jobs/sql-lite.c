/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sql-lite - the store in one file of SQLite, which belongs to one process; see sql.h.
 * Source: sqlite.org/c3ref, pragma.html. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "base/macros.h"
#include "base/str.h"
#include "jobs/sql.h"

#define APPLICATION_ID 0x42525448 /* "BRTH" */

/* The write-ahead log is folded into the file when it has so many pages of 4 KiB. */
#define SETTINGS                            \
        "PRAGMA locking_mode = EXCLUSIVE;"  \
        "PRAGMA journal_mode = WAL;"        \
        "PRAGMA synchronous = FULL;"        \
        "PRAGMA foreign_keys = ON;"         \
        "PRAGMA secure_delete = ON;"        \
        "PRAGMA trusted_schema = OFF;"      \
        "PRAGMA temp_store = MEMORY;"       \
        "PRAGMA cache_size = -16384;"       \
        "PRAGMA wal_autocheckpoint = 1000;" \
        "PRAGMA journal_size_limit = 4194304"

static int lite_error(sqlite3 *db, int code, struct bth_error *error)
{
        const char *said = db ? sqlite3_errmsg(db) : sqlite3_errstr(code);

        switch (code & 0xff) {
        case SQLITE_FULL:
                return bth_error_set(error, -ENOSPC, BTH_REASON_DISK_FULL,
                                     "the records of the station cannot be written: disk full");
        case SQLITE_NOMEM:
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "there is no memory for the records of the station");
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return bth_error_set(error, -EBUSY, BTH_REASON_STORE_BUSY,
                                     "another process uses the records of the station");
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                     "the records of the station are damaged (%s)", said);
        case SQLITE_READONLY:
                return bth_error_set(error, -EROFS, BTH_REASON_FILE_UNWRITABLE,
                                     "the records of the station may not be written (%s)", said);
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                return bth_error_set(error, -EIO, BTH_REASON_FILE_UNWRITABLE,
                                     "the records of the station cannot be read or written (%s)",
                                     said);
        case SQLITE_CONSTRAINT:
                return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                     "the records of the station do not allow it (%s)", said);
        case SQLITE_TOOBIG:
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "a text is too long for the records of the station");
        default:
                return bth_error_set(error, -EIO, BTH_REASON_INTERNAL,
                                     "the records of the station: %s", said);
        }
}

/* --- statements --- */

static int lite_prepare(struct sql_statement *st, struct bth_error *error)
{
        sqlite3_stmt *new;
        int r = sqlite3_prepare_v3(st->store->handle, st->text, -1, SQLITE_PREPARE_PERSISTENT, &new,
                                   NULL);

        if (r != SQLITE_OK)
                return lite_error(st->store->handle, r, error);
        st->handle = new;
        return 0;
}

static int lite_bind(struct sql_statement *st, const struct sql_value *values, size_t n,
                     struct bth_error *error)
{
        int r = SQLITE_OK;

        for (size_t i = 0; i < n && r == SQLITE_OK; i++) {
                const struct sql_value *v = &values[i];
                const int at = (int)i + 1;

                if (v->type == 'u')
                        r = sqlite3_bind_int64(st->handle, at, (sqlite3_int64)v->number);
                else if (v->type == 's')
                        r = sqlite3_bind_text64(st->handle, at, v->data, v->n, SQLITE_STATIC,
                                                SQLITE_UTF8);
                else
                        r = sqlite3_bind_blob64(st->handle, at, v->data, v->n, SQLITE_STATIC);
        }
        return r == SQLITE_OK ? 0 : lite_error(st->store->handle, r, error);
}

static int lite_step(struct sql_statement *st, struct bth_error *error)
{
        int r = sqlite3_step(st->handle);

        if (r == SQLITE_ROW)
                return 1;
        return r == SQLITE_DONE ? 0 : lite_error(st->store->handle, r, error);
}

static struct sql_value lite_column(struct sql_statement *st, int column, char type)
{
        struct sql_value v = { .type = type };

        if (type == 'u') {
                v.number = (uint64_t)sqlite3_column_int64(st->handle, column);
        } else {
                v.data = type == 's' ? (const void *)sqlite3_column_text(st->handle, column)
                                     : sqlite3_column_blob(st->handle, column);
                v.n = (size_t)sqlite3_column_bytes(st->handle, column);
        }
        return v;
}

static void lite_reset(struct sql_statement *st)
{
        (void)sqlite3_reset(st->handle); /* says again what step() said */
        (void)sqlite3_clear_bindings(st->handle);
}

static void lite_finalize(struct sql_statement *st)
{
        (void)sqlite3_finalize(st->handle);
}

static int lite_changes(struct job_store *s)
{
        return sqlite3_changes(s->handle);
}

static uint64_t lite_last_id(struct job_store *s)
{
        return (uint64_t)sqlite3_last_insert_rowid(s->handle);
}

/* --- transactions --- */

/* One process has the file, and one thread the store: whoever reads sees one moment anyway. */
static int lite_begin(struct job_store *s, bool reading, struct bth_error *error)
{
        return reading ? 0 : sql_run(s, error, "BEGIN IMMEDIATE", "");
}

static int lite_end(struct job_store *s, bool commit, struct bth_error *error)
{
        if (commit)
                return sql_run(s, error, "COMMIT", "");
        /* A full disk may have taken everything back already; then this has nothing to do. */
        if (!sqlite3_get_autocommit(s->handle))
                (void)sqlite3_exec(s->handle, "ROLLBACK", NULL, NULL, NULL);
        return 0;
}

static int lite_scrub(struct job_store *s, struct bth_error *error)
{
        int r = sqlite3_wal_checkpoint_v2(s->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

        return r == SQLITE_OK ? 0 : lite_error(s->handle, r, error);
}

static int lite_check(struct job_store *s, struct bth_error *error)
{
        struct sql_statement *st;
        uint64_t broken = 0;
        int r = sql(s, error, &st, "PRAGMA integrity_check(1)", "");

        if (r < 0)
                return r;
        r = sql_row(s, st, error);
        if (r == 1)
                r = bth_streq(sql_text(st, 0), "ok")
                            ? 0
                            : bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                            "the records of the station are damaged (%s)",
                                            sql_text(st, 0));
        sql_done(st);
        if (r == 0)
                r = sql_number(s, error, &broken, "SELECT count(*) FROM pragma_foreign_key_check",
                               "");
        if (r == 0 && broken > 0)
                r = bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                  "the records of the station refer to what is not there");
        return r;
}

/* --- versions --- */

static int pragma(struct job_store *s, const char *text, uint64_t *ret, struct bth_error *error)
{
        sqlite3_stmt *st = NULL;
        int r = sqlite3_prepare_v2(s->handle, text, -1, &st, NULL);

        if (r == SQLITE_OK)
                r = sqlite3_step(st);
        if (r == SQLITE_ROW)
                *ret = (uint64_t)sqlite3_column_int64(st, 0);
        (void)sqlite3_finalize(st); /* says again what step() said */
        return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : lite_error(s->handle, r, error);
}

static int set_number(struct job_store *s, const char *name, uint64_t v, struct bth_error *error)
{
        char text[64];
        uint64_t unused;

        (void)snprintf(text, sizeof text, "PRAGMA %s = %" PRIu64, name, v);
        return pragma(s, text, &unused, error);
}

static int execute(struct job_store *s, const char *text, struct bth_error *error)
{
        int r = sqlite3_exec(s->handle, text, NULL, NULL, NULL);

        return r == SQLITE_OK ? 0 : lite_error(s->handle, r, error);
}

static int migrate_from(struct job_store *s, uint64_t version, struct bth_error *error)
{
        int r = 0;

        for (uint64_t v = version; v < JOB_STORE_VERSION && r == 0; v++)
                r = execute(s, sql_migration(v), error);
        if (r == 0)
                r = sql_migrated(s, version, error);
        if (r == 0 && version == 0)
                r = sql_make_uid(s, error);
        if (r == 0 && version == 0)
                r = set_number(s, "application_id", APPLICATION_ID, error);
        if (r == 0)
                r = set_number(s, "user_version", JOB_STORE_VERSION, error);
        return r;
}

/* An empty file becomes a store; anything else must say that it is one. */
static int recognise(struct job_store *s, uint64_t *ret_version, struct bth_error *error)
{
        uint64_t id = 0, version = 0, tables = 0;
        int r = pragma(s, "PRAGMA application_id", &id, error);

        if (r == 0)
                r = pragma(s, "PRAGMA user_version", &version, error);
        if (r == 0)
                r = pragma(s, "SELECT count(*) FROM sqlite_master", &tables, error);
        if (r < 0)
                return r;
        if (id != APPLICATION_ID && (id != 0 || version != 0 || tables != 0))
                return bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                     "this is a database, but not the store of a station");
        if (version > JOB_STORE_VERSION)
                return sql_too_new(version, error);
        *ret_version = version;
        return 0;
}

static int lite_migrate(struct job_store *s, struct bth_error *error)
{
        uint64_t version = 0;
        int r = recognise(s, &version, error);

        if (r < 0 || version == JOB_STORE_VERSION)
                return r;
        r = sql_begin(s, error);
        if (r < 0)
                return r;
        return sql_end(s, migrate_from(s, version, error), error);
}

/* --- opening --- */

/* SQLite would make the file with the umask of the process; it holds keys, so it is made before. A
 * file that is there is not opened here: closing it would take away the locks of this process. */
static int make_private(const char *path, struct bth_error *error)
{
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : 0;
        struct stat st;

        if (r == -EEXIST) {
                r = lstat(path, &st) < 0 ? -errno : 0;
                if (r == 0 && !S_ISREG(st.st_mode))
                        r = -EINVAL;
                if (r == 0 && (st.st_mode & 077) != 0 && chmod(path, 0600) < 0)
                        r = -errno;
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the records of the station cannot be opened: %s",
                                     bth_strerror(r));
        return 0;
}

static void lite_close(struct job_store *s)
{
        (void)sqlite3_close(s->handle); /* nothing is left open that could keep it from closing */
}

static const struct sql_backend lite = {
        .prepare = lite_prepare,
        .bind = lite_bind,
        .step = lite_step,
        .begin = lite_begin,
        .end = lite_end,
        .migrate = lite_migrate,
        .check = lite_check,
        .scrub = lite_scrub,
        .changes = lite_changes,
        .last_id = lite_last_id,
        .column = lite_column,
        .reset = lite_reset,
        .finalize = lite_finalize,
        .close = lite_close,
};

static int open_database(struct job_store *s, const char *path, struct bth_error *error)
{
        sqlite3 *db = NULL;
        int r = sqlite3_open_v2(path, &db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                NULL);

        s->backend = &lite;
        s->handle = db; /* also when it could not be opened */
        if (r == SQLITE_OK)
                r = sqlite3_exec(db, SETTINGS, NULL, NULL, NULL);
        if (r != SQLITE_OK)
                return lite_error(db, r, error);
        (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 16 << 20);
        (void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
        return 0;
}

int sql_lite_open(struct job_store *s, const char *path, struct bth_error *error)
{
        int r = make_private(path, error);

        return r < 0 ? r : open_database(s, path, error);
}
