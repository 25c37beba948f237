/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sql - the store's own layer over SQLite: prepared statements, errors, transactions, migrations.
 * Inside jobs/ only. One thread. Source: sqlite.org/c3ref. */
#pragma once

#include <sqlite3.h>

#include "jobs/store.h"

#define SQL_MAX_STATEMENTS 128

struct job_store {
        sqlite3 *db;
        char uid[40];
        bool outbox;
        bool inside;         /* a transaction */
        uint64_t last_event; /* that was added since the store was opened; 0: none */
        struct {
                const char *text; /* the literal: compared by address */
                sqlite3_stmt *statement;
        } statements[SQL_MAX_STATEMENTS];
        size_t n_statements;
};

typedef sqlite3_stmt sql_statement;

/* The statement of a string literal, made once, with its arguments bound from 1:
 *   'u' uint64_t   's' const char *, NULL as NULL   'b' const void *, size_t
 * End it with sql_done(). Returns 0 or an error of the store. */
int sql(struct job_store *s, struct bth_error *error, sqlite3_stmt **ret, const char *text,
        const char *types, ...) _must_check_;
/* Returns 1 with a row, 0 at the end, or an error of the store. */
int sql_row(struct job_store *s, sqlite3_stmt *st, struct bth_error *error) _must_check_;
void sql_done(sqlite3_stmt *st);
static inline void sql_donep(sqlite3_stmt **st)
{
        if (*st)
                sql_done(*st);
}
#define _cleanup_sql_ _cleanup_(sql_donep)

/* Runs a statement that gives no rows. Returns 0 or an error of the store. */
int sql_run(struct job_store *s, struct bth_error *error, const char *text, const char *types, ...)
        _must_check_;
/* One number; 0 when there is no row. Returns 0 or an error of the store. */
int sql_number(struct job_store *s, struct bth_error *error, uint64_t *ret, const char *text,
               const char *types, ...) _must_check_;

/* How many rows the last statement changed. Never an error. Returns it. */
int sql_changes(struct job_store *s);

static inline uint64_t sql_u64(sqlite3_stmt *st, int column)
{
        return (uint64_t)sqlite3_column_int64(st, column);
}
/* Borrowed until the next row; NULL for NULL. */
static inline const char *sql_text(sqlite3_stmt *st, int column)
{
        return (const char *)sqlite3_column_text(st, column);
}
/* A copy; NULL stays NULL. Returns 0 or -ENOMEM. */
int sql_copy(sqlite3_stmt *st, int column, char **ret) _must_check_;

/* What SQLite just said, as errno with a sentence. Returns the negative errno. */
int sql_error(struct job_store *s, int code, struct bth_error *error);

/* begin() takes the right to write; end(r) commits when r is 0, else takes everything back, and
 * returns r or the error of the commit. Not nested. Returns 0 or an error of the store. */
int sql_begin(struct job_store *s, struct bth_error *error) _must_check_;
int sql_end(struct job_store *s, int r, struct bth_error *error) _must_check_;

/* Brings an open database to JOB_STORE_VERSION. Returns 0, -EPROTONOSUPPORT, -EBADMSG. */
int sql_migrate(struct job_store *s, struct bth_error *error) _must_check_;

/* Writes what was deleted out of the log of the database too. Returns 0. */
int sql_scrub(struct job_store *s, struct bth_error *error) _must_check_;

/* --- between the parts of the store --- */

/* Reads a job with its drives. Returns 0, -ENOENT, -EBADMSG. */
int store_load(struct job_store *s, uint64_t job, struct job_record *ret, struct bth_error *error)
        _must_check_;
void store_record_clear(struct job_record *r);
/* Writes model and revision back. Returns 0. */
int store_save(struct job_store *s, struct job_record *r, const struct job_policy *policy,
               struct bth_error *error) _must_check_;

/* One input, inside a transaction: load, step, save, events. Returns 0, -EPERM, -ENOENT. */
int store_step(struct job_store *s, const struct job_act *act, const struct job_policy *policy,
               uint64_t now_usec, const char *who, struct job_outcome *ret_outcome,
               struct bth_error *error) _must_check_;

/* Adds events, inside a transaction. Returns 0. */
int store_add_changes(struct job_store *s, const struct job_record *r,
                      const struct job_outcome *outcome, uint64_t now_usec, const char *who,
                      struct bth_error *error) _must_check_;
int store_add_docking_event(struct job_store *s, enum job_change_kind kind,
                            const struct job_docking *d, const struct job_record *r,
                            uint64_t now_usec, const char *who, struct bth_error *error)
        _must_check_;

/* A serial number as it is compared: no blanks, ASCII upper case, at most SERIAL_KEY_MAX bytes. */
#define SERIAL_KEY_MAX 256
void store_serial_key(const char *serial, char out[SERIAL_KEY_MAX]);
