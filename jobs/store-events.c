/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-events - the history, and the outbox for the service above. An event and the change it
 * tells of are one transaction. Of the progress of a drive only the last event is kept: a later one
 * takes the place of it in history and outbox, with a new number. */
#include <string.h>

#include "jobs/event.h"
#include "jobs/sql.h"

/* Drives of one job and the job itself have lanes of their own; extra drives share lane 0. */
static uint64_t lane_of(uint64_t job, size_t drive)
{
        if (job == 0)
                return 0;
        return job * (JOB_MAX_DRIVES + 1) + (drive == JOB_NO_DRIVE ? 0 : drive + 1);
}

/* --- adding --- */

/* Takes an event out of the outbox, inside a transaction, and lets the next of its lane go. Lanes
 * are counted from 0, so one is added to tell a row from none. */
static int take_out(struct job_store *s, uint64_t seq, struct bth_error *error)
{
        uint64_t lane;
        int r = sql_number(s, error, &lane, "SELECT lane + 1 FROM outbox WHERE seq = ?", "u", seq);

        if (r < 0 || lane == 0)
                return r;
        r = sql_run(s, error, "DELETE FROM outbox WHERE seq = ?", "u", seq);
        if (r < 0)
                return r;
        return sql_run(s, error,
                       "UPDATE outbox SET ready = 1 WHERE seq ="
                       " (SELECT min(seq) FROM outbox WHERE lane = ? - 1 AND parked IS NULL)",
                       "u", lane);
}

static int drop_progress(struct job_store *s, uint64_t job, size_t drive, struct bth_error *error)
{
        uint64_t seq;
        int r;

        if (!s->outbox)
                return sql_later(s, error,
                                 "DELETE FROM events WHERE kind = 8 AND job = ? AND drive = ?",
                                 "uu", job, (uint64_t)drive);
        r = sql_number(s, error, &seq,
                       "SELECT seq FROM events WHERE kind = 8 AND job = ? AND drive = ?", "uu", job,
                       (uint64_t)drive);
        if (r < 0 || seq == 0)
                return r;
        r = take_out(s, seq, error);
        return r < 0 ? r : sql_later(s, error, "DELETE FROM events WHERE seq = ?", "u", seq);
}

static int insert_event(struct job_store *s, const struct job_event *e, struct bth_error *error)
{
        char key[SERIAL_KEY_MAX];
        int r;

        if (e->serial)
                store_serial_key(e->serial, key);
        r = sql_later(s, error,
                      "INSERT INTO events (kind, time_usec, job, drive, serial, serial_key,"
                      " subject, who, data)"
                      " VALUES (?, ?, nullif(?, 0), nullif(?, -1), ?, ?, ?, ?, ?)",
                      "uuuusssss", (uint64_t)e->kind, e->time_usec, e->job, (uint64_t)e->drive,
                      e->serial, e->serial ? key : NULL, e->subject, e->who, e->data);
        s->new_events |= r == 0;
        if (r < 0 || !s->outbox)
                return r;
        return sql_later(s, error,
                         "INSERT INTO outbox (seq, lane, ready)"
                         " VALUES ((SELECT max(seq) FROM events), ?1, CASE WHEN EXISTS"
                         " (SELECT 1 FROM outbox WHERE lane = ?1 AND parked IS NULL)"
                         " THEN 0 ELSE 1 END)",
                         "u", lane_of(e->job, e->drive));
}

static int add_change(struct job_store *s, const struct job_record *r, const struct job_change *c,
                      uint64_t now_usec, const char *who, struct bth_error *error)
{
        const char *serial = c->drive == JOB_NO_DRIVE ? NULL : r->drives[c->drive].serial;
        _cleanup_free_ char *data = NULL, *subject = NULL;
        int k = job_event_data(r, c, &data);

        if (k == 0)
                k = job_event_subject(r, serial, &subject);
        if (k == 0 && c->kind == JOB_CHANGE_DRIVE_PROGRESS)
                k = drop_progress(s, r->id, c->drive, error);
        if (k < 0)
                return k;
        return insert_event(s,
                            &(struct job_event){ .kind = c->kind,
                                                 .time_usec = now_usec,
                                                 .job = r->id,
                                                 .drive = c->drive,
                                                 .subject = subject,
                                                 .serial = serial,
                                                 .who = who,
                                                 .data = data },
                            error);
}

int store_add_changes(struct job_store *s, const struct job_record *r,
                      const struct job_outcome *outcome, uint64_t now_usec, const char *who,
                      struct bth_error *error)
{
        int k = 0;

        for (size_t i = 0; i < outcome->n_changes && k == 0; i++)
                k = add_change(s, r, &outcome->changes[i], now_usec, who, error);
        return k;
}

int store_add_docking_event(struct job_store *s, enum job_change_kind kind,
                            const struct job_docking *d, const struct job_record *r,
                            uint64_t now_usec, const char *who, struct bth_error *error)
{
        _cleanup_free_ char *data = NULL, *subject = NULL;
        int k = job_event_docking_data(d, r, &data);

        if (k == 0)
                k = job_event_subject(r, d->serial, &subject);
        if (k < 0)
                return k;
        return insert_event(s,
                            &(struct job_event){ .kind = kind,
                                                 .time_usec = now_usec,
                                                 .job = d->job,
                                                 .drive = d->job > 0 ? d->drive : JOB_NO_DRIVE,
                                                 .subject = subject,
                                                 .serial = d->serial,
                                                 .who = who,
                                                 .data = data },
                            error);
}

/* --- reading --- */

struct job_event store_event(struct sql_statement *st)
{
        return (struct job_event){
                .seq = sql_u64(st, 0),
                .kind = (enum job_change_kind)sql_u64(st, 1),
                .time_usec = sql_u64(st, 2),
                .job = sql_u64(st, 3),
                .drive = sql_is_null(st, 4) ? JOB_NO_DRIVE : sql_u64(st, 4),
                .subject = sql_text(st, 5),
                .serial = sql_text(st, 6),
                .who = sql_text(st, 7),
                .data = sql_text(st, 8),
        };
}

static int give_event(struct sql_statement *st, job_event_fn each, void *userdata)
{
        const struct job_event e = store_event(st);

        return each(userdata, &e);
}

static int give_events(struct job_store *s, struct sql_statement *st, job_event_fn each,
                       void *userdata, struct bth_error *error)
{
        int r;

        while ((r = sql_row(s, st, error)) == 1) {
                r = give_event(st, each, userdata);
                if (r != 0)
                        break;
        }
        sql_done(st);
        return r;
}

/* One text for each kind of question, so that each has its index. */
#define SELECT_EVENTS(where, order)                                                             \
        "SELECT " STORE_EVENT_COLUMNS " FROM events WHERE " where " AND seq > ?1 AND seq < ?2 " \
        "ORDER BY seq " order " LIMIT ?3"

static int select_events(struct job_store *s, const struct job_event_filter *f,
                         const char *serial_key, struct sql_statement **ret,
                         struct bth_error *error)
{
        static const char *const texts[2][4] = {
                { SELECT_EVENTS("true", ""), SELECT_EVENTS("job = ?4", ""),
                  SELECT_EVENTS("job = ?4 AND drive = ?5", ""),
                  SELECT_EVENTS("serial_key = ?4", "") },
                { SELECT_EVENTS("true", "DESC"), SELECT_EVENTS("job = ?4", "DESC"),
                  SELECT_EVENTS("job = ?4 AND drive = ?5", "DESC"),
                  SELECT_EVENTS("serial_key = ?4", "DESC") },
        };
        const char *const *t = texts[f->newest_first];
        const uint64_t before = f->before > 0 ? f->before : INT64_MAX, limit = f->limit;

        if (f->serial)
                return sql(s, error, ret, t[3], "uuus", f->after, before, limit, serial_key);
        if (f->job == 0)
                return sql(s, error, ret, t[0], "uuu", f->after, before, limit);
        if (f->drive == JOB_NO_DRIVE)
                return sql(s, error, ret, t[1], "uuuu", f->after, before, limit, f->job);
        return sql(s, error, ret, t[2], "uuuuu", f->after, before, limit, f->job,
                   (uint64_t)f->drive);
}

int job_store_events(struct job_store *s, const struct job_event_filter *filter, job_event_fn each,
                     void *userdata, struct bth_error *error)
{
        struct sql_statement *st;
        char key[SERIAL_KEY_MAX];
        int r;

        if (filter->limit == 0 || filter->limit > JOB_STORE_PAGE_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a page has 1 to %u events", JOB_STORE_PAGE_MAX);
        store_serial_key(filter->serial ? filter->serial : "", key);
        r = select_events(s, filter, key, &st, error);
        return r < 0 ? r : give_events(s, st, each, userdata, error);
}

uint64_t job_store_last_event(const struct job_store *s)
{
        return s->last_event;
}

/* --- the outbox --- */

int job_store_outbox_use(struct job_store *s, bool use, struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        if (use) {
                r = sql_run(s, error,
                            "INSERT INTO meta (name, value) VALUES ('outbox', 'yes')"
                            " ON CONFLICT (name) DO NOTHING",
                            "");
        } else {
                r = sql_run(s, error, "DELETE FROM meta WHERE name = 'outbox'", "");
                if (r == 0)
                        r = sql_run(s, error, "DELETE FROM outbox", "");
        }
        r = sql_end(s, r, error);
        if (r == 0)
                s->outbox = use;
        return r;
}

int job_store_outbox(struct job_store *s, uint64_t now_usec, size_t limit, job_event_fn each,
                     void *userdata, struct bth_error *error)
{
        struct sql_statement *st;
        int r = sql(s, error, &st,
                    "SELECT events.seq, kind, time_usec, job, drive, subject, serial, who, data"
                    " FROM outbox JOIN events ON events.seq = outbox.seq"
                    " WHERE ready = 1 AND again_usec <= ? ORDER BY outbox.seq LIMIT ?",
                    "uu", now_usec, (uint64_t)limit);

        return r < 0 ? r : give_events(s, st, each, userdata, error);
}

int job_store_outbox_sent(struct job_store *s, uint64_t seq, struct bth_error *error)
{
        int r = sql_begin(s, error);

        return r < 0 ? r : sql_end(s, take_out(s, seq, error), error);
}

static int found(struct job_store *s, int r, struct bth_error *error)
{
        if (r == 0 && sql_changes(s) == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "the event does not wait to be sent");
        return r;
}

int job_store_outbox_failed(struct job_store *s, uint64_t seq, uint64_t again_usec,
                            struct bth_error *error)
{
        return found(s,
                     sql_run(s, error,
                             "UPDATE outbox SET attempts = attempts + 1, again_usec = ?"
                             " WHERE seq = ?",
                             "uu", again_usec, seq),
                     error);
}

static int park(struct job_store *s, uint64_t seq, const char *why, uint64_t now_usec,
                struct bth_error *error)
{
        uint64_t lane;
        int r = sql_number(s, error, &lane, "SELECT lane FROM outbox WHERE seq = ?", "u", seq);

        if (r == 0)
                r = found(s,
                          sql_run(s, error,
                                  "UPDATE outbox SET parked = ?, parked_usec = ?, ready = 0"
                                  " WHERE seq = ?",
                                  "suu", why, now_usec, seq),
                          error);
        if (r < 0)
                return r;
        return sql_run(s, error,
                       "UPDATE outbox SET ready = 1 WHERE seq ="
                       " (SELECT min(seq) FROM outbox WHERE lane = ? AND parked IS NULL)",
                       "u", lane);
}

int job_store_outbox_park(struct job_store *s, uint64_t seq, const char *why, uint64_t now_usec,
                          struct bth_error *error)
{
        int r = sql_begin(s, error);

        return r < 0 ? r : sql_end(s, park(s, seq, why, now_usec, error), error);
}

int job_store_outbox_settle(struct job_store *s, const struct job_outbox_mark *marks, size_t n,
                            uint64_t now_usec, struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r == 0; i++) {
                r = marks[i].parked ? park(s, marks[i].seq, marks[i].parked, now_usec, error)
                                    : take_out(s, marks[i].seq, error);
                if (r == -ENOENT) { /* progress that a later one replaced */
                        bth_error_clear(error);
                        r = 0;
                }
        }
        return sql_end(s, r, error);
}

int job_store_outbox_state(struct job_store *s, struct job_outbox_state *ret_state,
                           struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st,
                    "SELECT count(*) FILTER (WHERE parked IS NULL), count(parked),"
                    " coalesce(sum(attempts) FILTER (WHERE parked IS NULL), 0),"
                    " (SELECT time_usec FROM events WHERE seq ="
                    "  (SELECT min(seq) FROM outbox WHERE parked IS NULL)) FROM outbox",
                    "");

        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        *ret_state = (struct job_outbox_state){ .waiting = sql_u64(st, 0),
                                                .parked = sql_u64(st, 1),
                                                .attempts = sql_u64(st, 2),
                                                .oldest_usec = sql_u64(st, 3) };
        return 0;
}
