/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-parked - what the service above refused, and what an operator does about it.
 *
 *     outbox ── refused ──> parked ── resend ──> the oldest of its lane again
 *                             └────── drop ────> out of the outbox; the history keeps it
 *
 * A parked event holds nothing back: each event carries all that is to be known of its drive or
 * job, so what comes after it makes up for it. One that is sent again after later ones is late: the
 * service enters it in its history, and the view stays that of the newest. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "jobs/sql.h"

int job_store_parked(struct job_store *s, uint64_t after, size_t limit, job_parked_fn each,
                     void *userdata, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r;

        if (limit == 0 || limit > JOB_STORE_PAGE_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a page has 1 to %u events", JOB_STORE_PAGE_MAX);
        r = sql(s, error, &st,
                "SELECT " STORE_EVENT_COLUMNS
                ", parked, parked_usec FROM outbox JOIN events ON events.seq = outbox.seq"
                " WHERE parked IS NOT NULL AND outbox.seq > ? ORDER BY outbox.seq LIMIT ?",
                "uu", after, (uint64_t)limit);
        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_parked parked = {
                        .event = store_event(st),
                        .why = sql_text(st, 9),
                        .parked_usec = sql_u64(st, 10),
                };

                r = each(userdata, &parked);
                if (r != 0)
                        break;
        }
        return r;
}

/* --- an operator's acts --- */

struct found {
        char *data; /* of the event that tells of the act */
        uint64_t lane;
};

static int find(struct job_store *s, uint64_t seq, struct found *f, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        _cleanup_json_ json_t *j = NULL;
        const char *kind, *why;
        int r = sql(s, error, &st,
                    "SELECT lane, kind, parked FROM outbox JOIN events ON events.seq = outbox.seq"
                    " WHERE outbox.seq = ? AND parked IS NOT NULL",
                    "u", seq);

        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "no event %" PRIu64 " was refused by the job service and is "
                                     "parked",
                                     seq);
        f->lane = sql_u64(st, 0);
        kind = job_change_kind_to_string((enum job_change_kind)sql_u64(st, 1));
        why = sql_text(st, 2);
        j = json_pack("{s:I, s:s, s:s}", "sequence", (json_int_t)seq, "kind", kind ? kind : "",
                      "refusal", why);
        f->data = j ? bth_json_to_text(j) : NULL;
        return f->data ? 0 : bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
}

/* It concerns the drive or job that the parked event concerns. */
static int record(struct job_store *s, uint64_t seq, enum job_change_kind kind, const char *data,
                  uint64_t now_usec, const char *who, struct bth_error *error)
{
        int r = sql_run(s, error,
                        "INSERT INTO events (kind, time_usec, job, drive, serial, serial_key,"
                        " subject, who, data) SELECT ?, ?, job, drive, serial, serial_key, subject,"
                        " ?, ? FROM events WHERE seq = ?",
                        "uussu", (uint64_t)kind, now_usec, who, data, seq);

        if (r == 0)
                s->last_event = sql_last_id(s);
        return r;
}

static int resend(struct job_store *s, uint64_t seq, uint64_t lane, struct bth_error *error)
{
        int r = sql_run(s, error,
                        "UPDATE outbox SET parked = NULL, parked_usec = NULL, attempts = 0,"
                        " again_usec = 0 WHERE seq = ?",
                        "u", seq);

        if (r < 0)
                return r;
        return sql_run(s, error,
                       "UPDATE outbox SET ready = CASE WHEN seq = (SELECT min(seq) FROM outbox"
                       " WHERE lane = ?1 AND parked IS NULL) THEN 1 ELSE 0 END"
                       " WHERE lane = ?1 AND parked IS NULL",
                       "u", lane);
}

static int decide(struct job_store *s, uint64_t seq, enum job_change_kind kind, uint64_t now_usec,
                  const char *who, struct bth_error *error)
{
        struct found f = { 0 };
        int r = find(s, seq, &f, error);

        if (r == 0)
                r = record(s, seq, kind, f.data, now_usec, who, error);
        if (r == 0)
                r = kind == JOB_CHANGE_OUTBOX_RESENT
                            ? resend(s, seq, f.lane, error)
                            : sql_run(s, error, "DELETE FROM outbox WHERE seq = ?", "u", seq);
        free(f.data);
        return r;
}

static int act(struct job_store *s, uint64_t seq, enum job_change_kind kind, uint64_t now_usec,
               const char *who, struct bth_error *error)
{
        int r = sql_begin(s, error);

        return r < 0 ? r : sql_end(s, decide(s, seq, kind, now_usec, who, error), error);
}

int job_store_parked_resend(struct job_store *s, uint64_t seq, uint64_t now_usec, const char *who,
                            struct bth_error *error)
{
        return act(s, seq, JOB_CHANGE_OUTBOX_RESENT, now_usec, who, error);
}

int job_store_parked_drop(struct job_store *s, uint64_t seq, uint64_t now_usec, const char *who,
                          struct bth_error *error)
{
        return act(s, seq, JOB_CHANGE_OUTBOX_DROPPED, now_usec, who, error);
}
