/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sql - see sql.h. */
#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "jobs/sql.h"

/* The write-ahead log is folded into the file when it has so many pages of 4 KiB. */
#define SETTINGS                            \
        "PRAGMA locking_mode = EXCLUSIVE;"  \
        "PRAGMA journal_mode = WAL;"        \
        "PRAGMA synchronous = FULL;"        \
        "PRAGMA foreign_keys = ON;"         \
        "PRAGMA secure_delete = ON;"        \
        "PRAGMA trusted_schema = OFF;"      \
        "PRAGMA temp_store = MEMORY;"       \
        "PRAGMA wal_autocheckpoint = 1000;" \
        "PRAGMA journal_size_limit = 4194304"

int sql_error(struct job_store *s, int code, struct bth_error *error)
{
        const char *said = s && s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code);

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

static int prepare(struct job_store *s, const char *text, sqlite3_stmt **ret,
                   struct bth_error *error)
{
        sqlite3_stmt *st;
        int r;

        for (size_t i = 0; i < s->n_statements; i++)
                if (s->statements[i].text == text) {
                        *ret = s->statements[i].statement;
                        return 0;
                }
        assert(s->n_statements < SQL_MAX_STATEMENTS); /* one a literal of this folder */
        r = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
        if (r != SQLITE_OK)
                return sql_error(s, r, error);
        s->statements[s->n_statements].text = text;
        s->statements[s->n_statements++].statement = st;
        *ret = st;
        return 0;
}

static int bind_one(sqlite3_stmt *st, int i, char type, va_list *ap)
{
        const void *p;
        size_t n;

        switch (type) {
        case 'u':
                return sqlite3_bind_int64(st, i, (sqlite3_int64)va_arg(*ap, uint64_t));
        case 's':
                p = va_arg(*ap, const char *);
                return sqlite3_bind_text(st, i, p, -1, SQLITE_STATIC);
        case 'b':
                p = va_arg(*ap, const void *);
                n = va_arg(*ap, size_t);
                return sqlite3_bind_blob64(st, i, p, n, SQLITE_STATIC);
        default:
                assert(false);
                return SQLITE_MISUSE;
        }
}

static int sql_v(struct job_store *s, struct bth_error *error, sqlite3_stmt **ret, const char *text,
                 const char *types, va_list *ap)
{
        sqlite3_stmt *st = NULL;
        int r = prepare(s, text, &st, error);

        if (r < 0)
                return r;
        for (int i = 0; types[i]; i++) {
                int k = bind_one(st, i + 1, types[i], ap);

                if (k != SQLITE_OK) {
                        sql_done(st);
                        return sql_error(s, k, error);
                }
        }
        *ret = st;
        return 0;
}

int sql(struct job_store *s, struct bth_error *error, sqlite3_stmt **ret, const char *text,
        const char *types, ...)
{
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, ret, text, types, &ap);
        va_end(ap);
        return r;
}

int sql_row(struct job_store *s, sqlite3_stmt *st, struct bth_error *error)
{
        int r = sqlite3_step(st);

        if (r == SQLITE_ROW)
                return 1;
        return r == SQLITE_DONE ? 0 : sql_error(s, r, error);
}

void sql_done(sqlite3_stmt *st)
{
        (void)sqlite3_reset(st); /* says again what step() said */
        (void)sqlite3_clear_bindings(st);
}

int sql_run(struct job_store *s, struct bth_error *error, const char *text, const char *types, ...)
{
        _cleanup_sql_ sqlite3_stmt *st = NULL;
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, &st, text, types, &ap);
        va_end(ap);
        return r < 0 ? r : sql_row(s, st, error);
}

int sql_number(struct job_store *s, struct bth_error *error, uint64_t *ret, const char *text,
               const char *types, ...)
{
        _cleanup_sql_ sqlite3_stmt *st = NULL;
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, &st, text, types, &ap);
        va_end(ap);
        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        *ret = r == 1 ? sql_u64(st, 0) : 0;
        return 0;
}

int sql_changes(struct job_store *s)
{
        return sqlite3_changes(s->db);
}

int sql_copy(sqlite3_stmt *st, int column, char **ret)
{
        const char *text = sql_text(st, column);

        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

/* --- transactions --- */

int sql_begin(struct job_store *s, struct bth_error *error)
{
        int r;

        assert(!s->inside);
        r = sql_run(s, error, "BEGIN IMMEDIATE", "");
        s->inside = r == 0;
        return r;
}

int sql_end(struct job_store *s, int r, struct bth_error *error)
{
        assert(s->inside);
        if (r == 0)
                r = sql_run(s, error, "COMMIT", "");
        /* A full disk may have taken everything back already; then this has nothing to do. */
        if (r < 0 && !sqlite3_get_autocommit(s->db))
                (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        s->inside = false;
        return r;
}

int sql_scrub(struct job_store *s, struct bth_error *error)
{
        int r = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

        return r == SQLITE_OK ? 0 : sql_error(s, r, error);
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

static int read_meta(struct job_store *s, struct bth_error *error)
{
        _cleanup_sql_ sqlite3_stmt *st = NULL;
        uint64_t used = 0;
        int r = sql_number(s, error, &used, "SELECT count(*) FROM meta WHERE name = 'outbox'", "");

        if (r == 0)
                r = sql(s, error, &st, "SELECT value FROM meta WHERE name = 'uid'", "");
        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0 || !sql_text(st, 0) || strlen(sql_text(st, 0)) >= sizeof s->uid)
                return bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                     "the records of the station do not say which they are");
        (void)snprintf(s->uid, sizeof s->uid, "%s", sql_text(st, 0));
        s->outbox = used > 0;
        return 0;
}

static int open_database(struct job_store *s, const char *path, struct bth_error *error)
{
        int r = sqlite3_open_v2(path, &s->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                NULL);

        if (r == SQLITE_OK)
                r = sqlite3_exec(s->db, SETTINGS, NULL, NULL, NULL);
        if (r != SQLITE_OK)
                return sql_error(s, r, error);
        (void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 16 << 20);
        (void)sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
        return 0;
}

int job_store_open(const char *path, struct job_store **ret_store, struct bth_error *error)
{
        _cleanup_(job_store_closep) struct job_store *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        r = make_private(path, error);
        if (r == 0)
                r = open_database(s, path, error);
        if (r == 0)
                r = sql_migrate(s, error);
        if (r == 0)
                r = read_meta(s, error);
        if (r == 0)
                *ret_store = take_ptr(s);
        return r;
}

struct job_store *job_store_close(struct job_store *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_statements; i++)
                (void)sqlite3_finalize(s->statements[i].statement);
        (void)sqlite3_close(s->db); /* nothing is left open that could keep it from closing */
        free(s);
        return NULL;
}

const char *job_store_uid(const struct job_store *s)
{
        return s->uid;
}
