/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sql - the store's own layer over a database: statements, errors, transactions, migrations.
 *
 *     store-*.c, hub*.c ── sql() ── struct sql_backend ── sql-lite.c   one file, one process
 *                                                     └── sql-pg.c     a server, several processes
 *
 * There is one text of each statement, in what both databases understand; sql-pg.c puts other words
 * for the few that it does not know. Inside jobs/ only. One thread.
 * Source: sqlite.org/c3ref; PostgreSQL 15, chapter 34. */
#pragma once

#include "jobs/store.h"

#define SQL_MAX_STATEMENTS 192
#define SQL_MAX_ARGUMENTS  32

struct sql_statement {
        struct job_store *store;
        const char *text;  /* the literal: compared by address */
        const char *types; /* of its arguments */
        void *handle;      /* the backend's */
};

/* One argument: a number, or `n` borrowed bytes; `data` NULL: NULL. */
struct sql_value {
        char type; /* as in sql() */
        uint64_t number;
        const void *data;
        size_t n;
};

/* A statement that is run once for each of `n` sets of arguments, in their order. Neither function
 * may use the store. */
struct sql_many {
        size_t n;
        void *userdata;
        /* Writes set number `i`, with sql_u() and sql_s(), one for each type; their texts are
         * borrowed until sql_many() returns. */
        void (*arguments)(void *userdata, size_t i, struct sql_value *values);
        /* For each row that it gives; a negative errno ends it. NULL: it gives none. */
        int (*row)(void *userdata, size_t i, struct sql_statement *st);
        int *changes; /* NULL, or room for `n`: how many rows each changed */
};
static inline struct sql_value sql_u(uint64_t number)
{
        return (struct sql_value){ .type = 'u', .number = number };
}
struct sql_value sql_s(const char *text); /* NULL as NULL */

/* All but the last four may fail with errors of the store, and set `error`. */
struct sql_backend {
        int (*prepare)(struct sql_statement *st, struct bth_error *error);
        /* `values` are borrowed until reset() */
        int (*bind)(struct sql_statement *st, const struct sql_value *values, size_t n,
                    struct bth_error *error);
        int (*step)(struct sql_statement *st, struct bth_error *error); /* 1: a row */
        /* as sql_later() and sql_many(); NULL: there is no wire, so one after the other is best */
        int (*later)(struct sql_statement *st, const struct sql_value *values, size_t n,
                     struct bth_error *error);
        int (*many)(struct sql_statement *st, const struct sql_many *many, struct bth_error *error);
        int (*begin)(struct job_store *s, bool reading, struct bth_error *error);
        int (*end)(struct job_store *s, bool commit, struct bth_error *error);
        int (*migrate)(struct job_store *s, struct bth_error *error);
        int (*check)(struct job_store *s, struct bth_error *error);
        int (*scrub)(struct job_store *s, struct bth_error *error);
        int (*changes)(struct job_store *s);
        uint64_t (*last_id)(struct job_store *s);
        struct sql_value (*column)(struct sql_statement *st, int column, char type);
        void (*reset)(struct sql_statement *st);
        void (*finalize)(struct sql_statement *st);
        void (*close)(struct job_store *s);
};

struct job_store {
        const struct sql_backend *backend;
        void *handle; /* the backend's */
        char uid[40];
        bool outbox;
        unsigned depth;      /* of transactions in each other: one is the database's */
        int broken;          /* why the one that is open cannot be committed any more */
        bool scrub;          /* when it has been */
        bool new_events;     /* were added in it */
        bool giving;         /* a row of sql_many(): the store is not to be used */
        uint64_t last_event; /* that was added since the store was opened; 0: none */
        struct sql_statement statements[SQL_MAX_STATEMENTS];
        size_t n_statements;
};

/* Open the database of a new store: a file; a server's "postgresql://…". Returns 0 or an error of
 * the store; -EAGAIN when the server cannot be reached. */
int sql_lite_open(struct job_store *s, const char *path, struct bth_error *error) _must_check_;
int sql_pg_open(struct job_store *s, const char *url, struct bth_error *error) _must_check_;

/* The statement of a string literal, made once, with its arguments bound from 1:
 *   'u' uint64_t   's' const char *, NULL as NULL   'b' const void *, size_t
 * They are borrowed until sql_done(), which ends it. Returns 0 or an error of the store. */
int sql(struct job_store *s, struct bth_error *error, struct sql_statement **ret, const char *text,
        const char *types, ...) _must_check_;
/* Returns 1 with a row, 0 at the end, or an error of the store. */
int sql_row(struct job_store *s, struct sql_statement *st, struct bth_error *error) _must_check_;
void sql_done(struct sql_statement *st);
static inline void sql_donep(struct sql_statement **st)
{
        if (*st)
                sql_done(*st);
}
#define _cleanup_sql_ _cleanup_(sql_donep)

#define SQL_IDS 32
#define SQL_IDS_LIST                                                                         \
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?" \
        ", ?, ?, ?, ?"
/* A statement about 1 to SQL_IDS rows, whose text has SQL_IDS_LIST for their ids. Returns as sql().
 */
int sql_ids(struct job_store *s, struct bth_error *error, struct sql_statement **ret,
            const char *text, const uint64_t *ids, size_t n) _must_check_;

/* Runs a statement that gives no rows. Returns 0 or an error of the store. */
int sql_run(struct job_store *s, struct bth_error *error, const char *text, const char *types, ...)
        _must_check_;
/* One number; 0 when there is no row. Returns 0 or an error of the store. */
int sql_number(struct job_store *s, struct bth_error *error, uint64_t *ret, const char *text,
               const char *types, ...) _must_check_;

/* A server is asked over a wire, where each answer that is waited for costs a round trip; these two
 * are for transactions of many statements, and wait once for many. In a file they are the same as
 * one sql_run() after the other.
 *
 * Inside a transaction, as sql_run(), but nobody waits for what becomes of it: when it fails, one
 * of the calls that follow says so, at the latest sql_end(), and nothing of the transaction is
 * kept. Statements are run in the order of the calls, so that whatever is asked next sees what this
 * one did. The arguments are borrowed for the call only. Returns 0 or an error of the store, of
 * this statement or of one before it. */
int sql_later(struct job_store *s, struct bth_error *error, const char *text, const char *types,
              ...) _must_check_;
/* Inside a transaction. Returns 0, an error of the store, or what row() returned. */
int sql_many(struct job_store *s, struct bth_error *error, const char *text, const char *types,
             const struct sql_many *many) _must_check_;
/* Gives the rows of set number `i` to row(); for backends. Returns as sql_many(). */
int sql_give(struct sql_statement *st, const struct sql_many *many, size_t i,
             struct bth_error *error) _must_check_;

/* How many rows the last sql_run() changed. Never an error. Returns it. */
int sql_changes(struct job_store *s);
/* The number that the database gave to the last row that sql_run() added. */
uint64_t sql_last_id(struct job_store *s);

uint64_t sql_u64(struct sql_statement *st, int column); /* 0 for NULL */
bool sql_is_null(struct sql_statement *st, int column);
/* Borrowed until the next row; NULL for NULL. */
const char *sql_text(struct sql_statement *st, int column);
/* A copy; NULL stays NULL. Returns 0 or -ENOMEM. */
int sql_copy(struct sql_statement *st, int column, char **ret) _must_check_;
/* The same of bytes that are secret. Returns 0 or -ENOMEM. */
int sql_secret(struct sql_statement *st, int column, struct bth_secret **ret) _must_check_;

/* begin() takes the right to write; end(r) commits when r is 0, else takes everything back, and
 * returns r or the error of the commit, or of a statement that nobody has waited for. What was
 * committed is on the disk. One inside of another is a part of it: what is written is the
 * outermost's to commit, and when a part ends with an error nothing of the whole is kept.
 * Returns 0 or an error of the store; -ECANCELED when a part had failed and nobody said so. */
int sql_begin(struct job_store *s, struct bth_error *error) _must_check_;
int sql_end(struct job_store *s, int r, struct bth_error *error) _must_check_;
/* Statements between them see one moment; inside of a transaction they do anyway, then `ret_begun`
 * is false and there is nothing to end. Returns 0 or an error of the store. */
int sql_begin_reading(struct job_store *s, bool *ret_begun, struct bth_error *error) _must_check_;
void sql_end_reading(struct job_store *s);

/* The tables of version 1 on, one text a version (schema.c). NULL beyond JOB_STORE_VERSION. */
const char *sql_migration(uint64_t version) _pure_;
/* Fills what is new and follows from what a store of `version` has, after the texts. Returns 0 or
 * an error of the store. */
int sql_migrated(struct job_store *s, uint64_t version, struct bth_error *error) _must_check_;
/* A new store gets its UID, inside a transaction. Returns 0 or an error of the store. */
int sql_make_uid(struct job_store *s, struct bth_error *error) _must_check_;
/* Returns -EPROTONOSUPPORT with the sentence. */
int sql_too_new(uint64_t version, struct bth_error *error);

/* Looks for damage. Returns 0, -EBADMSG. */
int sql_check(struct job_store *s, struct bth_error *error) _must_check_;

/* Writes what was deleted out of the log of the database too: at once, or when the transaction has
 * been committed. Returns 0. */
int sql_scrub(struct job_store *s, struct bth_error *error) _must_check_;

/* --- between the parts of the store --- */

/* Reads a job with its drives. Returns 0, -ENOENT, -EBADMSG. */
int store_load(struct job_store *s, uint64_t job, struct job_record *ret, struct bth_error *error)
        _must_check_;
void store_record_clear(struct job_record *r);
/* The same of 1 to SQL_IDS jobs at one moment, in the order of `ids`, and with `personal` what is
 * personal of them. `ret` has room for all, and is empty after an error. Returns as store_load().
 */
int store_load_some(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
                    struct job_record *ret, struct bth_error *error) _must_check_;
/* The same of any number, some at a time: calls `each` with records that belong to the store and
 * where in `ids` they stand, until it returns another value than 0, which is returned. It may use
 * the store. Returns 0, or as store_load(). */
int store_each(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
               int (*each)(void *userdata, const struct job_record *record, size_t index),
               void *userdata, struct bth_error *error) _must_check_;
int store_each_record(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
                      job_record_fn each, void *userdata, struct bth_error *error) _must_check_;
/* How many bytes of a scope say the subscription; all, when it is not in one. */
size_t store_subscription_length(const char *scope) _pure_;
/* Takes the first column of what is left of a statement, at most `max` ids. Returns 0 or an error
 * of the store. */
int store_list_ids(struct job_store *s, struct sql_statement *st, uint64_t *ids, size_t max,
                   size_t *ret_n, struct bth_error *error) _must_check_;
/* Which drives differ between two models of one job, a bit each. */
#define STORE_ALL_DRIVES ((1u << JOB_MAX_DRIVES) - 1)
#define STORE_DRIVE(i)   (1u << (i))
unsigned store_changed_drives(const struct job_model *a, const struct job_model *b) _pure_;
/* Writes model and revision back, and of its drives those in `drives` with their sentence and bay.
 * Returns 0 or an error of the store. */
int store_save(struct job_store *s, struct job_record *r, unsigned drives,
               const struct job_policy *policy, struct bth_error *error) _must_check_;

/* Takes keys and personal data of a deleted job away, inside a transaction, and what is left of it
 * in the files after it. Returns 0. */
int store_forget_job(struct job_store *s, uint64_t job, struct bth_error *error) _must_check_;

/* One input, inside a transaction: load, step, save, events. Returns 0, -EPERM, -ENOENT. */
int store_step(struct job_store *s, const struct job_act *act, const struct job_policy *policy,
               uint64_t now_usec, const char *who, struct job_outcome *ret_outcome,
               struct bth_error *error) _must_check_;
/* Did the job end with it? Then nothing personal may be added to it. */
bool store_says_deleted(const struct job_outcome *outcome) _pure_;

/* The tracking number of a parcel (JSON), malloc()ed; NULL when it has none. Returns 0 or -ENOMEM.
 */
int store_tracking(const char *package, char **ret_number) _must_check_;

/* What store_event() reads, from the first column on; its texts are borrowed from the row. */
#define STORE_EVENT_COLUMNS "events.seq, kind, time_usec, job, drive, subject, serial, who, data"
struct job_event store_event(struct sql_statement *st);

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
