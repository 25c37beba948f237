/* SPDX-License-Identifier: GPL-3.0-or-later */
/* told - an event of another station, checked: the other side of jobs/event.h.
 *
 * Hostile: whoever has a station's token can send anything. Every text, number and time has a
 * limit, every name must be in its list, and what is said twice (id and sequence; subject, scope,
 * job and driveId) must agree. Members and attributes that are not known are skipped, so that a
 * newer station can talk to an older hub; a type that is not known is refused.
 * Any thread. Source: CloudEvents 1.0.2, its JSON format. */
#pragma once

#include "base/json.h"
#include "jobs/store.h"

#define JOB_TOLD_SOURCE_MAX  256u        /* bytes */
#define JOB_TOLD_SUBJECT_MAX 1024u       /* bytes */
#define JOB_TOLD_TEXT_MAX    4096u       /* bytes of a text in "data" */
#define JOB_TOLD_DATA_MAX    (32u << 10) /* bytes of "data" as text */
#define JOB_TOLD_MEMBERS_MAX 64u         /* of the event, and of its data */

/* What an event tells of. Of each the newest event is all that is to be known. */
enum job_facet {
        JOB_FACET_JOB,     /* the job itself, as its station sees it */
        JOB_FACET_DRIVE,   /* state, activity and progress of a drive */
        JOB_FACET_DOCKING, /* the bay it is in */
        _JOB_FACET_MAX,
        _JOB_FACET_INVALID = -EINVAL,
};

/* Texts are borrowed from the JSON that was read, but `data`. */
struct job_told {
        char uid[37]; /* of the station's store */
        uint64_t seq; /* from 1 */
        const char *source, *subject;
        const char *who; /* NULL: the station itself */
        enum job_change_kind kind;
        enum job_facet facet;
        uint64_t time_usec;
        const char *scope;  /* "": the station's own */
        const char *job;    /* NULL: an extra drive */
        const char *serial; /* NULL: the job itself */
        bool from_hub;      /* the job came to the station from here */
        /* of the facet DRIVE */
        struct job_drive drive;
        const char *detail, *error_log, *verbose_log, *manifest_log; /* NULL: none */
        /* of the facets DRIVE and DOCKING; NULL: not docked */
        const char *bay;
        bool docked;
        char *data; /* JSON; job_told_clear() frees it */
};

/* `event` must live as long as the texts are used. Returns 0; -EBADMSG with what is wrong;
 * -EOPNOTSUPP for a type that is not known; -ENOMEM. */
int job_told_read(const json_t *event, struct job_told *ret_told, struct bth_error *error)
        _must_check_;
/* The data of a facet alone, as it was kept. Returns as job_told_read(). */
int job_told_read_data(enum job_change_kind kind, const json_t *data, struct job_told *ret_told,
                       struct bth_error *error) _must_check_;
void job_told_clear(struct job_told *t);
/* Is it a source, a URI reference of 1 to JOB_TOLD_SOURCE_MAX printable bytes? */
bool job_told_is_source(const char *text) _pure_;
