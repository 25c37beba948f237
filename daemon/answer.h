/* SPDX-License-Identifier: GPL-3.0-or-later */
/* answer - what the job service says, read: headers, lists of jobs, answers to events, refusals.
 *
 * Hostile: whoever answers at job_service, or comes between, can say anything. Nothing here knows
 * of connections, so that a fuzzer can drive all of it. Every size, number and text has a limit; an
 * answer that leaves it open which events were taken is no answer, so that they are sent again.
 * Any thread. Source: berth-hub(7); RFC 9110, sections 8.8.3 (ETag) and 10.2.3 (Retry-After). */
#pragma once

#include "base/error.h"
#include "base/json.h"

#define DMN_ANSWER_TAG_MAX       256u        /* bytes of an ETag, with NUL */
#define DMN_ANSWER_RETRY_MAX_SEC 3600u       /* a longer Retry-After is cut to this */
#define DMN_ANSWER_WHY_MAX       512u        /* bytes of a reason, with NUL */
#define DMN_ANSWER_JOBS_MAX      20000u      /* of all pages */
#define DMN_ANSWER_PAGES_MAX     1000u       /* of a list */
#define DMN_ANSWER_LIST_BYTES    (64u << 20) /* all pages as text */
#define DMN_ANSWER_JOB_MEMBERS   64u         /* of a job, and of each drive */
#define DMN_ANSWER_TEXT_MAX      4096u       /* bytes of a text in a job */

/* --- headers --- */

struct dmn_answer_head {
        char etag[DMN_ANSWER_TAG_MAX]; /* "": none that could be sent back as it is */
        uint64_t retry_after_sec;      /* 0: none */
};
/* Takes one line, "Name: value" with or without its end; one that begins a new answer (after an
 * interim one, or a proxy's) forgets those before it. */
void dmn_answer_header(struct dmn_answer_head *head, const char *line, size_t n);

/* --- jobs --- */

/* A list that is fetched page by page. Zero-initialise; dmn_answer_jobs_clear(). */
struct dmn_answer_jobs {
        json_t *jobs;   /* array of objects and, for what is no job, nulls; NULL before the first */
        uint64_t after; /* of the page that follows */
        size_t bytes;
        unsigned pages;
};
/* Adds the jobs of a page. Returns 1 when another page follows, 0 when the list is complete;
 * -EBADMSG, -EFBIG or -E2BIG for what is no such list, or too much of it; -ENOMEM. */
int dmn_answer_jobs(struct dmn_answer_jobs *list, const char *body, size_t n,
                    struct bth_error *error) _must_check_;
/* Keys are in it: its texts are wiped. */
void dmn_answer_jobs_clear(struct dmn_answer_jobs *list);
/* May the texts of a job be kept, shown and told on: their types, lengths, no control characters,
 * states that are known? Returns 0 or -EBADMSG with the member. */
int dmn_answer_job_check(const json_t *job, struct bth_error *error) _must_check_;

/* --- events --- */

/* The event `index` of those that were sent is not wanted; `why` is escaped, never empty. */
typedef void (*dmn_answer_refused_fn)(void *userdata, size_t index, const char *why);
/* Reads the answer to events with the ids UID-SEQ. `refused` is called once for each that was
 * refused, in the order they were sent; all others were taken. Returns 0; -EBADMSG when it is no
 * such answer, or when it refuses what was not sent: then nothing was called; -EFBIG, -ENOMEM. */
int dmn_answer_events(const char *body, size_t n, const char *uid, const uint64_t *seqs,
                      size_t n_seqs, dmn_answer_refused_fn refused, void *userdata,
                      struct bth_error *error) _must_check_;

/* --- refusals --- */

/* The sentence of an error's body, escaped, into `out`; "" when it has none. Returns `out`. */
char *dmn_answer_sentence(const char *body, size_t n, char out[DMN_ANSWER_WHY_MAX]);
